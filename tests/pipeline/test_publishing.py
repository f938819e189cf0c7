"""The published copy is replaced in one step; readers keep what they opened."""

from __future__ import annotations

import datetime as dt
import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.publishing import release as release_module
from reposignal_pipeline.publishing.release import HalfBuiltError, OccupiedError, Release, publish
from reposignal_pipeline.warehouse import Warehouse

MONTHS = (1, 2, 3)
READER = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for _ in sys.stdin:
        found = connection.execute("select min(edition), max(edition), count(*) from fct_repo_day").fetchone()
        print(found, flush=True)
"""


class Desk:
    """Marts made by hand, and publications of them."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, profile=Profile.LOCAL, rankings_base="")
        self.warehouse = Warehouse(self.settings)
        self.settings.warehouse_dir.mkdir(parents=True)
        self.editions = 0
        with self.warehouse.connected() as connection:
            connection.execute("create table fct_repo_day (day date, repo_key bigint, edition integer)")
            connection.execute("create table dim_repo (repo_key bigint, full_name varchar)")
        self.load(dt.date(2024, 1, 5))

    def load(self, day: dt.date) -> None:
        """Record a reading of a day that the marts do not show."""
        with self.warehouse.connected() as connection:
            loaded = [day, dt.datetime.now(dt.UTC).replace(tzinfo=None)]
            connection.execute(
                "insert into pipeline.rankings.rankings_days (snapshot_date, status, fetched_at)"
                " values (?, 'observed', ?)",
                loaded,
            )

    def build(self) -> None:
        """Write a new edition of every row into the marts."""
        self.editions += 1
        with self.warehouse.connected() as connection:
            connection.execute("delete from fct_repo_day")
            connection.execute(
                "insert into fct_repo_day"
                " select date '2024-01-01' + d::integer, r, ? from range(91) d(d), range(50) r(r)",
                [self.editions],
            )

    def publish(self) -> Release:
        return publish(self.warehouse, f"edition-{self.editions:03}-{len(self.releases()):03}-{os.urandom(3).hex()}")

    def edition(self) -> Release:
        self.build()
        return self.publish()

    def releases(self) -> list[Path]:
        return sorted((self.settings.home / "releases").glob("*"))

    def rebuilt(self, since: dt.date | None = None) -> Release:
        """Build as the pipeline does, and publish."""
        self.warehouse.begin_build(since=since)
        self.warehouse.end_build()
        self.warehouse.end_verticals()
        return self.publish()

    def months(self) -> dict[int, int]:
        """Return the file behind each month of the large table."""
        folder = self.settings.published_dir / "parquet" / "fct_repo_day"
        return {month: (folder / f"2024-{month:02}.parquet").stat().st_ino for month in MONTHS}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "home")


def test_readers_keep_a_consistent_view_over_ten_publications(desk: Desk) -> None:
    desk.edition()
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(desk.settings.published_db)], stdin=-1, stdout=-1, text=True, bufsize=1
        )
        for _ in range(2)
    ]

    def ask() -> list[str]:
        answers = []
        for reader in readers:
            assert reader.stdin and reader.stdout
            reader.stdin.write("?\n")
            answers.append(reader.stdout.readline().strip())
        return answers

    assert ask() == ["(1, 1, 4550)"] * 2
    for _ in range(10):
        desk.edition()
        assert ask() == ["(1, 1, 4550)"] * 2
    for reader in readers:
        reader.communicate(timeout=30)
        assert reader.returncode == 0
    with duckdb.connect(str(desk.settings.published_db), read_only=True) as connection:
        assert connection.execute("select min(edition), max(edition) from fct_repo_day").fetchone() == (11, 11)


def test_the_link_always_leads_to_a_whole_release(desk: Desk) -> None:
    desk.edition()
    stopping, troubles, looks = threading.Event(), [], []

    def look() -> None:
        while not stopping.is_set():
            try:
                with desk.settings.published_db.open("rb") as file:
                    looks.append(file.seek(0, os.SEEK_END) > 0)
            except OSError as error:
                troubles.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    for _ in range(8):
        desk.edition()
    stopping.set()
    thread.join()
    assert troubles == []
    assert all(looks)
    assert len(looks) > 100


def test_half_built_marts_are_refused_and_the_former_copy_stays(desk: Desk) -> None:
    desk.edition()
    before = desk.settings.published_db.resolve()
    desk.load(dt.date(2024, 3, 1))
    desk.warehouse.begin_build()
    with pytest.raises(HalfBuiltError, match="the marts are incomplete"):
        desk.publish()
    assert desk.settings.published_db.resolve() == before
    desk.warehouse.end_build()
    desk.warehouse.end_verticals()
    assert desk.publish().path == desk.settings.published_dir.resolve() != before.parent


