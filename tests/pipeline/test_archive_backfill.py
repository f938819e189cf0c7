"""The archive end to end: hourly files over HTTP, the real command, the published copy."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import duckdb
import pytest

from tests.pipeline.homes import COMMAND, PATIENCE_SECONDS, Home, Ran, Rows, assert_alike, assert_one_line, served

pytestmark = pytest.mark.slow

FIRST = dt.date(2024, 2, 1)
DAYS = 18
LAST = FIRST + dt.timedelta(DAYS - 1)
LOGIN = "somebody-with-a-login"
REPOS = {101: "owner/python-01", 102: "owner/rust-02", 103: "nobody/knows"}
Star = tuple[str, dt.date]

MISSING, CUT, DAMAGED = (FIRST + dt.timedelta(n) for n in (14, 15, 16))
HOUR = 12


def event(number: int, kind: str, at: dt.datetime, repo: int = 101, actor: int = 1) -> dict[str, object]:
    payload = {"action": "started"} if kind == "WatchEvent" else {"commits": [{"author": {"email": "a@mail.example"}}]}
    return {
        "id": str(40_000_000_000 + number),
        "type": kind,
        "actor": {"id": actor, "login": LOGIN, "display_login": LOGIN},
        "repo": {"id": repo, "name": REPOS[repo], "url": f"https://api.github.com/repos/{REPOS[repo]}"},
        "payload": payload,
        "public": True,
        "created_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
    }


def events_of(day: dt.date, hour: int) -> list[dict[str, object]]:
    """Return an hour of twenty events, two of them stars; the day's first file has a star of the evening before."""
    begin = dt.datetime(day.year, day.month, day.day, hour)
    number = (begin - dt.datetime(2024, 1, 1)) // dt.timedelta(hours=1) * 100
    events = [event(number + n, "PushEvent", begin) for n in range(18)]
    at = begin if hour else begin - dt.timedelta(minutes=1)
    events.insert(3, event(number + 50, "WatchEvent", at, 101 + number // 100 % 3, actor=number))
    events.insert(6, event(number + 51, "WatchEvent", begin + dt.timedelta(minutes=1), 101, actor=number + 1))
    if hour == 7:  # the last star of the hour before, repeated
        events.append(event(number - 100 + 51, "WatchEvent", begin - dt.timedelta(minutes=59), 101, actor=number - 99))
    return events


def write_archive(folder: Path) -> Path:
    """Return the folder with the files of all days; three of their hours are missing, truncated and damaged."""
    folder.mkdir(parents=True)
    for number in range(DAYS):
        day = FIRST + dt.timedelta(number)
        for hour in range(24):
            lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events_of(day, hour))
            content = gzip.compress(lines.encode(), 6, mtime=0)
            if hour == HOUR and day == MISSING:
                continue
            if hour == HOUR and day == CUT:
                content = content[:-12]
            if hour == HOUR and day == DAMAGED:
                content = content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]
            (folder / f"{day}-{hour}.json.gz").write_bytes(content)
    return folder


def stars_given() -> Counter[Star]:
    """Return the stars of each repository and day, each event once; for the truncated hour those before the cut."""
    seen: dict[object, Star] = {}
    for number in range(DAYS):
        day = FIRST + dt.timedelta(number)
        for hour in range(24):
            if hour == HOUR and day in (MISSING, DAMAGED):
                continue
            for each in events_of(day, hour):
                if each["type"] == "WatchEvent":
                    repo = each["repo"]
                    assert isinstance(repo, dict)
                    seen[each["id"]] = repo["name"], dt.date.fromisoformat(str(each["created_at"])[:10])
    return Counter(seen.values())


def backfill(first: dt.date = FIRST, last: dt.date = LAST) -> tuple[str, ...]:
    return "backfill", "gh_archive", "--from", str(first), "--to", str(last)


def published_stars(home: Home) -> Counter[Star]:
    rows = home.query("select full_name, day, stars_gained from fct_repo_day where stars_gained_source = 'gh_archive'")
    return Counter({(str(name), day): gained for name, day, gained in rows})  # type: ignore[misc]


def portless(tables: dict[str, Rows]) -> dict[str, Rows]:
    """Return the tables without the port of the server in the reasons."""
    return {
        name: [tuple(cell and re.sub(r"127\.0\.0\.1:\d+", "server", cell) for cell in row) for row in rows]
        for name, rows in tables.items()
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "files")


