"""Days of star histories: the zone in which they end, and that none is stored before it is final."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reposignal_pipeline.sample.github_world import World
from reposignal_pipeline.sources.github import Answer
from reposignal_pipeline.sources.schemas import WEEKDAYS
from reposignal_pipeline.sources.star_days import DAY, HOUR, STAR_DAYS, StarDays
from reposignal_pipeline.sources.star_history import Ask, parse_page

YEAR = 2026
SPRING, AUTUMN = dt.date(YEAR, 3, 8), dt.date(YEAR, 11, 1)
"""the days of 23 and of 25 hours"""
FIRST = dt.date(YEAR, 1, 1) - 50 * DAY
LENGTH = 50 + 365 + 10
ZONES = [ZoneInfo(key) for key in ("America/Los_Angeles", "UTC", "Asia/Tokyo", "Pacific/Kiritimati")]
MINUTES = st.integers(0, 366 * 24 * 60 - 1)


def steady_world(stars_an_hour: int = 10) -> World:
    """One repository that gets the same number of stars every hour of every day."""
    hours = [
        (STAR_DAYS.begins_at(day + DAY) - STAR_DAYS.begins_at(day)) // HOUR
        for day in (FIRST + n * DAY for n in range(LENGTH))
    ]
    return World.from_gains(stars_an_hour * np.array([hours]), FIRST, arrive=(0, 25))


STEADY = steady_world()


def read_at(world: World, at: dt.datetime) -> dict[dt.date, int]:
    """Return what the reader extracts from the first page of the world's history at an instant, day by day."""
    (one,) = world.repositories
    weeks = world.held(one, at)
    content = [
        {
            "week": int(dt.datetime.combine(weeks.first + 7 * n * DAY, dt.time(), dt.UTC).timestamp()),
            "total": sum(days),
            "days": days,
        }
        for n, days in enumerate(weeks.cells.tolist())
    ]
    answer = Answer(
        200,
        content[::-1][:30],
        f"/repositories/{one.repo_id}/stargazers/history",
        is_moved=False,
        etag=None,
        links={},
        answered_at=at,
    )
    reads = parse_page(Ask(one.repo_id, "a/b", 1), answer)
    assert reads.quarantine == []
    days = {row["week"] + n * DAY: row[name] for row in reads.weeks for n, name in enumerate(WEEKDAYS)}
    (reading,) = reads.reads
    return {day: stars for day, stars in days.items() if reading["first_day"] <= day <= reading["last_day"]}


@given(MINUTES)
@example(66 * 1440 + 8 * 60 + 29)  # a minute before the 7th of March is final, and then the minute it is
@example(66 * 1440 + 8 * 60 + 30)
@example(67 * 1440 + 7 * 60 + 30)  # the first minute at which the day of 23 hours is
@example(305 * 1440 + 8 * 60 + 30)  # and that of 25 hours
def test_ten_stars_an_hour_never_store_a_day_below_230(minutes: int) -> None:
    at = dt.datetime(YEAR, 1, 1) + dt.timedelta(minutes=minutes)
    days = read_at(STEADY, at)
    stored = [day for day in days if day >= FIRST]
    assert len(stored) >= 48
    for day in stored:
        assert days[day] == {SPRING: 230, AUTUMN: 250}.get(day, 240)
    assert max(days) in {at.date() - DAY, at.date() - 2 * DAY}


def test_the_days_of_a_year_become_final_one_by_one() -> None:
    days = [dt.date(YEAR, 1, 1) + n * DAY for n in range(365)]
    known = [STAR_DAYS.known_at(day) for day in days]
    gaps = {day: (later - before) // HOUR for day, (before, later) in zip(days[1:], pairwise(known), strict=True)}
    assert {day: hours for day, hours in gaps.items() if hours != 24} == {SPRING: 23, AUTUMN: 25}
    assert STAR_DAYS.known_at(SPRING - DAY) == dt.datetime(YEAR, 3, 8, 8, 30)
    assert STAR_DAYS.known_at(SPRING) == dt.datetime(YEAR, 3, 9, 7, 30)
    assert STAR_DAYS.slack >= dt.timedelta(minutes=2)  # a response may be 60 seconds old


@given(MINUTES, st.sampled_from(ZONES))
def test_a_day_is_final_from_its_end_plus_the_slack(minutes: int, zone: ZoneInfo) -> None:
    at = dt.datetime(YEAR, 1, 1) + dt.timedelta(minutes=minutes)
    days = StarDays(zone, STAR_DAYS.slack)
    last = days.last_known(at)
    assert days.known_at(last) <= at < days.known_at(last + DAY)
    assert days.begins_at(days.day_of(at)) <= at < days.begins_at(days.day_of(at) + DAY)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_sql_and_python_agree(zone: ZoneInfo) -> None:
    days = StarDays(zone, STAR_DAYS.slack)
    sql = f"""
        select instant, {days.last_known_sql("instant")} as last_known
        from generate_series(timestamp '{YEAR}-01-01', timestamp '{YEAR}-12-31', interval 10 minutes) as t (instant)
    """
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'Asia/Kolkata'")  # the session's own zone has no effect
        rows = connection.execute(sql).fetchall()
    assert len(rows) > 50_000
    assert [row for row in rows if row[1] != days.last_known(row[0])] == []


@pytest.mark.parametrize(("key", "hours"), [("America/Los_Angeles", 9), ("UTC", 1), ("Asia/Tokyo", -8)])
def test_the_hour_of_the_daily_cycle_follows_from_the_zone(key: str, hours: int) -> None:
    assert StarDays(ZoneInfo(key), dt.timedelta(minutes=30)).hours_until_known(YEAR) == hours
