"""Writes the weekly article and its claims; each week is a partition.

This module selects the weeks and checks that every claim's query returns its number. The facts come from
`publishing.findings`, the document from `publishing.article`.
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
from reposignal_pipeline.config import Settings
from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.partitions import OWNERS, WRITER_POOL, weeks
from reposignal_pipeline.publishing.article import ARTICLES, CLAIMS, as_json, without_queries, written
from reposignal_pipeline.publishing.findings import findings, first_week
from reposignal_pipeline.warehouse import Warehouse, append_rows, replace_weeks, row_counts

WEEK = dt.timedelta(weeks=1)
WEEKS_AT_ONCE = 52
"""the most that a killed run loses; a week takes about a second"""
SHOWN = 10
"""maximum number of false claims that are shown"""
WEEKLY = (REPO_TRENDS, LANGUAGE_TRENDS, FORECASTS, OUTCOMES, BREAKOUTS, *CLUSTER_TABLES)
DAILY = ("fct_repo_signal_day", "fct_language_reach_day", "fct_language_vertical_day", "ops_source_coverage")
"""daily tables, which tell a backfill which weeks it affects, as for the weekly trends"""
REBUILT_WITH = {dg.AssetKey(table.name) for table in (REPO_TRENDS, CLUSTER_TABLES[0], FORECASTS)}
"""one table of each step that rebuilds a week before its article"""


@dg.multi_asset(
    name="weekly_article",
    specs=[
        dg.AssetSpec(
            table.name,
            deps=[*(source.name for source in WEEKLY), *DAILY, "dim_repo", "dim_topic_vertical"],
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
            "claims_hold", asset=CLAIMS.name, description="Every claim's query returns the number in the article."
        )
    ],
    partitions_def=weeks,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def weekly_article(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Rewrite the articles of the weeks of this run, from the first week with a reading on."""
    keys = context.partition_key_range
    first, last = dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
    with warehouse.rewriting(f"run {context.run_id}: articles", context.log), warehouse.connected() as connection:
        ready_sources(connection)
        with warehouse.asking(connection) as marts:
            articles, claims = write_weeks(connection, first, last, context.run_id, marts)
            wrong = list(untrue(connection, first, last, marts))
        # articles come last; a run that selects only articles does not rebuild the other tables of the week
        chosen = context.run.asset_selection
        if not chosen or chosen >= REBUILT_WITH:  # empty for a whole job
            warehouse.note_renewed_weeks(connection, first, last)
        counts = row_counts(connection, (ARTICLES.name, CLAIMS.name))
        shown = newest_article(connection, first, last, warehouse.settings)
    for name, rows, of_table in ((ARTICLES.name, articles, shown), (CLAIMS.name, claims, {})):
        yield dg.MaterializeResult(
            asset_key=name,
            metadata={"dagster/row_count": counts.get(name, 0), "rows_written": rows, **of_table},
        )
    yield dg.AssetCheckResult(
        check_name="claims_hold",
        asset_key=CLAIMS.name,
        passed=not wrong,
        metadata={"claims": claims, "wrong": len(wrong), "first_wrong": wrong[:SHOWN]},
    )


def newest_article(
    connection: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date, settings: Settings
) -> dict[str, dg.MetadataValue[Any]]:
    """Return the text of the newest article from `first` to `last`, and its page, for the UI; empty if there is none.

    The queries are left out: a run of many weeks stores the metadata with each of its weeks.
    """
    row = connection.execute(
        f"select week, markdown from {ARTICLES.name} where week between ? and ? order by week desc limit 1",
        [first, last],
    ).fetchone()
    if row is None:
        return {}
    week, markdown = row
    page = f"weeks/{week}/index.html"
    return {
        "article": dg.MetadataValue.md(without_queries(markdown)),
        "page": (
            dg.MetadataValue.url(f"{settings.site_url}{page}")
            if settings.site_url
            else dg.MetadataValue.path(str(settings.published_dir / "site" / page))
        ),
    }


def ready_sources(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that articles read if they do not exist, as in the first days of a home."""
    for table in WEEKLY:
        append_rows(connection, table)


def write_weeks(
    connection: duckdb.DuckDBPyConnection,
    first: dt.date,
    last: dt.date,
    run_id: str,
    marts: duckdb.DuckDBPyConnection | None = None,
) -> tuple[int, int]:
    """Replace the articles of the weeks from `first` to `last`; return (number of articles, number of claims).

    Args:
        connection: connection to the warehouse.
        first: first week.
        last: last week.
        run_id: the run that writes them.
        marts: connection for the queries, if different.
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
