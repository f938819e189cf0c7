"""Builds the weekly trend tables from the daily marts with pandas; each week is a partition."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb
import pandas as pd

from reposignal_pipeline.analysis.weekly import (
    LANGUAGE_TRENDS,
    LEFT_OUT_FLAGS,
    REPO_TRENDS,
    WeeklyTable,
    language_trends,
    repo_trends,
)
from reposignal_pipeline.defs.identities import checked, specs_of
from reposignal_pipeline.defs.ingest import RANKINGS
from reposignal_pipeline.defs.partitions import DAYS_OF_WEEK, OWNERS, WRITER_POOL, weeks
from reposignal_pipeline.warehouse import Warehouse, replace_weeks, row_counts

WEEKS_AT_ONCE = 52
"""limits memory: a year of closings of 4,000 repositories takes about 100 MB"""

# The last reading of each repository in each week, which ends on Sunday. The flags are those of the days that
# velocity_7d spans.
CLOSINGS = f"""
    with

    signals as (
        select * from fct_repo_signal_day where day between $first and $last
    ),

    facts as (
        select day, repo_key, source, list_intersect(dq_flags, {list(LEFT_OUT_FLAGS)}) as flags
        from fct_repo_day
        where day between $first - 6 and $last
    ),

    closings as (
        select
            date_trunc('week', day)::date as week,
            repo_key,
            max(day) as as_of_date,
            arg_max(full_name, day) as full_name,
            arg_max(coalesce(language, ''), day) as language,
            arg_max(stars_total, day) as stars_total,
            max_by({{'v': velocity_7d}}, day).v as velocity_7d,
            max_by({{'v': velocity_7d_basis}}, day).v as velocity_7d_basis,
            max_by({{'v': velocity_7d_days}}, day).v as velocity_7d_days,
            max_by({{'v': growth_7d}}, day).v as growth_7d,
            max_by({{'v': growth_28d}}, day).v as growth_28d,
            max_by({{'v': signal_score}}, day).v as signal_score,
            bool_or(is_breakout) as is_breakout,
            max_by({{'v': velocity_24h}}, day).v as velocity_24h,
            arg_max(source = 'repositories', day) as is_tracked
        from signals
        inner join facts using (day, repo_key)
        group by all
    ),

    flagged as (
        select closings.week, closings.repo_key, list_sort(list_distinct(flatten(list(facts.flags)))) as dq_flags
        from closings
        inner join facts
            on closings.repo_key = facts.repo_key and facts.day between closings.as_of_date - 6 and closings.as_of_date
        where len(facts.flags) > 0
        group by all
    )

    select closings.*, coalesce(flagged.dq_flags, []) as dq_flags
    from closings
    left join flagged using (week, repo_key)
    order by all
"""


@dg.multi_asset(
    name="weekly_trends",
    specs=[
        dg.AssetSpec(
            table.name,
            # the rankings too: marts have no partitions, so only daily assets tell a backfill which weeks it affects
            deps=[dg.AssetDep("fct_repo_signal_day"), dg.AssetDep(RANKINGS, partition_mapping=DAYS_OF_WEEK)],
            description=table.comment,
            group_name="trends",
            owners=OWNERS,
            kinds={"pandas", "duckdb"},
            partitions_def=weeks,
        )
        for table in (REPO_TRENDS, LANGUAGE_TRENDS)
    ],
    check_specs=specs_of(REPO_TRENDS.name, LANGUAGE_TRENDS.name),
    partitions_def=weeks,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def weekly_trends(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Rebuild the weeks of this run, one year at a time."""
    keys = context.partition_key_range
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    rows = {REPO_TRENDS.name: 0, LANGUAGE_TRENDS.name: 0}
    with warehouse.rewriting(f"run {context.run_id}: weekly_trends", context.log), warehouse.connected() as connection:
        start = first
        while start <= last:
            end = min(start + dt.timedelta(weeks=WEEKS_AT_ONCE - 1), last)
            for table, frame in _weeks(connection, start, end):
                replace_weeks(connection, table, frame, start, end)
                rows[table.name] += len(frame)
            start = end + dt.timedelta(weeks=1)
        counts = row_counts(connection, rows)
        checks = list(checked(connection, first, last, *rows))
    for name, written in rows.items():
        yield dg.MaterializeResult(
            asset_key=name, metadata={"dagster/row_count": counts.get(name, 0), "rows_written": written}
        )
    yield from checks


def _weeks(
    connection: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date
) -> Iterator[tuple[WeeklyTable, pd.DataFrame]]:
    """Yield (table, rows) for the weeks from `first` to `last`; rank changes use the week before them."""
    before = first - dt.timedelta(weeks=1)
    closings = connection.execute(CLOSINGS, {"first": before, "last": last + dt.timedelta(days=6)}).df()
    closings["language"] = closings["language"].replace("", None)
    if closings.empty:
        return
    repos = repo_trends(closings)
    languages = language_trends(repos)
    for table, frame in ((REPO_TRENDS, repos), (LANGUAGE_TRENDS, languages)):
        yield table, frame[frame["week"] >= pd.Timestamp(first)]
