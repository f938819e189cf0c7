"""Star days: the calendar days by which GitHub counts star histories, and when the count of a day is final.

This module is the only one that reads the time zone and the slack, which `dbt_project.yml` sets and explains. It also
gives the same rule as SQL for queries on raw tables. Pages of history are parsed in `star_history`.

Instants are naive UTC, as in every table. A star day has 23, 24 or 25 hours.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import yaml

from reposignal_pipeline.config import DBT_PROJECT_DIR

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
FIRST_ZONE = 14 * HOUR
"""the largest UTC offset of any zone: a day that has not begun there has not begun anywhere"""


@dataclass(frozen=True)
class StarDays:
    """Calendar days in a time zone; the count of a day is known once the day and then the slack have passed."""

    zone: ZoneInfo
    slack: dt.timedelta

    def local(self, at: dt.datetime) -> dt.datetime:
        """Return the local time of a UTC instant in the zone, without tzinfo."""
        return at.replace(tzinfo=dt.UTC).astimezone(self.zone).replace(tzinfo=None)

    def day_of(self, at: dt.datetime) -> dt.date:
        """Return the star day to which a star given at `at` belongs."""
        return self.local(at).date()

    def begins_at(self, day: dt.date) -> dt.datetime:
        """Return the instant at which a day begins."""
        return dt.datetime.combine(day, dt.time(), self.zone).astimezone(dt.UTC).replace(tzinfo=None)

    def known_at(self, day: dt.date) -> dt.datetime:
        """Return the first instant at which the count of a day is final."""
        return self.begins_at(day + DAY) + self.slack

    def last_known(self, at: dt.datetime) -> dt.date:
        """Return the last day whose count was final at `at`."""
        return self.day_of(at - self.slack) - DAY

    def last_known_sql(self, at: str) -> str:
        """Return a DuckDB SQL expression for `last_known`; it equals the dbt macro `last_known_star_day`."""
        minutes = int(self.slack.total_seconds() // 60)
        local = f"timezone('{self.zone.key}', timezone('UTC', {at} - interval {minutes} minutes))"
        return f"({local}::date - 1)"

    def hours_until_known(self, year: int) -> int:
        """Return the whole hours after the end of its UTC date by which every day of a year is known."""
        days = (dt.date(year, 1, 1) + n * DAY for n in range(366))
        waits = (self.known_at(day) - dt.datetime.combine(day + DAY, dt.time()) for day in days)
        return -(max(waits) // -HOUR)


def _configured() -> StarDays:
    variables = yaml.safe_load((DBT_PROJECT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    return StarDays(ZoneInfo(variables["star_day_zone"]), dt.timedelta(minutes=variables["star_day_slack_minutes"]))


STAR_DAYS = _configured()