@pytest.fixture(scope="module")
def empty(parsed: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home without data; dbt's project is parsed already."""
    path = tmp_path_factory.mktemp("empty")
    copytree(parsed / "dbt", path / "home" / "dbt")
    return Home(path / "home")


@dataclass
class Filled:
    """A filled home that then loads the same days again, with the published tables after each command."""

    home: Home
    ran: list[Ran]
    tables: list[dict[str, Rows]]
    requested: list[set[str]]
    """days whose files each command requested"""


@pytest.fixture(scope="module")
def filled(empty: Home, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    home = empty.copied(tmp_path_factory.mktemp("filled") / "home")
    filled = Filled(home, [], [], [])
    with served(archive) as upstream:
        home.extra["REPOSIGNAL_GH_ARCHIVE_URL"] = f"http://{upstream.address}"
        with home.session() as session:
            for command in (backfill(), backfill(), ("run", "--day", str(LAST), "--source", "gh_archive")):
                filled.ran.append(session.run(*command))
                filled.tables.append(home.tables())
                filled.requested.append({path[1:11] for path in upstream.requests})
                upstream.requests.clear()
    return filled


def test_a_backfill_counts_every_star_once_under_its_day(filled: Filled) -> None:
    home, ran = filled.home, filled.ran[0]
    assert "Traceback" not in ran.stderr
    assert published_stars(home) == stars_given()
    assert home.query("select count(*) from fct_repo_day where stars_total is not null") == [(0,)]
    assert home.query("select distinct source, stars_gained_source from fct_repo_day") == [("gh_archive", "gh_archive")]


def test_truncated_and_damaged_files_are_reported_and_missing_ones_are_not(filled: Filled) -> None:
    home, ran = filled.home, filled.ran[0]
    lines = ran.stderr.strip().splitlines()
    assert ran.returncode == 1
    assert len(lines) == 2
    assert f"{CUT}-{HOUR}.json.gz: cut short after" in lines[0]
    assert f"{DAMAGED}-{HOUR}.json.gz: damaged" in lines[1]
    rows = home.query(
        "select day, status, hours_observed, hours_expected, reason from ops_source_coverage"
        " where source = 'gh_archive' and status <> 'observed' order by day"
    )
    days = [day for day, status, observed, expected, _ in rows if (status, expected) == ("partial", 24)]
    assert [day for day in (MISSING, CUT, DAMAGED) if day in days] == [MISSING, CUT, DAMAGED]
    hours = home.query("select file_hour::varchar, status from ops_archive_hour where status <> 'observed' order by 1")
    assert hours == [(f"{day} {HOUR}:00:00", status) for day, status in
                     ((MISSING, "missing"), (CUT, "partial"), (DAMAGED, "refused"))]  # fmt: skip


def test_the_same_days_again_change_nothing(filled: Filled) -> None:
    _, again, one = filled.ran
    assert filled.requested[1:] == [{str(MISSING), str(CUT), str(DAMAGED)}, {str(LAST)}]
    assert again.returncode == 1
    assert one.returncode == 0, one.stderr
    for tables in filled.tables[1:]:
        assert_alike(filled.tables[0], tables)


def test_a_home_reveals_no_account_that_gave_a_star(filled: Filled) -> None:
    home = filled.home
    key = home.path / "actor.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    texts = (LOGIN.encode(), b"mail.example")
    for path in home.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(text in content for text in texts), path
            assert key.read_bytes() not in content or path == key, path
    with duckdb.connect(str(home.path / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
        hashes = connection.execute("select count(distinct actor_hash), count(*) from gh_archive.gh_archive").fetchone()
        assert hashes
        assert 0 < hashes[0] <= hashes[1]
        rows = connection.execute("select columns(*)::varchar from gh_archive.gh_archive").fetchall()
    assert not any("login" in str(row) for row in rows)


@pytest.mark.slow
def test_a_backfill_killed_in_mid_day_ends_as_if_it_never_was(
    filled: Filled, empty: Home, archive: Path, tmp_path: Path
) -> None:
    home = empty.copied(tmp_path / "home")
    with served(archive, pause=0.02) as upstream:
        home.extra["REPOSIGNAL_GH_ARCHIVE_URL"] = f"http://{upstream.address}"
        ran_model = home.path / "dbt" / "target" / "run" / "reposignal" / "models" / "marts" / "fct_repo_day.sql"
        signs: list[Callable[[], bool]] = [
            lambda: len(upstream.requests) > 350,  # two weeks are a load, and it is in progress
            lambda: ran_model.exists() and ran_model.stat().st_mtime > begun,
        ]
        for sign in signs:
            begun = time.time()
            process = subprocess.Popen([COMMAND, *backfill()], env=home.environment, stderr=subprocess.PIPE)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not sign():
                assert process.poll() is None, "it ended before the sign"
                assert time.monotonic() < deadline, "the sign never came"
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        ran = home.run(*backfill())
    assert ran.returncode == 1, ran.stderr  # two files keep their state
    assert_alike(portless(filled.tables[0]), portless(home.tables()))


def test_impossible_arguments_are_reported_in_one_line(empty: Home, tmp_path: Path) -> None:
    home = empty.copied(tmp_path / "home")
    with served(tmp_path) as upstream:
        home.extra["REPOSIGNAL_GH_ARCHIVE_URL"] = f"http://user:secret@{upstream.address}/nowhere"
        with home.session() as session:
            wrong = session.run(*backfill(FIRST, FIRST + dt.timedelta(29)))
            early = session.run(*backfill(dt.date(2011, 2, 11), dt.date(2011, 2, 12)))
    assert (wrong.returncode, early.returncode) == (1, 1)
    assert_one_line(wrong.stderr)
    assert "no file for any hour of 30 days" in wrong.stderr
    assert "secret" not in wrong.stderr
    assert_one_line(early.stderr)
    assert "gh_archive has days from 2011-02-12" in early.stderr
    assert not home.published.exists()
