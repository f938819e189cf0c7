"""Loads GH Archive's hourly files into raw tables; each day is a partition, and one run can load any range of days."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import dlt as dlthub
import numpy as np
from dagster_dlt import dlt_assets

from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.loading import IngestTranslator, Loader
from reposignal_pipeline.defs.partitions import OWNERS, days, keys_to_dates
from reposignal_pipeline.defs.resources import file_pool, ingest_backfills, raw_pipeline, settings
from reposignal_pipeline.sources.gh_archive import (
    Batch,
    actor_key,
    batches,
    clear,
    file_name,
    gh_archive_source,
    held_ids,
    hours_of,
    read_hours,
    standing,
)
from reposignal_pipeline.sources.transport import Upstream, UpstreamError
from reposignal_pipeline.warehouse import Warehouse

GH_ARCHIVE = dg.AssetKey("gh_archive")
NOT_CONFIGURED = (
    "nothing: not configured. A day is gigabytes: set REPOSIGNAL_GH_ARCHIVE_URL, or run `reposignal backfill`"
)
LONGEST_PLAUSIBLE_GAP_DAYS = 30
"""The longest gap of the upstream is 6 days; a longer range without any file means a wrong URL."""


class GhArchiveConfig(dg.Config):
    """Options for loading a range of days."""

    only_missing: bool | None = None
    """Skip days whose hours are all loaded. By default this is true for a range, so that it continues where it stopped,
    and false for a single day, so that it is read again."""


@dlt_assets(
    dlt_source=dlthub.source(gh_archive_source, name="gh_archive")(),
    dlt_pipeline=raw_pipeline("gh_archive"),
    name="gh_archive",
    partitions_def=days,
    backfill_policy=ingest_backfills,
    dagster_dlt_translator=IngestTranslator(
        [dg.AssetKey("gh_archive_files")],
        "Star events of the hourly files, with a status and the mix of events for every hour; accounts only as a hash.",
    ),
    pool=file_pool,
)
def gh_archive(
    context: dg.AssetExecutionContext, config: GhArchiveConfig, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Load the days of this run in batches; loaded batches remain if a later one fails."""
    asked = keys_to_dates(context.partition_key_range)
    if settings.gh_archive_base is None:
        context.log.warning(NOT_CONFIGURED)
        yield dg.MaterializeResult(asset_key=GH_ARCHIVE, metadata={"loaded": NOT_CONFIGURED})
        return
    loader = Loader("gh_archive", gh_archive_source, context, warehouse)
    with loader.writing():
        only_missing = len(asked) > 1 if config.only_missing is None else config.only_missing
        loaded = warehouse.observed_days("gh_archive") if only_missing else frozenset()
        wanted = [day for day in asked if day not in loaded]
        with warehouse.connected() as connection:
            known = standing(connection, asked[0], asked[-1])

    def kept_ids(file_hours: Sequence[dt.datetime]) -> np.ndarray:
        with loader.writing(), warehouse.connected() as connection:
            return held_ids(connection, file_hours)

    outcomes: Counter[str] = Counter()
    stars = 0
    unheard: list[str] = []
    try:
        upstream = Upstream(settings.gh_archive_base)
        hours = read_hours(
            upstream,
            (hour for day in wanted for hour in hours_of(day)),
            actor_key(settings.actor_key_file),
            through=settings.warehouse_dir,
        )
        hours_wanted, hours_read = sum(len(hours_of(day)) for day in wanted), 0
        progress.reach(0, hours_wanted, "hours")
        for batch in batches(hours, known, context.run_id, kept_ids):
            _load(loader, warehouse, batch)
            outcomes.update(batch.tables["gh_archive_hours"]["status"].to_pylist())
            unheard += batch.unheard
            stars += batch.tables["gh_archive"].num_rows
            hours_read += batch.hours
            progress.reach(hours_read, hours_wanted, "hours")
            context.log.info("loaded %s hours to %s", batch.hours, batch.ends_on)
            for reason in batch.unheard:
                context.log.warning(reason)
    except UpstreamError as error:
        # failures were already retried; a later run continues with the remaining days
        raise dg.Failure(str(error)) from None
    if len(wanted) >= LONGEST_PLAUSIBLE_GAP_DAYS and set(outcomes) == {"missing"}:
        first = upstream.address(file_name(hours_of(wanted[0])[0]))
        raise dg.Failure(
            f"no file for any hour of {len(wanted)} days, the first {first}: check REPOSIGNAL_GH_ARCHIVE_URL"
        )
    read = ", ".join(f"{count:,} {status}" for status, count in outcomes.items())
    yield dg.MaterializeResult(
        asset_key=GH_ARCHIVE,
        metadata={
            "loaded": f"{stars:,} stars; hours: {read or 'none'}; days loaded before: {len(asked) - len(wanted):,}",
            "dagster/partition_row_count": stars,
            "days_asked": len(asked),
            "days_left_out": len(asked) - len(wanted),
            **{f"hours_{status}": count for status, count in outcomes.items()},
            "hours_left_as_they_stood": unheard[:50],
        },
    )


def _load(loader: Loader, warehouse: Warehouse, batch: Batch) -> None:
    with loader.writing():
        if batch.replaced:
            with warehouse.connected() as connection:
                clear(connection, batch)
        loader.load_writing(batch.tables)


gh_archive_files = dg.AssetSpec(
    "gh_archive_files",
    description="The upstream: one gzip file of all public events per hour, since 2011-02-12.",
    group_name="upstream",
    owners=OWNERS,
    kinds={"json"},
)


@dg.asset_check(asset=GH_ARCHIVE, description="Every published file of this run's hours was read completely.")
def every_file_read(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Fail with the reasons if files were cut, damaged or not reached; the run itself continues without them."""
    with (
        warehouse.writing(f"run {context.run.run_id}: check", context.log, of="gh_archive"),
        warehouse.connected() as connection,
    ):
        rows = connection.execute(
            """
            select reason from pipeline.gh_archive.gh_archive_hours
            where run_id = ? and status not in ('observed', 'missing') order by file_hour
            """,
            [context.run.run_id],
        ).fetchall()
    reasons = [reason for (reason,) in rows]
    return dg.AssetCheckResult(passed=not reasons, metadata={"incomplete": reasons[:50], "files": len(reasons)})
