"""The ledger of forecasts: issued from the past, appended to, graded when due, and summarised in a record."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from reposignal_pipeline.analysis import forecast as analysis
from reposignal_pipeline.analysis.forecast import FORECASTS, OUTCOMES, SHIPPED, TRACK_RECORD, Model, further, happened
from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.defs.forecasts import (
    RECORD_OF_WEEKS,
    Speakers,
    forecast_backtest,
    forecast_model,
    frame,
    grade,
    issue,
    known_models,
    models_folder,
    save,
    speaker,
    weekly_forecasts,
)
from reposignal_pipeline.warehouse import Warehouse, append_rows, replace_weeks

LAST = dt.date(2024, 9, 30)
MONDAY = dt.date(2024, 7, 8)
DUE = MONDAY + dt.timedelta(days=42)
NOW = dt.datetime(2024, 7, 8, 8)
LATER = dt.datetime(2025, 1, 1)
DAY = dt.timedelta(days=1)
CROSSING, SLOW, LARGE, SMALL = 1, 2, 3, 4

MARTS = """
    create table fct_repo_day as
    select
        '2024-05-01'::date + d::integer as day, repo_key, 'owner/' || name as full_name,
        (stars + pace * d)::bigint as stars_total, []::varchar[] as dq_flags
    from range(153) days(d)
    cross join (values
        (1, 'crossing', 8000, 20.0), (2, 'slow', 6000, 1.0), (3, 'large', 150000, 50.0), (4, 'small', 100, 0.1)
    ) as repos (repo_key, name, stars, pace);

    create table fct_repo_signal_day as
    select
        day, repo_key, full_name, stars_total,
        (stars_total - lag(stars_total) over (partition by repo_key order by day))::double as velocity_24h,
        (stars_total - lag(stars_total, 7) over (partition by repo_key order by day)) / 7.0::double as velocity_7d,
        (stars_total - lag(stars_total, 28) over (partition by repo_key order by day)) / 28.0::double as velocity_28d,
        repo_key = 1 and day between '2024-07-02' and '2024-07-05' as is_breakout
    from fct_repo_day;

    create table dim_repo_alias as
    select repo_key, full_name, min(day) as seen_from, max(day) as seen_to from fct_repo_day group by all;
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    settings = Settings(home=tmp_path / "home", profile=Profile.LOCAL, rankings_base="")
    settings.warehouse_dir.mkdir(parents=True)
    found = Warehouse(settings)
    with found.connected() as connection:
        connection.execute(MARTS)
    return found


