"""Builds hourly files of GH Archive in both layouts, event by event, well-formed or not, always with the same bytes.

Here: events, lines and gzip members. Not here: which of them are faults (tests), hours of real size (benchmarks).
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any

HOUR = dt.datetime(2024, 12, 3, 15)
FIRST_ID = 44_000_000_000
LOGIN, MAIL = "someone-who-stars", "someone.private@mail.example"
"""of every account in these files: neither may be kept"""

Event = dict[str, Any]


def event(kind: str, number: int = 1, at: dt.datetime = HOUR, **fields: Any) -> Event:
    """Return an event in the layout since 2015; `fields` replaces some by name."""
    plain = {
        "id": str(FIRST_ID + number),
        "type": kind,
        "actor": {"id": 5_000 + number, "login": f"{LOGIN}-{number}", "display_login": f"{LOGIN}-{number}"},
        "repo": {"id": 100 + number, "name": f"owner/repo-{number}", "url": "https://api.github.com/repos/owner/repo"},
        "payload": {"commits": [{"author": {"email": MAIL, "name": LOGIN}, "message": "a change"}]},
        "public": True,
        "created_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return plain | fields


def star(number: int = 1, at: dt.datetime = HOUR, **fields: Any) -> Event:
    """Return a star in the layout since 2015."""
    return event("WatchEvent", number, at, **({"payload": {"action": "started"}} | fields))


def old_event(kind: str, number: int = 1, time: str = "2012-10-15T00:00:12-07:00", **fields: Any) -> Event:
    """Return an event in the layout before 2015, without an id."""
    plain = {
        "repository": {"id": 100 + number, "name": f"repo-{number}", "owner": "owner", "description": f"by {LOGIN}"},
        "actor_attributes": {"login": f"{LOGIN}-{number}", "email": MAIL},
        "payload": {"shas": [["055b15e1", MAIL, "a change", LOGIN, True]]},
        "actor": f"{LOGIN}-{number}",
        "created_at": time,
        "public": True,
        "type": kind,
    }
    return plain | fields


def old_star(number: int = 1, time: str = "2012-10-15T00:00:12-07:00", **fields: Any) -> Event:
    """Return a star in the layout before 2015."""
    return old_event("WatchEvent", number, time, **({"payload": {"action": "started"}} | fields))


def line(record: Event) -> bytes:
    """Return the line of an event without its line end."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def text(events: Iterable[Event | bytes], end: bytes = b"\n") -> bytes:
    """Return the text of events and of raw lines."""
    return b"".join((each if isinstance(each, bytes) else line(each)) + end for each in events)


def zipped(content: bytes) -> bytes:
    """Return one gzip member."""
    return gzip.compress(content, 6, mtime=0)


def file_of(*events: Event | bytes) -> bytes:
    """Return the file of an hour."""
    return zipped(text(events))


def plain_hour(stars: int = 3, others: int = 4, at: dt.datetime = HOUR, first: int = 1) -> list[Event]:
    """Return the events of an hour: its stars with pushes in between."""
    events: list[Event] = []
    for number in range(first, first + stars + others):
        events.append(star(number, at) if number - first < stars else event("PushEvent", number, at))
    return events[::2] + events[1::2]


def shuffled(record: Event, order: Sequence[int]) -> Event:
    """Return an event with its keys in another order."""
    items = list(record.items())
    return dict(items[n % len(items)] for n in order) | dict(items)
