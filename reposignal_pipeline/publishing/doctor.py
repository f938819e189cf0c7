"""Health checks: configuration, reachability, freshness and coverage of each source, and the published copy.

This module defines the checks and their thresholds. It repairs nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import duckdb

from reposignal_pipeline.config import SAMPLE_LAST_DAY, Settings
from reposignal_pipeline.publishing.answers import AnswerError, opened
from reposignal_pipeline.sources.discovery import read_watchlist
from reposignal_pipeline.sources.gh_archive import file_name as hour_file_name
from reposignal_pipeline.sources.gh_archive import hours_of
from reposignal_pipeline.sources.github import GitHub, TokenLimits
from reposignal_pipeline.sources.rankings import file_name
from reposignal_pipeline.sources.transport import Upstream, UpstreamError, shown
from reposignal_pipeline.trouble import damaged_database, damaged_record, holder_of, line_of

STALE_AFTER_DAYS = 3
"""The upstream sometimes skips up to three days in normal operation."""
LOOK_BACK_DAYS = 28
LEAST_COVERAGE = 0.95
LEAST_ARCHIVE_COVERAGE = 0.8
"""same threshold as `low_coverage` in the models; weekends and bursts of pushes also lower the share of stars"""

HEADERS_BYTES = 3 * 4096
"""size of the headers of a DuckDB file, which precede its blocks"""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    subject: str
    is_well: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Return the results of all checks, in the order in which problems would arise."""
    today = dt.datetime.now(dt.UTC).date()
    newest = SAMPLE_LAST_DAY if settings.profile.is_sample else today - dt.timedelta(days=1)
    findings = [
        Finding("configuration", True, _configuration(settings)),
        *_lake(settings),
        _reachability(settings, newest),
        Finding("rankings rate limit", True, "none: plain files, no token"),
        *_archive_reachability(settings, newest),
        *_watchlist(settings),
        *_github(settings),
        *_files(settings),
    ]
    try:
        with opened(settings) as connection:
            return [*findings, *_published(settings, connection, newest)]
    except AnswerError as error:
        return [*findings, Finding("published copy", False, str(error))]
    except duckdb.Error as error:
        return [*findings, Finding("published copy", False, line_of(error, settings.home))]


def _files(settings: Settings) -> list[Finding]:
    """Return whether the warehouse files, the published file and the record of runs can be opened."""
    findings = []
    files = {
        "raw tables": settings.pipeline_db,
        "marts": settings.marts_db,
        "published file": settings.published_db.resolve(),
    }
    for name, path in files.items():
        if not path.exists():
            continue
        is_well, text = _opens(path, settings)
        findings.append(Finding(name, is_well, text))
    if damage := damaged_record(settings.home):
        findings.append(Finding("record of runs", False, damage))
    return findings


def _opens(path: Path, settings: Settings) -> tuple[bool, str]:
    """Return (whether a DuckDB file can be opened and has all its blocks, a description)."""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            (tables,) = connection.execute("select count(*) from duckdb_tables()").fetchone() or (0,)
            (blocks,) = connection.execute(
                "select coalesce(max(total_blocks * block_size), 0) from pragma_database_size()"
            ).fetchone() or (0,)
    except duckdb.Error as error:
        if holder := holder_of(str(error)):
            return True, f"in use by {holder}, not checked"
        return False, line_of(error, settings.home)
    if path.stat().st_size < HEADERS_BYTES + blocks:
        return False, damaged_database(str(path), settings.home)
    return True, f"{path}: {tables:,} tables, {path.stat().st_size / 1e6:,.1f} MB"


def unreached(settings: Settings, day: dt.date) -> list[str]:
    """Return, from the published copy, what the cycle of `day` did not reach; empty if nothing is missing.

    Raises:
        AnswerError: nothing is published yet.
    """
    with opened(settings) as connection:
        rows = connection.execute(
            """
            select source, reason from ops_source_coverage
            where day = ? and source in ('repositories', 'star_history')
                and (status = 'not_observed' or reason like '%not reached%')
            """,
            [day],
        ).fetchall()
    return [f"{source}: {reason}" for source, reason in rows]


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


def _archive_reachability(settings: Settings, newest: dt.date) -> list[Finding]:
    """Return whether a recent hour of the archive exists; checked only if the archive is read daily."""
    if settings.gh_archive_base is None:
        use = "the sample has none" if settings.profile.is_sample else "not read daily, only for backfills"
        return [Finding("gh_archive", True, f"{use}, unless REPOSIGNAL_GH_ARCHIVE_URL is set")]
    base = shown(settings.gh_archive_base)
    try:
        upstream = Upstream(settings.gh_archive_base)
        for age in range(STALE_AFTER_DAYS + 1):
            name = hour_file_name(hours_of(newest - dt.timedelta(days=age))[0])
            if upstream.has(name):
                return [Finding("gh_archive upstream", True, f"{base}: {name}")]
    except UpstreamError as error:
        return [Finding("gh_archive upstream", False, str(error))]
    missing = f"no file of hour 0 for {newest} nor the {STALE_AFTER_DAYS} days before"
    return [Finding("gh_archive upstream", False, f"{base}: {missing}")]


def _configuration(settings: Settings) -> str:
    tokens = f"{len(settings.github_tokens)} token{'' if len(settings.github_tokens) == 1 else 's'}"
    return f"profile {settings.profile}, home {settings.home}, sources {', '.join(settings.sources)}, {tokens}"


