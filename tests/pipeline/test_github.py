"""The GitHub sources end to end: real commands, day after day, against a GitHub API on the loopback."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import duckdb
import numpy as np
import pytest

from reposignal_pipeline.sample import github_faults as faults
from reposignal_pipeline.sample.github_api import GitHubApi
from reposignal_pipeline.sample.github_world import World
from reposignal_pipeline.sources.star_days import STAR_DAYS
from tests import warm
from tests.pipeline.homes import PATIENCE_SECONDS, Home, Ran, assert_one_line

pytestmark = pytest.mark.slow

DAY = dt.timedelta(days=1)
FIRST = dt.date(2025, 6, 1)
NOW = dt.datetime(2026, 3, 3, 9)  # a Tuesday
TODAY, YESTERDAY = NOW.date(), NOW.date() - DAY
TOKEN = "ghp_known0fake0token0which0must0never0be0seen"
REPOSITORIES = 40

# One process for a series of commands, each at a given time.
_SESSION = """
import contextlib, datetime, io, json, os, sys
import time_machine
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
clock = None
for line in sys.stdin:
    now, arguments = json.loads(line)
    if clock:
        clock.stop()
    clock = time_machine.travel(datetime.datetime.fromisoformat(now).replace(tzinfo=datetime.UTC), tick=True)
    clock.start()
    from reposignal_pipeline.cli import main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=answers, flush=True)
