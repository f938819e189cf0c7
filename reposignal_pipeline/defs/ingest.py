"""Loads the ranking files into raw tables; each day is a partition, and one run can load any range of days."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dlt import DagsterDltResource, dlt_assets

from reposignal_pipeline.config import RANKINGS_FIRST_DAY
from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.loading import IngestTranslator
from reposignal_pipeline.defs.partitions import OWNERS, days, keys_to_dates
from reposignal_pipeline.defs.resources import (
    file_pool,
    finish_pending_load,
    ingest_backfills,
    raw_pipeline,
    settings,
)
from reposignal_pipeline.sources.rankings import PARTS, Day, rankings_source, read_days, typed_rows
from reposignal_pipeline.sources.transport import Upstream, UpstreamError
from reposignal_pipeline.warehouse import Warehouse

DAYS_A_LOAD = 60
"""A load takes about a second at any size, and a killed run loses at most one load."""

LONGEST_PLAUSIBLE_GAP_DAYS = 100
"""The longest gap of the upstream is 77 days; a longer range without any file means a wrong URL."""

RANKINGS = dg.AssetKey("rankings")


class IngestConfig(dg.Config):
    """Options for loading a range of days."""

    only_missing: bool = False
    """Skip days that are already loaded, so that a backfill continues where it stopped."""


@dlt_assets(
    dlt_source=rankings_source(),
    dlt_pipeline=raw_pipeline("rankings"),
    name="rankings",
    partitions_def=days,
    backfill_policy=ingest_backfills,
    dagster_dlt_translator=IngestTranslator(
        [dg.AssetKey("github_ranking_files")],
        "Rows of the daily ranking files, with a status for every day and the quarantined rows.",
    ),
    pool=file_pool,
)
def rankings(
    context: dg.AssetExecutionContext,
    config: IngestConfig,
    dlt: DagsterDltResource,
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any]]:
    """Load the days of this run in batches; loaded batches remain if a later one fails."""
    asked = [day for day in keys_to_dates(context.partition_key_range) if day >= RANKINGS_FIRST_DAY]
    with warehouse.writing(f"run {context.run_id}: rankings", context.log, of="rankings"):
        finish_pending_load(raw_pipeline("rankings"))
        observed = warehouse.observed_days("rankings")
    wanted = [day for day in asked if not (config.only_missing and day in observed)]
    loads = [wanted[start : start + DAYS_A_LOAD] for start in range(0, len(wanted), DAYS_A_LOAD)]
    try:
        upstream = Upstream(settings.rankings_base)
        outcomes: list[Day] = []
        metadata: dict[str, Any] = {}
        for load in loads:
            progress.reach(len(outcomes), len(wanted), "days")
            readings = read_days(upstream, load)
            typed = typed_rows(readings)  # before the lock, so that others can load meanwhile
            with warehouse.writing(f"run {context.run_id}: rankings", context.log, of="rankings"), warehouse.loading():
                finish_pending_load(raw_pipeline("rankings"))
                for part in PARTS if warehouse.commits_apart else (None,):
                    source = rankings_source(
                        readings,
                        observed=observed,
                        run_id=context.run_id,
                        typed=typed,
                        parts=(part,) if part else PARTS,
                    )
                    for result in dlt.run(context=context, dlt_source=source, dlt_pipeline=raw_pipeline("rankings")):
                        metadata |= dict(result.metadata or {})
            context.log.info("loaded %s to %s", load[0], load[-1])
            for reading in readings:
                reading.text = None
            outcomes += readings
    except UpstreamError as error:
        # resets and time-outs were already retried; a later run continues with the remaining days
        raise dg.Failure(str(error)) from None
    _fail_without_any_file(outcomes, asked)
    yield dg.MaterializeResult(asset_key=RANKINGS, metadata=_metadata(metadata, outcomes, len(asked)))


def _fail_without_any_file(outcomes: list[Day], asked: list[dt.date]) -> None:
    refused = [day for day in outcomes if day.status == "refused"]
    if refused and len(refused) == len(outcomes):
        raise dg.Failure(str(refused[0].reason))
    # if days were skipped because they are loaded, the URL is right
    is_first_try = len(outcomes) == len(asked)
    if (
        is_first_try
        and len(outcomes) >= LONGEST_PLAUSIBLE_GAP_DAYS
        and all(day.status == "missing" for day in outcomes)
    ):
        base = Upstream(settings.rankings_base).address(f"github-ranking-{asked[0]}.csv")
        raise dg.Failure(f"no file for any of {len(outcomes)} days, the first {base}: check REPOSIGNAL_RANKINGS_URL")


def _metadata(metadata: dict[str, Any], outcomes: list[Day], asked: int) -> dict[str, Any]:
    by_status = {
        status: [day for day in outcomes if day.status == status] for status in ("observed", "missing", "refused")
    }
    places = sum(day.places.get("distinct_places", 0) for day in outcomes)
    counts = {status: len(group) for status, group in by_status.items()}
    counts["loaded before"] = asked - len(outcomes)
    return metadata | {
        "loaded": f"{places:,} places; days: " + ", ".join(f"{n:,} {status}" for status, n in counts.items() if n),
        "dagster/partition_row_count": places,
        "days_asked": asked,
        **{f"days_{status}": len(group) for status, group in by_status.items()},
        "days_left_out": asked - len(outcomes),
        "refused": dg.MetadataValue.md("\n".join(f"- {day.reason}" for day in by_status["refused"][:50]) or "none"),
    }


ranking_files = dg.AssetSpec(
    "github_ranking_files",
    description="The upstream: one CSV file per day, taken at about 03:00-04:30 UTC, since 2018-12-18.",
    group_name="upstream",
    owners=OWNERS,
    kinds={"csv"},
)


@dg.asset_check(asset=RANKINGS, description="No file of this run's days was refused.")
def no_file_refused(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Fail with the reasons if this run refused files; the run itself continues without them."""
    with (
        warehouse.writing(f"run {context.run.run_id}: check", context.log, of="rankings"),
        warehouse.connected() as connection,
    ):
        reasons = connection.execute(
            """
            select reason from pipeline.rankings.rankings_quarantine
            where is_whole_file and run_id = ? order by snapshot_date
            """,
            [context.run.run_id],
        ).fetchall()
    refused = [reason for (reason,) in reasons]
    return dg.AssetCheckResult(passed=not refused, metadata={"refused": refused[:50], "files_refused": len(refused)})
