"""Rows of the raw tables of the two GitHub sources, as they load them.

Here: plain rows, of which a test changes the fields it needs. Not here: expected results.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from reposignal_pipeline.sources.schemas import WEEKDAYS

Row = dict[str, Any]


def observation(
    day: dt.date, repo_id: int, full_name: str, stars: int | None, *, hour: float = 1.0, **other: Any
) -> Row:
    """Return GitHub's response in the cycle of a day, `hour` hours after its end; without stars it is `not_found`."""
    public = stars is not None
    plain = {
        "day": day,
        "repo_id": repo_id,
        "node_id": f"R_{repo_id}",
        "full_name": full_name,
        "state": "public" if public else "not_found",
        "stars_total": stars,
        "forks_total": 50 if public else None,
        "issues_open": 3 if public else None,
        "pull_requests_open": 1 if public else None,
        "language": "Go" if public else None,
        "topics": json.dumps(["tool"]) if public else None,
        "description": "a thing" if public else None,
        "created_at": dt.datetime(2020, 1, 1) if public else None,
        "is_archived": False if public else None,
        "is_fork": False if public else None,
        "observed_at": dt.datetime.combine(day, dt.time()) + dt.timedelta(days=1, hours=hour),
        "reason": None if public else "404",
        "run_id": "test",
        "load_key": f"{day}/{repo_id}/{hour}",
    }
    return plain | other


def observed_day(day: dt.date, expected: int, observed: int, **other: Any) -> Row:
    """Return the ledger row of a day."""
    plain = {
        "day": day,
        "status": "observed" if observed == expected else "partial",
        "reason": None if observed == expected else f"{expected - observed} did not answer",
        "expected": expected,
        "observed": observed,
        "answered": expected,
        "run_id": "test",
        "fetched_at": dt.datetime.combine(day, dt.time(2)) + dt.timedelta(days=1),
    }
    return plain | other


def entered(day: dt.date, repo_id: int, full_name: str, via: str = "watchlist", **other: Any) -> Row:
    """Return an entry into the universe; `change="left"` makes it an exit."""
    plain = {"day": day, "repo_id": repo_id, "node_id": f"R_{repo_id}", "full_name": full_name, "change": "entered"}
    return plain | {"via": via, "reason": "listed", "run_id": "test", "load_key": f"{day}/{repo_id}"} | other


def week(repo_id: int, sunday: dt.date, days: Sequence[int], fetched_at: dt.datetime, **other: Any) -> Row:
    """Return a week as read at a moment and loaded a minute later; days that had not ended are 0."""
    plain = dict(zip(WEEKDAYS, days, strict=True)) | {
        "repo_id": repo_id,
        "week": sunday,
        "total": sum(days),
        "fetched_at": fetched_at,
        "loaded_at": fetched_at + dt.timedelta(minutes=1),
        "load_key": f"{repo_id}/{sunday}/{fetched_at}",
    }
    return plain | other


def histories(
    repo_id: int, gains: dict[dt.date, int], fetched_at: dt.datetime, since: dt.date | None = None
) -> list[Row]:
    """Return the weeks of a history as read at a moment, from the week of the day `since`."""
    first = min(gains) if since is None else since
    sunday = first - dt.timedelta((first.weekday() + 1) % 7)
    weeks = []
    while sunday <= fetched_at.date():
        days = [sunday + dt.timedelta(number) for number in range(7)]
        weeks.append(
            week(repo_id, sunday, [gains.get(day, 0) if day <= fetched_at.date() else 0 for day in days], fetched_at)
        )
        sunday += dt.timedelta(7)
    return weeks
