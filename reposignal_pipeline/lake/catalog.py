"""The warehouse as a DuckLake: a catalog in PostgreSQL, Parquet files in S3 or a folder, any number of processes.

This module attaches the lake and implements its locks and releases. Maintenance is in `upkeep`, import and export in
`moving`, and everything that files and lakes share in `warehouse`.

There are two lakes in one database, named like the two files: `pipeline` for raw, staging and intermediate relations,
and `reposignal` for the marts. So queries are the same for both, and analysts can get access to one lake only.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from reposignal_pipeline.config import DBT_PROJECT_DIR, LakeSettings, Settings
from reposignal_pipeline.warehouse import (
    BUILD_SCHEMA,
    BY_MONTH,
    LOAD_RECORDS,
    MARTS,
    SAY_AFTER_SECONDS,
    Warehouse,
    changes,
    log_waiting,
    transaction,
)

PIPELINE, REPOSIGNAL = "pipeline", "reposignal"
LAKES = (PIPELINE, REPOSIGNAL)
DBT = "reposignal-dbt"
"""application name of dbt's sessions in the catalog"""
RAW = "raw"
"""database name under which dbt reads the `pipeline` lake at the snapshot of the beginning of the build"""
LOADS = ":memory:loads"
"""in-memory database that the connections of a load share in this process"""
EXTENSIONS = ("httpfs", "postgres_scanner", "ducklake")
RELEASES = f"{BUILD_SCHEMA}.releases"
COPY = "marts_copy"
"""alias of the file with the home's local copy of the marts"""

SESSION = {
    # DuckDB's default of three retries lasts two seconds; nine last up to three quarters of a minute
    "http_retries": 9,
    "http_retry_wait_ms": 100,
    "http_retry_backoff": 2,
    "s3_url_style": "path",  # every S3 server supports it; only some support the bucket in the host name
    "ducklake_max_retry_count": 50,  # commits of concurrent processes are serialised
}
PATIENCE_SECONDS = 60.0
"""time to wait for a catalog that does not respond; a restart takes seconds"""
POLL_SECONDS = 0.1
CONFLICT_ATTEMPTS = 5

T = TypeVar("T")


class LakeError(Exception):
    """The lake cannot be used. The message is one line."""


_open_databases: dict[str, duckdb.DuckDBPyConnection] = {}
"""catalog -> this process's database with the lakes attached: attaching takes 0.3 s, and a run connects 20 times"""


def warehouse_of(settings: Settings) -> Warehouse:
    """Return the warehouse of the settings, in files or in a lake."""
    return Lake(settings) if settings.lake else Warehouse(settings)


