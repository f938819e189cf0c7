"""The two kinds of partitions: UTC days, and UTC weeks that begin on Monday."""

import datetime as dt
import warnings

import dagster as dg

from reposignal_pipeline.config import FIRST_DAYS, SAMPLE_FIRST_DAY, SAMPLE_LAST_DAY, load_settings

OWNERS = ["team:reposignal"]
WRITER_POOL = "warehouse_writer"
"""pool for one run at a time that writes the warehouse files, or rebuilds tables of a lake (see dagster.yaml)"""
INGEST_POOL = "ingest"
"""lake only: pool for several concurrent runs that load files"""
GITHUB_POOL = "github"
"""lake only: pool for one run at a time that uses the day's request budget"""


def week_of(day: dt.date) -> dt.date:
    """Return the Monday of the week of a day."""
    return day - dt.timedelta(days=day.weekday())


def _span() -> tuple[dt.date, dt.date | None]:
    """Return (first day of the configured sources, last day or None)."""
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
"""some days of the first week and of the sample's last week have no partition; by default Dagster rejects such weeks"""


def keys_to_dates(keys: dg.PartitionKeyRange) -> list[dt.date]:
    """Return every day of a range of daily partition keys."""
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
