"""The warehouse as a DuckLake: a catalog in PostgreSQL, Parquet in S3 or a folder, any number of processes.

Here: attaching it, its locks, its releases. Not here: its upkeep (`upkeep`), moving in and out (`moving`), what is
the same in files and a lake (`warehouse`).

There are two lakes in one database, named as the two files are: `pipeline` for raw, staging and intermediate relations,
`reposignal` for the marts. So every query reads alike, and analysts can be let into one of them alone.
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
    LEDGERS,
    MARTS,
    SAY_AFTER_SECONDS,
    Warehouse,
    changes,
    tell_waiting,
    transaction,
)

PIPELINE, REPOSIGNAL = "pipeline", "reposignal"
LAKES = (PIPELINE, REPOSIGNAL)
DBT = "reposignal-dbt"
"""how the catalog knows the sessions of dbt"""
RAW = "raw"
"""under this name dbt reads the pipeline's lake as it was when the build began"""
LOADS = ":memory:loads"
"""database that the connections of a load share, in this process"""
EXTENSIONS = ("httpfs", "postgres_scanner", "ducklake")
RELEASES = f"{BUILD_SCHEMA}.releases"
COPY = "marts_copy"
"""alias of the file with a home's own copy of the marts"""

SESSION = {
    # three retries are two seconds; ten at most are three quarters of a minute
    "http_retries": 9,
    "http_retry_wait_ms": 100,
    "http_retry_backoff": 2,
    "s3_url_style": "path",  # any S3 server knows it, a bucket's name in the host only some
    "ducklake_max_retry_count": 50,  # commits of many processes are numbered one by one
}
PATIENCE_SECONDS = 60.0
"""for a catalog that does not answer: a restart takes seconds"""
POLL_SECONDS = 0.1
CONFLICT_ATTEMPTS = 5

T = TypeVar("T")


class LakeError(Exception):
    """A lake that cannot be used; the message is one line."""


_open_databases: dict[str, duckdb.DuckDBPyConnection] = {}
"""catalog -> this process's database with the lakes attached: attaching takes 0.3 s, and a run connects 20 times"""


def warehouse_of(settings: Settings) -> Warehouse:
    """Return the warehouse where the settings place it: in files or a lake."""
    return Lake(settings) if settings.lake else Warehouse(settings)


