"""Upkeep of the lake as assets, in the profiles that have one: compaction, expiry of snapshots, orphaned files.

Each is safe while others read and write: it takes the locks of those who write the same tables, one schema at a time,
and deletes nothing that a query may still read.
"""

from typing import Any

import dagster as dg

from reposignal_pipeline.defs.partitions import OWNERS
from reposignal_pipeline.defs.resources import settings
from reposignal_pipeline.lake import upkeep
from reposignal_pipeline.lake.catalog import Lake
from reposignal_pipeline.warehouse import Warehouse

POOL = "housekeeping"
GROUP = "housekeeping"


class ExpiryConfig(dg.Config):
    """For how long the past can be asked."""

    keep_days: float = upkeep.KEEP_DAYS
    """of every snapshot"""
    keep_release_days: float = upkeep.KEEP_RELEASE_DAYS
    """of snapshots that were published"""


class CleaningConfig(dg.Config):
    """Which files are let alone."""

    grace_hours: float = upkeep.GRACE_HOURS
    """younger ones: a query may read them, a commit may be on its way"""


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"ducklake"},
    pool=POOL,
    description="Small files merged, files with many deleted rows written anew.",
)
def lake_compaction(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Compact every table, a schema at a time."""
    lake = _lake(warehouse)
    before = upkeep.standing(lake)
    done = upkeep.compact(lake, context.log)
    after = upkeep.standing(lake)
    return dg.MaterializeResult(
        metadata={
            **{f"{name}_files_taken": count for name, count in done.items()},
            **{f"{state.lake}_files_before": state.files for state in before},
            **{f"{state.lake}_files": state.files for state in after},
        }
    )


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"ducklake"},
    pool=POOL,
    deps=[lake_compaction],
    description="Snapshots older than a week forgotten, but those published.",
)
def lake_expiry(
    context: dg.AssetExecutionContext, config: ExpiryConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Expire snapshots; their files wait for `lake_orphans`."""
    expired = upkeep.expire(_lake(warehouse), context.log, config.keep_days, config.keep_release_days)
    return dg.MaterializeResult(metadata={f"{name}_expired": count for name, count in expired.items()})


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"ducklake"},
    pool=POOL,
    deps=[lake_expiry],
    description="Files deleted that no snapshot needs or no commit ever named.",
)
def lake_orphans(config: CleaningConfig, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[Any]:
    """Delete what expiry and compaction let go, and what killed writers left, once it is a day old."""
    deleted = upkeep.clean(_lake(warehouse), config.grace_hours)
    return dg.MaterializeResult(
        metadata={kind: len(paths) for kind, paths in deleted.items()} | {"orphaned_files": deleted["orphaned"][:50]}
    )


def _lake(warehouse: Warehouse) -> Lake:
    assert isinstance(warehouse, Lake)
    return warehouse


@dg.definitions
def defs() -> dg.Definitions:
    """Return the assets, their job and its schedule; nothing where there is no lake."""
    if not settings.lake:
        return dg.Definitions()
    assets = [lake_compaction, lake_expiry, lake_orphans]
    job = dg.define_asset_job(
        "housekeeping", selection=dg.AssetSelection.assets(*assets), description="The lake's upkeep."
    )
    return dg.Definitions(
        assets=assets,
        jobs=[job],
        schedules=[
            dg.ScheduleDefinition(
                job=job,
                cron_schedule="30 3 * * *",
                execution_timezone="UTC",
                default_status=dg.DefaultScheduleStatus.STOPPED
                if settings.profile.is_sample
                else dg.DefaultScheduleStatus.RUNNING,
                description="Every night, before the day's files come.",
            )
        ],
    )
