"""Raw tables and dbt builds for tests: each in a folder of its own, through dlt and dbt as the pipeline uses them.

Here: loading days, running dbt, reading rows. Not here: Dagster, publishing and the expected rows (test modules).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reposignal_pipeline import dbt_program
from reposignal_pipeline.sources import gh_archive, schemas
from reposignal_pipeline.sources.rankings import Day, rankings_source
from tests.pipeline.homes import parsed_once
from tests.shared import VARIABLE, made_once

ROOT = Path(__file__).resolve().parents[2]
Rows = list[tuple[Any, ...]]
SEEDED = "seeded"
TABLES = {**schemas.TABLES, "gh_archive": gh_archive.TABLES}


def window(
    first: dt.date,
    last: dt.date,
    loaded_since: dt.datetime | None = None,
    archived: Sequence[tuple[dt.date, dt.date]] = (),
    number: int = 0,
) -> list[str]:
    """Return the dbt arguments for a window of days, new star histories, archive days and a build number."""
    variables: dict[str, Any] = {
        "window_start": str(first),
        "window_end": str(last),
        "archived_days": [[str(day) for day in days] for days in archived],
        "build_number": number,
    }
    return ["--vars", json.dumps(variables | ({"loaded_since": str(loaded_since)} if loaded_since else {}))]


@dataclass(frozen=True)
class BuiltHome:
    """A folder with the pipeline's two DuckDB files."""

    folder: Path

    @property
    def pipeline_db(self) -> Path:
        return self.folder / "pipeline.duckdb"

    @property
    def marts_db(self) -> Path:
        return self.folder / "reposignal.duckdb"

    def load(self, readings: Sequence[Day]) -> None:
        """Load days into the raw tables."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pipeline = dlt.pipeline(
            "rankings",
            destination=dlt.destinations.duckdb(str(self.pipeline_db)),
            dataset_name="rankings",
            pipelines_dir=str(self.folder / "dlt"),
        )
        pipeline.run(rankings_source(readings, run_id="test"))
        self.append()

    def append(self, **tables: Sequence[dict[str, Any]]) -> None:
        """Append rows to raw tables other than the rankings, creating them if needed; missing fields are NULL."""
        with duckdb.connect(str(self.pipeline_db)) as connection:
            for dataset, tables_of in TABLES.items():
                connection.execute(f"create schema if not exists {dataset}")
                for name, schema in tables_of.items():
                    rows = pa.Table.from_pylist(list(tables.get(name, ())), schema=schema)
                    connection.register("new_rows", rows)
                    connection.execute(f"create table if not exists {dataset}.{name} as from new_rows limit 0")
                    connection.execute(f"insert into {dataset}.{name} from new_rows")
                    connection.unregister("new_rows")

    def appending(self, name: str, **tables: Sequence[dict[str, Any]]) -> list[str]:
        """Return the step that appends rows between two invocations of dbt; `name` identifies it."""
        folder = self.folder / "steps" / name
        folder.mkdir(parents=True)
        statements = []
        for dataset, tables_of in TABLES.items():
            for table in tables_of.keys() & tables.keys():
                pq.write_table(pa.Table.from_pylist(list(tables[table]), schema=tables_of[table]), folder / table)
                statements.append(f"insert into {dataset}.{table} from read_parquet('{folder / table}')")
        return ["sql", "; ".join(statements)]

    def dbt(self, *invocations: list[str]) -> dict[str, tuple[str, str]]:
        """Return (status, message) of every node that the invocations ran, by its unique id.

        An invocation `["sql", STATEMENT]` runs a statement on the pipeline's file in between, as a load would.
        """
        environment = {
            "REPOSIGNAL_PIPELINE_DB": str(self.pipeline_db),
            "REPOSIGNAL_MARTS_DB": str(self.marts_db),
        }
        statuses: dict[str, tuple[str, str]] = {}
        with pytest.MonkeyPatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            for arguments in invocations:
                if arguments[0] == "sql":
                    with duckdb.connect(str(self.pipeline_db)) as connection:
                        connection.execute(arguments[1])
                    continue
                if arguments == ["seed"] and self.folder != Path(os.environ[VARIABLE], SEEDED):
                    self._seed()
                    continue
                # half a second each, and no test reads these files
                unread = ["--no-write-json"] if arguments[0] in ("run", "seed") else []
                result = dbt_program.invoke(
                    [*arguments, *unread],
                    project_dir=ROOT / "dbt_project",
                    target_path=self.folder / "target",
                    parsed=parsed_once() / "dbt" / "target" / dbt_program.PARSED_PROJECT,
                )
                statuses |= {one.node.unique_id: (str(one.status), str(one.message)) for one in result.results}
        return statuses

    def _seed(self) -> None:
        """Copy the seeds from a home in which dbt loaded them: they are the same in each."""
        seeded = BuiltHome(made_once(SEEDED, lambda folder: BuiltHome(folder).built(["seed"])))
        with self.connect_raw() as connection:
            connection.execute(f"attach '{seeded.pipeline_db}' as seeded (read_only)")
            connection.execute("create schema if not exists seeds")
            for (name,) in connection.execute(
                "select table_name from duckdb_tables() where database_name = 'seeded' and schema_name = 'seeds'"
            ).fetchall():
                connection.execute(f"create or replace table seeds.{name} as from seeded.seeds.{name}")

    def built(self, *invocations: list[str]) -> BuiltHome:
        """Return this home after dbt invocations without a failure; by default one `run` of everything."""
        statuses = self.dbt(*(invocations or (["run"],)))
        bad = {node: outcome for node, outcome in statuses.items() if outcome[0] not in ("success", "pass")}
        assert not bad, bad
        return self

    def build_with_tests(self) -> dict[str, tuple[str, str]]:
        """Build everything with every data test, require that none fails, and return those that warn."""
        statuses = self.dbt(["build", "--exclude-resource-type", "unit_test"])
        assert {outcome[0] for outcome in statuses.values()} <= {"success", "pass", "warn"}, statuses
        return {node: outcome for node, outcome in statuses.items() if outcome[0] == "warn"}

    def connect_raw(self) -> duckdb.DuckDBPyConnection:
        """Open the file of the raw tables for writing."""
        return duckdb.connect(str(self.pipeline_db))

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the last invocation, with compiled SQL."""
        return dict(json.loads((self.folder / "target" / "manifest.json").read_text()))

    def connect(self, *, read_only: bool = True) -> duckdb.DuckDBPyConnection:
        """Open both files as dbt does, as `pipeline` and `reposignal`; marts can be named without a schema."""
        connection = duckdb.connect(str(self.pipeline_db), read_only=read_only)
        mode = " (read_only)" if read_only else ""
        connection.execute(f"attach '{self.marts_db}' as reposignal{mode}")
        connection.execute("set search_path = 'reposignal.main'")
        connection.execute("set threads = 2")
        return connection

    def query(self, sql: str, *parameters: Any) -> Rows:
        """Return rows of a query; marts by name, the rest as `pipeline.SCHEMA.NAME`."""
        with self.connect() as connection:
            return connection.execute(sql, parameters).fetchall()

    def raw_copy(self, folder: Path, last: dt.date | None = None) -> BuiltHome:
        """Return a home with only the raw tables, for the days until `last`."""
        folder.mkdir(parents=True)
        until = f"where snapshot_date <= date '{last}'" if last else ""
        with duckdb.connect(str(folder / "pipeline.duckdb")) as connection:
            connection.execute(f"attach '{self.pipeline_db}' as original (read_only)")
            connection.execute("create schema rankings")
            for table in ("rankings", "rankings_days", "rankings_quarantine"):
                connection.execute(f"create table rankings.{table} as from original.rankings.{table} {until}")
        home = BuiltHome(folder)
        home.append()
        return home

    def copy(self, folder: Path) -> BuiltHome:
        """Return a home with copies of the two files."""
        folder.mkdir(parents=True)
        shutil.copy(self.pipeline_db, folder)
        shutil.copy(self.marts_db, folder)
        return BuiltHome(folder)