class Lake(Warehouse):
    """The two lakes. Loads of different datasets, builds and readers do not wait for one another."""

    commits_apart = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.place = ready(settings)
        self._has_tables = False

    @contextmanager
    def writing(self, what: str, log: logging.Logger | None = None, *, of: str = MARTS) -> Iterator[None]:
        """Hold the lock of what is written, across machines; the catalog frees it when a process is gone."""
        self.settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
        with _locked(self.place, of, what, log):
            yield

    @contextmanager
    def _rebuild_locked(self, what: str, log: logging.Logger | None) -> Iterator[None]:
        with _locked(self.place, "rebuild", what, log):
            yield

    @contextmanager
    def asking(self, connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a copy of the marts in a file: a small question to a lake costs 16 ms, to a file 2."""
        path = self._copied(connection)
        with duckdb.connect(str(path), read_only=True, config={"memory_limit": self.settings.memory_limit}) as copy:
            copy.execute("set enable_progress_bar = false")
            yield copy

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Hold the database open from which a load's connections are drawn."""
        with attached(self.place, database=LOADS, lakes=(PIPELINE,)):
            yield

    def copy_marts(self, target: Path) -> None:
        """Write the marts as they stand, of one snapshot, to a DuckDB file, with comments and functions."""
        with self.connected() as connection:
            shutil.copyfile(self._copied(connection), target)
        with duckdb.connect(str(target)) as connection:
            connection.execute(f"drop schema {BUILD_SCHEMA} cascade")

    def _copied(self, connection: duckdb.DuckDBPyConnection) -> Path:
        """Return the home's own copy of the marts in a file, after what changed since was copied again."""
        path = self.settings.warehouse_dir / "marts-copy.duckdb"
        connection.execute(f"attach '{_quoted(str(path))}' as {COPY}")
        try:
            with transaction(connection):
                _renew(connection)
        finally:
            connection.execute(f"detach {COPY}")
        return path

    def pin(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        """Return the snapshot of the raw tables between two loads: a load is several commits."""
        with ExitStack() as locks:
            for dataset in sorted(LEDGERS):
                locks.enter_context(_locked(self.place, dataset, "a build begins", None))
            return snapshot(connection, PIPELINE)

    def released(self, name: str) -> None:
        """Tag the newest snapshot of the marts: it is kept, and `lake status` tells how to attach it."""
        with self.connected() as connection:
            connection.execute(
                f"insert into {RELEASES} values (?, ?, now()::timestamp)", [name, snapshot(connection, REPOSIGNAL)]
            )
            self._copied(connection)  # the months that change from here on are counted from this release

    def is_newest_release(self, name: str) -> bool:
        """Return whether no other home published after the release of that name."""
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
    """Return where the lake is, once this process has what it takes to reach it.

    Raises:
        LakeError: if the profile has no lake.
    """
    if settings.lake is None:
        raise LakeError(f"profile {settings.profile.value!r} has no lake: set REPOSIGNAL_PROFILE=lake")
    os.environ.update(settings.lake.environment)
    try:
        from duckdb_extensions import import_extension
    except ImportError:
        return settings.lake  # DuckDB fetches them
    with duckdb.connect() as connection:  # the default one is shared by all threads
        for name in EXTENSIONS:
            import_extension(name, con=connection)
    return settings.lake


def check(place: LakeSettings) -> None:
    """Look whether catalog and data can be reached, before the catalog learns of the data: it keeps the first for good.

    Raises:
        LakeError: if not: a wrong password, no such bucket, a wrong key, a server that does not answer for a minute.
    """
    _session(place, "look").close()
    if not place.data.startswith("s3://"):
        return
    with duckdb.connect() as connection:
        try:
            _make_ready(connection)
            # of names that begin like this there are none, however many files there are
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
    """Return a connection with lakes attached under their names, the last as the default database.

    Args:
        at_snapshot: attach them as they were; for one lake, read-only.

    Raises:
        LakeError: if the catalog does not answer for a minute, or refuses.
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
    """Return the SQL that attaches a lake under its name; a password is left to the environment."""
    options = [f"data_path '{_quoted(place.data)}/{lake}'", f"metadata_schema '{lake}'"]
    if read_only or at_snapshot is not None:
        options.append("read_only")
    if at_snapshot is not None:
        options.append(f"snapshot_version {at_snapshot}")
    return f"attach 'ducklake:postgres:{_quoted(place.catalog)}' as {lake} ({', '.join(options)})"


def snapshot(connection: duckdb.DuckDBPyConnection, lake: str) -> int:
    """Return the number of a lake's newest snapshot, or of the one that the open transaction sees."""
    row = connection.execute(f"select id from {lake}.current_snapshot()").fetchone()
    assert row
    return int(row[0])


def newest_release(connection: duckdb.DuckDBPyConnection) -> tuple[str, int] | None:
    """Return name and snapshot of what was published last; None if nothing was."""
    row = connection.execute(
        f"select max_by(release, snapshot_id), max(snapshot_id) from {REPOSIGNAL}.{RELEASES}"
    ).fetchone()
    return (row[0], row[1]) if row and row[0] is not None else None


def _renew(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the attached copy to the marts' state: of each table what changed, of monthly ones by months."""
    connection.execute(f"create schema if not exists {COPY}.{BUILD_SCHEMA}")
    stamp = f"{COPY}.{BUILD_SCHEMA}.copied"
    connection.execute(f"create table if not exists {stamp} (snapshot_id bigint, snapshot_us bigint)")
    snapshots = f"select snapshot_id, epoch_us(snapshot_time) from {REPOSIGNAL}.snapshots()"
    now = connection.execute(f"{snapshots} where snapshot_id = ?", [snapshot(connection, REPOSIGNAL)]).fetchone()
    copied = connection.execute(f"from {stamp}").fetchone()
    changed = _changed_since(connection, *copied) if copied else None
    release = newest_release(connection)
    # changes are counted from the newest release
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
    """Return the tables of the marts into which anything was written since a snapshot.

    None if the catalog cannot tell: it has no such snapshot (any more), or not all that followed.
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
    """Make the table functions of the marts in a database that has the tables, as dbt does."""
    if "fct_language_vertical_day" in _tables(connection, database):
        _execute_in(connection, database, "language_functions")


def comment_functions(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Say in a DuckDB file what its table functions are: those of a lake have no comments."""
    if _has_functions(connection, database):
        _execute_in(connection, database, "language_function_comments")


def _execute_in(connection: duckdb.DuckDBPyConnection, database: str, macro: str) -> None:
    """Execute the SQL of a macro of dbt that has no other Jinja in it, in the schema `main` of a database."""
    text = (DBT_PROJECT_DIR / "macros" / "languages.sql").read_text()
    body = text.split(f"{{% macro {macro}() -%}}")[1].split("{%- endmacro %}")[0]
    connection.execute(f"use {database}.main")
    connection.execute(body)
    connection.execute(f"use {REPOSIGNAL}")


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, tuple[Any, ...]]:
    """Return the tables in the schema `main` of a database: name -> comment, columns with types and comments."""
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
    """Return what the profile `lake` of dbt reads from the environment."""
    return {
        "REPOSIGNAL_DBT_TARGET": "lake",
        "REPOSIGNAL_LAKE_ATTACH": f"ducklake:postgres:{place.catalog}{'&' if '?' in place.catalog else '?'}"
        f"application_name={DBT}",
        "REPOSIGNAL_LAKE_FOLDER": place.data,
        "REPOSIGNAL_RAW_DATABASE": RAW,
        **place.environment,
    }


def retried(action: Callable[[], T]) -> T:
    """Return what an action returns, done again if the lake refused its commit because another changed the same."""
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            return action()
        except duckdb.TransactionException as error:
            if "conflict" not in str(error).lower() or attempt == CONFLICT_ATTEMPTS - 1:
                raise
            time.sleep(0.5 * 2**attempt)
    raise AssertionError


def is_passing(error: Exception) -> bool:
    """Return whether an error is of a catalog that is starting, stopping or not to be reached."""
    text = str(error)
    return any(sign in text for sign in ("Connection refused", "starting up", "shutting down", "closed the connection"))


@contextmanager
def _locked(place: LakeSettings, of: str, what: str, log: logging.Logger | None) -> Iterator[None]:
    """Hold an advisory lock of the catalog's database; its server frees it when the connection ends."""
    import psycopg2

    session = _session(place, what)
    try:
        with session.cursor() as cursor:
            begun, is_told = time.monotonic(), False
            while True:
                cursor.execute("select pg_try_advisory_lock(hashtext('reposignal'), hashtext(%s))", [of])
                if (cursor.fetchone() or [False])[0]:
                    break
                if not is_told and time.monotonic() - begun > SAY_AFTER_SECONDS:
                    tell_waiting(_holder(cursor, of), log)
                    is_told = True
                time.sleep(POLL_SECONDS)
        yield
        try:
            with session.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error:
            raise LakeError(f"the catalog was restarted while {what} held the lock of {of}: do it again") from None
    finally:
        session.close()


def _session(place: LakeSettings, what: str) -> Any:
    """Return a session of the catalog's database in which each statement is a transaction; a restart is waited for."""
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
