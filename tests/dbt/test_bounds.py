"""All values that sources admit can be built, as can those that older versions admitted: extremes in one build."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import pytest
from archive_rows import file_day, hour_row, moment, star
from built_homes import ROOT, BuiltHome
from github_rows import entered, observation, observed_day, week

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rankings_files import file_of, row

from reposignal_pipeline.sources import gh_archive, schemas
from reposignal_pipeline.sources.rankings import parse_day
from tests.shared import made_once

MOST = 2**31 - 1
FIRST, DAYS = dt.date(2026, 1, 4), 64
"""a Sunday; the days after it exceed the longest span that is judged"""
SWINGING, HIGH, FLAT, LONG = "own/swinging", "own/high", "own/flat", f"{'o' * 100}/{'n' * 200}"
OBSERVED, ODD = 2**53, 77
BEYOND = (MOST + 1, 2**62, -1)


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(number)


def totals(number: int) -> dict[str, tuple[int, int]]:
    """Return stars and forks of a day: from one end to the other each day and each month, and at both ends."""
    return {
        SWINGING: (MOST, 0) if number % 2 else (0, MOST),
        HIGH: (MOST, MOST) if number >= 50 else (MOST - 50 + number, 0),
        FLAT: (0, 0),
        LONG: (MOST if number >= 57 else number, number),
    }


def ranking_file(number: int) -> bytes:
    return file_of(
        row(
            rank, "Go", username=name.partition("/")[0], repo_name=name.partition("/")[2], stars=str(stars),
            forks=str(forks), issues=str(MOST), language="Go",
        )
        for rank, (name, (stars, forks)) in enumerate(sorted(totals(number).items()), 1)
    )  # fmt: skip


def rows_beyond(home: BuiltHome) -> None:
    """Add rows that older versions admitted, each on a built day, as well as good rows."""
    with home.connect_raw() as connection:
        for number, stars in enumerate(BEYOND):
            connection.execute(
                "insert into rankings.rankings by name select $1 as snapshot_date, $2 as file_row, 9 as rank,"
                " 'Go' as item, 'own' as username, 'beyond' as repo_name, $3 as stars,"
                " 2^62::bigint as forks, -1 as issues",
                [day(number), 100 + number, stars],
            )
        for ledger in ("rankings.rankings_days", "gh_archive.gh_archive_days", "gh_archive.gh_archive_hours"):
            connection.execute(f"insert into {ledger} from {ledger}")


@pytest.fixture(scope="module")
def extremes() -> BuiltHome:
    def make(folder: Path) -> None:
        home = BuiltHome(folder)
        home.load([parse_day(day(n), ranking_file(n), f"github-ranking-{day(n)}.csv") for n in range(DAYS)])
        observed = [
            observation(
                day(n), OBSERVED, SWINGING, MOST if n % 2 else 0, hour=0 if n % 2 else 12, forks_total=MOST,
                issues_open=MOST, pull_requests_open=MOST, created_at=dt.datetime(2007, 10, 1),
            )
            for n in range(40, DAYS)
        ]  # fmt: skip
        beyond = [
            observation(
                day(40 + n), ODD, "own/odd", stars, forks_total=2**62, issues_open=-1, created_at=at, pushed_at=at,
                topics=None,
            )
            for n, (stars, at) in enumerate(
                [*((stars, dt.datetime(1, 1, 1)) for stars in BEYOND), (5, dt.datetime(9999, 12, 31))]
            )
        ]  # fmt: skip
        weeks = [
            week(OBSERVED, day(7 * n), [0, MOST, 0, 0, 0, 0, 0] if n % 2 else [0] * 7, moment(day(DAYS + 9), n))
            for n in range(9)
        ]
        weeks += [week(ODD, day(0), [0, stars, 0, 0, 0, 0, 0], moment(day(DAYS), n)) for n, stars in enumerate(BEYOND)]
        weeks.append(week(ODD, dt.date(1970, 1, 4), [9] * 7, moment(day(DAYS), 0)))
        archived = file_day(day(3), {(2**63 - 1, LONG): range(24), (None, FLAT): range(24)})
        # one event in two files of its day
        archived["gh_archive"] += [star(moment(day(3), 5), 2**63 - 1, (1, "a/b"), moment(day(3), h)) for h in (5, 6)]
        archived["gh_archive_hours"].append(hour_row(moment(day(4), 0), 2**62, events=2**62 + 1))
        home.append(
            repositories=observed + beyond,
            repositories_days=[observed_day(day(n), 2, 1) for n in range(40, DAYS)] * 2,
            universe_changes=[entered(day(40), OBSERVED, SWINGING), entered(day(40), ODD, "own/odd")],
            star_history=weeks,
            star_history_days=[{"day": day(DAYS - 1), "status": "observed"}] * 2,
            **archived,
        )
        rows_beyond(home)
        home.build_with_tests()

    return BuiltHome(made_once("extremes", make))


def test_staging_accepts_what_sources_accept() -> None:
    constants = (ROOT / "dbt_project" / "macros" / "constants.sql").read_text()
    assert f'"count_most": {schemas.COUNT_MOST},' in constants
    assert f'"github_began": "{schemas.GITHUB_BEGAN}",' in constants
    assert f'"archive_named_in_utc_from": "{gh_archive.NAMED_IN_PACIFIC_UNTIL}",' in constants
    assert schemas.COUNT_MOST == MOST


def test_accepted_rows_are_built_unchanged(extremes: BuiltHome) -> None:
    facts = "select day, stars_total from fct_repo_day where full_name = $1 and day between $2 and $3 order by day"
    assert extremes.query(facts, SWINGING, day(4), day(6)) == [(day(4), 0), (day(5), MOST), (day(6), 0)]
    assert extremes.query(facts, LONG, day(56), day(57)) == [(day(56), 56), (day(57), MOST)]
    assert extremes.query("select max(stars_gained) from fct_star_vintage") == [(MOST,)]
    kept = "select archive_stars_gained from fct_repo_day where day = $1 and archive_stars_gained > 0 order by 1"
    assert extremes.query(kept, day(3)) == [(1,), (24,), (24,)]
    signals = "select count(*), count(distinct day) from fct_repo_signal_day where signal_score between 0 and 100"
    assert extremes.query(signals)[0][1] > 0


def test_rows_that_older_versions_admitted_are_quarantined_with_a_reason(extremes: BuiltHome) -> None:
    assert extremes.query("select count(*) from fct_repo_day where full_name = 'own/beyond'") == [(0,)]
    assert extremes.query("select day, stars_total from fct_repo_day where repo_id = $1", ODD) == [(day(43), 5)]
    reasons = extremes.query("select source, day, reason, row_text from ops_quarantine order by all")
    count = f"not a number from 0 to {MOST}"
    assert [(source, on) for source, on, _, _ in reasons] == [
        *(("rankings", day(n)) for n in range(len(BEYOND))),
        ("star_history", dt.date(1970, 1, 4)),
        *(("star_history", day(0)) for _ in BEYOND),
    ]
    assert all(count in reason for _, _, reason, _ in reasons)
    assert all(str(stars) in text for stars, (_, _, _, text) in zip(BEYOND, reasons, strict=False))
    observations = "pipeline.staging.stg_repositories__observations"
    unread = f"select reason from {observations} where state = 'unreadable' order by day"
    assert extremes.query(unread) == [(f"stars_total is {stars}, {count}",) for stars in BEYOND]
    attributes = f"select distinct created_at, forks_total from {observations} where repo_id = $1"
    assert extremes.query(attributes, ODD) == [(None, None)]


def test_a_source_with_bad_rows_does_not_block_the_others(extremes: BuiltHome) -> None:
    """Its ledgers have duplicate days: tests of its raw tables warn, and everything downstream is built."""
    doubled = "select count(*), count(distinct snapshot_date) from pipeline.rankings.rankings_days"
    assert extremes.query(doubled) == [(2 * DAYS, DAYS)]
    assert extremes.query(
        "select count(*), count(distinct (source, day)) from ops_source_coverage where source = 'rankings'"
    ) == [(DAYS, DAYS)]
