"""Maintenance of the lake as assets, for profiles with a lake: compaction, expiry of snapshots, orphaned files.

All of them are safe during reads and writes: they take the locks of the writers of the same tables, one schema at a
time, and delete nothing that a query may still read.
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
    """The retention of snapshots."""

    keep_days: float = upkeep.KEEP_DAYS
    """retention of every snapshot, in days"""
    keep_release_days: float = upkeep.KEEP_RELEASE_DAYS
    """retention of published snapshots, in days"""


class CleaningConfig(dg.Config):
    """The grace period of unused files."""

    grace_hours: float = upkeep.GRACE_HOURS
    """younger files are kept, because a query may read them or a commit may be in progress"""


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"ducklake"},
    pool=POOL,
    description="Small files are merged, and files with many deleted rows are rewritten.",
)
def lake_compaction(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Compact every table, one schema at a time."""
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
    description="Snapshots older than a week are expired, except published ones.",
)
def lake_expiry(
    context: dg.AssetExecutionContext, config: ExpiryConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Expire snapshots; `lake_orphans` deletes their files."""
    expired = upkeep.expire(_lake(warehouse), context.log, config.keep_days, config.keep_release_days)
    return dg.MaterializeResult(metadata={f"{name}_expired": count for name, count in expired.items()})


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"ducklake"},
    pool=POOL,
    deps=[lake_expiry],
    description="Files are deleted that no snapshot needs or that the catalog does not know.",
)
def lake_orphans(config: CleaningConfig, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[Any]:
    """Delete files that expiry and compaction released, and files that killed writers left, once they are a day old."""
    deleted = upkeep.clean(_lake(warehouse), config.grace_hours)
    return dg.MaterializeResult(
        metadata={kind: len(paths) for kind, paths in deleted.items()} | {"orphaned_files": deleted["orphaned"][:50]}
    )


def _lake(warehouse: Warehouse) -> Lake:
    assert isinstance(warehouse, Lake)
    return warehouse


@dg.definitions
def defs() -> dg.Definitions:
    """Return the assets, their job and its schedule; nothing without a lake."""
    if not settings.lake:
        return dg.Definitions()
    assets = [lake_compaction, lake_expiry, lake_orphans]
    job = dg.define_asset_job(
        "housekeeping", selection=dg.AssetSelection.assets(*assets), description="Maintenance of the lake."
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
                description="Every night, before the files of the day are published.",
            )
        ],
    )
