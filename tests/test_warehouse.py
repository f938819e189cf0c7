"""The record of what is loaded and not yet built."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.warehouse import BUILD_SCHEMA, LAYOUT, NEVER, DayRange, Rebuild, Warehouse

DAY = dt.date(2026, 3, 2)
AT = dt.datetime(2026, 3, 3, 6)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    settings = Settings(home=tmp_path, profile=Profile.LOCAL, rankings_base="")
    settings.warehouse_dir.mkdir(parents=True)
    return Warehouse(settings)


def observe(warehouse: Warehouse, day: dt.date, at: dt.datetime) -> None:
    with warehouse.connected() as connection:
        connection.execute(
            "insert into pipeline.repositories.repositories_days (day, status, fetched_at) values (?, 'observed', ?)",
            [day, at],
        )


def read_week(warehouse: Warehouse, week: dt.date, fetched_at: dt.datetime, loaded_at: dt.datetime) -> None:
    with warehouse.connected() as connection:
        connection.execute(
            "insert into pipeline.star_history.star_history (repo_id, week, fetched_at, loaded_at) values (1, ?, ?, ?)",
            [week, fetched_at, loaded_at],
        )


def changed_months(warehouse: Warehouse) -> set[dt.date]:
    with warehouse.connected() as connection:
        return {month for (month,) in connection.execute(f"from {BUILD_SCHEMA}.unpublished_month").fetchall()}


def test_nothing_loaded_is_nothing_to_build(warehouse: Warehouse) -> None:
    assert warehouse.begin_build() is None


def test_a_load_is_built_once(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    assert warehouse.begin_build() == Rebuild(DayRange(DAY, DAY), NEVER)
    warehouse.end_build()
    observe(warehouse, DAY + dt.timedelta(days=1), AT + dt.timedelta(days=1))
    later = DAY + dt.timedelta(days=1)
    assert warehouse.begin_build() == Rebuild(DayRange(later, later), NEVER)


def test_weeks_long_past_are_new_when_they_were_loaded_since(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    read_week(warehouse, dt.date(2026, 2, 22), AT, AT)
    warehouse.begin_build()
    warehouse.end_build()
    read_week(warehouse, dt.date(2024, 4, 28), AT, AT + dt.timedelta(hours=1))
    rebuild = warehouse.begin_build()
    assert rebuild == Rebuild(DayRange(DAY, DAY), AT)
    assert {dt.date(2024, 4, 1), dt.date(2024, 5, 1)} <= changed_months(warehouse)


def test_weeks_of_a_killed_run_give_its_day_a_pace_later(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    warehouse.begin_build()
    warehouse.end_build()
    read_week(warehouse, dt.date(2026, 2, 22), AT, AT + dt.timedelta(minutes=1))  # killed before it told how it went
    later = DAY + dt.timedelta(days=3)
    observe(warehouse, later, AT + dt.timedelta(days=3))
    rebuild = warehouse.begin_build()
    assert rebuild
    assert rebuild.window == DayRange(DAY, later)


def test_days_loaded_late_touch_every_month_with_star_history(warehouse: Warehouse) -> None:
    def rank(day: dt.date, at: dt.datetime) -> None:
        with warehouse.connected() as connection:
            connection.execute(
                "insert into pipeline.rankings.rankings_days (snapshot_date, status, fetched_at)"
                " values (?, 'observed', ?)",
                [day, at],
            )

    rank(DAY, AT)
    read_week(warehouse, dt.date(2024, 6, 2), AT, AT)
    warehouse.begin_build()
    warehouse.end_build()
    with warehouse.connected() as connection:
        connection.execute(f"delete from {BUILD_SCHEMA}.unpublished_month")
    rank(DAY - dt.timedelta(days=30), AT + dt.timedelta(hours=1))
    warehouse.begin_build()
    assert dt.date(2024, 6, 1) in changed_months(warehouse)


def test_marts_of_another_layout_are_built_anew(warehouse: Warehouse) -> None:
    assert not warehouse.is_of_another_layout()  # nothing was built
    observe(warehouse, DAY, AT)
    warehouse.begin_build()
    warehouse.end_build()
    assert not warehouse.is_of_another_layout()
    with warehouse.connected() as connection:
        connection.execute(f"update {BUILD_SCHEMA}.layout set layout = {LAYOUT - 1}")
    assert warehouse.is_of_another_layout()
