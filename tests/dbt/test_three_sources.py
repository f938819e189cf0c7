"""Rankings, observations and star histories in one warehouse: precedence, restatements and unknown values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from built_homes import BuiltHome, Rows, window
from github_rows import histories
from story import (
    CASEY,
    GONE,
    LAST,
    LATE,
    MISSED,
    MOVER,
    STEADY,
    TAKER,
    TRACKED_FROM,
    cycles,
    day,
    moment,
    ranking_day,
)

MARTS = (
    "fct_repo_day", "fct_star_vintage", "fct_repo_signal_day", "fct_language_day", "dim_repo", "dim_repo_alias",
    "dim_universe", "ops_source_coverage", "ops_quarantine",
)  # fmt: skip


def marts_of(home: BuiltHome) -> dict[str, Rows]:
    return {table: home.query(f"select * from {table} order by all") for table in MARTS}


# --- the order of loading does not matter


@pytest.mark.slow
def test_day_by_day_equals_all_at_once(story: BuiltHome, tmp_path: Path) -> None:
    daily = BuiltHome(tmp_path / "daily")
    daily.load([ranking_day(number) for number in range(LAST + 1)])
    daily.append(**cycles(range(35)))
    steps = []
    for numbers in (range(35, 36), range(36, 37), range(37, 39), range(39, LAST + 1)):
        since = moment(numbers[0], 12)  # everything that earlier cycles loaded was built by then
        steps += [
            daily.appending(str(numbers[0]), **cycles(numbers)),
            # a history fetched in a cycle can also give a pace to the day before
            ["run", *window(day(numbers[0] - 1), day(numbers[-1]), since)],
        ]
    daily.built(["seed"], ["run", *window(day(0), day(34))], *steps)
    expected = marts_of(story)
    for table, rows in marts_of(daily).items():
        assert rows == expected[table], table


@pytest.mark.slow
def test_rankings_of_earlier_years_join_the_ids_of_github(story: BuiltHome, tmp_path: Path) -> None:
    """Ids are known first, under keys of their current names; then the rankings bring a former name."""
    joined = BuiltHome(tmp_path / "joined")
    joined.load([ranking_day(number) for number in range(LAST, LAST + 1)])
    joined.append(**cycles(range(LAST + 1)))
    joined.built(["seed"], ["run", *window(day(TRACKED_FROM), day(LAST))])
    late = "select distinct repo_key from fct_star_vintage where repo_id = $1"
    before = joined.query(late, LATE)
    joined.load([ranking_day(number) for number in range(LAST)])
    joined.built(["run", *window(day(0), day(LAST), moment(LAST + 2, 0))])
    assert joined.query(late, LATE) != before
    expected = marts_of(story)
    for table, rows in marts_of(joined).items():
        assert rows == expected[table], table


# --- precedence


def test_github_gives_the_total_where_it_was_queried(story: BuiltHome) -> None:
    rows = story.query(
        "select day, stars_total, source, observed_at, gap_hours, net_delta_24h, dq_flags from fct_repo_day"
        " where repo_id = $1 and day between $2 and $3 order by day",
        STEADY, day(MISSED - 1), day(MISSED + 2),
    )  # fmt: skip
    assert rows == [
        (day(28), 9289, "repositories", moment(29, 1), 24, 10, []),
        (day(29), 9290, "rankings", moment(29, 4), 3, None, ["gap_under_12h"]),
        (day(30), 9309, "repositories", moment(31, 1), 45, None, ["gap_over_36h"]),
        (day(31), 9319, "repositories", moment(32, 1), 24, 10, ["stars_gained_not_observed"]),
    ]
    assert story.query("select count(*) from fct_repo_day group by repo_key, day having count(*) > 1") == []


def test_a_file_read_before_the_last_observation_has_no_step(story: BuiltHome) -> None:
    """Cycle 33 read its totals at 06:00 of day 34, whose file was taken at 04:00."""
    rows = story.query(
        "select gap_hours, net_delta_24h, list_contains(dq_flags, 'read_before_previous'),"
        " list_contains(dq_flags, 'first_observation') from fct_repo_day where repo_id = $1 and day = $2",
        STEADY, day(34),
    )  # fmt: skip
    assert rows == [(None, None, True, False)]


def test_days_covered_only_by_a_history(story: BuiltHome) -> None:
    ((rows, totals, gains, flagged, observed, coverage),) = story.query(
        "select count(*), count(stars_total), count(stars_gained), count(*) filter (where dq_flags[1] ="
        " 'total_not_observed'), count(observed_at), count(coverage) from fct_repo_day where source = 'star_history'"
    )
    assert (rows > 200, totals, gains, flagged, observed, coverage) == (True, 0, rows, rows, 0, 0)
    names = "select distinct full_name from fct_repo_day where source = 'star_history' and repo_id = $1 order by 1"
    assert story.query(names, LATE) == [("own/late",)]  # its name before the rankings knew it is unknown
    signals = "select count(*) from fct_repo_signal_day anti join fct_repo_day using (repo_key, day, stars_total)"
    assert story.query(signals) == [(0,)]
    assert story.query("select count(*) from fct_repo_signal_day where stars_total is null") == [(0,)]


# --- restatements


def test_the_latest_vintage_counts_and_the_earlier_ones_stay(story: BuiltHome) -> None:
    restated = day(-50)
    assert story.query(
        "select fetched_at, stars_gained from fct_star_vintage where repo_id = $1 and day = $2 order by 1",
        MOVER,
        restated,
    ) == [(moment(21, 9.25), 6), (moment(31, 9.25), 5)]
    assert story.query(
        "select stars_gained, stars_gained_fetched_at, dq_flags from fct_repo_day where repo_id = $1 and day = $2",
        MOVER, restated,
    ) == [(5, moment(31, 9.25), ["total_not_observed", "restated"])]  # fmt: skip
    as_of = (
        "select arg_max(stars_gained, fetched_at) from fct_star_vintage"
        " where repo_id = $1 and day = $2 and fetched_at <= $3"
    )
    assert story.query(as_of, MOVER, restated, moment(25, 0)) == [(6,)]
    ((days, readings),) = story.query(
        "select count(distinct day), count(*) from fct_star_vintage where repo_id = $1", STEADY
    )
    assert days == readings  # weeks read again without a change


def test_days_count_once_they_have_ended(story: BuiltHome) -> None:
    early = "select count(*) from fct_star_vintage where fetched_at < day + 1"
    assert story.query(early) == [(0,)]
    last = "select max(day) from fct_star_vintage where repo_id = $1"
    assert story.query(last, GONE) == [(day(20),)]  # the week was stored with seven days
    assert story.query(last, STEADY) == [(day(LAST),)]  # and completed day by day


def test_an_unchanged_answer_leaves_nothing(manifest: dict[str, Any]) -> None:
    """Requests and responses (including 304) are in the raw ledger; they bring no numbers."""
    readers = manifest["child_map"]["model.reposignal.stg_star_history__reads"]
    assert [reader for reader in readers if not reader.startswith("test.")] == []


def test_a_restated_day_changes_no_past_signal(story: BuiltHome, tmp_path: Path) -> None:
    home = story.copy(tmp_path / "home")
    signals = "select * from fct_repo_signal_day order by all"
    before = home.query(signals)
    taken_back = {day(number): 7 for number in range(-20, 40)}
    home.append(star_history=histories(STEADY, taken_back, moment(45, 9)))
    home.built(["run", *window(day(0), day(LAST), moment(44, 0))])
    assert home.query(signals) == before
    restated = "select distinct stars_gained from fct_repo_day where repo_id = $1 and day between $2 and $3"
    assert home.query(restated, STEADY, day(-20), day(20)) == [(7,)]


# --- identities and known attributes


def test_states_are_versions_with_what_was_known(story: BuiltHome) -> None:
    rows = story.query(
        "select state, topics, is_archived, valid_from from dim_repo where repo_id = $1 order by valid_from", GONE
    )
    assert rows == [
        ("public", ["tool"], False, day(20)),
        ("not_found", ["tool"], False, day(30)),  # an unreadable response (day 31) changes nothing
        ("dmca", ["tool"], False, day(34)),
        ("not_found", ["tool"], False, day(35)),
        ("public", ["tool"], False, day(36)),
    ]
    zeros = "select count(*) from fct_repo_day where repo_id = $1 and day between $2 and $3"
    assert story.query(zeros, GONE, day(30), day(35)) == [(0,)]


def test_no_version_begins_because_the_source_changes(story: BuiltHome) -> None:
    versions = "select count(*) from dim_repo where full_name = 'own/steady'"
    assert story.query(versions) == [(2,)]  # before GitHub was queried, and since


def test_names_come_and_go_with_their_ids(story: BuiltHome) -> None:
    aliases = "select full_name, link from dim_repo_alias where repo_id = $1 order by seen_from"
    assert story.query(aliases, MOVER) == [("own/mover", "first_name"), ("org/mover", "github_id")]
    assert story.query(aliases, CASEY) == [("own/Casey", "first_name"), ("own/casey", "case_only")]
    assert story.query(aliases, LATE) == [("old/late", "first_name"), ("own/late", "evidence")]
    assert story.query(aliases, TAKER) == [("own/mover", "first_name")]
    first = (
        "select min(day) from fct_repo_day where stars_total is not null"
        " and repo_key = (select repo_key from dim_universe where repo_id = $1)"
    )
    assert story.query(first, MOVER) == [(day(0),)]  # the rankings' history belongs to the id
    assert story.query(first, LATE) == [(day(10),)]
    assert story.query(first, TAKER) == [(day(28),)]


# --- unknown values


def test_coverage_shows_what_was_not_observed_and_why(story: BuiltHome) -> None:
    coverage = "select expected, observed, status, reason from ops_source_coverage where source = $1 and day = $2"
    assert story.query(coverage, "repositories", day(MISSED)) == [
        (None, None, "not_observed", "totals cannot be read after the fact")
    ]
    assert story.query(coverage, "repositories", day(31)) == [(5, 4, "partial", "1 did not answer")]
    assert story.query(coverage, "star_history", day(LAST)) == [
        (5, 2, "partial", "2 of 5 read; 2 quiet ones left for later")
    ]
    assert story.query("select source, file, reason from ops_quarantine") == [
        ("star_history", "own/casey", "days add up to 4, total 5")
    ]


def test_a_newcomer_has_a_pace_from_its_history(story: BuiltHome) -> None:
    rows = story.query(
        "select day, velocity_28d, velocity_28d_basis, velocity_basis, acceleration is null from fct_repo_signal_day"
        " inner join dim_universe using (repo_key) where repo_id = $1 and day in ($2, $3) order by day",
        STEADY, day(TRACKED_FROM), day(TRACKED_FROM + 1),
    )  # fmt: skip
    assert rows == [
        # its week is from totals; 28 star days with one of 23 hours: 336 stars in 671 hours
        (day(20), round(336 / 671 * 24, 3), "star_history", "star_history", True),
        (day(21), None, None, "net_change", True),  # not read again, so unknown
    ]
