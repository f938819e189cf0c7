"""Two machines load, each builds, four readers query: every commit lands and no reader sees half of one."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree

import duckdb
import pytest
from lakes import PATIENCE_SECONDS, LakeHome

from reposignal_pipeline.analysis.forecast import BREAKOUTS, FORECASTS, OUTCOMES, SUPERSEDED, TRACK_RECORD
from reposignal_pipeline.publishing.article import ARTICLES, CLAIMS
from tests.pipeline.homes import COMMAND, Home, assert_alike, backfill, file_of

pytestmark = pytest.mark.slow

READERS = 4
# whole lists, so that coverage and ranks stay the same
LISTS = ["top-100-stars", "top-100-forks", "JavaScript", "TypeScript", "Go", "Python"]
RECORDED = (dt.date(2023, 9, 1), dt.date(2023, 9, 17), dt.date(2023, 9, 18), dt.date(2023, 10, 1))
"""first and last day of the one, first and last day of the other"""

# Each query returns no rows at any time: rows would contradict another row of the same snapshot.
AT_HEAD = {
    "a day of the ledger has all its rows, each place once": """
        select snapshot_date, days.distinct_places, rows.places, rows.rows
        from pipeline.rankings.rankings_days as days
        left join (
            select snapshot_date, count(distinct (item, rank)) as places, count(distinct file_row) as rows
            from pipeline.rankings.rankings group by snapshot_date
        ) as rows using (snapshot_date)
        where days.status = 'observed' and (rows.places is distinct from days.distinct_places)
    """,
    "a reading is stored once": """
        select snapshot_date, file_row from pipeline.rankings.rankings group by all having count(*) > 1
    """,
    "a day is in the ledger once": """
        select snapshot_date from pipeline.rankings.rankings_days group by all having count(*) > 1
    """,
    "a repository has one row a day": """
        select repo_key, day from reposignal.main.fct_repo_day group by all having count(*) > 1
    """,
    "ranks of a day are 1 to n": """
        select day from reposignal.main.fct_repo_signal_day where signal_rank is not null
        group by day having min(signal_rank) <> 1
    """,
    "shares of languages of a day add up": """
        select universe, day, sum(share) from reposignal.main.fct_language_day
        group by all having abs(sum(share) - 1) > 1e-6
    """,
}
AT_RELEASE = {
    "a score has its day": """
        select day, repo_key from reposignal.main.fct_repo_signal_day
        except select day, repo_key from reposignal.main.fct_repo_day
    """,
    "what is covered has rows": """
        select day from reposignal.main.ops_source_coverage where source = 'rankings' and observed > 0
        except select day from reposignal.main.fct_repo_day
    """,
    "a trend has its repository": """
        select repo_key from reposignal.main.weekly_repo_trends except select repo_key from reposignal.main.dim_repo
    """,
}


@dataclass
class Reader(threading.Thread):
    """An analyst who queries continuously, through a separate connection."""

    home: LakeHome
    number: int
    stopping: threading.Event
    queries: int = 0
    slowest: float = 0.0
    torn: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    days_seen: list[frozenset[dt.date]] = field(default_factory=list)
    releases_seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with self.home.attached() as connection:
                    connection.execute("set threads = 1")
                    connection.execute(self.home.attach("pipeline"))
                    for _ in range(5):
                        self.look(connection)
                        if self.stopping.wait(2):  # the two cores are shared
                            return
            except Exception as error:
                self.troubles.append(repr(error))

    def look(self, connection: duckdb.DuckDBPyConnection) -> None:
        began = time.monotonic()
        for truth, sql in AT_HEAD.items():
            if rows := connection.execute(sql).fetchall():
                self.torn.append(f"{truth}: {rows[:3]}")
        days = connection.execute("select distinct day from reposignal.main.fct_repo_day").fetchall()
        self.days_seen.append(frozenset(day for (day,) in days))
        (release,) = connection.execute("select max(snapshot_id) from reposignal.build.releases").fetchall()[0]
        if release not in self.releases_seen:
            self.releases_seen.add(release)
            self.torn += contradictions_at(self.home, release)
        self.queries += len(AT_HEAD) + 2
        self.slowest = max(self.slowest, time.monotonic() - began)


def contradictions_at(home: LakeHome, release: int) -> list[str]:
    """Return the contradictions within a release."""
    with home.attached(options=f", snapshot_version {release}") as connection:
        found = {truth: connection.execute(sql).fetchall() for truth, sql in AT_RELEASE.items()}
    return [f"release {release}: {truth}: {rows[:3]}" for truth, rows in found.items() if rows]


@contextmanager
def readers(home: LakeHome) -> Iterator[list[Reader]]:
    stopping = threading.Event()
    them = [Reader(home, number, stopping) for number in range(READERS)]
    for reader in them:
        reader.start()
    try:
        yield them
    finally:
        stopping.set()
        for reader in them:
            reader.join(60)


def another_machine(home: LakeHome, path: Path) -> LakeHome:
    """Return another home on the same lake."""
    copytree(home.path, path, symlinks=True)
    return LakeHome(
        path,
        home.rankings_url,
        extra=dict(home.extra),
        postgres=home.postgres,
        s3=home.s3,
        database=home.database,
        data=home.data,
    )


def run_together(*commands: tuple[LakeHome, tuple[str, ...]]) -> float:
    """Run commands at the same time, require that all succeed, and return the seconds it took."""
    began = time.monotonic()
    processes = [
        subprocess.Popen([COMMAND, *command], env=home.environment, stdout=-1, stderr=-1, text=True)
        for home, command in commands
    ]
    try:
        for process in processes:
            _, err = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, err
    finally:
        for process in processes:
            process.kill()
    return time.monotonic() - began


def assert_calm(them: list[Reader], before: frozenset[dt.date], after: frozenset[dt.date]) -> None:
    """Fail if a reader was refused, saw half of a commit, or missed a day that had been there."""
    for reader in them:
        assert reader.troubles == []
        assert reader.torn == []
        assert reader.queries > 0
        assert all(before <= days <= after for days in reader.days_seen)


def days_of(home: LakeHome) -> frozenset[dt.date]:
    with home.attached() as connection:
        return frozenset(day for (day,) in connection.execute("select distinct day from fct_repo_day").fetchall())


@pytest.mark.skipif(
    bool(os.environ.get("REPOSIGNAL_REAL_DATA")), reason="the recordings are loaded instead, by the next test"
)
def test_two_machines_load_and_build_while_four_read(folder_half: LakeHome, whole: Home, tmp_path: Path) -> None:
    one = folder_half.copied(tmp_path / "one" / "home")
    other = another_machine(one, tmp_path / "other")
    before = days_of(one)
    with readers(one) as them:
        run_together((one, backfill(8, 11)), (other, backfill(12, 14)))
    assert_calm(them, before, days_of(one))
    assert_alike(whole.tables(), one.lake_tables())
    newest = max((home for home in (one, other)), key=lambda home: home.published.resolve().parent.name)
    assert_alike(whole.tables(), newest.tables())  # the last to publish has all of it


@pytest.mark.real
def test_two_machines_load_the_recordings_while_four_read(
    make_lake: Callable[..., LakeHome], fresh: Home, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, middle, next_day, last = RECORDED
    upstream = write_recordings(real_data, first, last, tmp_path / "upstream")
    one = make_lake(on_s3=True)
    one.rankings_url = str(upstream)
    other = another_machine(one, tmp_path / "other")
    local = Home(tmp_path / "local", str(upstream))
    copytree(fresh.path, local.path)

    def command(start: dt.date, end: dt.date) -> tuple[str, ...]:
        return "backfill", "rankings", "--from", str(start), "--to", str(end)

    week = first + dt.timedelta(6)
    ran = one.run(*command(first, week))
    assert ran.returncode == 0, ran.stderr
    before = days_of(one)
    with readers(one) as them:
        seconds = run_together((one, command(week, middle)), (other, command(next_day, last)))
    assert_calm(them, before, days_of(one))
    ran = local.run(*command(first, last))
    assert ran.returncode == 0, ran.stderr
    expected, found = local.tables(), one.lake_tables()
    for table in (FORECASTS, SUPERSEDED, OUTCOMES, BREAKOUTS, TRACK_RECORD, ARTICLES, CLAIMS):
        # computed once from the loads known then, so it depends on the order of the loads
        del expected[table.name], found[table.name]
    assert_alike(expected, found)
    with capsys.disabled():
        print(
            f"\n{(last - first).days + 1} days by two machines in {seconds:.0f} s;"
            f" {READERS} readers queried {sum(reader.queries for reader in them)} times,"
            f" the slowest round took {max(reader.slowest for reader in them):.2f} s,"
            f" they saw {len(set().union(*(reader.releases_seen for reader in them)))} releases"
        )


def write_recordings(real_data: Path, first: dt.date, last: dt.date, folder: Path) -> Path:
    """Return a folder with the recorded days as the upstream published them, cut to some lists."""
    folder.mkdir()
    years = [str(real_data / "rankings" / f"rankings-{year}.parquet") for year in sorted({first.year, last.year})]
    columns = "rank,item,repo_name,stars,forks,language,repo_url,username,issues,last_commit,description"
    with duckdb.connect(config={"threads": 1, "memory_limit": "1GB"}) as connection:
        rows = connection.execute(
            f"""
            select snapshot_date, {columns} from read_parquet($years)
            where snapshot_date between $first and $last and list_contains($lists, item)
            order by snapshot_date, list_position($lists, item), rank, username, repo_name
            """,
            {"years": years, "first": first, "last": last, "lists": LISTS},
        ).fetchall()
    texts: dict[dt.date, io.StringIO] = {}
    for day, *cells in rows:
        if day not in texts:
            texts[day] = io.StringIO(columns + "\n")
            texts[day].seek(0, io.SEEK_END)
        csv.writer(texts[day], lineterminator="\n").writerow(cells)
    for day, text in texts.items():
        (folder / file_of(day)).write_text(text.getvalue())
    return folder
