"""Nights on which the platform moves the totals, not a repository: waves, purges and their returns, on made totals.

Also the repository that is first seen with an impossible total. docs/surprise.md shows what recorded nights look like.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_warehouse import ALL_DAYS, Rows, TinyWarehouse

from reposignal_pipeline.analysis.weekly import repo_trends
from reposignal_pipeline.defs.trends import CLOSINGS

ROOT = Path(__file__).resolve().parents[2]
FIRST = dt.date(2026, 5, 1)
NIGHTS = 90
WAVE, PURGE, RETURN = 60, 67, 69
OLD, TERRAFORM, YOUNG, LOSERS = range(1, 41), 50, 51, range(100, 400)
ODD, CONFIRMED, WIPED = 900, 901, 902
MONDAY, WIPE, BACK, SUNDAY = 73, 75, 77, 79
MODELS = (
    "int_repo_days__stepped",
    "int_repo_months__based",
    "int_repo_days__paced",
    "int_repo_days__surprised",
    "int_repo_days__authenticated",
    "fct_repo_signal_day",
)
# A hundred losers a night in turn, as on any night; 40 old repositories of nine stars a day, one more that is only in
# the purge, and a young one with a burst of its own on the night of the wave.
READINGS = f"""
    create or replace table pipeline.intermediate.int_repo_readings__united as
    with steps as (
        select
            night::integer as night,
            repo_key,
            case
                when repo_key between 100 and 399 then case when (repo_key + night) % 3 = 0 then -1 else 1 end
                when repo_key = {YOUNG} then 20 + case night when {WAVE} then 900 when {WAVE + 1} then 800 else 0 end
                else 8 + night % 3
            end
            + case
                when repo_key <= 40 and night = {WAVE} then 74
                when repo_key <= 40 and night = {PURGE} then -60
                when repo_key <= 15 and night = {RETURN} then 40
                when repo_key = {TERRAFORM} and night = {PURGE} then -257
                when repo_key = {TERRAFORM} and night = {RETURN} then 120
                else 0
            end as step
        from range({NIGHTS}) as nights (night), range(1, 400) as repos (repo_key)
        where repo_key <= 40 or repo_key in ({TERRAFORM}, {YOUNG}) or repo_key >= 100
    ),
    totals as (
        select
            night,
            repo_key,
            case when repo_key = {YOUNG} then 2000 when repo_key >= 100 then 3000 else 48000 end
            + sum(step) over (partition by repo_key order by night) as stars_total,
            400 as forks_total
        from steps
        union all
        select 75, {ODD}, 95275, 2
        union all
        select night::integer, {CONFIRMED}, 95275, 2 from range(75, {NIGHTS}) as nights (night)
        union all
        -- five stars a night; while it is wiped it gets none
        select
            night::integer, {WIPED}, case when night >= {WIPE} and night < {BACK} then 40 else 1000 + 5 * night end, 100
        from range({NIGHTS}) as nights (night)
    )
    select
        date '{FIRST}' + night as day, 'rankings' as source, 'own/' || repo_key as name_key, null::bigint as repo_id,
        'own/' || repo_key as full_name, null::varchar as language, null::varchar as description,
        1::bigint as attributes, day + interval 4 hours as observed_at, stars_total::bigint as stars_total,
        forks_total::bigint as forks_total, 0::bigint as stars_spread, null::timestamp as created_at
    from totals
"""
OTHERS = f"""
    create schema pipeline.seeds;
    create table pipeline.seeds.signal_weights as
        from read_csv('{ROOT / "dbt_project" / "seeds" / "signal_weights.csv"}');
    create table pipeline.intermediate.int_repos__identified (repo_id bigint, repo_key bigint);
    create table pipeline.intermediate.int_repos__keyed (repo_ref bigint, repo_key bigint);
    create table pipeline.intermediate.int_star_days__read (
        repo_id bigint, day date, stars_gained bigint, fetched_at timestamp, reading integer
    );
    create table pipeline.intermediate.int_gh_archive_accounts__judged (
        day date, repo_ref bigint, is_one_star boolean, is_lockstep boolean
    );
    create table pipeline.intermediate.int_repo_names__resolved as
        select
            name_key, min(day) as starts_on, null::date as ends_before,
            split_part(name_key, '/', 2)::bigint as repo_key
        from pipeline.intermediate.int_repo_readings__united
        group by name_key
