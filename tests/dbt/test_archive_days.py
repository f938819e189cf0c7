"""The archive together with the other sources: identities, counts and coverage, in any order of loading."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pytest
from archive_rows import file_day, hour_row
from archive_rows import moment as moment_of
from built_homes import BuiltHome, Rows, window
from story import (
    ARCHIVED,
    DEEP,
    LAST,
    LATE,
    LISTED,
    MOVER,
    STEADY,
    SWAPPED,
    TRACKED_FROM,
    archive_day,
    archive_days,
    cycles,
    day,
    moment,
    ranking_day,
)

MARTS = (
    "fct_repo_day", "fct_star_vintage", "fct_repo_signal_day", "fct_language_day", "dim_repo", "dim_repo_alias",
    "dim_universe", "ops_source_coverage", "ops_quarantine", "ops_archive_hour", "ops_source_agreement",
    "fct_source_disagreement", "ops_star_day_edge",
)  # fmt: skip
EARLY, RECENT = range(ARCHIVED[0], -10), range(-10, ARCHIVED[-1] + 1)
NEVER = moment(-999, 0)


def marts_of(home: BuiltHome) -> dict[str, Rows]:
    return {table: home.query(f"select * from {table} order by all") for table in MARTS}


def days_of(numbers: range) -> list[tuple[dt.date, dt.date]]:
    return [(day(numbers[0] - 1), day(numbers[-1]))]


def same(home: BuiltHome, other: BuiltHome) -> None:
    expected = marts_of(other)
    for table, rows in marts_of(home).items():
        assert rows == expected[table], table


# --- the order of loading does not matter


@pytest.mark.slow
def test_the_archive_first_and_newest_first(deep_story: BuiltHome, tmp_path: Path) -> None:
    """First ids get their own keys, then rankings bring their names, then GitHub their ids; the past comes last."""
    home = BuiltHome(tmp_path / "home")
    home.load([])
    home.append(**archive_days(RECENT))
    home.built(["seed"], ["run", *window(day(9), day(9), None, days_of(RECENT), 1)])
    assert home.query("select distinct source from fct_repo_day") == [("gh_archive",)]
    own_keys = dict(home.query("select distinct repo_id, repo_key from fct_repo_day"))
    home.load([ranking_day(number) for number in range(LAST + 1)])
    steps = [
        ["run", *window(day(0), day(LAST), None, [], 2)],
        home.appending("github", **cycles(range(LAST + 1))),
        ["run", *window(day(0), day(LAST), NEVER, [], 3)],
        home.appending("past", **archive_days(EARLY)),
        ["run", *window(day(LAST), day(LAST), moment(LAST + 2, 0), days_of(EARLY), 4)],
    ]
    home.built(*steps)
    same(home, deep_story)
    keys = dict(home.query("select distinct repo_id, repo_key from fct_repo_day where repo_id is not null"))
    assert {id for id in own_keys if own_keys[id] != keys[id]} == {STEADY, LATE, LISTED}


@pytest.mark.slow
def test_the_archive_last_and_day_by_day(deep_story: BuiltHome, tmp_path: Path) -> None:
    home = BuiltHome(tmp_path / "home")
    home.load([ranking_day(number) for number in range(LAST + 1)])
    home.append(**cycles(range(LAST + 1)))
    steps = [["run", *window(day(0), day(LAST), NEVER, [], 1)]]
    for number, days in enumerate([range(-12, 6), EARLY, range(6, 8), range(8, 10)], start=2):
        steps += [
            home.appending(str(number), **archive_days(days)),
            ["run", *window(day(LAST), day(LAST), moment(LAST + 2, 0), days_of(days), number)],
        ]
    # -12 and -11 are in the middle of both ranges: loaded again, they replace themselves
    steps.insert(3, ["sql", f"delete from gh_archive.gh_archive where file_hour::date < '{day(-10)}'"])
    steps.insert(4, ["sql", f"delete from gh_archive.gh_archive_hours where file_hour::date < '{day(-10)}'"])
    steps.insert(5, ["sql", f"delete from gh_archive.gh_archive_days where day < '{day(-10)}'"])
    home.built(["seed"], *steps)
    same(home, deep_story)


@pytest.mark.slow
def test_a_build_killed_between_models_is_finished_by_the_next(deep_story: BuiltHome, tmp_path: Path) -> None:
    """The next build does not find the keys that the killed build changed, but it has the same number."""
    home = BuiltHome(tmp_path / "home")
    home.load([])
    home.append(**archive_days(EARLY))
    home.built(["seed"], ["run", *window(day(9), day(9), None, days_of(EARLY), 1)])
    home.load([ranking_day(number) for number in range(LAST + 1)])
    home.built(
        ["run", "--exclude", "fct_repo_day+", "dim_repo", *window(day(0), day(LAST), None, [], 2)],
        home.appending("github", **cycles(range(LAST + 1)), **archive_days(RECENT)),
        ["run", *window(day(0), day(LAST), NEVER, days_of(RECENT), 2)],
    )
    same(home, deep_story)


@pytest.mark.slow
def test_a_day_read_again_with_fewer_rows_leaves_no_old_ones(deep_story: BuiltHome, tmp_path: Path) -> None:
    """Names, keys and coverage reflect only the rows still held."""
    home = BuiltHome(tmp_path / "home")
    home.load([ranking_day(number) for number in range(LAST + 1)])
    home.append(**cycles(range(LAST + 1)), **archive_days(ARCHIVED))
    former = file_day(
        day(-41), {(DEEP, "deep/zero"): range(24), (77, "gone/soon"): range(3), (LATE, "a/late"): range(2)}
    )
    home.append(**former)
    home.built(
        ["seed"],
        ["run", *window(day(0), day(LAST), NEVER, days_of(range(-41, 10)), 1)],
        *(
            ["sql", f"delete from gh_archive.{table} where {column}::date = '{day(-41)}'"]
            for table, column in (("gh_archive", "file_hour"), ("gh_archive_hours", "file_hour"))
        ),
        ["sql", f"delete from gh_archive.gh_archive_days where day = '{day(-41)}'"],
        ["run", *window(day(LAST), day(LAST), moment(LAST + 2, 0), days_of(range(-41, -40)), 2)],
    )
    same(home, deep_story)


# --- identities


def test_every_name_and_id_of_the_archive_has_its_repository(deep_story: BuiltHome) -> None:
    names = "select full_name, link, seen_from from dim_repo_alias where repo_id = $1 order by seen_from"
    assert deep_story.query(names, DEEP) == [
        ("deep/one", "gh_archive", day(-40)),
        ("deep/two", "gh_archive", day(SWAPPED)),
    ]
    assert deep_story.query(names, LATE)[0] == ("first/late", "gh_archive", day(-40))
    # the key of the rankings, now with an id
    assert deep_story.query(names, LISTED) == [("lists/only", "first_name", day(-40))]
    named = "select full_name, repo_id from fct_repo_day where lower(full_name) = 'own/mover' and day = $1"
    assert deep_story.query(named, day(-40)) == [("own/Mover", MOVER)]
    assert deep_story.query(named, day(-30)) == [("own/mover", MOVER)]
    versions = "select full_name, valid_from, valid_to, state from dim_repo where repo_id = $1 order by valid_from"
    assert deep_story.query(versions, DEEP) == [
        ("deep/one", day(-40), day(SWAPPED), "unknown"),
        ("deep/two", day(SWAPPED), None, "unknown"),
    ]


def test_one_repository_has_one_row_a_day(deep_story: BuiltHome) -> None:
    """Events without an id and a history with an id belong to the mover."""
    rows = deep_story.query(
        "select source, stars_gained, stars_gained_source, archive_stars_gained from fct_repo_day"
        " where repo_id = $1 and day = $2",
        MOVER, day(-40),
    )  # fmt: skip
    assert rows == [("star_history", 6, "star_history", 4)]
    assert deep_story.query("select 1 from fct_repo_day group by repo_key, day having count(*) > 1") == []


# --- counts


def test_a_night_in_the_neighbours_file_is_counted_once(deep_story: BuiltHome) -> None:
    gained = "select day, archive_stars_gained from fct_repo_day where repo_id = $1 and day in ($2, $3) order by 1"
    assert deep_story.query(gained, DEEP, day(-3), day(-2)) == [(day(-3), 8), (day(-2), 9)]  # two hours are missing
    events = "select count(*), count(distinct event_id) from pipeline.gh_archive.gh_archive where day = $1"
    ((rows, distinct),) = deep_story.query(events, day(-3))
    assert rows == distinct + 1
    total = "select sum(archive_stars_gained) from fct_repo_day where day = $1"
    assert deep_story.query(total, day(-3)) == [(distinct,)]


def test_the_archive_is_used_where_no_other_source_is(deep_story: BuiltHome) -> None:
    query = (
        "select source, stars_gained, stars_gained_source, stars_gained_coverage, dq_flags from fct_repo_day"
        " where repo_id = $1 and day = $2"
    )
    assert deep_story.query(query, LISTED, day(1)) == [("rankings", 4, "gh_archive", 1.0, ["not_netted"])]
    assert deep_story.query(query, LISTED, day(6)) == [
        ("rankings", 2, "gh_archive", 0.3064, ["not_netted", "low_coverage"])
    ]
    assert deep_story.query(query, DEEP, day(-30)) == [
        ("gh_archive", 9, "gh_archive", None, ["total_not_observed", "not_netted", "coverage_unknown"])
    ]
    assert deep_story.query(query, STEADY, day(1)) == [("rankings", 12, "star_history", None, [])]


def test_other_sources_stay_unchanged(story: BuiltHome, deep_story: BuiltHome) -> None:
    """The archive adds rows and columns; keys, totals, histories, signals and languages are as without it."""
    for table in ("fct_star_vintage", "fct_repo_signal_day", "fct_language_day", "dim_repo", "dim_universe"):
        those = "" if table != "dim_repo" else f"where coalesce(repo_id, 0) <> {DEEP}"
        query = f"select * from {table} {those} order by all"
        assert deep_story.query(query) == story.query(query), table
    # days with only a history take the name that the archive saw
    name = "case when stars_total is not null then full_name end"
    columns = f"day, repo_key, stars_total, net_delta_24h, source, {name}, observed_at, stars_gained_fetched_at"
    query = f"select {columns} from fct_repo_day where source <> 'gh_archive' order by all"
    assert deep_story.query(query) == story.query(query)


# --- coverage


def test_coverage_uses_nothing_later(deep_story: BuiltHome, tmp_path: Path) -> None:
    past = BuiltHome(tmp_path / "past")
    past.load([])
    past.append(**archive_days(range(ARCHIVED[0], 6)))
    past.built(["seed"], ["run"])
    query = "select * from ops_source_coverage where source = 'gh_archive' and day <= $1 order by day"
    assert past.query(query, day(5)) == deep_story.query(query, day(5))


def test_decay_is_low_coverage_and_not_a_fall(deep_story: BuiltHome) -> None:
    rows = deep_story.query(
        "select coverage, status, reason, hours_observed from ops_source_coverage"
        " where source = 'gh_archive' and day in ($1, $2) order by day",
        day(4), day(5),
    )  # fmt: skip
    assert rows == [
        (1.0, "observed", None, 24),
        (0.3064, "partial", "0.62 % of the events are stars, 2.04 % were to be expected", 24),
    ]
    compared = (
        "select source, max(day) from ops_source_agreement where other_source = 'gh_archive' group by source order by 1"
    )
    # a ranking file of 04:00 covers hours of the day before
    assert deep_story.query(compared) == [("net_change", day(5)), ("star_history", day(4))]


HOLIDAY, HOLE = dt.date(2025, 4, 21), dt.date(2025, 5, 5)
THINNED_FROM, LOADED_IN_PART = dt.date(2025, 5, 25), dt.date(2025, 6, 10)


def thinned(manifest: dict[str, Any], until: str) -> dict[dt.date, tuple[bool, float | None]]:
    """Return (is_thinned, coverage) by day: 60 days at the full rate and then 0.65 of it, with one share of stars."""
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as pipeline")
        connection.execute("create schema pipeline.intermediate")
        connection.execute(
            f"""
            create table pipeline.intermediate.int_gh_archive_hours__judged as
            select
                hour as utc_hour, 1 as utc_hours, day, state, 1000 as usual_events,
                case state when 'observed' then events else 0 end as events,
                case state when 'observed' then events // 10 else 0 end as stars,
                case state when 'observed' then events else 1000 end as expected_events
            from (
                select
                    hour, hour::date as day, if(day = '{HOLE}', 'missing', 'observed') as state,
                    (
                        1000 * if(isodow(day) >= 6, 0.7, 1) * if(day = '{HOLIDAY}', 0.6, 1)
                        * if(day >= '{THINNED_FROM}', 0.65, 1)
                    )::bigint as events
                from range(timestamp '2025-03-26', timestamp '{until}', interval 1 hour) as hours (hour)
                where day <> '{LOADED_IN_PART}' or hour(hour) < 6
            )
            """
        )
        connection.execute(
            """
            create table pipeline.intermediate.int_gh_archive_days__summed as
            select day, sum(stars) as stars_gained, null::varchar as event_mix
            from pipeline.intermediate.int_gh_archive_hours__judged group by day
            """
        )
        judged = nodes["int_gh_archive_days__judged"]["compiled_code"]
        rows = connection.execute(f"select day, is_thinned, coverage from ({judged})").fetchall()
    return {day: (is_thinned, coverage) for day, is_thinned, coverage in rows}


def test_thinned_events_are_lost_coverage(manifest: dict[str, Any]) -> None:
    """Weekends have fewer events; a gap and a holiday do not lower the level; a few hours are not judged."""
    days = thinned(manifest, "2025-08-20")
    usual = {day: judgement for day, judgement in days.items() if dt.date(2025, 4, 9) <= day < THINNED_FROM}
    odd = {HOLE: (False, 0.0), HOLIDAY: (True, pytest.approx(0.6, abs=0.01))}
    assert {day: judgement for day, judgement in usual.items() if judgement != (False, 1.0)} == odd
    for on, (is_thinned, coverage) in days.items():
        if on >= THINNED_FROM and on != LOADED_IN_PART:
            assert is_thinned, on
            assert coverage == pytest.approx(0.65, abs=0.02), on
    assert not days[LOADED_IN_PART][0]


def test_the_level_of_events_uses_nothing_later(manifest: dict[str, Any]) -> None:
    assert thinned(manifest, "2025-06-02").items() <= thinned(manifest, "2025-07-10").items()


def test_gaps_have_their_hours(deep_story: BuiltHome) -> None:
    hours = (
        "select status, events, events_expected, expected, observed, coverage from ops_archive_hour where utc_hour = $1"
    )
    assert deep_story.query(hours, moment(-3, 5)) == [("missing", 0, 100, 2, 0, 0.0)]
    assert deep_story.query(hours, moment(-3, 6)) == [("refused", 0, 100, 2, 0, 0.0)]


def test_pacific_files_fill_utc_days(tmp_path: Path) -> None:
    """No file is missing where clocks are set forward, and one file holds two hours where they are set back."""
    home = BuiltHome(tmp_path / "home")
    home.load([])
    firsts = (dt.date(2012, 3, 10), dt.date(2012, 10, 15), dt.date(2012, 11, 3))
    files = [first + dt.timedelta(n) for first in firsts for n in range(3)]
    for file in files:
        home.append(**file_day(file, {(7, "a/b"): range(24)}, pacific=True))
    # requested by an older version
    home.append(gh_archive_hours=[hour_row(moment_of(files[1], 2), 0, events=0, status="missing")])
    home.built(["build", "--exclude-resource-type", "unit_test"])
    days = {file + dt.timedelta(n) for file in files for n in range(2)}
    hours = dict.fromkeys(days, 24) | {
        dt.date(2012, 3, 10): 16, dt.date(2012, 3, 13): 7,
        dt.date(2012, 10, 15): 17, dt.date(2012, 10, 18): 7,
        dt.date(2012, 11, 3): 17, dt.date(2012, 11, 6): 8,
    }  # fmt: skip
    # one star in each hourly file, also in that of two hours
    stars = hours | {dt.date(2012, 11, 4): 23}
    assert dict(home.query("select day, stars_gained from fct_repo_day")) == stars
    coverage = "select day, status, hours_observed from ops_source_coverage where status <> 'not_loaded' order by day"
    assert home.query(coverage) == [
        (day, "observed" if hours[day] == 24 else "partial", hours[day]) for day in sorted(days)
    ]


def test_disagreements_are_listed_in_a_table(deep_story: BuiltHome) -> None:
    rows = deep_story.query(
        "select day, full_name, source, stars, other_source, other_stars from fct_source_disagreement"
    )
    assert (day(2), "own/steady", "star_history", 12, "gh_archive", 42) in rows
    agreement = (
        "select repos, repos_disagreeing from ops_source_agreement"
        " where source = 'star_history' and other_source = 'gh_archive' and day = $1"
    )
    assert deep_story.query(agreement, day(2)) == [(5, 1)]


@pytest.mark.parametrize("number", [ARCHIVED[0], TRACKED_FROM - 15])
def test_the_archive_helper_matches_the_loader(number: int) -> None:
    """The helper returns what the loader returns: distinct events and hours that add up."""
    load = archive_day(number)
    events = [row["event_id"] for row in load["gh_archive"]]
    assert len(events) == len(set(events))
    assert sum(row["stars"] for row in load["gh_archive_hours"]) == load["gh_archive_days"][0]["stars"]