"""


def small_world() -> World:
    """Forty repositories over 300 days; stars are taken back now and then, so that the past is restated."""
    rng = np.random.default_rng(3)
    gains = rng.negative_binomial(2, 0.2, (REPOSITORIES, 300)).astype(np.int32)
    gains[30:] = 0  # quiet ones
    unstars = rng.binomial(1, 0.3, gains.shape).astype(np.int32)
    unstars[30:] = 0
    return World.from_gains(gains, FIRST, [1000 + 100 * n for n in range(REPOSITORIES)], unstars=unstars)


@dataclass
class Running:
    """A home, the API that it queries, and a process that runs commands at given times."""

    home: Home
    api: GitHubApi
    world: World
    process: warm.Process

    def run(self, now: dt.datetime, *arguments: str) -> Ran:
        """Return the result of a command at `now`, by both clocks."""
        self.api.now = now
        assert self.process.stdin and self.process.stdout
        watchdog = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        watchdog.start()
        self.process.stdin.write(json.dumps([now.isoformat(), arguments]) + "\n")
        answer = self.process.stdout.readline()
        watchdog.cancel()
        assert answer, f"{arguments} ended its process"
        return subprocess.CompletedProcess(arguments, *json.loads(answer))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.home.query(sql)

    def raw(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home.path / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@contextmanager
def running(path: Path, parsed: Path, *, watch: int = REPOSITORIES, size: int = 60) -> Iterator[Running]:
    """Start a home that watches the first `watch` repositories of the small world."""
    world = small_world()
    path.mkdir(parents=True)
    copytree(parsed / "dbt", path / "home" / "dbt")
    watchlist = path / "watchlist.txt"
    names = [repository.names[0][1] for repository in world.repositories]
    watchlist.write_text("\n".join(names[:watch]) + "\n")
    with GitHubApi(world, now=NOW, tokens={TOKEN: 5000}) as api:
        extra = {
            "GITHUB_TOKEN": TOKEN,
            "REPOSIGNAL_GITHUB_API_URL": api.base,
            "REPOSIGNAL_WATCHLIST": str(watchlist),
            "REPOSIGNAL_UNIVERSE_SIZE": str(size),
        }
        upstream = path / "rankings"
        upstream.mkdir()
        with started(Home(path / "home", str(upstream), extra=extra), api, world) as live:
            yield live


@contextmanager
def started(home: Home, api: GitHubApi, world: World) -> Iterator[Running]:
    """Start a process that runs commands on a home."""
    live = Running(home, api, world, session(home))
    try:
        yield live
    finally:
        live.process.kill()
        live.process.communicate()


def session(home: Home) -> warm.Process:
    """Return a process that receives commands and their times."""
    return warm.Process(_SESSION, (), home.environment, is_piped=True)


SOURCES = ("--source", "repositories", "--source", "star_history")


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory, parsed: Path) -> Iterator[tuple[Running, list[Ran], list[int]]]:
    """A home after its first day and a normal one."""
    with running(tmp_path_factory.mktemp("github") / "two-days", parsed) as live:
        ran, requests = [], []
        for n in range(2):
            ran.append(live.run(NOW + n * DAY, "run", *SOURCES))
            requests.append(len(live.api.requests))
        yield live, ran, requests


def test_two_days_succeed(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    for ran in two_days[1]:
        assert (ran.returncode, ran.stderr) == (0, "")


def test_totals_are_those_of_the_moment_they_were_read(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live = two_days[0]
    facts = live.query("select repo_id, day, stars_total, observed_at from fct_repo_day where source = 'repositories'")
    assert len(facts) == 2 * REPOSITORIES
    for repo_id, day, stars_total, observed_at in facts:
        assert observed_at.date() == day + DAY
        assert stars_total == live.world.total(live.world.by_id[repo_id], observed_at)


def test_gains_are_those_still_held_when_read(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live = two_days[0]
    rows = live.query("select repo_id, day, fetched_at, stars_gained from fct_star_vintage")
    assert len({(repo_id, day) for repo_id, day, *_ in rows}) >= REPOSITORIES * 200
    for repo_id, day, fetched_at, stars_gained in rows:
        weeks = live.world.held(live.world.by_id[repo_id], fetched_at)
        assert stars_gained == weeks.cells.ravel()[(day - weeks.first).days]
        assert day <= STAR_DAYS.last_known(fetched_at)


def test_the_latest_vintage_counts_and_the_earlier_ones_stay(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live = two_days[0]
    differing = live.query(
        """
        select count(*) from fct_repo_day join (
            select repo_key, day, arg_max(stars_gained, fetched_at) as latest from fct_star_vintage group by all
        ) using (repo_key, day)
        where stars_gained is distinct from latest
        """
    )
    assert differing == [(0,)]
    assert live.query("select count(*) > 0 from fct_repo_day where list_contains(dq_flags, 'restated')") == [(True,)]
    assert live.query("select max(n) from (select count(*) as n from fct_star_vintage group by repo_key, day)") == [
        (2,)
    ]


def test_a_normal_day_leaves_the_quiet_alone(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live, _, (first, both) = two_days
    second = [target for _, target in live.api.requests[first:both] if "/history" in target]
    assert len(second) == len(set(second))
    assert 30 <= len(second) < REPOSITORIES  # those whose total moved, and a seventh of all
    (left_out,) = live.raw("select left_out from star_history.star_history_days order by day desc limit 1")[0]
    assert left_out == REPOSITORIES - len(second)
    not_read = live.query(
        f"select count(*) from fct_repo_day where day = date '{TODAY}' and stars_gained is null"
        " and list_contains(dq_flags, 'stars_gained_not_observed')"
    )
    assert not_read == [(left_out,)]


def test_the_universe_has_dated_entries(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live = two_days[0]
    assert live.query("select via, count(*), min(entered_on), count(left_on) from dim_universe group by via") == [
        ("watchlist", REPOSITORIES, YESTERDAY, 0)
    ]


def test_coverage_shows_what_was_expected_and_observed(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live = two_days[0]
    rows = live.query(
        "select day, expected, observed, status from ops_source_coverage where source = 'repositories' order by day"
    )
    assert rows == [(YESTERDAY + n * DAY, REPOSITORIES, REPOSITORIES, "observed") for n in range(2)]


def test_the_token_is_nowhere(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live, ran, _ = two_days
    for one in ran:
        assert TOKEN not in one.stdout + one.stderr
    hidden = TOKEN.encode()
    files = [path for path in live.home.path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 20
    assert [path for path in files if hidden in path.read_bytes()] == []
    texts = [text for path in files if path.suffix in (".duckdb", ".db", ".parquet") for text in words(path)]
    assert len(texts) > 1_000
    assert [text for text in texts if TOKEN in text or "stargazer" in text.lower()] == []


def words(path: Path) -> list[str]:
    """Return every row of every table of a file as text, since compression would hide its bytes."""
    with duckdb.connect() as connection:
        if path.suffix == ".parquet":
            return [
                row
                for (row,) in connection.execute("select t::varchar from read_parquet(?) as t", [str(path)]).fetchall()
            ]
        if path.suffix == ".db":
            with sqlite3.connect(path) as database:
                return list(database.iterdump())
        connection.execute(f"attach '{path}' as file (read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'file'"
        ).fetchall()
        return [
            row
            for schema, table in tables
            for (row,) in connection.execute(f'select t::varchar from file."{schema}"."{table}" as t').fetchall()
        ]


def test_the_same_day_again_requests_no_history_and_changes_nothing(
    two_days: tuple[Running, list[Ran], list[int]], tmp_path: Path
) -> None:
    live = two_days[0]
    before = live.home.tables()
    requests_before = len(live.api.requests)
    ran = live.run(NOW + DAY, "run", *SOURCES)
    assert ran.returncode == 0, ran.stderr
    later = [target for _, target in live.api.requests[requests_before:]]
    assert [target for target in later if "history" in target or "graphql" in target] == []
    after = live.home.tables()
    assert {name for name in before if before[name] != after[name]} == set()


def test_a_backfill_requests_missing_pages_only_once(
    two_days: tuple[Running, list[Ran], list[int]],
) -> None:
    live = two_days[0]
    days = "--from", str(FIRST - 60 * DAY), "--to", str(YESTERDAY)
    before = len(live.api.requests)
    ran = live.run(NOW + DAY, "backfill", "star_history", *days)
    assert ran.returncode == 0, ran.stderr
    pages = [target for _, target in live.api.requests[before:] if "history" in target]
    assert len(pages) == REPOSITORIES
    assert all("page=2" in target for target in pages)
    facts = live.query(
        f"select repo_id, day from fct_repo_day where day between date '{FIRST}' and date '{YESTERDAY}'"
        " and stars_gained is not null"
    )
    assert len(facts) == REPOSITORIES * ((YESTERDAY - FIRST).days + 1)
    before = len(live.api.requests)
    assert live.run(NOW + DAY, "backfill", "star_history", *days).returncode == 0
    assert [target for _, target in live.api.requests[before:] if "history" in target] == []


def test_doctor_reports_universe_plan_and_limits(two_days: tuple[Running, list[Ran], list[int]]) -> None:
    live = two_days[0]
    shown = live.run(NOW + DAY, "doctor").stdout
    assert f"{REPOSITORIES} of 60 tracked" in shown
    assert "core" in shown and "of 5,000 left" in shown
    assert "left out" in shown
    assert TOKEN not in shown


def test_a_spent_quota_is_reported_and_the_next_run_continues(tmp_path: Path, parsed: Path) -> None:
    with running(tmp_path / "live", parsed) as live:
        live.api.tokens[TOKEN] = 25
        ran = live.run(NOW, "run", *SOURCES)
        assert ran.returncode == 1
        assert_one_line(ran.stderr)
        assert "not reached" in ran.stderr
        read = live.query(f"select count(stars_gained) from fct_repo_day where day = date '{YESTERDAY}'")[0][0]
        assert 0 < read < 25
        (reason,) = live.query(
            f"select reason from ops_source_coverage where source = 'star_history' and day = date '{YESTERDAY}'"
        )[0]
        assert "not reached" in reason
        before = len(live.api.requests)
        ran = live.run(NOW + dt.timedelta(hours=2), "run", *SOURCES)  # the next hour has the same quota again
        assert (ran.returncode, ran.stderr) == (0, "")
        pages = [target for _, target in live.api.requests[before:] if "history" in target]
        assert len(pages) == len(set(pages)) == REPOSITORIES - read
        assert live.query(f"select count(stars_gained) from fct_repo_day where day = date '{YESTERDAY}'") == [
            (REPOSITORIES,)
        ]


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory, parsed: Path) -> Iterator[tuple[Running, list[Ran]]]:
    """Four days: a first one; a rename, and four that are gone; a name taken by another; a token that was revoked."""
    with running(tmp_path_factory.mktemp("github") / "eventful", parsed, watch=8, size=8) as live:
        first, second, *others = live.world.repositories[:8]
        old, moved = first.names[0][1], NOW + dt.timedelta(hours=12)
        first.names = (*first.names, (moved, "other-owner/renamed"))
        second.names = (*second.names, (moved + DAY, old))
        for repository, state in zip(others, GONE, strict=False):
            repository.states = (*repository.states, (moved, state))
        ran = [live.run(NOW + n * DAY, "run", *SOURCES) for n in range(3)]
        live.api.revoke(TOKEN)
        yield live, [*ran, live.run(NOW + 3 * DAY, "run", *SOURCES)]


GONE = ("not_found", "blocked", "dmca", "forbidden")


def test_a_rename_keeps_the_key_and_a_name_taken_has_its_own(eventful: tuple[Running, list[Ran]]) -> None:
    live, ran = eventful
    assert [(one.returncode, one.stderr) for one in ran[:3]] == [(0, "")] * 3
    first, second = live.world.repositories[:2]
    keys = live.query("select repo_id, repo_key from dim_repo group by all")
    assert len(keys) == len(dict(keys)) == len({key for _, key in keys}) == 8
    assert live.query(
        f"select full_name from dim_repo_alias where repo_key = {dict(keys)[first.repo_id]} order by seen_from"
    ) == [(name,) for _, name in first.names]
    totals = live.query(
        "select repo_id, stars_total, observed_at from fct_repo_day"
        f" where repo_id in ({first.repo_id}, {second.repo_id}) and stars_total is not null"
    )
    assert len(totals) == 6
    assert [live.world.total(live.world.by_id[repo_id], at) for repo_id, _, at in totals] == [t for _, t, _ in totals]


def test_a_deleted_repository_has_a_state_and_not_zero_stars(eventful: tuple[Running, list[Ran]]) -> None:
    live, _ = eventful
    states = dict(live.query("select repo_id, state from dim_repo where is_current"))
    assert [states[repository.repo_id] for repository in live.world.repositories[2:6]] == list(GONE)
    assert live.query(f"select count(*) from fct_repo_day where day = date '{TODAY}' and stars_total is not null") == [
        (4,)
    ]
    assert live.query("select count(*) from fct_repo_day where stars_total = 0") == [(0,)]


def test_a_revoked_token_costs_the_day_and_nothing_else(eventful: tuple[Running, list[Ran]]) -> None:
    live, ran = eventful
    assert ran[3].returncode == 1
    assert all(line.startswith("reposignal: incomplete: ") for line in ran[3].stderr.splitlines())
    assert "refused" in ran[3].stderr
    assert TOKEN not in ran[3].stderr
    days = live.query(
        "select day, status, observed from ops_source_coverage where source = 'repositories' order by day desc limit 2"
    )
    assert days == [(TODAY + 2 * DAY, "not_observed", 0), (TODAY + DAY, "observed", 4)]
    assert live.query(f"select count(*) from fct_repo_day where day <= date '{TODAY + DAY}'")[0][0] > 8 * 200


def test_a_cycle_before_the_end_of_githubs_day_reports_when_to_run_again(tmp_path: Path, parsed: Path) -> None:
    """At 06:00 UTC GitHub's yesterday lasts two more hours: its stars are unknown, not few."""
    with running(tmp_path / "live", parsed, watch=4, size=4) as live:
        ran = live.run(NOW - dt.timedelta(hours=3), "run", *SOURCES)
        assert ran.returncode == 1
        assert_one_line(ran.stderr)
        assert "until 03-03 08:00 UTC (America/Los_Angeles); run it again from 08:30 UTC on" in ran.stderr
        shown = "select max(day) filter (stars_gained is not null), count(stars_total) from fct_repo_day"
        assert live.query(shown) == [(YESTERDAY - DAY, 4)]
        (status, reason) = live.query(
            f"select status, reason from ops_source_coverage where source = 'star_history' and day = date '{YESTERDAY}'"
        )[0]
        assert (status, "not reached" in reason) == ("not_observed", True)  # so the catch-up queries again
        ran = live.run(NOW, "run", *SOURCES)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert live.query(shown)[0][0] == YESTERDAY
        assert live.query(
            f"select count(*) from fct_star_vintage where fetched_at < timestamp '{NOW}' and day = date '{YESTERDAY}'"
        ) == [(0,)]


