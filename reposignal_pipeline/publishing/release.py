"""Publishes a release: builds it in a separate folder, then swaps it in with one rename.

This module writes the DuckDB file and the Parquet files of a release and swaps the link. The site, which is part of a
release, is built in `publishing.site`.

`published` is a symbolic link to a folder below `releases`. A release is complete before the link points at it. Readers
that have a file of the former release open keep it, and the pipeline never waits for them.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from reposignal_pipeline.config import Settings
from reposignal_pipeline.publishing.site.pages import Site, build, edition
from reposignal_pipeline.publishing.site.shelf import RECORD, recorded_edition
from reposignal_pipeline.warehouse import BUILD_SCHEMA, BY_MONTH, Changes, Warehouse, changes

SOURCE = ".marts.json"
"""file of a release: time and size of the files of the marts when it became the newest release"""
RELEASED = frozenset({"reposignal.duckdb", "parquet", "site", RECORD, SOURCE})
"""files and folders of a release"""
FOUND = "found"
"""name of a release that a copy of the home left as a real folder in place of the link"""


class HalfBuiltError(Exception):
    """The marts are being rebuilt, or the run that rebuilt them failed. The message is one line."""


class OccupiedError(Exception):
    """A foreign file or folder occupies the path of the link to the release. The message is one line."""


@dataclass(frozen=True)
class Release:
    """A published copy."""

    path: Path
    rows: dict[str, int]
    months_written: int
    site: Site


def publish(warehouse: Warehouse, name: str) -> Release:
    """Publish the current marts and return the release, which has replaced the former one.

    The caller must hold the writer's lock.

    Args:
        warehouse: the warehouse to publish.
        name: unique name of the release's folder.

    Raises:
        HalfBuiltError: the marts are incomplete.
        OccupiedError: `published` is neither a link nor the copy of a release.
    """
    settings = warehouse.settings
    releases = settings.home / "releases"
    releases.mkdir(parents=True, exist_ok=True)
    _clear_link(settings.published_dir, releases)
    former = settings.published_dir.resolve() if settings.published_dir.is_symlink() else None
    _remove_others(releases, former)  # left over from runs that were killed or failed
    # changes are relative to the newest release: another home may have published since, and a found folder may be old
    is_newest = former is not None and former.name != FOUND and warehouse.is_newest_release(former.name)
    known = former if is_newest else None
    changed = _changes(warehouse)
    making, path = releases / f"{name}.making", releases / name
    making.mkdir()
    try:
        warehouse.copy_marts(making / "reposignal.duckdb")
        with _opened(making / "reposignal.duckdb", settings) as connection:
            tables = [
                table for (table,) in connection.execute("select table_name from duckdb_tables() order by 1").fetchall()
            ]
            rows = {table: _count(connection, table) for table in tables}
            months_written = _export(connection, tables, making / "parquet", known, changed)
            connection.execute("checkpoint")
        (making / "reposignal.duckdb").chmod(0o444)
        with _opened(making / "reposignal.duckdb", settings, read_only=True) as connection:
            site = build(connection, making, settings.home / "charts", known, settings.site_url)
        _flush(making)
        making.rename(path)
        _point(settings.published_dir, path)
    except BaseException:  # a partial release may be what fills the disk
        shutil.rmtree(making, ignore_errors=True)
        if settings.published_dir.resolve() != path.resolve():  # otherwise it was swapped in before an interruption
            shutil.rmtree(path, ignore_errors=True)
        raise
    _forget_changes(warehouse)
    warehouse.released(name)
    (path / SOURCE).write_text(json.dumps(_state_of_marts(settings)), encoding="utf-8")
    _remove_others(releases, path, former)  # a reader may have resolved the former release but not opened it yet
    return Release(path, rows, months_written, site)


def is_current(settings: Settings) -> bool:
    """Return whether publishing again would give the same site: same marts, same templates, same address.

    False for a lake, because other homes write its marts, and finding out takes as long as a part of the release.
    """
    published = settings.published_dir
    if settings.lake or not (published / "site" / "index.html").is_file():
        return False
    try:
        published_from = json.loads((published / SOURCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a release older than this file
        return False
    return published_from == _state_of_marts(settings) and recorded_edition(published) == edition(settings.site_url)


def _state_of_marts(settings: Settings) -> list[list[int]]:
    """Return time and size of the DuckDB file of the marts and of its log; any write changes them."""
    files = (settings.marts_db, settings.marts_db.with_name(f"{settings.marts_db.name}.wal"))
    return [[file.stat().st_mtime_ns, file.stat().st_size] for file in files if file.exists()]


def _remove_others(releases: Path, *kept: Path | None) -> None:
    for other in releases.iterdir():
        if other not in kept:
            shutil.rmtree(other)


def _clear_link(link: Path, releases: Path) -> None:
    """Replace a real folder, which a copy of the home leaves in place of the link, by a link.

    The release in the folder becomes the former release.

    Raises:
        OccupiedError: the path is a file, or the folder holds anything that is not part of a release.
    """
    if link.is_symlink() or not link.exists():
        return
    names = {path.name for path in link.iterdir()} if link.is_dir() else None
    if names is None or not names <= RELEASED:
        foreign = f"contains {sorted(names - RELEASED)[0]}" if names else "is a file"
        raise OccupiedError(
            f"{link} {foreign}, which is not part of a release; this path must be the link to the newest release:"
            " move it away, then run the same command again"
        )
    found = releases / FOUND
    shutil.rmtree(found, ignore_errors=True)
    link.rename(found)
    _point(link, found)


@contextmanager
def _opened(path: Path, settings: Settings, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(path), read_only, {"memory_limit": settings.memory_limit}) as connection:
        connection.execute("set enable_progress_bar = false")
        yield connection


def _changes(warehouse: Warehouse) -> Changes:
    with warehouse.connected() as connection:
        if _count(connection, f"{BUILD_SCHEMA}.building") or _count(connection, f"{BUILD_SCHEMA}.stale_verticals"):
            raise HalfBuiltError(
                "the marts are incomplete because a run that rebuilds them did not finish; run the daily job again"
            )
        return changes(connection)


def _forget_changes(warehouse: Warehouse) -> None:
    with warehouse.connected() as connection:
        connection.execute(f"delete from {BUILD_SCHEMA}.unpublished")
        connection.execute(f"delete from {BUILD_SCHEMA}.unpublished_month")


def _export(
    connection: duckdb.DuckDBPyConnection,
    tables: list[str],
    target: Path,
    former: Path | None,
    changed: Changes,
) -> int:
    """Write every table as Parquet below `target`; return how many month files were written, not linked.

    Unchanged months are hard-linked from the former release.
    """
    target.mkdir()
    written = 0
    for table in tables:
        if table not in BY_MONTH:
            _copy(connection, f"select * from {table}", target / f"{table}.parquet")
            continue
        (target / table).mkdir()
        months = connection.execute(
            f"select distinct date_trunc('month', day)::date from {table} order by 1"
        ).fetchall()
        for (month,) in months:
            file = f"{table}/{month:%Y-%m}.parquet"
            before = former / "parquet" / file if former else None
            if before and not changed.touch(month) and before.exists():
                os.link(before, target / file)
                continue
            end = (month + dt.timedelta(days=31)).replace(day=1)
            _copy(
                connection, f"select * from {table} where day >= date '{month}' and day < date '{end}'", target / file
            )
            written += 1
    return written


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    path = str(target).replace("'", "''")
    connection.execute(f"copy ({query}) to '{path}' (format parquet, compression zstd)")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def _flush(folder: Path) -> None:
    """Flush the files of a release to disk before the link points at them."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _point(link: Path, target: Path) -> None:
    """Point `link` at `target` atomically."""
    aside = link.with_name(f"{link.name}.next")
    aside.unlink(missing_ok=True)
    aside.symlink_to(os.path.relpath(target, link.parent))
    aside.replace(link)
