"""Loads totals of the tracked repositories and star histories from GitHub's API into raw tables."""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import dagster as dg
import dlt as dlthub
import duckdb
from dagster_dlt import dlt_assets

from reposignal_pipeline.config import DBT_PROJECT_DIR, SAMPLE_FIRST_DAY, SAMPLE_LAST_DAY
from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.ingest import RANKINGS
from reposignal_pipeline.defs.loading import IngestTranslator, Loader
from reposignal_pipeline.defs.partitions import OWNERS, days, keys_to_dates
from reposignal_pipeline.defs.resources import github_pool, ingest_backfills, raw_pipeline, settings
from reposignal_pipeline.sources.discovery import read_rules, read_watchlist
from reposignal_pipeline.sources.github import GitHub
from reposignal_pipeline.sources.schemas import github_source, utc_now
from reposignal_pipeline.sources.star_days import STAR_DAYS
from reposignal_pipeline.sources.star_history import DAILY_REQUESTS, Reads, fresh_weeks, plan, read
from reposignal_pipeline.sources.transport import UpstreamError
from reposignal_pipeline.sources.universe import Outcome, cycle, members, state
from reposignal_pipeline.warehouse import Warehouse

REPOSITORIES, STAR_HISTORY = dg.AssetKey("repositories"), dg.AssetKey("star_history")
DAY = dt.timedelta(days=1)
NOT_CONFIGURED = "nothing: not configured. Set GITHUB_TOKEN, or for a few repositories only REPOSIGNAL_WATCHLIST"
ROWS_A_LOAD = 3_000
"""A load takes about a second of CPU at any size, and a killed run loses at most one load."""
SAMPLE_HOUR = dt.time(0, 30)
"""time on the following day at which the sample's totals are read; its histories are read once the day is final"""


class GithubConfig(dg.Config):
    """Options of a run on GitHub's API."""

    only_missing: bool = False
    """Skip days on which every member was observed, so that a backfill continues where it stopped."""
    patience_minutes: float = 2.0
    """Longest wait for a rate limit; after that the run ends, and the next run continues."""


class StarHistoryConfig(GithubConfig):
    """Options of a run on star histories. Days that are already loaded are not requested again."""

    reread: bool = False
    """Request loaded days too, because an unstar lowers the count of a past day."""
    daily_requests: int = DAILY_REQUESTS
    """Request budget of a normal day for repositories that were read before."""


class _Api:
    """GitHub's API, or the sample's API, whose clock is set to the current cycle."""

    def __init__(self, base: str, set_clock: Callable[[dt.datetime], None] | None = None) -> None:
        self.base = base
        self._set_clock = set_clock

    def observable(self, asked: list[dt.date]) -> list[dt.date]:
        """Return the days whose totals can be observed; GitHub returns only current totals."""
        if self._set_clock:
            return [day for day in asked if SAMPLE_FIRST_DAY <= day <= SAMPLE_LAST_DAY]
        return [day for day in asked if day == utc_now().date() - DAY]

    def begin_totals(self, day: dt.date) -> None:
        """Set the sample's clock to the moment at which the totals of a day are read."""
        if self._set_clock:
            self._set_clock(dt.datetime.combine(day + DAY, SAMPLE_HOUR))

    def begin_histories(self, day: dt.date) -> dt.datetime:
        """Return the time at which histories are read for the cycle of `day`: now, or the earliest with the sample."""
        if self._set_clock is None:
            return utc_now()
        day = min(day, SAMPLE_LAST_DAY)
        now = max(STAR_DAYS.known_at(day), dt.datetime.combine(day + DAY, SAMPLE_HOUR))
        self._set_clock(now)
        return now