def test_leftovers_of_a_killed_publication_are_removed(desk: Desk) -> None:
    desk.edition()
    releases = desk.settings.home / "releases"
    (releases / "killed.making" / "parquet").mkdir(parents=True)
    (releases / "killed.making" / "reposignal.duckdb").write_text("half")
    (releases / "killed-before-it-was-pointed-at").mkdir()
    (desk.settings.home / "published.next").symlink_to("releases/killed.making")
    former, path = desk.settings.published_dir.resolve(), desk.edition().path
    assert set(desk.releases()) == {former, path}
    assert not (desk.settings.home / "published.next").is_symlink()


def test_two_releases_are_kept_at_most(desk: Desk) -> None:
    paths = [desk.edition().path for _ in range(5)]
    assert set(desk.releases()) == set(paths[-2:])


def test_the_record_of_what_was_built_is_not_published(desk: Desk) -> None:
    desk.edition()
    with duckdb.connect(str(desk.settings.published_db), read_only=True) as connection:
        assert connection.execute("select distinct schema_name from duckdb_tables()").fetchall() == [("main",)]


def test_unchanged_months_are_links_to_the_former_files(desk: Desk) -> None:
    desk.build()
    assert desk.rebuilt().months_written == 3
    before = desk.months()
    desk.load(dt.date(2024, 3, 1))  # readings of January are in the marts already
    assert desk.rebuilt().months_written == 1
    after = desk.months()
    assert [month for month in MONTHS if before[month] == after[month]] == [1, 2]


def test_a_publication_that_failed_leaves_its_changes_to_the_next(desk: Desk) -> None:
    desk.build()
    desk.rebuilt()
    before = desk.months()
    desk.load(dt.date(2024, 2, 10))
    desk.warehouse.begin_build()
    desk.warehouse.end_build()  # killed here: not published
    desk.load(dt.date(2024, 3, 1))
    desk.rebuilt()
    after = desk.months()
    assert [month for month in MONTHS if before[month] == after[month]] == [1]


@pytest.mark.parametrize("since", [dt.date(2024, 1, 20), dt.date.min])
def test_a_rebuild_from_an_earlier_day_rewrites_its_months(desk: Desk, since: dt.date) -> None:
    desk.load(dt.date(2024, 3, 1))
    desk.build()
    desk.rebuilt()
    desk.build()
    assert desk.rebuilt(since).months_written == 3
    months = str(desk.settings.published_dir / "parquet" / "fct_repo_day" / "*.parquet")
    assert duckdb.sql(f"select distinct edition from '{months}'").fetchall() == [(2,)]


def test_a_writer_waits_for_the_orphan_of_a_killed_run(desk: Desk) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.readline(); c.close()",
            str(desk.settings.pipeline_db),
        ],
        stdin=-1,
        stdout=-1,
        text=True,
    )
    assert holder.stdout
    holder.stdout.readline()
    threading.Timer(1, lambda: holder.communicate("\n")).start()
    assert desk.warehouse.observed_days("rankings") == {dt.date(2024, 1, 5)}
    assert holder.wait(30) == 0


def test_a_folder_in_the_place_of_the_link_becomes_the_former_release(desk: Desk) -> None:
    desk.build()
    desk.rebuilt()
    for _ in range(3):  # a copy of the home that followed links turns it into a folder each time
        link = desk.settings.published_dir
        copied = link.with_name("copied")
        shutil.copytree(link, copied)
        link.unlink()
        copied.rename(link)
        desk.build()
        release = desk.rebuilt()
        assert link.is_symlink()
        assert link.resolve() == release.path
        assert release.months_written == 3  # the age of the files in the folder is unknown
        assert len(desk.releases()) == 2


@pytest.mark.parametrize("foreign", ["folder", "file"])
def test_a_foreign_folder_is_never_moved_and_leaves_no_release(desk: Desk, foreign: str) -> None:
    link = desk.settings.published_dir
    if foreign == "folder":
        link.mkdir()
        (link / "notes.txt").write_text("mine")
    else:
        link.write_text("mine")
    for _ in range(3):
        with pytest.raises(OccupiedError, match=f"{link} .* move it away"):
            desk.edition()
    assert desk.releases() == []
    assert ((link / "notes.txt") if foreign == "folder" else link).read_text() == "mine"


def test_a_publication_that_fails_leaves_no_part_of_a_release(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    former = desk.edition().path
    for step in ("build", "_flush", "_point"):
        with monkeypatch.context() as broken, pytest.raises(OSError, match="No space left"):

            def full(*_: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            broken.setattr(release_module, step, full)
            desk.edition()
        assert desk.releases() == [former]
        assert desk.settings.published_dir.resolve() == former
    assert desk.edition().path == desk.settings.published_dir.resolve()
