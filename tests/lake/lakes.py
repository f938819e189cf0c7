"""Homes whose warehouse is a lake of their own: a database of the test's PostgreSQL, a bucket or a folder.

Here: what several test modules share. Not here: fixtures (`conftest.py`), servers (`servers.py`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from typing import Any
from urllib.parse import quote

import duckdb
from servers import S3, Postgres

from reposignal_pipeline.config import load_settings
from reposignal_pipeline.lake.catalog import Lake
from reposignal_pipeline.sources.rankings import TABLES
from tests.pipeline.homes import MADE, Home, Rows

EXTENSIONS = ("httpfs", "postgres_scanner", "ducklake")
BUCKET = "reposignal-lakes"
PATIENCE_SECONDS = 900
"""for a command, while others share the two cores"""
_numbers = itertools.count(1)


@dataclass
class LakeHome(Home):
    """A home with a lake, and ways into that lake that bypass the pipeline."""

    profile: str = "lake"
    postgres: Postgres = field(kw_only=True)
    s3: S3 = field(kw_only=True)
    database: str = ""
    data: str = ""
    """s3://bucket/prefix or a folder"""

    @property
    def on_s3(self) -> bool:
        return self.data.startswith("s3://")

    @property
    def environment(self) -> dict[str, str]:
        given = {
            "REPOSIGNAL_LAKE_CATALOG": self.postgres.url(self.database),
            "REPOSIGNAL_LAKE_DATA": self.data,
            **(self.s3.environment if self.on_s3 else {}),
        }
        # libpq and httpfs read variables of their own: the caller's must not apply
        inherited = {
            name: value
            for name, value in super().environment.items()
            if not name.startswith(("PG", "DUCKDB_S3_", "AWS_"))
        }
        return {**inherited, **given, **self.extra}

    @property
    def secrets(self) -> list[str]:
        """Strings that must not be written anywhere."""
        word = self.postgres.password
        return [word, quote(word, safe=""), quote(word), self.s3.secret]

    def copied(self, path: Path) -> LakeHome:
        """Return a copy of this home with a copy of its lake."""
        packed = path.parent / f"{path.name}.packed"
        self.pack(packed)
        return unpacked(packed, path, self.postgres, self.s3, on_s3=self.on_s3, rankings_url=self.rankings_url)

    def pack(self, folder: Path) -> None:
        """Write the home and its lake to files."""
        copytree(self.path, folder / "home", symlinks=True)
        self.postgres.save(self.database, folder / "catalog")
        (folder / "data").mkdir()
        if self.on_s3:
            self.s3.download(BUCKET, self.prefix, folder / "data")
        else:
            copytree(self.data, folder / "data", dirs_exist_ok=True)
        (folder / "data_path").write_text(self.data)

    @property
    def prefix(self) -> str:
        return self.data.removeprefix(f"s3://{BUCKET}/")

    @contextmanager
    def attached(self, lake: str = "reposignal", options: str = "", **login: Any) -> Iterator[Any]:
        """Yield a connection of plain DuckDB with a lake attached read-only, without any code of this project.

        Args:
            options: more options of ATTACH, each after a comma.
            login: user and password, if not the pipeline's.
        """
        with plain(self) as connection:
            connection.execute(self.attach(lake, options, **login))
            connection.execute(f"use {lake}")
            yield connection

    def attach(self, lake: str, options: str = "", *, read_only: bool = True, **login: Any) -> str:
        """Return the SQL that attaches a lake with a password in it, as an analyst might write it."""
        where = self.postgres.url(self.database, **login).replace("'", "''")
        more = ", read_only" if read_only else ""
        return f"attach 'ducklake:postgres:{where}' as {lake} (metadata_schema '{lake}'{more}{options})"

    def release(self) -> int:
        """Return the snapshot that was published last."""
        with self.attached() as connection:
            (row,) = connection.execute("select max(snapshot_id) from build.releases").fetchall()
        return int(row[0])

    def lake_tables(self, options: str = "") -> dict[str, Rows]:
        """Return every row of every mart in the lake, as `Home.tables` does for the published file."""
        with self.attached("reposignal", options) as connection:
            names = connection.execute(
                "select table_name from duckdb_tables() where database_name = 'reposignal' and schema_name = 'main'"
                " and table_name <> 'ops_run' order by 1"
            ).fetchall()
            return {
                name: connection.execute(f"select {MADE}::varchar from {name} order by all").fetchall()
                for (name,) in names
            }

    def raw_rows(self) -> dict[str, Rows]:
        """Return the rows of the rankings' raw tables, without time, location and run of the load."""
        with self.attached("pipeline") as connection:
            return self.raw_rows_of(connection)

    @staticmethod
    def raw_rows_of(connection: duckdb.DuckDBPyConnection) -> dict[str, Rows]:
        """Return what `raw_rows` returns, for any connection whose default database is the pipeline's."""
        found = {}
        for table in ("rankings", "rankings_days"):
            columns = [
                f"{name}::varchar" for name in TABLES[table].names if name not in ("fetched_at", "file", "run_id")
            ]
            found[table] = connection.execute(
                f"select {', '.join(columns)} from rankings.{table} order by all"
            ).fetchall()
        return found

    def files_of_catalog(self) -> set[str]:
        """Return the files in the catalog, in any snapshot or scheduled for removal, relative to the data."""
        known: set[str] = set()
        for lake in ("pipeline", "reposignal"):
            rows = self.postgres.execute(
                f"""
                select s.path || t.path || f.path
                from (
                    select table_id, path, path_is_relative from {lake}.ducklake_data_file
                    union all select table_id, path, path_is_relative from {lake}.ducklake_delete_file
                ) as f
                join {lake}.ducklake_table as t using (table_id)
                join {lake}.ducklake_schema as s using (schema_id)
                where f.path_is_relative and t.path_is_relative and s.path_is_relative
                """,
                database=self.database,
            )
            known |= {f"{lake}/{path}" for (path,) in rows}
            waiting = self.postgres.execute(
                f"select path from {lake}.ducklake_files_scheduled_for_deletion", database=self.database
            )
            known |= {f"{lake}/{path.removeprefix(f'{self.data}/{lake}/')}" for (path,) in waiting}
        return known

    def files(self) -> set[str]:
        """Return the existing files, relative to the data."""
        if not self.on_s3:
            root = Path(self.data)
            return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        return {key.removeprefix(f"{self.prefix}/") for key in self.s3.keys(BUCKET, f"{self.prefix}/")}