"""


def night(number: int) -> dt.date:
    return FIRST + dt.timedelta(number)


@pytest.fixture(scope="module")
def warehouse(manifest: dict[str, Any]) -> TinyWarehouse:
    made = TinyWarehouse(manifest, MODELS)
    made.connection.execute(READINGS)
    made.connection.execute(OTHERS)
    made.build()
    return made


def test_each_night_flags_its_own_repositories_only(warehouse: TinyWarehouse) -> None:
    for flag, number, repos in (
        ("is_waved", WAVE, [*OLD]),
        ("is_purged", PURGE, [*OLD, TERRAFORM]),
        ("is_returned", RETURN, [*range(1, 16), TERRAFORM]),
    ):
        found = warehouse.query(
            f"""
            select day, list(repo_key order by repo_key) from pipeline.intermediate.int_repo_days__stepped
            where {flag} group by day
            """
        )
        assert found == [(night(number), repos)], flag


def test_a_purge_is_not_a_decline_and_its_return_is_not_growth(warehouse: TinyWarehouse) -> None:
    # nine stars a day, except for one night that counts as a rounded usual one
    ((low_week, high_week, low_month, high_month),) = warehouse.query(
        """
        select min(velocity_7d), max(velocity_7d), min(velocity_28d), max(velocity_28d)
        from reposignal.main.fct_repo_signal_day where repo_key <= $1 and day >= $2
        """,
        TERRAFORM,
        night(WAVE),
    )
    assert 8.5 < low_week <= high_week < 9.6
    assert 8.8 < low_month <= high_month < 9.2
    scores = [
        score
        for (score,) in warehouse.query(
            "select signal_score from reposignal.main.fct_repo_signal_day where repo_key = ? and day >= ? order by day",
            TERRAFORM,
            night(PURGE - 1),
        )
    ]
    assert len(scores) == NIGHTS - PURGE + 1
    # the days differ by surprise and by the growth of a month whose total grows
    assert min(scores) > scores[0] - 1
    assert warehouse.query(
        "select distinct authenticity from reposignal.main.fct_repo_signal_day where repo_key <= ? and day >= ?",
        TERRAFORM,
        night(WAVE),
    ) == [("ok",)]


def test_a_wave_is_not_a_breakout_but_an_own_burst_is(warehouse: TinyWarehouse) -> None:
    held = warehouse.query(
        """
        select breakout_held_back, day, count(*), bool_or(is_breakout)
        from reposignal.main.fct_repo_signal_day where breakout_held_back is not null group by all order by day
        """
    )
    assert held == [("star_wave", night(WAVE), 40, False), ("purge_returned", night(RETURN), 16, False)]
    assert warehouse.query("select repo_key, day from reposignal.main.fct_repo_signal_day where is_breakout") == [
        (YOUNG, night(WAVE + 1))
    ]


def test_an_impossible_first_total_waits_for_its_fourth_reading(warehouse: TinyWarehouse) -> None:
    rows = "select day from {} where repo_key = ? {} order by day"
    doubtful = rows.format("pipeline.intermediate.int_repo_days__stepped", "and is_doubtful")
    shown = rows.format("reposignal.main.fct_repo_signal_day", "")
    assert warehouse.query(doubtful, ODD) == [(night(75),)]
    assert warehouse.query(shown, ODD) == []
    assert warehouse.query(doubtful, CONFIRMED) == [(night(number),) for number in (75, 76, 77)]
    assert warehouse.query(shown, CONFIRMED) == [(night(number),) for number in range(78, NIGHTS)]


def test_a_week_with_a_wipe_and_its_return_shows_the_gain_and_its_flags(warehouse: TinyWarehouse) -> None:
    warehouse.connection.execute(
        """
        create or replace table reposignal.main.fct_repo_day as
        select
            day, repo_key, source,
            list_filter([
                case when is_dropped then 'total_dropped' end, case when is_restored then 'total_restored' end,
                case when is_below_peak then 'below_former_level' end, case when is_purged then 'platform_purge' end,
                'lists_disagree'
            ], lambda flag: flag is not null) as dq_flags
        from pipeline.intermediate.int_repo_days__stepped
        """
    )
    warehouse.connection.execute("use reposignal")
    week = repo_trends(
        warehouse.connection.execute(CLOSINGS, {"first": night(MONDAY - 7), "last": night(SUNDAY)}).df()
    ).set_index(["week", "repo_key"])[["stars_gained", "dq_flags"]]
    flags = {
        (monday, repo): (gained, [*found])
        for (monday, repo), (gained, found) in zip(week.index, week.itertuples(index=False), strict=True)
        if repo in (WIPED, TERRAFORM, LOSERS[0])
    }
    this, before = pd.Timestamp(night(MONDAY)), pd.Timestamp(night(MONDAY - 7))
    assert flags[this, WIPED] == (35, ["below_former_level", "total_dropped", "total_restored"])
    assert flags[before, WIPED] == (35, [])
    assert flags[before, TERRAFORM][1] == ["platform_purge"]
    assert flags[before, TERRAFORM][0] == pytest.approx(63, abs=2)
    assert flags[this, TERRAFORM][1] == flags[before, LOSERS[0]][1] == []


def test_a_night_uses_no_later_one_and_a_window_equals_a_full_build(
    manifest: dict[str, Any], warehouse: TinyWarehouse
) -> None:
    def rows_until(made: TinyWarehouse, table: str, until: int) -> Rows:
        return made.query(f"select * from {table} where day <= ? order by day, repo_key", night(until))

    stepped = "pipeline.intermediate.int_repo_days__stepped"
    for models, table, whole in (
        (MODELS, "reposignal.main.fct_repo_signal_day", (PURGE,)),
        (MODELS[:1], stepped, (WAVE,)),
    ):
        again = TinyWarehouse(manifest, models)
        for until in (*whole, *((PURGE, RETURN) if table == stepped else ())):
            again.connection.execute(READINGS)
            if until in whole:
                again.connection.execute(OTHERS)
            again.connection.execute(
                "delete from pipeline.intermediate.int_repo_readings__united where day > ?", [night(until)]
            )
            again.build(ALL_DAYS if until in whole else (night(until - 6), night(until)), full=until in whole)
            assert rows_until(again, table, until) == rows_until(warehouse, table, until), (table, until)
