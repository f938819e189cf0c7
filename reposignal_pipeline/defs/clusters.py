"""Builds the weekly clusters; each week is a partition and uses the stored clusters of the weeks before it.

This module reads and writes the warehouse. Clusters are computed in `analysis.clusters`, and dbt derives verticals from
them.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb
import pandas as pd

from reposignal_pipeline.analysis.clusters import (
    CLUSTER_TABLES,
    CLUSTER_TRENDS,
    CLUSTERINGS,
    CLUSTERS,
    MEMBERS,
    MEMORY,
    Past,
    Week,
    clusters_of,
)
from reposignal_pipeline.analysis.weekly import REPO_TRENDS
from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.identities import checked, specs_of
from reposignal_pipeline.defs.partitions import OWNERS, WRITER_POOL, weeks
from reposignal_pipeline.warehouse import Warehouse, append_rows, replace_weeks, row_counts

WEEK = dt.timedelta(weeks=1)

# The repositories read in the week, as known on its last day. If the home tracks repositories, only tracked ones,
# because the rankings have no topics.
REPOS = """
    with

    trends as (

        select * from weekly_repo_trends
        where week = $week
        qualify is_tracked or not coalesce(bool_or(is_tracked) over (), false)

    ),

    versions as (

        select
            repo_key,
            topics,
            description
        from dim_repo
        where valid_from <= $week::date + 6 and (valid_to is null or valid_to > $week::date + 6)

    )

    select
        trends.repo_key,
        trends.full_name,
        trends.language,
        trends.as_of_date,
        trends.stars_total,
        trends.stars_gained,
        trends.stars_gained_basis,
        trends.growth_pct,
        versions.topics,
        versions.description
    from trends
    left join versions on trends.repo_key = versions.repo_key
    order by trends.repo_key
"""
KNOWN = """
    select
        clusters.week,
        clusters.cluster,
        clusters.label,
        clusters.size,
        clusters.born_on,
        clusters.merged_from,
        clusterings.repos
    from fct_cluster_week as clusters
    inner join fct_clustering_week as clusterings on clusters.week = clusterings.week
    where clusters.week >= $since and clusters.week < $week
    order by clusters.week, clusters.cluster
"""
KNOWN_MEMBERS = """
    select
        members.cluster,
        members.repo_key
    from fct_cluster_member_week as members
    semi join (
        select cluster, max(week) as week
        from fct_cluster_week
        where week >= $since and week < $week
        group by cluster
    ) as last_weeks on members.cluster = last_weeks.cluster and members.week = last_weeks.week
    order by members.cluster, members.repo_key
"""

_DEPS = {
    CLUSTERINGS.name: [REPO_TRENDS.name, "dim_repo"],
    CLUSTERS.name: [REPO_TRENDS.name, "dim_repo"],
    MEMBERS.name: [REPO_TRENDS.name, "dim_repo"],
    CLUSTER_TRENDS.name: [CLUSTERS.name],
}


@dg.multi_asset(
    name="weekly_clusters",
    specs=[
        dg.AssetSpec(
            table.name,
            deps=[dg.AssetDep(name) for name in _DEPS[table.name]],
            description=table.comment,
            group_name="clusters",
            owners=OWNERS,
            kinds={"scikitlearn", "duckdb"},
            partitions_def=weeks,
        )
        for table in CLUSTER_TABLES
    ],
    check_specs=specs_of(*(table.name for table in CLUSTER_TABLES)),
    partitions_def=weeks,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def weekly_clusters(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Rebuild the weeks of this run in order; languages over clusters must then be rebuilt from the first week on."""
    keys = context.partition_key_range
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    rows = {table.name: 0 for table in CLUSTER_TABLES}
    with warehouse.rewriting(f"run {context.run_id}: clusters", context.log), warehouse.connected() as connection:
        for table in CLUSTER_TABLES:
            append_rows(connection, table)
        warehouse.note_stale_verticals(connection, first + WEEK)
        week = first
        while week <= last:
            progress.reach((week - first) // WEEK, (last - first) // WEEK + 1, "weeks")
            for table, frame in week_of_clusters(connection, week):
                replace_weeks(connection, table, frame, week, week)
                rows[table.name] += len(frame)
            week += WEEK
        counts = row_counts(connection, rows)
        checks = list(checked(connection, first, last, *rows))
    for name, written in rows.items():
        yield dg.MaterializeResult(
            asset_key=name, metadata={"dagster/row_count": counts.get(name, 0), "rows_written": written}
        )
    yield from checks


def week_of_clusters(connection: duckdb.DuckDBPyConnection, week: dt.date) -> Week:
    """Return the rows of a week, based on the stored weeks before it."""
    repos = connection.execute(REPOS, {"week": week}).df()
    return clusters_of(week, repos, past_of(connection, week))


def past_of(connection: duckdb.DuckDBPyConnection, week: dt.date) -> Past:
    """Return the stored clusters of the weeks before a week."""
    span = {"since": week - MEMORY, "week": week}
    row = connection.execute(
        "select min(week), coalesce(max(cluster), 0) from fct_cluster_week where week < $1", [week]
    ).fetchone()
    first_week, newest = row or (None, 0)
    return Past(
        clusters=_typed(connection.execute(KNOWN, span).df()),
        members=connection.execute(KNOWN_MEMBERS, span).df(),
        first_week=first_week,
        newest=newest,
    )


def _typed(known: pd.DataFrame) -> pd.DataFrame:
    return known.astype({"week": "datetime64[us]", "born_on": "datetime64[us]"})
