"""The two DuckDB files that the pipeline writes, and the rule that one process writes at a time.

Here: opening them, the writer's lock, and the record of what is loaded but not yet built or published.
Not here: what stands in the tables (`sources`, dbt, `analysis`), and the copy that analysts open (`publishing`).

`pipeline.duckdb` holds raw, staging and intermediate relations, `reposignal.duckdb` the marts. The record of what was
built lives beside the marts, in their file: whoever removes the file removes the record with it.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd

from reposignal_pipeline.analysis.weekly import WeeklyTable
from reposignal_pipeline.config import Settings

BUILD_SCHEMA = "build"
"""schema of the record of what was built; the published copy is made without it"""

ORPHAN_SECONDS = 600.0
"""The dbt of a killed run goes on to its end: it holds the files, but nobody holds the lock any more."""


@dataclass(frozen=True)
class DayRange:
    """Days from `first` to `last`, both included."""

    first: dt.date
    last: dt.date


class Warehouse:
    """The pipeline's files. Every use holds the writer's lock: open late, leave early."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @contextmanager
    def writing(self, what: str, log: logging.Logger | None = None) -> Iterator[None]:
        """Hold the writer's lock, waiting for whoever has it. The system frees it when a process dies."""
        self.settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
        with (self.settings.warehouse_dir / "writer.lock").open("a+") as lock:
            waiting = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not waiting and log:
                        lock.seek(0)
                        log.info("%s waits for the writer of the warehouse: %s", what, lock.read().strip() or "unknown")
                    waiting = True
                    time.sleep(0.2)
            lock.seek(0)
            lock.truncate()
            lock.write(f"{what}, process {os.getpid()}")
            lock.flush()
            yield

    @contextmanager
    def connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open both files: the marts as the default database, the pipeline's own as `pipeline`."""
        config: dict[str, Any] = {
            "memory_limit": self.settings.memory_limit,
            "temp_directory": f"{self.settings.marts_db}.tmp",
        }
        with self._opened(config) as connection:
            connection.execute("set enable_progress_bar = false")
            connection.execute(f"create schema if not exists {BUILD_SCHEMA}")
            connection.execute(f"create table if not exists {BUILD_SCHEMA}.built {_LOADS}")
            connection.execute(f"create table if not exists {BUILD_SCHEMA}.building {_LOADS}")
            connection.execute(f"create table if not exists {BUILD_SCHEMA}.unpublished (first_day date)")
            yield connection

    def _opened(self, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        """Return a connection with both files, once no orphan of a killed run holds either."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while True:
            connection = None
            try:
                connection = duckdb.connect(str(self.settings.marts_db), config=config)
                connection.execute(f"attach '{_quoted(str(self.settings.pipeline_db))}' as pipeline")
            except duckdb.IOException as error:
                if connection:
                    connection.close()
                if "lock" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return connection

    def observed_days(self, source: str) -> frozenset[dt.date]:
        """Return the days whose readings stand in the warehouse."""
        with self.connected() as connection:
            if not _has_days(connection, source):
                return frozenset()
            rows = connection.execute(
                f"select snapshot_date from pipeline.{source}.{source}_days where status = 'observed'"
            ).fetchall()
        return frozenset(day for (day,) in rows)

    def begin_build(self, source: str = "rankings", since: dt.date | None = None) -> DayRange | None:
        """Note which loads the marts do not show yet, whichever run brought them, and return the days to rebuild.

        From here to `end_build` the marts are in the making and are not published.

        Args:
            since: rebuild from this day on, whatever was loaded.

        Returns:
            From the first such load or `since` to the last observed day, that day alone if there is none; None if no
            day was observed.
        """
        with self.connected() as connection, _transaction(connection):
            connection.execute(f"delete from {BUILD_SCHEMA}.building")
            if not _has_days(connection, source):
                return None
            days = f"pipeline.{source}.{source}_days"
            connection.execute(
                f"""
                insert into {BUILD_SCHEMA}.building
                select $source, snapshot_date, fetched_at from {days} as loaded
                anti join {BUILD_SCHEMA}.built as built
                    on
                        built.source = $source
                        and loaded.snapshot_date = built.day
                        and loaded.fetched_at = built.fetched_at
                """,
                {"source": source},
            )
            (last,) = _one(connection, f"select max(snapshot_date) from {days} where status = 'observed'")
            (first,) = _one(connection, f"select min(day) from {BUILD_SCHEMA}.building")
            if last is None:
                return None
            window = DayRange(min(first or last, since or last, last), last)
            connection.execute(f"insert into {BUILD_SCHEMA}.unpublished values (?)", [window.first])
            return window

    def end_build(self) -> None:
        """Note that the marts show every load that `begin_build` saw."""
        with self.connected() as connection, _transaction(connection):
            connection.execute(
                f"delete from {BUILD_SCHEMA}.built using {BUILD_SCHEMA}.building as building"
                " where built.source = building.source and built.day = building.day"
            )
            connection.execute(f"insert into {BUILD_SCHEMA}.built from {BUILD_SCHEMA}.building")
            connection.execute(f"delete from {BUILD_SCHEMA}.building")

    def changed_from(self) -> dt.date | None:
        """Return the first day that differs from the published copy; None if none does."""
        with self.connected() as connection:
            day: dt.date | None = _one(connection, f"select min(first_day) from {BUILD_SCHEMA}.unpublished")[0]
        return day


def row_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the number of rows of every table of both files, by its name."""
    tables = connection.execute("select database_name, schema_name, table_name from duckdb_tables()").fetchall()
    return {
        table: _one(connection, f'select count(*) from "{database}"."{schema}"."{table}"')[0]
        for database, schema, table in tables
    }


def replace_weeks(
    connection: duckdb.DuckDBPyConnection, table: WeeklyTable, frame: pd.DataFrame, first: dt.date, last: dt.date
) -> None:
    """Replace the weeks from `first` to `last` of a weekly table by the rows of `frame`, in one transaction."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in table.columns.items())
    with _transaction(connection):
        connection.execute(f"create table if not exists {table.name} ({columns})")
        connection.execute(f"comment on table {table.name} is '{_quoted(table.comment)}'")
        for name, (_, comment) in table.columns.items():
            connection.execute(f"comment on column {table.name}.{name} is '{_quoted(comment)}'")
        connection.execute(f"delete from {table.name} where week between ? and ?", [first, last])
        connection.register("new_weeks", frame)
        connection.execute(f"insert into {table.name} by name from new_weeks order by week, rank")
        connection.unregister("new_weeks")


_LOADS = "(source varchar, day date, fetched_at timestamp)"


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row
    return row


def _has_days(connection: duckdb.DuckDBPyConnection, source: str) -> bool:
    found = connection.execute(
        "select 1 from duckdb_tables() where database_name = 'pipeline' and schema_name = ? and table_name = ?",
        [source, f"{source}_days"],
    ).fetchone()
    return found is not None


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _quoted(text: str) -> str:
    return text.replace("'", "''")
