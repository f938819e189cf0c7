"""The two grains of time: UTC days, and weeks that begin on Monday, UTC."""

import datetime as dt

import dagster as dg

from reposignal_pipeline.config import GH_ARCHIVE_FIRST_DAY

OWNERS = ["team:reposignal"]
WRITER_POOL = "warehouse_writer"
"""one run at a time writes the warehouse files, or rewrites tables of a lake (see dagster.yaml)"""
INGEST_POOL = "ingest"
"""of a lake: several runs load files at the same time"""
GITHUB_POOL = "github"
"""of a lake: one run at a time spends the day's requests"""


def week_of(day: dt.date) -> dt.date:
    """Return the Monday of a day's week."""
    return day - dt.timedelta(days=day.weekday())


days = dg.DailyPartitionsDefinition(start_date=GH_ARCHIVE_FIRST_DAY.isoformat(), timezone="UTC")
weeks = dg.WeeklyPartitionsDefinition(
    start_date=week_of(GH_ARCHIVE_FIRST_DAY).isoformat(), day_offset=1, timezone="UTC"
)


def keys_to_dates(keys: dg.PartitionKeyRange) -> list[dt.date]:
    """Return every day of a range of daily partition keys."""
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
