"""Copies a warehouse from files into a lake and back, and verifies each table by row count and checksum.

The copy contains raw tables, intermediate tables, marts, the build record, and the key that hashes accounts. It does
not contain views, which every build recreates, the published copy, or Dagster's record of runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from reposignal_pipeline.config import PROFILE_MARK, Profile, Settings, load_settings
from reposignal_pipeline.lake.catalog import (
    LAKES,
    PIPELINE,
    RELEASES,
    REPOSIGNAL,
    Lake,
    LakeError,
    comment_functions,
    make_functions,
)
from reposignal_pipeline.warehouse import BUILD_SCHEMA, MARTS

IMPORTING = f"{REPOSIGNAL}.{BUILD_SCHEMA}.importing"
LAKE_OF_FILES = {Profile.LOCAL: Profile.LAKE, Profile.DEMO: Profile.LAKE_DEMO}
"""profile of files -> profile of a lake with the same sources"""


@dataclass(frozen=True)
class Moved:
    """The number of tables and rows that were copied and verified."""

    tables: int
    rows: int


def import_home(lake: Lake, home: Path, report: Callable[[str], None]) -> Moved:
    """Copy the warehouse files of a home into an empty lake.

    Args:
        lake: the lake.
        home: the home with warehouse files.
        report: receives one line per table.

    Raises:
        LakeError: the home has no warehouse or another kind of profile, the lake is not empty, or a copy differs.
    """
    source = _files(home)
    if LAKE_OF_FILES.get(source.profile) != lake.settings.profile:
        raise LakeError(
            f"{home} has profile {source.profile.value!r}, which cannot be imported into a lake of profile"
            f" {lake.settings.profile.value!r}"
        )
    with lake.writing("import", of=MARTS), lake.connected() as connection:
        begun = connection.execute("select 1 from duckdb_tables() where table_name = 'importing'").fetchone()
        if not begun and (_rows(connection, PIPELINE) or _rows(connection, REPOSIGNAL)):
            raise LakeError("the lake already has rows: import into an empty lake")
        connection.execute(f"create table if not exists {IMPORTING} (home varchar)")  # lets a killed import continue
        for lake_name, file in ((PIPELINE, source.pipeline_db), (REPOSIGNAL, source.marts_db)):
            connection.execute(f"attach '{_quoted(str(file))}' as from_{lake_name} (read_only)")
        moved = [_copied(connection, f"from_{name}", name, report) for name in LAKES]
        make_functions(connection, REPOSIGNAL)
        connection.execute(f"drop table {IMPORTING}")
    if source.actor_key_file.exists():
        shutil.copyfile(source.actor_key_file, lake.settings.actor_key_file)
        lake.settings.actor_key_file.chmod(0o600)
    return Moved(sum(part.tables for part in moved), sum(part.rows for part in moved))


def export_home(lake: Lake, home: Path, report: Callable[[str], None]) -> Moved:
    """Copy one snapshot of each of the two lakes into the warehouse files of a new home.

    Args:
        lake: the lake.
        home: the new home.
        report: receives one line per table.

    Raises:
        LakeError: the home already has a warehouse, or a copy differs.
    """
    files_profile = next(files for files, profile in LAKE_OF_FILES.items() if profile == lake.settings.profile)
    target = load_settings({"REPOSIGNAL_HOME": str(home), "REPOSIGNAL_PROFILE": files_profile.value})
    if target.pipeline_db.exists() or target.marts_db.exists():
        raise LakeError(f"{home} already has a warehouse: export into a new home")
    making = target.home / "warehouse.making"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    with lake.writing("export", of=MARTS), lake.connected() as connection:
        for lake_name, file in ((PIPELINE, target.pipeline_db), (REPOSIGNAL, target.marts_db)):
            connection.execute(f"attach '{_quoted(str(making / file.name))}' as to_{lake_name}")
        moved = [_copied(connection, name, f"to_{name}", report) for name in LAKES]
        make_functions(connection, f"to_{REPOSIGNAL}")
        comment_functions(connection, f"to_{REPOSIGNAL}")
        for name in LAKES:
            connection.execute(f"detach to_{name}")
    if lake.settings.actor_key_file.exists():
        shutil.copyfile(lake.settings.actor_key_file, target.actor_key_file)
        target.actor_key_file.chmod(0o600)
    (target.home / PROFILE_MARK).write_text(f"{files_profile}\n")
    making.rename(target.warehouse_dir)
    return Moved(sum(part.tables for part in moved), sum(part.rows for part in moved))


def _files(home: Path) -> Settings:
    settings = load_settings({"REPOSIGNAL_HOME": str(home)})
    for file in (settings.pipeline_db, settings.marts_db):
        if not file.exists():
            raise LakeError(f"{home} has no warehouse: {file} does not exist")
    return settings


def _copied(connection: duckdb.DuckDBPyConnection, source: str, target: str, report: Callable[[str], None]) -> Moved:
    """Copy all tables of a database in one transaction; compare the row counts and the sums of the row hashes."""
    tables = [
        (schema, table)
        for schema, table in connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = ? order by all", [source]
        ).fetchall()
        if f"{schema}.{table}" != RELEASES
    ]
    rows = 0
    connection.begin()
    for schema, table in tables:
        name = f'"{schema}"."{table}"'
        connection.execute(f'create schema if not exists {target}."{schema}"')
        connection.execute(f"drop table if exists {target}.{name}")
        connection.execute(f"create table {target}.{name} as from {source}.{name}")
        for statement in _comments(connection, source, target, schema, table):
            connection.execute(statement)
        before, after = (_sum(connection, f"{database}.{name}") for database in (source, target))
        if before != after:
            connection.rollback()
            raise LakeError(f"{name} differs after the copy: rows and checksum {before} before, {after} after")
        report(f"{target}.{schema}.{table}  {before[0]:,} rows, checksum {before[1]}")
        rows += before[0]
    connection.commit()
    return Moved(len(tables), rows)


def _sum(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int]:
    row = connection.execute(f"select count(*), coalesce(sum(hash(rows)), 0) from {table} as rows").fetchone()
    assert row
    return int(row[0]), int(row[1])


def _comments(connection: duckdb.DuckDBPyConnection, source: str, target: str, schema: str, table: str) -> list[str]:
    here = "database_name = ? and schema_name = ? and table_name = ? and comment is not null"
    rows = connection.execute(
        f"""
        select 'table', null, comment from duckdb_tables() where {here}
        union all
        select 'column', column_name, comment from duckdb_columns() where {here}
        """,
        [source, schema, table] * 2,
    ).fetchall()
    name = f'{target}."{schema}"."{table}"'
    return [
        f"comment on {kind} {name}" + (f'."{column}"' if column else "") + f" is '{_quoted(comment)}'"
        for kind, column, comment in rows
    ]


def _rows(connection: duckdb.DuckDBPyConnection, database: str) -> int:
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = ?", [database]
    ).fetchall()
    found = [
        connection.execute(f'select count(*) from {database}."{schema}"."{table}"').fetchone()
        for schema, table in tables
    ]
    return sum(row[0] for row in found if row)


def _quoted(text: str) -> str:
    return text.replace("'", "''")