def test_requests_for_past_totals_are_refused_with_a_message(tmp_path: Path, parsed: Path) -> None:
    with running(tmp_path / "live", parsed, watch=1) as live:
        ran = live.run(NOW, "run", "--day", str(YESTERDAY - DAY), "--source", "repositories")
        assert ran.returncode == 1
        assert_one_line(ran.stderr)
        assert "cannot be read after the fact" in ran.stderr


def test_a_cycle_killed_midway_continues(tmp_path: Path, parsed: Path) -> None:
    with running(tmp_path / "live", parsed) as live:
        live.api.faults.append(faults.slow(matches="/history", seconds=0.2))
        live.api.now = NOW
        assert live.process.stdin
        live.process.stdin.write(json.dumps([NOW.isoformat(), ["run", *SOURCES]]) + "\n")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any("history" in target for _, target in live.api.requests):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        live.process.kill()
        live.process.communicate()
        live.api.faults.clear()
        live.process = session(live.home)
        before = len(live.api.requests)
        ran = live.run(NOW, "run", *SOURCES)
        assert (ran.returncode, ran.stderr) == (0, "")
        # the totals were already stored
        assert not any("graphql" in target for _, target in live.api.requests[before:])
        assert live.query(
            f"select count(stars_gained), count(stars_total) from fct_repo_day where day = date '{YESTERDAY}'"
        ) == [(REPOSITORIES, REPOSITORIES)]
