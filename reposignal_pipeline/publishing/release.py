"""The published copy: made aside, then put in place by one rename.

Here: the DuckDB file and the Parquet files of a release, and the swap.
Not here: what stands in the tables, and the pages of the site (`publishing.site`), which are part of a release.

`published` is a symbolic link to a folder below `releases`. A release is whole before the link points at it; a reader
with a file of the former release open keeps it, and the pipeline never waits for a reader.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from reposignal_pipeline.config import Settings
from reposignal_pipeline.publishing.site.pages import Site, build
from reposignal_pipeline.publishing.site.shelf import RECORD
from reposignal_pipeline.warehouse import BUILD_SCHEMA, BY_MONTH, Changes, Warehouse, changes

RELEASED = frozenset({"reposignal.duckdb", "parquet", "site", RECORD})
"""what a release holds"""
FOUND = "found"
"""name of a release that a copy of the home left in the place of the link"""


class HalfBuiltError(Exception):
    """The marts are in the making, or the run that made them failed; the message is one line."""


class OccupiedError(Exception):
    """Something that is not the pipeline's stands where the link to the release belongs; the message is one line."""


@dataclass(frozen=True)
class Release:
    """A published copy."""

    path: Path
    rows: dict[str, int]
    months_written: int
    site: Site


def publish(warehouse: Warehouse, name: str) -> Release:
    """Return the release made of the marts as they stand, after it took the place of the former one.

    Call with the writer's lock held.

    Args:
        name: of the release's folder, unique.

    Raises:
        HalfBuiltError: if the marts are not in a state to be shown.
        OccupiedError: if `published` is neither a link nor the copy of a release.
    """
    settings = warehouse.settings
    releases = settings.home / "releases"
    releases.mkdir(parents=True, exist_ok=True)
    _clear_link(settings.published_dir, releases)
    former = settings.published_dir.resolve() if settings.published_dir.is_symlink() else None
    _remove_others(releases, former)  # of runs that were killed or failed
    # changes are counted from the newest release: another home may have published since, and a found folder may be old
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
            site = build(connection, making, settings.home / "charts", known)
        _flush(making)
        making.rename(path)
        _point(settings.published_dir, path)
    except BaseException:  # on a full disk a part of a release is what takes the space
        shutil.rmtree(making, ignore_errors=True)
        if settings.published_dir.resolve() != path.resolve():  # else it was put in place just before an interruption
            shutil.rmtree(path, ignore_errors=True)
        raise
    _forget_changes(warehouse)
    warehouse.released(name)
    _remove_others(releases, path, former)  # a reader may be between looking at the former one and opening it
    return Release(path, rows, months_written, site)


def _remove_others(releases: Path, *kept: Path | None) -> None:
    for other in releases.iterdir():
        if other not in kept:
            shutil.rmtree(other)


def _clear_link(link: Path, releases: Path) -> None:
    """Make room for the link where a copy of the home put a real folder in its place.

    What such a folder holds is a release, and becomes the former one. A folder with anything else is let alone.
    """
    if link.is_symlink() or not link.exists():
        return
    names = {path.name for path in link.iterdir()} if link.is_dir() else None
    if names is None or not names <= RELEASED:
        foreign = f"holds {sorted(names - RELEASED)[0]}" if names else "is a file"
        raise OccupiedError(
            f"{link} {foreign}, which is no part of a release, where the link to the newest release belongs:"
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
                "the marts are half built: a run that rebuilds them did not end; run the daily job again"
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
    """Write every table as Parquet below `target`, linking the months that the former release has unchanged."""
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
    """Have the files of a release on disk before its name points at them."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _point(link: Path, target: Path) -> None:
    """Make `link` point at `target` in one step."""
    aside = link.with_name(f"{link.name}.next")
    aside.unlink(missing_ok=True)
    aside.symlink_to(os.path.relpath(target, link.parent))
    aside.replace(link)
