"""The week's article and its claims, a week a partition.

Here: which weeks are written, and the check that every claim's query returns its number. Not here: what is told
(`publishing.findings`) and how (`publishing.article`).
"""

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb
import pandas as pd

from reposignal_pipeline.analysis.clusters import CLUSTER_TABLES
from reposignal_pipeline.analysis.forecast import BREAKOUTS, FORECASTS, OUTCOMES
from reposignal_pipeline.analysis.weekly import LANGUAGE_TRENDS, REPO_TRENDS
from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.partitions import OWNERS, WRITER_POOL, weeks
from reposignal_pipeline.publishing.article import ARTICLES, CLAIMS, as_json, written
from reposignal_pipeline.publishing.findings import findings, first_week
from reposignal_pipeline.warehouse import Warehouse, append_rows, replace_weeks, row_counts

WEEK = dt.timedelta(weeks=1)
WEEKS_AT_ONCE = 52
"""what a killed run loses at most: a week takes about a second"""
SHOWN = 10
"""claims that are shown where many do not hold"""
TOLD_FROM = (REPO_TRENDS, LANGUAGE_TRENDS, FORECASTS, OUTCOMES, BREAKOUTS, *CLUSTER_TABLES)
DAILY = ("fct_repo_signal_day", "fct_language_reach_day", "fct_language_vertical_day", "ops_source_coverage")
"""the days themselves too, as for the weekly trends: they tell a backfill which weeks it touches"""
RENEWED_WITH = {dg.AssetKey(table.name) for table in (REPO_TRENDS, CLUSTER_TABLES[0], FORECASTS)}
"""one table of each step that renews a week before its article"""


@dg.multi_asset(
    name="weekly_article",
    specs=[
        dg.AssetSpec(
            table.name,
            deps=[*(source.name for source in TOLD_FROM), *DAILY, "dim_repo", "dim_topic_vertical"],
            description=table.comment,
            group_name="article",
            owners=OWNERS,
            kinds={"jinja", "duckdb"},
            partitions_def=weeks,
        )
        for table in (ARTICLES, CLAIMS)
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "claims_hold", asset=CLAIMS.name, description="Every claim's query returns the number that was written."
        )
    ],
    partitions_def=weeks,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def weekly_article(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Write the articles of the weeks of this run anew, from the first week with a reading on."""
    keys = context.partition_key_range
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    with warehouse.rewriting(f"run {context.run_id}: articles", context.log), warehouse.connected() as connection:
        ready_sources(connection)
        with warehouse.asking(connection) as marts:
            articles, claims = write_weeks(connection, first, last, context.run_id, marts)
            wrong = list(untrue(connection, first, last, marts))
        # articles come last; a run of articles alone renews no other table of the week
        chosen = context.run.asset_selection
        if not chosen or chosen >= RENEWED_WITH:  # empty for a whole job
            warehouse.note_renewed_weeks(connection, first, last)
        counts = row_counts(connection, (ARTICLES.name, CLAIMS.name))
    for name, rows in ((ARTICLES.name, articles), (CLAIMS.name, claims)):
        yield dg.MaterializeResult(
            asset_key=name, metadata={"dagster/row_count": counts.get(name, 0), "rows_written": rows}
        )
    yield dg.AssetCheckResult(
        check_name="claims_hold",
        asset_key=CLAIMS.name,
        passed=not wrong,
        metadata={"claims": claims, "wrong": len(wrong), "first_wrong": wrong[:SHOWN]},
    )


def ready_sources(connection: duckdb.DuckDBPyConnection) -> None:
    """Have every table there that articles are told from, be it empty: a home in its first days."""
    for table in TOLD_FROM:
        append_rows(connection, table)


def write_weeks(
    connection: duckdb.DuckDBPyConnection,
    first: dt.date,
    last: dt.date,
    run_id: str,
    marts: duckdb.DuckDBPyConnection | None = None,
) -> tuple[int, int]:
    """Replace the articles of the weeks from `first` to `last`; return how many, and how many claims.

    Args:
        marts: where questions are asked, if elsewhere.
    """
    ready_sources(connection)
    marts = marts or connection
    begin = first_week(marts) or last + WEEK
    rows = {ARTICLES.name: 0, CLAIMS.name: 0}
    start = first
    while start <= last:
        end = min(start + (WEEKS_AT_ONCE - 1) * WEEK, last)
        asked = [start + n * WEEK for n in range((end - start).days // 7 + 1) if start + n * WEEK >= begin]
        written_weeks = []
        for week in asked:
            progress.reach((week - first) // WEEK, (last - first) // WEEK + 1, "weeks")
            written_weeks.append(_rows(marts, week, run_id))
        articles = [article for article, _ in written_weeks]
        claims = [claim for _, of_week in written_weeks for claim in of_week]
        for table, found in ((ARTICLES, articles), (CLAIMS, claims)):
            replace_weeks(connection, table, pd.DataFrame(found, columns=table.column_names), start, end)
            rows[table.name] += len(found)
        start = end + WEEK
    return rows[ARTICLES.name], rows[CLAIMS.name]


def _rows(
    connection: duckdb.DuckDBPyConnection, week: dt.date, run_id: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a week's row of `weekly_article` and its rows of `fct_article_claim`."""
    as_of, facts = findings(connection, week)
    article = written(week, as_of, facts)
    of_week = {"week": week, "run_id": run_id}
    row = of_week | {
        "title": article.title,
        "summary": article.summary,
        "as_of_date": as_of,
        "sentences": article.sentences,
        "numbers": len(article.claims),
        "document": as_json(article.document),
        "markdown": article.markdown,
    }
    return row, [of_week | claim for claim in article.claims]


def untrue(
    connection: duckdb.DuckDBPyConnection,
    first: dt.date,
    last: dt.date,
    marts: duckdb.DuckDBPyConnection | None = None,
) -> Iterator[str]:
    """Yield the claims of the weeks from `first` to `last` whose query does not return their value."""
    claims = connection.execute(
        f"select week, claim, sql_text, value from {CLAIMS.name} where week between ? and ?"
        " order by week, sentence, claim",
        [first, last],
    ).fetchall()
    for week, claim, sql, value in claims:
        rows = (marts or connection).execute(sql).fetchall()
        if len(rows) != 1 or len(rows[0]) != 1 or rows[0][0] is None or not math.isclose(rows[0][0], value):
            yield f"{week} {claim}: {rows[:1]} is not {value}"