def plain(home: LakeHome) -> duckdb.DuckDBPyConnection:
    """Return a connection as an analyst would open it, with the extensions and, for S3, the keys."""
    from duckdb_extensions import import_extension

    connection = duckdb.connect()
    for name in EXTENSIONS:
        import_extension(name, con=connection)
        connection.execute(f"load {name}")
    if home.on_s3:
        endpoint = home.s3.address.removeprefix("http://")
        connection.execute(
            f"create secret (type s3, key_id '{home.s3.key}', secret '{home.s3.secret}', region 'eu-central-1',"
            f" endpoint '{endpoint}', use_ssl false, url_style 'path')"
        )
    return connection


def new_lake(path: Path, postgres: Postgres, s3: S3, *, on_s3: bool, rankings_url: str | None = None) -> LakeHome:
    """Return a home at `path` with an empty lake of its own."""
    number = next(_numbers)
    database = postgres.create_database(f"lake_{number}")
    data = f"s3://{BUCKET}/lake-{number}" if on_s3 else str(path.parent / f"data-{number}")
    return LakeHome(path, rankings_url, postgres=postgres, s3=s3, database=database, data=data)


def unpacked(
    packed: Path, path: Path, postgres: Postgres, s3: S3, *, on_s3: bool, rankings_url: str | None
) -> LakeHome:
    """Return a home at `path` with packed content, on S3 or in a folder, independent of its previous location."""
    home = new_lake(path, postgres, s3, on_s3=on_s3, rankings_url=rankings_url)
    copytree(packed / "home", path, symlinks=True)
    postgres.restore(home.database, packed / "catalog")
    if on_s3:
        s3.upload(packed / "data", BUCKET, home.prefix)
    else:
        copytree(packed / "data", home.data)
    for lake in ("pipeline", "reposignal"):
        # paths of files are relative to this one
        postgres.execute(
            f"update {lake}.ducklake_metadata set value = %s where key = 'data_path'",
            [f"{home.data}/{lake}/"],
            database=home.database,
        )
    return home


@contextmanager
def warehouse_in(home: LakeHome) -> Iterator[Lake]:
    """Yield the home's lake as this process opens it; this sets environment variables permanently."""
    before = dict(os.environ)
    try:
        yield Lake(load_settings(home.environment))
    finally:
        os.environ.clear()
        os.environ.update(before)


def impatient(seconds: float) -> str:
    """Return the source of a `reposignal` program that gives up a silent catalog after some seconds."""
    return (
        "import sys; from reposignal_pipeline.lake import catalog;"
        f" catalog.PATIENCE_SECONDS = {seconds};"
        " from reposignal_pipeline.cli import main; sys.exit(main())"
    )