@contextmanager
def _api() -> Iterator[_Api]:
    if settings.github_api_base is not None:
        yield _Api(settings.github_api_base)
        return
    from reposignal_pipeline.sample.github_api import GitHubApi
    from reposignal_pipeline.sample.github_world import sample_world

    begin = dt.datetime.combine(SAMPLE_FIRST_DAY + DAY, SAMPLE_HOUR)
    with GitHubApi(sample_world(), now=begin, tokens=dict.fromkeys(settings.github_tokens, 5000)) as api:
        yield _Api(api.base, lambda now: setattr(api, "now", now))


@contextmanager
def _github(
    api: _Api, runner: asyncio.Runner, config: GithubConfig, context: dg.AssetExecutionContext
) -> Iterator[GitHub]:
    github = GitHub(
        api.base,
        settings.github_tokens,
        requests_a_minute=settings.requests_a_minute,
        patience_seconds=config.patience_minutes * 60,
        log=context.log.info,
    )
    runner.run(github.__aenter__())
    try:
        yield github
    finally:
        runner.run(github.__aexit__(None, None, None))


@dlt_assets(
    dlt_source=dlthub.source(lambda: github_source("repositories"), name="repositories")(),
    dlt_pipeline=raw_pipeline("repositories"),
    name="repositories",
    partitions_def=days,
    backfill_policy=ingest_backfills,
    dagster_dlt_translator=IngestTranslator(
        [dg.AssetKey("github_api"), RANKINGS],
        "Daily totals and attributes of every tracked repository; entries of repositories and their exits.",
    ),
    pool=github_pool,
)
def repositories(
    context: dg.AssetExecutionContext, config: GithubConfig, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Run the cycle of every day of this run whose totals can be observed, normally yesterday."""
    asked = keys_to_dates(context.partition_key_range)
    if "repositories" not in settings.sources:
        context.log.warning(NOT_CONFIGURED)
        yield dg.MaterializeResult(asset_key=REPOSITORIES, metadata={"loaded": NOT_CONFIGURED})
        return
    loader = Loader("repositories", partial(github_source, "repositories"), context, warehouse)
    rules = read_rules(DBT_PROJECT_DIR / "seeds" / "discovery_rules.csv")
    watchlist, complaints = read_watchlist(settings.watchlist) if settings.watchlist else ([], [])
    for complaint in complaints:
        context.log.warning(complaint)
    outcomes: dict[dt.date, Outcome] = {}
    with _api() as api, asyncio.Runner() as runner, _github(api, runner, config, context) as github:
        observable = api.observable(asked)
        if config.only_missing:
            observed = warehouse.observed_days("repositories")
            observable = [day for day in observable if day not in observed]
        for day in observable:
            api.begin_totals(day)
            with loader.writing(), warehouse.connected() as connection:
                known = state(connection, day)
                noted = _noted(connection, "repositories")
            spent = dict(github.spent.requests)
            outcome = outcomes[day] = Outcome()
            batches = cycle(github, known, outcome, rules=rules, watchlist=watchlist, size=settings.universe_size)
            waiting: dict[str, list[dict[str, Any]]] = {"universe_changes": [], "repositories": []}
            for tables in _each(runner, batches):
                for table, rows in tables.items():
                    waiting[table] += rows
                progress.reach(outcome.answered, len(outcome.tracked), f"repositories on {day}")
                if len(waiting["repositories"]) >= ROWS_A_LOAD:
                    loader.load({table: loader.stamp(rows, day=day) for table, rows in waiting.items()})
                    waiting = {table: [] for table in waiting}
            requests = {kind: count - spent.get(kind, 0) for kind, count in github.spent.requests.items()}
            if requests or day not in noted:
                load_record = {"repositories_days": [_load_record(day, outcome, requests, context.run_id)]}
                loader.load({table: loader.stamp(rows, day=day) for table, rows in waiting.items()} | load_record)
            if outcome.failure:
                context.log.warning("%s: %s", day, outcome.reason)
                break
        totals = sum(outcome.states["public"] for outcome in outcomes.values())
        yield dg.MaterializeResult(
            asset_key=REPOSITORIES,
            metadata={
                "loaded": f"{totals:,} totals; days: {len(outcomes):,}",
                "dagster/partition_row_count": totals,
                "days_asked": len(asked),
                "days_observable": len(observable),
                "cycles": {str(day): _outcome_metadata(outcome) for day, outcome in list(outcomes.items())[-31:]},
                "watchlist_complaints": complaints[:50],
                **_spent(github),
            },
        )


@dlt_assets(
    dlt_source=dlthub.source(lambda: github_source("star_history"), name="star_history")(),
    dlt_pipeline=raw_pipeline("star_history"),
    name="star_history",
    partitions_def=days,
    backfill_policy=ingest_backfills,
    dagster_dlt_translator=IngestTranslator(
        [dg.AssetKey("github_api"), REPOSITORIES],
        "Stars gained by repository and day that were still held when read; every revision is kept.",
    ),
    pool=github_pool,
)
def star_history(
    context: dg.AssetExecutionContext, config: StarHistoryConfig, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Read the missing pages of the days of this run; for yesterday alone, those within the request budget."""
    asked = keys_to_dates(context.partition_key_range)
    if "star_history" not in settings.sources:
        context.log.warning(NOT_CONFIGURED)
        yield dg.MaterializeResult(asset_key=STAR_HISTORY, metadata={"loaded": NOT_CONFIGURED})
        return
    loader = Loader("star_history", partial(github_source, "star_history"), context, warehouse)
    with _api() as api, asyncio.Runner() as runner, _github(api, runner, config, context) as github:
        now = api.begin_histories(asked[-1])
        day = now.date() - DAY
        with loader.writing(), warehouse.connected() as connection:
            tracked = members(connection, day)
            budget, reread = config.daily_requests, config.reread
            planned = plan(connection, tracked, asked[0], asked[-1], now=now, budget=budget, reread=reread)
            noted = _noted(connection, "star_history")
        context.log.info("plan: %s", planned.in_words)
        answered, unreadable = 0, []
        failure = None if tracked else "no repository is tracked yet: load the totals first"
        batches = read(github, planned.asks)
        progress.reach(0, len(planned.asks), "pages")
        try:
            for reads in _each(runner, batches):
                answers = {(row["repo_id"], row["page"]): row for row in reads.reads}
                answered += len(answers)
                unreadable += [row["reason"] for row in answers.values() if row["status"] in ("unreadable", "empty")]
                _load_reads(loader, warehouse, reads)
                progress.reach(answered, len(planned.asks), "pages")
        except UpstreamError as error:
            failure = f"{error}; {len(planned.asks) - answered:,} of {len(planned.asks):,} pages not reached"
        if unreadable and not failure:
            failure = (
                f"{len(unreadable):,} of {len(planned.asks):,} pages could not be read, the first: {unreadable[0]}"
            )
        is_too_early = asked[-1] >= day > STAR_DAYS.last_known(now)
        if is_too_early and not failure:
            failure = (
                f"not reached: GitHub counts stars of {day} until {STAR_DAYS.begins_at(day + DAY):%m-%d %H:%M} UTC"
                f" ({STAR_DAYS.zone}); run it again from {STAR_DAYS.known_at(day):%H:%M} UTC on"
            )
        if failure:
            context.log.warning(failure)
        load_record = {
            "day": day,
            "status": "observed" if failure is None else "partial" if answered and not is_too_early else "not_observed",
            "reason": f"{failure}; {planned.in_words}" if failure else planned.in_words,
            "expected": planned.tracked,
            "asked": len(planned.asks),
            "answered": answered,
            "left_out": planned.left_out,
            "rest_requests": sum(github.spent.requests.values()),
            "run_id": context.run_id,
            "fetched_at": utc_now(),
        }
        if planned.asks or day not in noted:
            loader.load({"star_history_days": [load_record]})
        yield dg.MaterializeResult(
            asset_key=STAR_HISTORY,
            metadata={
                "loaded": f"{answered:,} of {planned.in_words}",
                "plan": planned.in_words,
                "pages_answered": answered,
                "failure": failure or "none",
                **_spent(github),
            },
        )


def _load_reads(loader: Loader, warehouse: Warehouse, reads: Reads) -> None:
    with loader.writing():
        with warehouse.connected() as connection:
            weeks = fresh_weeks(connection, loader.stamp(reads.weeks), utc_now())
        loader.load_writing(
            {
                "star_history": weeks,
                "star_history_reads": loader.stamp(reads.reads),
                "star_history_quarantine": loader.stamp(reads.quarantine),
            }
        )


def _each(runner: asyncio.Runner, batches: Any) -> Iterator[Any]:
    """Yield the items of an asynchronous generator; the event loop is paused between items."""
    while True:
        try:
            yield runner.run(anext(batches))
        except StopAsyncIteration:
            return


def _noted(connection: duckdb.DuckDBPyConnection, source: str) -> frozenset[dt.date]:
    """Return the days that already have a load record; a run without requests must not overwrite it."""
    days_noted = connection.execute(f"select day from pipeline.{source}.{source}_days").fetchall()
    return frozenset(day for (day,) in days_noted)


def _load_record(day: dt.date, outcome: Outcome, requests: Mapping[str, int], run_id: str) -> dict[str, Any]:
    reasons = [outcome.reason, *outcome.gaps]
    return {
        "day": day,
        "status": outcome.status,
        "reason": "; ".join(reason for reason in reasons if reason) or None,
        "expected": len(outcome.tracked),
        "observed": outcome.states["public"],
        "answered": outcome.answered,
        "graphql_queries": requests.get("graphql", 0),
        "rest_requests": sum(requests.values()) - requests.get("graphql", 0),
        "is_swept": outcome.is_swept,
        "run_id": run_id,
        "fetched_at": utc_now(),
    }


def _outcome_metadata(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "tracked": len(outcome.tracked),
        **outcome.states,
        "entered": outcome.entered,
        "left": outcome.left,
        "reason": outcome.reason,
        "gaps": outcome.gaps[:20],
    }


def _spent(github: GitHub) -> dict[str, Any]:
    spent = github.spent
    return {
        **{f"requests_{kind}": count for kind, count in spent.requests.items()},
        "requests_not_modified": spent.not_modified,
        "retries": spent.retries,
        "waited_seconds": round(spent.waited_seconds, 1),
        "tokens_refused": spent.tokens_refused,
    }


github_api = dg.AssetSpec(
    "github_api",
    description="The upstream: totals by GraphQL, star histories and search by REST.",
    group_name="upstream",
    owners=OWNERS,
    kinds={"github"},
)


def _complete(context: dg.AssetCheckExecutionContext, warehouse: Warehouse, source: str) -> dg.AssetCheckResult:
    """Return a check result with every day of a source that this run left incomplete, and the reasons."""
    with (
        warehouse.writing(f"run {context.run.run_id}: check", context.log, of=source),
        warehouse.connected() as connection,
    ):
        rows = connection.execute(
            f"select day, reason from pipeline.{source}.{source}_days"
            " where run_id = ? and status <> 'observed' order by day",
            [context.run.run_id],
        ).fetchall()
    incomplete = [f"{source}, {day}: {reason}" for day, reason in rows]
    return dg.AssetCheckResult(passed=not incomplete, metadata={"incomplete": incomplete[:50]})


@dg.asset_check(asset=REPOSITORIES, description="Every tracked repository was observed.")
def every_member_answered(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Pass if no cycle of this run ended early."""
    return _complete(context, warehouse, "repositories")


@dg.asset_check(asset=STAR_HISTORY, description="Every planned page was read.")
def every_page_answered(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Pass if the plan of this run was completed."""
    return _complete(context, warehouse, "star_history")
