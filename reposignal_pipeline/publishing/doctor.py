"""Is everything well: configuration, reachability, freshness and coverage of each source, the published copy.

Here: the examination and its thresholds. Not here: mending.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb

from reposignal_pipeline.config import SAMPLE_LAST_DAY, Profile, Settings
from reposignal_pipeline.publishing.answers import AnswerError, opened
from reposignal_pipeline.sources.rankings import file_name
from reposignal_pipeline.sources.transport import Upstream, UpstreamError, shown

STALE_AFTER_DAYS = 3
"""The upstream has skipped up to three days now and then without being ill."""
LOOK_BACK_DAYS = 28
LEAST_COVERAGE = 0.95


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    subject: str
    is_well: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Return what was found, well or not, in the order in which trouble would arise."""
    today = dt.datetime.now(dt.UTC).date()
    newest = SAMPLE_LAST_DAY if settings.profile is Profile.DEMO else today - dt.timedelta(days=1)
    findings = [
        Finding("configuration", True, f"profile {settings.profile}, home {settings.home}"),
        _reachability(settings, newest),
        Finding("rankings rate limit", True, "none: plain files, no token"),
    ]
    try:
        with opened(settings) as connection:
            return [*findings, *_published(connection, newest)]
    except AnswerError as error:
        return [*findings, Finding("published copy", False, str(error))]


def _reachability(settings: Settings, newest: dt.date) -> Finding:
    base = shown(settings.rankings_base)
    try:
        upstream = Upstream(settings.rankings_base)
        for age in range(STALE_AFTER_DAYS + 1):
            name = file_name(newest - dt.timedelta(days=age))
            if content := upstream.read(name):
                return Finding("rankings upstream", True, f"{base}: {name}, {len(content):,} bytes")
    except UpstreamError as error:
        return Finding("rankings upstream", False, str(error))
    return Finding("rankings upstream", False, f"{base}: no file for {newest} nor the {STALE_AFTER_DAYS} days before")


def _published(connection: duckdb.DuckDBPyConnection, newest: dt.date) -> list[Finding]:
    (last, first) = connection.execute(
        "select max(day), min(day) from ops_source_coverage where source = 'rankings' and status = 'observed'"
    ).fetchone() or (None, None)
    if last is None:
        return [Finding("rankings freshness", False, "no day was ever observed")]
    age = (newest - last).days
    counts = dict(
        connection.execute(
            "select status, count(*) from ops_source_coverage where source = 'rankings' group by status order by status"
        ).fetchall()
    )
    (low, lowest) = connection.execute(
        """
        select count(*) filter (coverage < $1 or status in ('refused', 'not_loaded')), min(coverage)
        from ops_source_coverage where source = 'rankings' and day > $2::date - $3::integer
        """,
        [LEAST_COVERAGE, last, LOOK_BACK_DAYS],
    ).fetchone() or (0, None)
    (set_aside,) = connection.execute("select count(*) from ops_quarantine").fetchone() or (0,)
    (last_run, status) = connection.execute(
        "select finished_at, status from ops_run order by started_at desc limit 1"
    ).fetchone() or (None, "no run")
    days = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    return [
        Finding(
            "rankings freshness", age <= STALE_AFTER_DAYS, f"last observed {last}, {max(age, 0)} days before {newest}"
        ),
        Finding(
            "rankings coverage",
            low == 0,
            f"last {LOOK_BACK_DAYS} days: {low} low, lowest {lowest}; since {first}: {days}",
        ),
        Finding("quarantine", True, f"{set_aside:,} rows or files set aside (ops_quarantine)"),
        Finding("published copy", True, f"of run ended {last_run} UTC, {status}"),
    ]