def _lake(settings: Settings) -> list[Finding]:
    """Return whether the catalog and the data of the lake can be read, with the size of each lake."""
    if settings.lake is None:
        return []
    from reposignal_pipeline.lake.catalog import Lake, LakeError, check
    from reposignal_pipeline.lake.upkeep import standing

    try:
        lake = Lake(settings)
        check(lake.place)
        states = standing(lake)
    except (LakeError, duckdb.Error) as error:
        return [Finding("lake", False, " ".join(str(error).split())[:300])]
    sizes = "; ".join(f"{state.lake} {state.files:,} files, {state.size_bytes / 1e6:,.0f} MB" for state in states)
    return [Finding("lake", True, f"{lake.place.catalog}, {lake.place.data}: {sizes}")]


def _watchlist(settings: Settings) -> list[Finding]:
    if settings.watchlist is None:
        return []
    names, complaints = read_watchlist(settings.watchlist)
    invalid = "; ".join(complaints[:3]) + (f"; {len(complaints) - 3:,} more" if len(complaints) > 3 else "")
    text = f"{settings.watchlist}: {len(names):,} names; {invalid or 'all valid'}"
    return [Finding("watchlist", not complaints, text)]


def _github(settings: Settings) -> list[Finding]:
    """Return whether the API responds and each token has quota left; this costs no quota."""
    if "repositories" not in settings.sources:
        return [Finding("github", True, "not configured: set GITHUB_TOKEN (docs/sources.md)")]
    if settings.github_api_base is None:
        return [Finding("github upstream", True, "the embedded sample's API, started by each run")]
    base = shown(settings.github_api_base)
    try:
        limits = asyncio.run(_limits(settings))
    except UpstreamError as error:
        return [Finding("github upstream", False, str(error))]
    return [
        Finding("github upstream", True, base),
        *(Finding(f"github {token.name}", _has_some_left(token), _limits_text(token)) for token in limits),
    ]


async def _limits(settings: Settings) -> list[TokenLimits]:
    assert settings.github_api_base
    async with GitHub(settings.github_api_base, settings.github_tokens, patience_seconds=0) as github:
        return await github.rate_limits()


def _has_some_left(token: TokenLimits) -> bool:
    return not token.is_refused and all(limit.remaining > 0 for limit in token.limits.values())


def _limits_text(token: TokenLimits) -> str:
    if token.is_refused:
        return "refused (401): revoked or mistyped"
    return "; ".join(
        f"{name} {limit.remaining:,} of {limit.limit:,} left, renewed {limit.resets_at:%H:%M} UTC"
        for name, limit in token.limits.items()
    )


def _published(settings: Settings, connection: duckdb.DuckDBPyConnection, newest: dt.date) -> list[Finding]:
    (set_aside,) = connection.execute("select count(*) from ops_quarantine").fetchone() or (0,)
    (last_run, status) = connection.execute(
        "select finished_at, status from ops_run order by started_at desc limit 1"
    ).fetchone() or (None, "no run")
    findings = _rankings(connection, newest)
    if "repositories" in settings.sources:
        findings += [*_universe(settings, connection), *_newest_cycle(connection, newest)]
    return [
        *findings,
        *_archive(connection),
        Finding("quarantine", True, f"{set_aside:,} rows or files quarantined (ops_quarantine)"),
        Finding("published copy", True, f"last run ended {last_run} UTC, {status}"),
    ]


def _universe(settings: Settings, connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    (tracked, entered, left) = connection.execute(
        f"""
        select
            count(*) filter (left_on is null),
            count(*) filter (entered_on > (select max(day) from fct_repo_day) - {LOOK_BACK_DAYS}),
            count(*) filter (left_on > (select max(day) from fct_repo_day) - {LOOK_BACK_DAYS})
        from dim_universe
        """
    ).fetchone() or (0, 0, 0)
    lately = f"last {LOOK_BACK_DAYS} days: {entered:,} entered, {left:,} left"
    return [Finding("universe", tracked > 0, f"{tracked:,} of {settings.universe_size:,} tracked; {lately}")]


def _newest_cycle(connection: duckdb.DuckDBPyConnection, newest: dt.date) -> list[Finding]:
    """Return how complete the last cycle of each GitHub source was, with its reason if it was not."""
    findings = []
    for source in ("repositories", "star_history"):
        row = connection.execute(
            """
            select day, status, observed, expected, reason from ops_source_coverage
            where source = ? and observed > 0 order by day desc limit 1
            """,
            [source],
        ).fetchone()
        if row is None:
            findings.append(Finding(source, False, "no day was ever observed"))
            continue
        day, status, observed, expected, reason = row
        # star histories are read in turn, so a normal day covers only a part of them
        is_well = (newest - day).days <= 1 and (status == "observed" or source == "star_history")
        findings.append(
            Finding(
                source, is_well, f"{day}: {observed:,} of {expected or 0:,} observed{f'; {reason}' if reason else ''}"
            )
        )
    return findings


def _archive(connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    """Return the loaded days of the archive; always well, because events lost upstream since 2025 cannot be loaded."""
    (days, first, last, low, unjudged) = connection.execute(
        f"""
        select
            count(*) filter (status in ('observed', 'partial')), min(day), max(day),
            count(*) filter (coverage < {LEAST_ARCHIVE_COVERAGE}),
            count(*) filter (coverage is null and status in ('observed', 'partial'))
        from ops_source_coverage where source = 'gh_archive'
        """
    ).fetchone() or (0, None, None, 0, 0)
    if not days:
        return []
    loaded = f"{days:,} days loaded, {first} to {last}: {low:,} below {LEAST_ARCHIVE_COVERAGE:.0%} of their stars"
    return [Finding("gh_archive coverage", True, f"{loaded}, {unjudged:,} with too little history to judge")]


def _rankings(connection: duckdb.DuckDBPyConnection, newest: dt.date) -> list[Finding]:
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
    ]
