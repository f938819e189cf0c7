"""Maintenance of the lake: compaction, expiry of snapshots, deletion of unused files, and its status.

The functions use DuckLake's maintenance functions under the locks of the writers of the same tables, so that neither
aborts the other. `defs.housekeeping` schedules them.

Readers are never disturbed: a file that no snapshot needs is deleted a day after it was released, and a file unknown to
the catalog only if it is older than any commit in progress.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from reposignal_pipeline.lake.catalog import (
    LAKES,
    PIPELINE,
    RELEASES,
    REPOSIGNAL,
    Lake,
    attach_statement,
    newest_release,
    retried,
    snapshot,
)
from reposignal_pipeline.warehouse import MARTS

DATASETS = ("rankings", "repositories", "star_history", "gh_archive")
"""schemas of the `pipeline` lake with a separate writer; the writer of the marts writes all others"""
KEEP_DAYS = 7.0
"""retention of every snapshot, for time travel"""
KEEP_RELEASE_DAYS = 90.0
"""retention of published snapshots, for questions such as "what did the table contain last Monday" """
GRACE_HOURS = 24.0
"""age from which unused files are deleted; no query of the pipeline reads for that long"""
MOST_DELETED = 0.25
"""a file with a larger share of deleted rows is rewritten"""
CLEANERS = {"expired": "ducklake_cleanup_old_files", "orphaned": "ducklake_delete_orphaned_files"}
SMALL_BYTES = 4 << 20


@dataclass(frozen=True)
class Standing:
    """The status of one of the two lakes."""

    lake: str
    snapshots: int
    newest: int
    tables: int
    files: int
    small_files: int
    size_bytes: int
    delete_files: int
    waiting_files: int
    """files that no snapshot needs but that are not deleted yet"""


def compact(lake: Lake, log: logging.Logger) -> dict[str, int]:
    """Flush rows from the catalog to files, rewrite files with many deleted rows, and merge small files.

    Returns:
        lake -> number of files processed.
    """
    done = dict.fromkeys(LAKES, 0)
    with lake.connected() as connection:
        for name, schema, tables in _schemas(connection):
            of = schema if name == PIPELINE and schema in DATASETS else MARTS
            with lake.writing(f"compaction of {name}.{schema}", log, of=of):
                for table in tables:
                    done[name] += retried(lambda table=table: _compact_table(connection, name, schema, table))  # type: ignore[misc]  # noqa: B023
    return done


def expire(
    lake: Lake, log: logging.Logger, keep_days: float = KEEP_DAYS, keep_release_days: float = KEEP_RELEASE_DAYS
) -> dict[str, int]:
    """Expire old snapshots, except the newest one and recently published ones.

    Returns:
        lake -> number of snapshots expired.
    """
    expired = {}
    with lake.connected() as connection, lake.writing("expiry of snapshots", log):
        tagged = [
            number
            for (number,) in connection.execute(
                f"select snapshot_id from {RELEASES} where released_at > now()::timestamp - to_days($1::integer)"
                f" or snapshot_id = (select max(snapshot_id) from {RELEASES})",
                [int(keep_release_days)],
            ).fetchall()
        ]
        for name in LAKES:
            kept = tagged if name == REPOSIGNAL else []
            before = _before(keep_days * 24)
            old = connection.execute(
                f"""
                select snapshot_id::ubigint from {name}.snapshots()
                where snapshot_time < $before and snapshot_id < $newest and snapshot_id not in (select unnest($kept))
                """,
                {"before": before, "newest": snapshot(connection, name), "kept": kept},
            ).fetchall()
            if old:
                versions = [number for (number,) in old]
                connection.execute(f"call ducklake_expire_snapshots('{name}', versions => {versions})")
            expired[name] = len(old)
        connection.execute(
            f"delete from {RELEASES} where released_at <= now()::timestamp - to_days($1::integer)"
            f" and snapshot_id <> (select max(snapshot_id) from {RELEASES})",
            [int(keep_release_days)],
        )
    return expired


def clean(lake: Lake, grace_hours: float = GRACE_HOURS) -> dict[str, list[str]]:
    """Delete files that no snapshot needs, and files unknown to the catalog, if they are older than the grace period.

    Returns:
        `expired` and `orphaned` -> paths of deleted files.
    """
    deleted: dict[str, list[str]] = {"expired": [], "orphaned": []}
    with lake.connected() as connection:
        for name in LAKES:
            for kind, function in CLEANERS.items():
                rows = connection.execute(
                    f"call {function}('{name}', older_than => timestamptz '{_before(grace_hours).isoformat()}')"
                ).fetchall()
                deleted[kind] += [row[0] for row in rows]
    return deleted


def orphans(lake: Lake, grace_hours: float = GRACE_HOURS) -> list[str]:
    """Return the files unknown to the catalog that are older than the grace period."""
    with lake.connected() as connection:
        return [
            row[0]
            for name in LAKES
            for row in connection.execute(
                f"call ducklake_delete_orphaned_files('{name}', dry_run => true,"
                f" older_than => timestamptz '{_before(grace_hours).isoformat()}')"
            ).fetchall()
        ]


def standing(lake: Lake) -> list[Standing]:
    """Return the status of each of the two lakes."""
    with lake.connected() as connection:
        return [_standing(connection, name) for name in LAKES]


def status(lake: Lake) -> list[str]:
    """Return the status of the lake as lines for a terminal, with the SQL that attaches the last release."""
    lines = [f"catalog  {lake.place.catalog}", f"data     {lake.place.data}"]
    for state in standing(lake):
        lines.append(
            f"{state.lake:<10}  snapshot {state.newest:,} ({state.snapshots:,} kept), {state.tables} tables, "
            f"{state.files:,} files, {state.size_bytes / 1e6:,.1f} MB; {state.small_files:,} below 4 MiB, "
            f"{state.delete_files:,} with deleted rows, {state.waiting_files:,} waiting to be deleted"
        )
    with lake.connected() as connection:
        release = newest_release(connection)
    if release is None:
        return [*lines, "published   nothing yet"]
    return [
        *lines,
        f"published   {release[0]}, snapshot {release[1]:,} of {REPOSIGNAL}:",
        f"  {attach_statement(lake.place, REPOSIGNAL, at_snapshot=release[1])};",
    ]


def _schemas(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str, list[str]]]:
    yield from connection.execute(
        """
        select database_name, schema_name, list(table_name order by table_name) from duckdb_tables()
        where database_name in ('pipeline', 'reposignal') and schema_name not like '%\\_staging' escape '\\'
        group by all order by all
        """
    ).fetchall()


def _compact_table(connection: duckdb.DuckDBPyConnection, lake: str, schema: str, table: str) -> int:
    call = f"'{lake}', '{table}', schema => '{schema}'"
    connection.execute(
        f"call ducklake_flush_inlined_data('{lake}', schema_name => '{schema}', table_name => '{table}')"
    )
    files = 0
    for statement in (
        f"call ducklake_rewrite_data_files({call}, delete_threshold => {MOST_DELETED})",
        f"call ducklake_merge_adjacent_files({call})",
    ):
        files += sum(row[2] for row in connection.execute(statement).fetchall())
    return files


def _standing(connection: duckdb.DuckDBPyConnection, lake: str) -> Standing:
    (tables, files, size, deletes) = connection.execute(
        f"""
        select count(*), sum(file_count), sum(file_size_bytes), sum(delete_file_count)
        from ducklake_table_info('{lake}')
        """
    ).fetchone() or (0, 0, 0, 0)
    metadata = f"__ducklake_metadata_{lake}"
    (small,) = connection.execute(
        f"select count(*) from {metadata}.{lake}.ducklake_data_file"
        f" where end_snapshot is null and file_size_bytes < {SMALL_BYTES}"
    ).fetchone() or (0,)
    (waiting,) = connection.execute(
        f"select count(*) from {metadata}.{lake}.ducklake_files_scheduled_for_deletion"
    ).fetchone() or (0,)
    (snapshots,) = connection.execute(f"select count(*) from {lake}.snapshots()").fetchone() or (0,)
    return Standing(
        lake, snapshots, snapshot(connection, lake), tables, int(files or 0), small, int(size or 0),
        int(deletes or 0), waiting,
    )  # fmt: skip


def _before(hours: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
