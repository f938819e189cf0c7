"""The table `ops_run`: every run of the pipeline, the rows that it loaded and its final status.

This module defines and updates the table; `defs.publish` reads the runs from Dagster.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import duckdb
import pandas as pd

from reposignal_pipeline.analysis.weekly import WeeklyTable
from reposignal_pipeline.warehouse import append_rows

OPS_RUN = WeeklyTable(
    "ops_run",
    "Grain: run_id. Runs of the pipeline. Source: the orchestrator.",
    {
        "run_id": ("VARCHAR", "Dagster's id of the run."),
        "job": (
            "VARCHAR",
            "Job: daily, weekly, ingest, build, publish, or __ASSET_JOB for a selection made in the UI.",
        ),
        "partition": ("VARCHAR", "Day or week, or first..last of a range; NULL if the run has none."),
        "started_at": ("TIMESTAMP", "UTC; NULL if it never started."),
        "finished_at": ("TIMESTAMP", "UTC; NULL if it had not ended when this copy was made."),
        "rows_per_source": (
            "MAP(VARCHAR, BIGINT)",
            "Rows that this run loaded, by source: places of rankings, observations of repositories, pages of star "
            "histories, star events of the archive; empty if it loaded nothing.",
        ),
        "status": ("VARCHAR", "success, failure, canceled, or Dagster's state of a run that had not ended."),
    },
)

LOADED_ROWS = {
    "rankings": ("sum(distinct_places) filter (where status = 'observed')", "rankings_days"),
    "repositories": ("sum(answered)", "repositories_days"),
    "star_history": ("sum(answered)", "star_history_days"),
    "gh_archive": ("sum(stars)", "gh_archive_hours"),
}
"""source -> (expression for the rows that a run loaded, raw table)"""

_LOADED = " union all ".join(
    f"select run_id, '{source}' as source, ({rows})::bigint as loaded_rows from pipeline.{source}.{table} group by all"
    for source, (rows, table) in LOADED_ROWS.items()
)


@dataclass(frozen=True)
class RunFact:
    """One run as recorded by Dagster; times are naive UTC."""

    run_id: str
    job: str
    partition: str | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    status: str


def record_runs(connection: duckdb.DuckDBPyConnection, runs: Sequence[RunFact]) -> None:
    """Insert new runs into `ops_run` and update the state of existing ones; known row counts are never overwritten."""
    append_rows(connection, OPS_RUN)
    connection.begin()
    facts = pd.DataFrame([asdict(run) for run in runs], columns=[field.name for field in fields(RunFact)])
    connection.register("runs", facts)
    connection.execute(
        """
        merge into ops_run using (
            select
                run_id::varchar as run_id, job::varchar as job, partition::varchar as partition,
                started_at::timestamp as started_at, finished_at::timestamp as finished_at, status::varchar as status
            from runs
        ) as run on ops_run.run_id = run.run_id
        when matched then update set
            started_at = run.started_at, finished_at = run.finished_at, status = run.status
        when not matched then insert values (
            run.run_id, run.job, run.partition, run.started_at,
            coalesce(run.finished_at, case when run.status = 'success' then ?::timestamp end), map(), run.status
        )
        """,
        [dt.datetime.now(dt.UTC).replace(tzinfo=None)],
    )
    connection.unregister("runs")
    if runs:
        connection.execute(
            f"""
            update ops_run set rows_per_source = loaded.rows_per_source
            from (
                select run_id, map_from_entries(list((source, loaded_rows))) as rows_per_source
                from ({_LOADED}) where loaded_rows > 0 group by run_id
            ) as loaded
            where ops_run.run_id = loaded.run_id and len(map_keys(ops_run.rows_per_source)) = 0
            """
        )
    connection.commit()
