"""Rows of the raw tables of GH Archive, as the source loads them: file days of 24 hours with a few stars.

Here: plain rows, of which a test changes the fields it needs. Not here: expected results.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from reposignal_pipeline.sources.gh_archive import PACIFIC, hours_of

Row = dict[str, Any]
Repo = tuple[int | None, str]
"""id at GitHub, if the event has one, and name"""


def moment(day: dt.date, hour: int) -> dt.datetime:
    return dt.datetime.combine(day, dt.time()) + dt.timedelta(hours=hour)


def star(at: dt.datetime, event_id: int, repo: Repo, file_hour: dt.datetime | None = None) -> Row:
    """Return a star event, in the file of its own hour or in another."""
    return {
        "file_hour": file_hour or at.replace(minute=0),
        "event_id": event_id,
        "repo_id": repo[0],
        "full_name": repo[1],
        "actor_hash": event_id * 31 % 2**63,
        "created_at": at,
        "day": at.date(),
    }


def hour_row(file_hour: dt.datetime, stars: int, *, events: int = 100, **other: Any) -> Row:
    """Return the ledger row of a file."""
    plain = {
        "file_hour": file_hour,
        "status": "observed",
        "events": events,
        "stars": stars,
        "lines_set_aside": 0,
        "duplicates": 0,
        "event_mix": json.dumps({"PushEvent": events - stars, "WatchEvent": stars}) if events else None,
        "run_id": "test",
        "fetched_at": file_hour + dt.timedelta(days=400),
    }
    return plain | other


def whole_day(day: dt.date) -> list[dt.datetime]:
    return [moment(day, hour) for hour in range(24)]


def file_day(
    day: dt.date, stars: Mapping[Repo, Iterable[int]], *, states: Mapping[int, str] | None = None, pacific: bool = False
) -> dict[str, list[Row]]:
    """Return what the load of a day appends, by raw table.

    Args:
        stars: repository -> the hours in which it is given one star each.
        states: hour -> state other than `observed`; the rows of such an hour are not kept.
        pacific: the files are named in Pacific time; of the hour that occurs twice, the first has the stars.
    """
    states = states or {}
    kept: dict[int, list[Row]] = {file_hour.hour: [] for file_hour in (hours_of(day) if pacific else whole_day(day))}
    for (id, name), hours in stars.items():
        for hour in hours:
            if hour in kept and hour not in states:
                event = int(f"{day:%Y%m%d}{hour:02}{sum(map(ord, name)) % 10000:04}")
                at = moment(day, hour)
                at = at.replace(tzinfo=PACIFIC).astimezone(dt.UTC).replace(tzinfo=None) if pacific else at
                kept[hour].append(star(at, event, (id, name), moment(day, hour)))
    hours = [
        hour_row(
            moment(day, hour),
            len(rows),
            events=0 if hour in states else 100,
            status=states.get(hour, "observed"),
        )
        for hour, rows in kept.items()
    ]
    rows = [row for of_hour in kept.values() for row in of_hour]
    days = [row["day"] for row in rows]
    ledger = {
        "day": day,
        "status": "observed" if not states else "partial",
        "hours_observed": len(kept) - len(states),
        "events": sum(row["events"] for row in hours),
        "stars": len(rows),
        "first_day": min(days, default=None),
        "last_day": max(days, default=None),
        "run_id": "test",
        "fetched_at": moment(day, 24 * 400),
    }
    return {"gh_archive": rows, "gh_archive_hours": hours, "gh_archive_days": [ledger]}


def united(*loads: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Return several loads as one."""
    tables: dict[str, list[Row]] = {}
    for load in loads:
        for table, rows in load.items():
            tables.setdefault(table, []).extend(rows)
    return tables
