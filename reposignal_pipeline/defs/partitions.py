"""The two grains of time: UTC days, and weeks that begin on Monday, UTC."""

import datetime as dt
import warnings

import dagster as dg

from reposignal_pipeline.config import FIRST_DAYS, SAMPLE_FIRST_DAY, SAMPLE_LAST_DAY, load_settings

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


def _span() -> tuple[dt.date, dt.date | None]:
    """Return the first day that a configured source has, and the last one if there is one."""
    settings = load_settings()
    if settings.profile.is_sample:
        return SAMPLE_FIRST_DAY, SAMPLE_LAST_DAY
    return min(FIRST_DAYS[source] for source in settings.sources), None


_first, _last = _span()
days = dg.DailyPartitionsDefinition(
    start_date=_first.isoformat(),
    end_date=(_last + dt.timedelta(days=1)).isoformat() if _last else None,
    timezone="UTC",
)
weeks = dg.WeeklyPartitionsDefinition(
    start_date=week_of(_first).isoformat(),
    end_date=(week_of(_last) + dt.timedelta(weeks=1)).isoformat() if _last else None,
    day_offset=1,
    timezone="UTC",
)
with warnings.catch_warnings(action="ignore", category=dg.BetaWarning):
    DAYS_OF_WEEK = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
"""some days of the first week and of the sample's last one are no partitions: by default Dagster refuses these weeks"""


def keys_to_dates(keys: dg.PartitionKeyRange) -> list[dt.date]:
    """Return every day of a range of daily partition keys."""
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
