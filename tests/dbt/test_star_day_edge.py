"""Totals show when star days end, independent of the zone that the API actually uses.

Here: generated worlds through the compiled model and its data test. Not here: the model's arithmetic (its unit tests).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from tiny_warehouse import TinyWarehouse

from reposignal_pipeline.sample.github_world import World, generated_world

DAY = dt.timedelta(days=1)
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 2, 28)
NEWEST = LAST - 2 * DAY
REPOSITORIES = 150
WARNING = "test.reposignal.assert_star_days_end_at_the_hour_that_is_set"


def repo_days(world: World, hour: int) -> Iterator[dict[str, Any]]:
    """Yield what cycles at an hour of the next day read, and the days of the latest histories."""
    for one in world.repositories:
        weeks = world.held(one, dt.datetime.combine(LAST, dt.time(20)))
        gains, total = weeks.cells.ravel(), None
        for n in range(32, -1, -1):
            day = NEWEST - n * DAY
            read_at = dt.datetime.combine(day + DAY, dt.time(hour))
            before, total = total, world.total(one, read_at)
            yield {
                "day": day,
                "repo_key": one.repo_id,
                "source": "repositories",
                "observed_at": read_at,
                "gap_hours": 24.0 if before is not None else None,
                "net_delta_24h": float(total - before) if before is not None else None,
                "stars_gained": int(gains[(day - weeks.first).days]),
                "stars_gained_source": "star_history",
            }


@pytest.mark.parametrize(
    ("zone", "hour", "fitted"),
    [("America/Los_Angeles", 9, 8), ("America/Los_Angeles", 16, 8), ("UTC", 9, 0), ("Asia/Tokyo", 9, -9)],
)
def test_totals_show_by_which_zone_the_api_counts(manifest: dict[str, Any], zone: str, hour: int, fitted: int) -> None:
    base = generated_world(REPOSITORIES, FIRST, LAST, seed=3)
    rows = pd.DataFrame(repo_days(World(base.repositories, (0, 24), ZoneInfo(zone)), hour))
    warehouse = TinyWarehouse(manifest, ["ops_star_day_edge"])
    warehouse.connection.register("rows", rows)
    warehouse.connection.execute(
        "create table reposignal.main.fct_repo_day as select * replace (day::date as day) from rows"
    )
    warehouse.build()
    hours = warehouse.query(
        "select edge_hour, sum(stars_off), bool_or(is_configured) from reposignal.main.ops_star_day_edge"
        " group by edge_hour order by 2"
    )
    assert len(hours) == 27
    assert abs(hours[0][0] - fitted) <= 1
    assert [edge for edge, _, is_configured in hours if is_configured] == [8]
    warned = warehouse.query(manifest["nodes"][WARNING]["compiled_code"])
    assert [row[0] for row in warned] == ([] if zone == "America/Los_Angeles" else [hours[0][0]])