class Lake(Warehouse):
    """A warehouse in two lakes. Loads of different datasets, builds and readers do not wait for each other."""

    commits_apart = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.place = ready(settings)
        self._has_tables = False

    @contextmanager
    def writing(self, what: str, log: logging.Logger | None = None, *, of: str = MARTS) -> Iterator[None]:
        """Hold the lock of a dataset or of the marts, across machines; the catalog releases it if the process dies."""
        self.settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
        with _locked(self.place, of, what, log):
            yield

    @contextmanager
    def _rebuild_locked(self, what: str, log: logging.Logger | None) -> Iterator[None]:
        with _locked(self.place, "rebuild", what, log):
            yield

    @contextmanager
    def asking(self, connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to a local copy of the marts: a small query takes 16 ms on a lake, and 2 ms on a file."""
        path = self._copied(connection)
        with duckdb.connect(str(path), read_only=True, config={"memory_limit": self.settings.memory_limit}) as copy:
            copy.execute("set enable_progress_bar = false")
            yield copy

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Keep the shared in-memory database of a load open."""
        with attached(self.place, database=LOADS, lakes=(PIPELINE,)):
            yield

    def copy_marts(self, target: Path) -> None:
        """Write one snapshot of the marts to a DuckDB file, with comments and functions."""
        with self.connected() as connection:
            shutil.copyfile(self._copied(connection), target)
        with duckdb.connect(str(target)) as connection:
            connection.execute(f"drop schema {BUILD_SCHEMA} cascade")

    def _copied(self, connection: duckdb.DuckDBPyConnection) -> Path:
        """Update the home's local copy of the marts with what has changed, and return its path."""
        path = self.settings.warehouse_dir / "marts-copy.duckdb"
        connection.execute(f"attach '{_quoted(str(path))}' as {COPY}")
        try:
            with transaction(connection):
                _renew(connection)
        finally:
            connection.execute(f"detach {COPY}")
        return path

    def pin(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        """Return a snapshot of the raw tables that is not inside a load; a load consists of several commits."""
        with ExitStack() as locks:
            for dataset in sorted(LOAD_RECORDS):
                locks.enter_context(_locked(self.place, dataset, "a build begins", None))
            return snapshot(connection, PIPELINE)

    def released(self, name: str) -> None:
        """Record the newest snapshot of the marts as a release, which is kept and shown by `lake status`."""
        with self.connected() as connection:
            connection.execute(
                f"insert into {RELEASES} values (?, ?, now()::timestamp)", [name, snapshot(connection, REPOSIGNAL)]
            )
            self._copied(connection)  # later changes of months are relative to this release

    def is_newest_release(self, name: str) -> bool:
        """Return whether no other home has published since the release of that name."""
        with self.connected() as connection:
            row = connection.execute(f"select max_by(release, snapshot_id) from {RELEASES}").fetchone()
        return row is not None and row[0] == name

    def _ensure_tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self._has_tables:
            return
        with _locked(self.place, "tables", "make tables", None):
            super()._ensure_tables(connection)
            connection.execute(
                f"create table if not exists {RELEASES} (release varchar, snapshot_id bigint, released_at timestamp)"
            )
        self._has_tables = True

    def _opened(self, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        base = _open_databases.get(self.place.catalog)
        if base is None or not _responds(base):
            base = _open_databases[self.place.catalog] = attached(self.place, config)
        connection = base.cursor()
        connection.execute(f"use {REPOSIGNAL}")
        return connection


def ready(settings: Settings) -> LakeSettings:
    """Prepare this process to use the lake (environment, DuckDB extensions), and return its location.

    Raises:
        LakeError: the profile has no lake.
    """
    if settings.lake is None:
        raise LakeError(f"profile {settings.profile.value!r} has no lake: set REPOSIGNAL_PROFILE=lake")
    os.environ.update(settings.lake.environment)
    try:
        from duckdb_extensions import import_extension
    except ImportError:
        return settings.lake  # DuckDB downloads the extensions
    with duckdb.connect() as connection:  # not the default connection, which all threads share
        for name in EXTENSIONS:
            import_extension(name, con=connection)
    return settings.lake


def check(place: LakeSettings) -> None:
    """Check that catalog and data are reachable, before the catalog stores the data path, which is permanent.

    Raises:
        LakeError: wrong password, no such bucket, wrong key, or a server that does not respond for a minute.
    """
    _session(place, "look").close()
    if not place.data.startswith("s3://"):
        return
    with duckdb.connect() as connection:
        try:
            _make_ready(connection)
            # no file has this prefix, so the listing is fast even with many files
            connection.execute("select count(*) from glob(?)", [f"{place.data}/.none*"]).fetchall()
        except duckdb.Error as error:
            raise LakeError(f"REPOSIGNAL_LAKE_DATA={place.data}: {_one_line(error)[:300]}") from None


def attached(
    place: LakeSettings,
    config: dict[str, Any] | None = None,
    *,
    database: str = ":memory:",
    lakes: tuple[str, ...] = LAKES,
    read_only: bool = False,
    at_snapshot: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """Return a connection with lakes attached under their names; the last one is the default database.

    Args:
        place: location of the lake.
        config: DuckDB configuration.
        database: DuckDB database of the connection.
        lakes: names of the lakes to attach.
        read_only: attach read-only.
        at_snapshot: attach at this snapshot, read-only; for a single lake.

    Raises:
        LakeError: the catalog refuses, or does not respond for a minute.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = duckdb.connect(database, config=config or {})
        try:
            _make_ready(connection)
            for lake in lakes:
                connection.execute(attach_statement(place, lake, read_only=read_only, at_snapshot=at_snapshot))
            connection.execute(f"use {lakes[-1]}")
            return connection
        except duckdb.Error as error:
            connection.close()
            if not is_passing(error) or time.monotonic() > deadline:
                raise LakeError(_one_line(error)) from None
            time.sleep(0.5)


def _responds(base: duckdb.DuckDBPyConnection) -> bool:
    """Return whether an open database still reaches its catalog, which may have restarted; close it if it does not."""
    try:
        with base.cursor() as connection:
            for lake in LAKES:
                snapshot(connection, lake)
    except duckdb.Error:
        base.close()
        return False
    return True


def _make_ready(connection: duckdb.DuckDBPyConnection) -> None:
    for name in EXTENSIONS:
        connection.execute(f"load {name}")
    for name, value in SESSION.items():
        connection.execute(f"set global {name} = '{value}'")


def attach_statement(place: LakeSettings, lake: str, *, read_only: bool = False, at_snapshot: int | None = None) -> str:
    """Return the SQL that attaches a lake under its name; the password comes from the environment."""
    options = [f"data_path '{_quoted(place.data)}/{lake}'", f"metadata_schema '{lake}'"]
    if read_only or at_snapshot is not None:
        options.append("read_only")
    if at_snapshot is not None:
        options.append(f"snapshot_version {at_snapshot}")
    return f"attach 'ducklake:postgres:{_quoted(place.catalog)}' as {lake} ({', '.join(options)})"


def snapshot(connection: duckdb.DuckDBPyConnection, lake: str) -> int:
    """Return the id of a lake's newest snapshot, or of the snapshot of the open transaction."""
    row = connection.execute(f"select id from {lake}.current_snapshot()").fetchone()
    assert row
    return int(row[0])


def newest_release(connection: duckdb.DuckDBPyConnection) -> tuple[str, int] | None:
    """Return (name, snapshot id) of the last release; None if there is none."""
    row = connection.execute(
        f"select max_by(release, snapshot_id), max(snapshot_id) from {REPOSIGNAL}.{RELEASES}"
    ).fetchone()
    return (row[0], row[1]) if row and row[0] is not None else None


def _renew(connection: duckdb.DuckDBPyConnection) -> None:
    """Update the attached copy to the state of the marts; only changed tables and months are copied."""
    connection.execute(f"create schema if not exists {COPY}.{BUILD_SCHEMA}")
    stamp = f"{COPY}.{BUILD_SCHEMA}.copied"
    connection.execute(f"create table if not exists {stamp} (snapshot_id bigint, snapshot_us bigint)")
    snapshots = f"select snapshot_id, epoch_us(snapshot_time) from {REPOSIGNAL}.snapshots()"
    now = connection.execute(f"{snapshots} where snapshot_id = ?", [snapshot(connection, REPOSIGNAL)]).fetchone()
    copied = connection.execute(f"from {stamp}").fetchone()
    changed = _changed_since(connection, *copied) if copied else None
    release = newest_release(connection)
    # changes are relative to the newest release
    months = f"where {changes(connection).condition}" if copied and release and copied[0] >= release[1] else ""
    standing, wanted = (_tables(connection, database) for database in (COPY, REPOSIGNAL))
    for table, shape in wanted.items():
        source, target = f"{REPOSIGNAL}.main.{table}", f"{COPY}.main.{table}"
        if standing.get(table) != shape:
            connection.execute(f"create or replace table {target} as from {source}")
            for statement in _comments(connection, table):
                connection.execute(statement)
        elif changed is None or table in changed:
            which = months if table in BY_MONTH and changed is not None else ""
            connection.execute(f"delete from {target} {which}")
            connection.execute(f"insert into {target} from {source} {which}")
    for table in standing.keys() - wanted.keys():
        connection.execute(f"drop table {COPY}.main.{table}")
    make_functions(connection, COPY)
    comment_functions(connection, COPY)
    connection.execute(f"delete from {stamp}")
    connection.execute(f"insert into {stamp} values (?, ?)", now)


def _changed_since(connection: duckdb.DuckDBPyConnection, snapshot_id: int, snapshot_us: int) -> set[str] | None:
    """Return the tables of the marts that were written since a snapshot.

    None if this is unknown, because the catalog no longer has the snapshot or one that followed it.
    """
    rows = connection.execute(
        f"""
        select snapshot_id, epoch_us(snapshot_time), list_distinct(flatten(map_values(changes)))
        from {REPOSIGNAL}.snapshots() where snapshot_id >= ? order by snapshot_id
        """,
        [snapshot_id],
    ).fetchall()
    if not rows or rows[0][:2] != (snapshot_id, snapshot_us) or rows[-1][0] - snapshot_id != len(rows) - 1:
        return None
    numbers = {what for _, _, touched in rows[1:] for what in touched}
    tables = connection.execute(f"select table_name, table_id::varchar from ducklake_table_info('{REPOSIGNAL}')")
    return {table for table, number in tables.fetchall() if number in numbers}


def make_functions(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Create the table functions of the marts, as dbt does, in a database that has the tables."""
    if "fct_language_vertical_day" in _tables(connection, database):
        _execute_in(connection, database, "language_functions")


def comment_functions(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Add comments to the table functions of a DuckDB file; functions of a lake cannot have comments."""
    if _has_functions(connection, database):
        _execute_in(connection, database, "language_function_comments")


def _execute_in(connection: duckdb.DuckDBPyConnection, database: str, macro: str) -> None:
    """Execute the SQL of a dbt macro without other Jinja in the schema `main` of a database."""
    text = (DBT_PROJECT_DIR / "macros" / "languages.sql").read_text()
    body = text.split(f"{{% macro {macro}() -%}}")[1].split("{%- endmacro %}")[0]
    connection.execute(f"use {database}.main")
    connection.execute(body)
    connection.execute(f"use {REPOSIGNAL}")


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, tuple[Any, ...]]:
    """Return the tables in the schema `main` of a database: name -> (comment, columns with types and comments)."""
    rows = connection.execute(
        """
        select
            table_name, any_value(tables.comment), list((column_name, data_type, columns.comment) order by column_index)
        from duckdb_columns() as columns join duckdb_tables() as tables using (database_name, schema_name, table_name)
        where database_name = ? and schema_name = 'main' group by table_name order by table_name
        """,
        [database],
    ).fetchall()
    return {name: tuple(shape) for name, *shape in rows}


def _comments(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    here = "database_name = ? and schema_name = 'main' and table_name = ? and comment is not null"
    rows = connection.execute(
        f"""
        select 'table {COPY}.main.' || table_name, comment from duckdb_tables() where {here}
        union all
        select 'column {COPY}.main.' || table_name || '.' || column_name, comment from duckdb_columns() where {here}
        """,
        [REPOSIGNAL, table] * 2,
    ).fetchall()
    return [f"comment on {what} is '{_quoted(comment)}'" for what, comment in rows]


def _has_functions(connection: duckdb.DuckDBPyConnection, database: str) -> bool:
    row = connection.execute(
        "select count(*) from duckdb_functions() where database_name = ? and schema_name = 'main' and not internal",
        [database],
    ).fetchone()
    return row is not None and row[0] > 0


def lake_environment(place: LakeSettings) -> dict[str, str]:
    """Return the environment variables of dbt's profile `lake`."""
    return {
        "REPOSIGNAL_DBT_TARGET": "lake",
        "REPOSIGNAL_LAKE_ATTACH": f"ducklake:postgres:{place.catalog}{'&' if '?' in place.catalog else '?'}"
        f"application_name={DBT}",
        "REPOSIGNAL_LAKE_FOLDER": place.data,
        "REPOSIGNAL_RAW_DATABASE": RAW,
        **place.environment,
    }


def retried(action: Callable[[], T]) -> T:
    """Return the result of an action; repeat it if its commit conflicts with another one."""
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            return action()
        except duckdb.TransactionException as error:
            if "conflict" not in str(error).lower() or attempt == CONFLICT_ATTEMPTS - 1:
                raise
            time.sleep(0.5 * 2**attempt)
    raise AssertionError


def is_passing(error: Exception) -> bool:
    """Return whether an error is temporary: the catalog is starting, stopping or not reachable."""
    text = str(error)
    return any(sign in text for sign in ("Connection refused", "starting up", "shutting down", "closed the connection"))


@contextmanager
def _locked(place: LakeSettings, of: str, what: str, log: logging.Logger | None) -> Iterator[None]:
    """Hold an advisory lock in the catalog's database; the server releases it when the connection ends."""
    import psycopg2

    session = _session(place, what)
    try:
        with session.cursor() as cursor:
            begun, is_logged = time.monotonic(), False
            while True:
                cursor.execute("select pg_try_advisory_lock(hashtext('reposignal'), hashtext(%s))", [of])
                if (cursor.fetchone() or [False])[0]:
                    break
                if not is_logged and time.monotonic() - begun > SAY_AFTER_SECONDS:
                    log_waiting(_holder(cursor, of), log)
                    is_logged = True
                time.sleep(POLL_SECONDS)
        yield
        try:
            with session.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error:
            raise LakeError(f"the catalog was restarted while {what} held the lock of {of}: run it again") from None
    finally:
        session.close()


def _session(place: LakeSettings, what: str) -> Any:
    """Return an autocommit session in the catalog's database, after waiting for a restart if necessary."""
    import psycopg2

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            session = psycopg2.connect(place.catalog, application_name=f"reposignal: {what}"[:63])
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline or not is_passing(error):
                raise LakeError(f"REPOSIGNAL_LAKE_CATALOG={place.catalog}: {_one_line(error)}") from None
            time.sleep(0.5)
        else:
            session.autocommit = True
            return session


def _holder(cursor: Any, of: str) -> str:
    cursor.execute(
        """
        select application_name from pg_locks join pg_stat_activity using (pid)
        where locktype = 'advisory' and granted and objid = hashtext(%s)::oid
        """,
        [of],
    )
    row = cursor.fetchone()
    return row[0] if row else "another process"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _quoted(text: str) -> str:
    return text.replace("'", "''")