@pytest.fixture
def marts(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """Four repositories, one of which passes 10,000 stars within 42 days of MONDAY; and empty ledgers."""
    connection = duckdb.connect()
    connection.execute(MARTS)
    for table in (FORECASTS, OUTCOMES):
        append_rows(connection, table)
    return connection


def issued(marts: duckdb.DuckDBPyConnection, folder: Path, monday: dt.date = MONDAY, now: dt.datetime = NOW) -> int:
    return issue(marts, Speakers(marts, folder, monday), monday, monday, now)


def rows(marts: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    return marts.execute(sql).fetchall()


def ledger(marts: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    return rows(marts, "from fct_forecast order by forecast_id")


def outcome(marts: duckdb.DuckDBPyConnection, repo_key: int) -> list[tuple[object, ...]]:
    return rows(
        marts,
        "select happened, reason, crossed_on, resolved_on from fct_forecast_outcome"
        f" join fct_forecast using (forecast_id) where repo_key = {repo_key} and event = 'stars_threshold'",
    )


# --- issue


def test_a_monday_has_a_forecast_for_each_repository_within_reach(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert issued(marts, tmp_path) == 3
    found = rows(
        marts,
        "select repo_key, full_name, threshold, as_of_date, stars_total, due_on, week, is_backtest, model_version"
        " from fct_forecast where event = 'stars_threshold' order by 1",
    )
    sunday, week = MONDAY - DAY, MONDAY - 7 * DAY
    assert found == [
        (CROSSING, "owner/crossing", 10_000, sunday, 9_340, DUE, week, False, SHIPPED.stem),
        (SLOW, "owner/slow", 10_000, sunday, 6_067, DUE, week, False, SHIPPED.stem),
    ]
    likely = "select probability from fct_forecast where event = 'stars_threshold' order by repo_key"
    (sure,), (hardly,) = rows(marts, likely)
    assert sure > 0.7
    assert hardly < 0.01


def test_further_thresholds_need_a_likely_next_one(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    further = "select repo_key, threshold, probability < 0.01 from fct_forecast where event = 'further_stars_threshold'"
    # 50,000 is not within reach of 9,340; for the slow one even 10,000 is unlikely
    assert rows(marts, further) == [(CROSSING, 20_000, True)]
    grade(marts, MONDAY, LATER)
    assert rows(marts, "select happened from fct_forecast_outcome where forecast_id like '%/20000'") == [(False,)]


def test_a_second_run_changes_nothing_and_adds_what_is_missing(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    issued(marts, tmp_path)
    before = ledger(marts)
    marts.execute("update fct_repo_signal_day set velocity_28d = 500, velocity_7d = 500 where repo_key = 2")
    assert issued(marts, tmp_path, now=LATER) == 0
    assert ledger(marts) == before
    marts.execute("delete from fct_forecast where repo_key = 2")
    marts.execute("update fct_repo_signal_day set velocity_28d = 1, velocity_7d = 1 where repo_key = 2")
    assert issued(marts, tmp_path, now=LATER) == 1
    made = "select repo_key, is_backtest from fct_forecast where event = 'stars_threshold' order by 1"
    assert rows(marts, made) == [(CROSSING, False), (SLOW, True)]


def test_later_data_changes_no_forecast(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    before = ledger(marts)
    marts.execute("delete from fct_forecast")
    for table in ("fct_repo_day", "fct_repo_signal_day"):
        marts.execute(f"delete from {table} where day >= ?", [MONDAY])
    issued(marts, tmp_path)
    assert ledger(marts) == before


def test_a_range_is_its_mondays_one_by_one(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issue(marts, Speakers(marts, tmp_path, LAST), MONDAY, MONDAY + 21 * DAY, NOW)
    at_once = ledger(marts)
    marts.execute("delete from fct_forecast")
    for number in range(4):
        issued(marts, tmp_path, MONDAY + 7 * number * DAY)
    assert ledger(marts) == at_once


def test_without_a_model_there_is_no_forecast(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert issued(marts, tmp_path, dt.date(2024, 6, 24)) == 0


def test_a_repository_under_a_new_key_is_not_forecast_twice(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    for table in ("fct_repo_day", "fct_repo_signal_day", "dim_repo_alias"):
        marts.execute(f"update {table} set repo_key = 11, full_name = 'Owner/Crossing' where repo_key = 1")
    assert issued(marts, tmp_path) == 0
    grade(marts, MONDAY, LATER)
    assert outcome(marts, CROSSING)[0][0] is True


def test_below_a_former_level_there_is_no_forecast(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    marts.execute(
        "update fct_repo_day set dq_flags = ['below_former_level'] where repo_key = 1 and day = ?", [MONDAY - DAY]
    )
    assert issued(marts, tmp_path) == 1


def test_a_pace_begins_at_most_three_weeks_ago(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for table in ("fct_repo_day", "fct_repo_signal_day"):
        marts.execute(f"delete from {table} where day between ? and ?", [MONDAY - 35 * DAY, MONDAY - 8 * DAY])
    assert issued(marts, tmp_path) == 0
    assert frame(marts, MONDAY + 7 * DAY, MONDAY + 7 * DAY)["pace_2w"].isna().all()


# --- backtests follow late data

FACTS = ("fct_repo_day", "fct_repo_signal_day")
LATE_LOADS = f"day between '{MONDAY - 10 * DAY}' and '{MONDAY - DAY}'"
"""days before MONDAY that are loaded after its first backtest"""


def hidden(marts: duckdb.DuckDBPyConnection) -> None:
    """Remove the late loads from the marts, as if their days had not been loaded yet."""
    for table in FACTS:
        marts.execute(f"create table late_{table} as from {table} where {LATE_LOADS}")
        marts.execute(f"delete from {table} where {LATE_LOADS}")


def loaded_late(marts: duckdb.DuckDBPyConnection) -> None:
    for table in FACTS:
        marts.execute(f"insert into {table} from late_{table}")


def test_backtests_do_not_depend_on_the_order_of_loads(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    what = "select * exclude (made_at) from fct_forecast order by forecast_id"
    outcomes = "select * exclude (graded_at) from fct_forecast_outcome order by forecast_id"
    issue(marts, Speakers(marts, tmp_path, LAST), MONDAY, LAST, LATER)
    grade(marts, MONDAY, LATER)
    in_order, graded_in_order = rows(marts, what), rows(marts, outcomes)
    for table in ("fct_forecast", "fct_forecast_outcome"):
        marts.execute(f"delete from {table}")

    hidden(marts)
    issue(marts, Speakers(marts, tmp_path, LAST), MONDAY, LAST, LATER)
    grade(marts, MONDAY, LATER)
    partial = rows(marts, "from fct_forecast order by forecast_id")
    assert rows(marts, what) != in_order
    loaded_late(marts)
    issue(marts, Speakers(marts, tmp_path, LAST), MONDAY, LAST, LATER + DAY)
    grade(marts, MONDAY, LATER + DAY)
    assert rows(marts, what) == in_order
    assert rows(marts, outcomes) == graded_in_order
    superseded = rows(marts, "select * exclude (superseded_at, reason) from fct_forecast_superseded order by all")
    unchanged = rows(marts, f"from fct_forecast where made_at = '{LATER}' order by forecast_id")
    assert sorted(superseded + unchanged) == sorted(partial)
    assert superseded
    assert unchanged


def test_a_forecast_that_was_issued_in_time_never_changes(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    hidden(marts)
    assert issued(marts, tmp_path) == 0  # the last reading is older than a week: nothing is within reach
    marts.execute(f"insert into fct_repo_day from late_fct_repo_day where day = '{MONDAY - DAY}'")
    marts.execute(f"insert into fct_repo_signal_day from late_fct_repo_signal_day where day = '{MONDAY - DAY}'")
    assert issued(marts, tmp_path) > 0
    grade(marts, MONDAY, LATER)
    before, graded = ledger(marts), rows(marts, "from fct_forecast_outcome order by all")
    for table in FACTS:
        marts.execute(f"insert into {table} from late_{table} where day < '{MONDAY - DAY}'")
        marts.execute(
            f"update {table} set stars_total = 9999 where repo_key = 1 and day between ? and ?", [MONDAY, DUE]
        )
    issued(marts, tmp_path, now=LATER)
    assert grade(marts, MONDAY, LATER) == (0, None)
    assert ledger(marts) == before
    assert rows(marts, "from fct_forecast_outcome order by all") == graded
    assert rows(marts, "from fct_forecast_superseded") == []


def test_a_backtest_out_of_reach_by_late_data_is_withdrawn(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path, now=LATER)
    grade(marts, MONDAY, LATER)
    flagged = "update fct_repo_day set dq_flags = ['below_former_level'] where repo_key = 2 and day = ?"
    marts.execute(flagged, [MONDAY - DAY])
    assert issued(marts, tmp_path, now=LATER) == 0
    assert rows(marts, "select distinct repo_key from fct_forecast") == [(CROSSING,)]
    assert outcome(marts, SLOW) == []
    assert rows(marts, "select repo_key, reason from fct_forecast_superseded") == [(SLOW, "withdrawn")]


def test_a_model_is_fitted_again_when_its_past_was_loaded_late(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "LEAST_CROSSINGS", 1)
    for table in FACTS:
        marts.execute(f"update {table} set stars_total = stars_total + 1300 where repo_key = 1")
    monday = dt.date(2024, 7, 22)

    def past_of_the_model(changed_from: dt.date) -> str:
        speakers = Speakers(marts, tmp_path, monday, changed_from)
        issue(marts, speakers, monday, monday, LATER)
        (own,) = known_models(tmp_path)
        return own.past

    for table in FACTS:
        marts.execute(f"create table late_{table} as from {table} where day between '2024-05-10' and '2024-05-12'")
        marts.execute(f"delete from {table} where day between '2024-05-10' and '2024-05-12'")
    short = past_of_the_model(monday)
    loaded_late(marts)
    assert past_of_the_model(monday) == short  # nothing before its day changed, so it is not checked
    whole = past_of_the_model(dt.date(2024, 4, 29))
    assert whole != short
    written = (tmp_path / "forecast-1+2024-07-01.json").stat().st_mtime_ns
    assert past_of_the_model(dt.date(2024, 4, 29)) == whole
    assert (tmp_path / "forecast-1+2024-07-01.json").stat().st_mtime_ns == written


# --- grades


def test_nothing_is_graded_before_it_is_due(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    for table in ("fct_repo_day", "fct_repo_signal_day"):
        marts.execute(f"delete from {table} where day >= ?", [DUE])
    assert grade(marts, MONDAY, LATER) == (0, None)


def test_a_crossing_and_a_miss(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    assert grade(marts, MONDAY, LATER) == (3, DUE)
    assert outcome(marts, CROSSING) == [(True, None, dt.date(2024, 8, 9), DUE)]
    assert outcome(marts, SLOW) == [(False, None, None, DUE)]
    briers = rows(
        marts,
        "select brier - (probability - happened::integer) ** 2 from fct_forecast_outcome join fct_forecast"
        " using (forecast_id)",
    )
    assert all(abs(difference) < 1e-6 for (difference,) in briers)


def test_a_known_outcome_does_not_change_with_later_readings(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    grade(marts, MONDAY, LATER)
    before = rows(marts, "from fct_forecast_outcome order by all")
    marts.execute("update fct_repo_day set stars_total = 20000 where repo_key = 2")
    assert grade(marts, MONDAY, LATER) == (0, None)
    assert rows(marts, "from fct_forecast_outcome order by all") == before


def test_an_unread_outcome_is_unknown_until_it_is_read(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    marts.execute("create table unread as from fct_repo_day where repo_key = 2 and day >= ?", [MONDAY])
    marts.execute("delete from fct_repo_day where repo_key = 2 and day >= ?", [MONDAY])
    grade(marts, MONDAY, LATER)
    assert outcome(marts, SLOW) == [(None, "not_observed", None, DUE)]
    assert grade(marts, MONDAY, LATER) == (0, None)
    marts.execute("insert into fct_repo_day from unread where day = ?", [DUE + 3 * DAY])
    assert grade(marts, DUE + DAY, LATER) == (0, None)  # not requested to look so far back
    assert grade(marts, DUE, LATER) == (1, DUE)
    assert outcome(marts, SLOW) == [(False, None, None, DUE + 3 * DAY)]


def test_a_miss_waits_two_weeks_for_its_reading(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    marts.execute("delete from fct_repo_day where repo_key = 2 and day >= ?", [MONDAY])
    marts.execute("delete from fct_repo_signal_day where day > ?", [DUE + 13 * DAY])
    grade(marts, MONDAY, LATER)
    assert outcome(marts, SLOW) == []


def test_a_wipe_or_its_restoration_leaves_the_outcome_unknown(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    for repo_key in (CROSSING, SLOW):
        marts.execute(
            "update fct_repo_day set dq_flags = ['total_restored'] where repo_key = ? and day = ?",
            [repo_key, dt.date(2024, 8, 9)],
        )
    grade(marts, MONDAY, LATER)
    assert [outcome(marts, key)[0][:2] for key in (CROSSING, SLOW)] == [(None, "level_break")] * 2


def test_another_reason_takes_the_place_of_the_first(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    marts.execute("update fct_repo_day set day = day + 1000 where repo_key = 2 and day >= ?", [MONDAY])
    grade(marts, MONDAY, LATER)
    marts.execute("insert into fct_repo_day select ?, 2, 'owner/slow', 100, ['total_dropped']", [MONDAY + DAY])
    assert grade(marts, MONDAY, LATER) == (1, DUE)
    assert [found[:2] for found in outcome(marts, SLOW)] == [(None, "level_break")]


def test_a_break_after_the_crossing_does_not_undo_it(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    marts.execute("update fct_repo_day set dq_flags = ['total_dropped'] where repo_key = 1 and day = '2024-08-12'")
    grade(marts, MONDAY, LATER)
    assert outcome(marts, CROSSING)[0][0] is True


def test_a_crossing_in_a_gap_is_not_a_miss(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    marts.execute("delete from fct_repo_day where repo_key = 1 and day between '2024-08-01' and ?", [DUE])
    grade(marts, MONDAY, LATER)
    assert outcome(marts, CROSSING)[0][:2] == (None, "crossed_in_a_gap")


def test_hits_without_possible_misses_are_not_scored(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    for table in ("fct_repo_day", "fct_repo_signal_day"):
        marts.execute(f"delete from {table} where day between ? and ?", [DUE - 5 * DAY, DUE + 20 * DAY])
    grade(marts, MONDAY, LATER)
    assert [outcome(marts, key)[0][:2] for key in (CROSSING, SLOW)] == [(True, None), (None, "not_observed")]
    assert rows(marts, "select distinct is_scored from fct_forecast_outcome") == [(False,)]
    (record,) = marts.execute(RECORD_OF_WEEKS, {"first": DUE, "last": DUE}).to_arrow_table().to_pylist()
    assert (record["forecasts"], record["resolved"], record["brier"]) == (2, 0, None)
    seen = frame(marts, MONDAY, MONDAY)
    assert np.isnan(happened(seen)).all()


def test_frame_and_grade_agree(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issue(marts, Speakers(marts, tmp_path, LAST), MONDAY, LAST, NOW)
    grade(marts, MONDAY, LATER)
    following = frame(marts, MONDAY, LAST)
    following = following[following["threshold"].notna()]
    beyond = further(following[following["repo_key"] == CROSSING])
    seen = pd.concat([following, beyond])
    seen["came"] = happened(seen)
    by_frame = {
        f"{row.issued_on.date()}/{row.repo_key}/{int(row.threshold)}": None if np.isnan(row.came) else bool(row.came)
        for row in seen.itertuples()
    }
    by_grade = dict(
        rows(marts, "select forecast_id, happened from fct_forecast left join fct_forecast_outcome using (forecast_id)")
    )
    assert by_grade.items() <= by_frame.items()
    assert len(following) < len(by_grade) <= len(by_frame)
    assert {True, False, None} == set(by_grade.values())


# --- models


def made(fitted_to: str) -> Model:
    shipped = vars(Model.from_json(SHIPPED.read_text(encoding="utf-8")))
    return Model(**{**shipped, "fitted_to": fitted_to, "version": f"forecast-1+{fitted_to}"})


def test_the_newest_model_fitted_before_the_monday_is_used(tmp_path: Path) -> None:
    for day in ("2024-04-01", "2024-07-01", "2024-10-01"):
        save(made(day), tmp_path)
    models = known_models(tmp_path)
    chosen = [speaker(models, dt.date(2024, month, 1)) for month in (3, 6, 7, 12)]
    assert [model and model.fitted_to for model in chosen] == [None, "2024-04-01", "2024-07-01", "2024-10-01"]


def test_an_unfinished_file_is_not_a_model(tmp_path: Path) -> None:
    save(made("2024-04-01"), tmp_path)
    (tmp_path / "forecast-1+2024-07-01.making").write_text("{")
    assert [model.fitted_to for model in known_models(tmp_path)] == ["2024-04-01"]


def test_a_home_with_enough_past_uses_its_own_model(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "LEAST_CROSSINGS", 1)
    marts.execute("update fct_repo_day set stars_total = stars_total + 1300 where repo_key = 1")
    marts.execute("update fct_repo_signal_day set stars_total = stars_total + 1300 where repo_key = 1")
    issued(marts, tmp_path, dt.date(2024, 7, 22))
    assert {path.name for path in tmp_path.iterdir()} == {"forecast-1+2024-07-01.json"}
    (own,) = known_models(tmp_path)
    assert own.examples < 1_000
    text = (tmp_path / "forecast-1+2024-07-01.json").read_text()
    marts.execute("delete from fct_forecast")
    issued(marts, tmp_path, dt.date(2024, 7, 22))
    assert (tmp_path / "forecast-1+2024-07-01.json").read_text() == text


# --- the record


def test_the_record_of_a_week_by_hand(marts: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    issued(marts, tmp_path)
    marts.execute("update fct_forecast set probability = case repo_key when 1 then 0.8 else 0.1 end")
    grade(marts, MONDAY, LATER)
    table = marts.execute(RECORD_OF_WEEKS, {"first": DUE, "last": DUE}).to_arrow_table()
    replace_weeks(marts, TRACK_RECORD, table, DUE, DUE)
    (record,) = marts.execute("from weekly_track_record").to_arrow_table().to_pylist()
    assert (record["week"], record["forecasts"], record["resolved"], record["backtested"]) == (DUE, 2, 2, 0)
    assert (record["calls"], record["hit_rate"], record["recall"], record["base_rate"]) == (1, 1.0, 1.0, 0.5)
    assert record["brier"] == pytest.approx((0.04 + 0.01) / 2)
    assert record["brier_skill"] == record["brier_skill_52w"] == pytest.approx(1 - record["brier"] / 0.25)
    assert record["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.9)) / 2)
    assert record["mean_lead_days"] == (dt.date(2024, 8, 9) - MONDAY).days
    assert [(cell["probability_from"], cell["happened_share"]) for cell in record["reliability_52w"]] == [
        (0.1, 0.0),
        (0.8, 1.0),
    ]


# --- the assets


def materialized(warehouse: Warehouse, *assets: dg.AssetsDefinition, weeks: tuple[str, str] | None = None) -> bool:
    tags = (
        {"dagster/asset_partition_range_start": weeks[0], "dagster/asset_partition_range_end": weeks[1]}
        if weeks
        else None
    )
    return dg.materialize(list(assets), resources={"warehouse": warehouse}, tags=tags).success


def test_a_range_of_weeks_is_issued_graded_and_recorded(warehouse: Warehouse) -> None:
    weeks = "2024-07-01", "2024-09-23"
    assert materialized(warehouse, weekly_forecasts, weeks=weeks)
    with warehouse.connected() as connection:
        names = [
            "fct_forecast",
            "fct_forecast_superseded",
            "fct_forecast_outcome",
            "weekly_breakouts",
            "weekly_track_record",
        ]
        first = {name: connection.execute(f"from {name} order by all").fetchall() for name in names}
        breakouts = connection.execute(
            "select week, repo_key, first_flagged_on, days_flagged, threshold, round(probability, 1) >= 0.7"
            " from weekly_breakouts"
        ).fetchall()
        record = connection.execute("select sum(forecasts), max(brier) < 0.1 from weekly_track_record").fetchall()
        bare = connection.execute(
            "select count(*) from duckdb_columns() where list_contains($1, table_name) and comment is null", [names]
        ).fetchall()
    assert breakouts == [(dt.date(2024, 7, 1), CROSSING, dt.date(2024, 7, 2), 4, 10_000, True)]
    of_the_next = {row[0] for row in first["fct_forecast"] if "stars_threshold" in row}
    assert record == [(len([row for row in first["fct_forecast_outcome"] if row[0] in of_the_next]), True)]
    assert bare == [(0,)]
    assert not models_folder(warehouse.settings).exists()  # the past is too short: the shipped model is used
    assert materialized(warehouse, weekly_forecasts, weeks=weeks)
    with warehouse.connected() as connection:
        again = {name: connection.execute(f"from {name} order by all").fetchall() for name in names}
    assert again == first


def test_fit_and_backtest_report_a_past_that_is_too_short(warehouse: Warehouse) -> None:
    assert materialized(warehouse, forecast_model, forecast_backtest)
    assert not models_folder(warehouse.settings).exists()
