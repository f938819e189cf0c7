"""Publishes marts and weekly tables as the read-only copy, with the record of the runs that built them."""

import datetime as dt
from typing import Any

import dagster as dg

from reposignal_pipeline.analysis.clusters import CLUSTER_TABLES
from reposignal_pipeline.analysis.forecast import BREAKOUTS, FORECASTS, OUTCOMES, SUPERSEDED, TRACK_RECORD
from reposignal_pipeline.analysis.weekly import LANGUAGE_TRENDS, REPO_TRENDS
from reposignal_pipeline.defs.partitions import OWNERS, WRITER_POOL
from reposignal_pipeline.defs.resources import settings
from reposignal_pipeline.defs.warehouse import marts, verticals
from reposignal_pipeline.home import prune_logs
from reposignal_pipeline.publishing.article import ARTICLES, CLAIMS
from reposignal_pipeline.publishing.release import publish
from reposignal_pipeline.publishing.runs import RunFact, record_runs
from reposignal_pipeline.warehouse import Warehouse

RUNS_LOOKED_AT = 50
"""number of recent runs whose state is updated; more than start between two publications"""


@dg.asset(
    deps=[
        *(
            key
            for key in marts.keys | verticals.keys
            if key.path[-1].startswith(("dim_", "fct_", "ops_", "signal_weight"))
        ),
        *(table.name for table in CLUSTER_TABLES),
        *(
            table.name
            for table in (
                REPO_TRENDS,
                LANGUAGE_TRENDS,
                FORECASTS,
                SUPERSEDED,
                OUTCOMES,
                BREAKOUTS,
                TRACK_RECORD,
                ARTICLES,
                CLAIMS,
            )
        ),
    ],
    group_name="published",
    owners=OWNERS,
    kinds={"duckdb", "parquet"},
    pool=WRITER_POOL,
    description="The read-only copy for analysts, with its Parquet files and its site; replaced atomically.",
)
def published_warehouse(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Record the runs, copy the marts into a new release, and swap it in for the former one."""
    with warehouse.rewriting(f"run {context.run_id}: publish", context.log):
        with warehouse.connected() as connection:
            record_runs(connection, _runs(context))
        stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S")
        release = publish(warehouse, f"{stamp}-{context.run_id[:8]}")
    prune_logs(settings)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(release.rows.values()),
            "rows": release.rows,
            "months_written": release.months_written,
            "pages": release.site.pages,
            "charts_drawn": release.site.charts_drawn,
            "path": dg.MetadataValue.path(str(release.path)),
        }
    )


def _runs(context: dg.AssetExecutionContext) -> list[RunFact]:
    return [
        RunFact(
            run_id=record.dagster_run.run_id,
            job=record.dagster_run.job_name,
            partition=_partition(record.dagster_run.tags),
            started_at=_utc(record.start_time),
            finished_at=_utc(record.end_time),
            # this run ends with this step, so if the release is published, the run succeeded
            status="success"
            if record.dagster_run.run_id == context.run_id
            else record.dagster_run.status.value.lower(),
        )
        for record in context.instance.get_run_records(limit=RUNS_LOOKED_AT)
    ]


def _partition(tags: dict[str, str]) -> str | None:
    if key := tags.get("dagster/partition"):
        return key
    first, last = tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")
    return f"{first}..{last}" if first else None


def _utc(seconds: float | None) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None) if seconds else None
