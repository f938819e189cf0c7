"""The two DuckDB files of the warehouse, with a lock that allows one writing process at a time.

This module opens the files, implements the writer's lock, and records which loads are not yet built or published. The
tables are defined in `sources`, dbt and `analysis`; `publishing` makes the copy for analysts; `lake` replaces the files
by a DuckLake.

`pipeline.duckdb` has raw, staging and intermediate relations, and `reposignal.duckdb` the marts. The build record is in
the same file as the marts, so that deleting the file deletes the record too.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pandas as pd
import pyarrow as pa

from reposignal_pipeline import trouble
from reposignal_pipeline.analysis.weekly import WeeklyTable
from reposignal_pipeline.config import Settings
from reposignal_pipeline.sources import gh_archive, rankings, schemas

MARTS = "marts"
"""name of the writer's lock for everything except raw tables"""

BUILD_SCHEMA = "build"
"""schema of the build record; the published copy does not have it"""

LOAD_RECORDS = {"rankings": "snapshot_date", "repositories": "day", "star_history": "day", "gh_archive": "day"}
"""source -> day column of its load record, the table `_days` with one row per loaded day"""

BY_MONTH = ("fct_repo_day", "fct_repo_signal_day", "fct_star_vintage")
"""large tables, which are released by month; only changed months are written"""

NEVER = dt.datetime(1970, 1, 1)

MOST_RANGES = 50
"""Maximum ranges of archive days in one build; the nearest ranges are merged, because thousands of conditions prune
nothing."""

SAY_AFTER_SECONDS = 3.0
"""seconds of waiting for another process before a message is shown"""
POLL_SECONDS = 0.1

console = logging.getLogger("reposignal.console")
"""logger of messages for the user at the terminal, which the command line shows while a command runs"""

_REBUILDING: set[Path] = set()
"""homes whose rebuild lock this process holds"""

T = TypeVar("T")


class HeldError(Exception):
    """Another process keeps a file of the warehouse open. The message is one line."""


@dataclass(frozen=True)
class DayRange:
    """Days from `first` to `last`, both included."""

    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Rebuild:
    """The changes that a build must bring into the marts."""

    window: DayRange
    """days from the first day with changed readings to the last day with readings"""
    loaded_since: dt.datetime
    """star-history weeks loaded after this instant are new; they may cover days long before the window"""
    archived: tuple[DayRange, ...] = ()
    """days loaded from the archive, anywhere in the past and independent of the window"""
    number: int = 1
    """number of the build; a build that was killed is repeated with the same number"""
    raw_snapshot: int | None = None
    """snapshot of the lake that the build reads, unaffected by concurrent loads; None for files"""


@dataclass(frozen=True)
class Changes:
    """The differences from the former release."""

    first_day: dt.date | None
    """all days from here on may differ; None if no day was rebuilt"""
    months: frozenset[dt.date]
    """further months that differ, such as those with revised star histories"""

    def touch(self, month: dt.date) -> bool:
        return month in self.months or (self.first_day is not None and month >= self.first_day.replace(day=1))

    @property
    def condition(self) -> str:
        """Return a SQL condition that is true for days in months that differ."""
        months = ", ".join(f"date '{month}'" for month in sorted(self.months)) or "null"
        first = f"date '{self.first_day.replace(day=1)}'" if self.first_day else "null"
        return f"coalesce(day >= {first} or date_trunc('month', day) in ({months}), false)"


def changes(connection: duckdb.DuckDBPyConnection) -> Changes:
    """Return the differences from the former release."""
    (first,) = _one(connection, f"select min(first_day) from {BUILD_SCHEMA}.unpublished")
    months = connection.execute(f"from {BUILD_SCHEMA}.unpublished_month").fetchall()
    return Changes(first, frozenset(month for (month,) in months))


class Warehouse:
    """A warehouse in two DuckDB files. Every use holds the writer's lock, so keep connections short."""

    commits_apart = False
    """whether a load commits its rows before its load record; files do not need this: the same home resumes a load"""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._until_closed = ExitStack()

    @contextmanager
    def writing(self, what: str, log: logging.Logger | None = None, *, of: str = MARTS) -> Iterator[None]:
        """Hold the writer's lock, after waiting for its holder. The system releases it if the process dies.

        Args:
            what: name of the holder in messages of waiting processes.
            log: log of the run, for a message about waiting.
            of: what is written: the marts, or a dataset of raw tables. Files have one lock for everything.
        """
        with self._file_locked("writer", what, log):
            yield

    @contextmanager
    def rewriting(self, what: str, log: logging.Logger | None = None) -> Iterator[None]:
        """Hold the writer's lock of the marts, and the rebuild lock until `close`, for a rebuild in several steps."""
        self._until_closed.enter_context(self.rebuilding(what, log))
        with self.writing(what, log):
            yield

    @contextmanager
    def rebuilding(self, what: str, log: logging.Logger | None = None) -> Iterator[None]:
        """Hold the rebuild lock, so that only one writer changes the marts from the first model to the release.

        The lock is reentrant within a process, because a command holds it around several runs.
        """
        if self.settings.home in _REBUILDING:
            yield
            return
        with self._rebuild_locked(what, log):
            _REBUILDING.add(self.settings.home)
            try:
                yield
            finally:
                _REBUILDING.discard(self.settings.home)

    def close(self) -> None:
        """Release the rebuild lock if this object acquired it."""
        self._until_closed.close()

    @contextmanager
    def _rebuild_locked(self, what: str, log: logging.Logger | None) -> Iterator[None]:
        with self._file_locked("rebuild", what, log):
            yield

    @contextmanager
    def _file_locked(self, name: str, what: str, log: logging.Logger | None) -> Iterator[None]:
        self.settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
        with (self.settings.warehouse_dir / f"{name}.lock").open("a+") as lock:
            begun, is_logged = time.monotonic(), False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not is_logged and time.monotonic() - begun > SAY_AFTER_SECONDS:
                        lock.seek(0)
                        log_waiting(lock.read().strip() or "another process", log)
                        is_logged = True
                    time.sleep(0.2)
            lock.seek(0)
            lock.truncate()
            lock.write(f"{what} (process {os.getpid()})")
            lock.flush()
            yield

    @contextmanager
    def connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to both files: the marts as the default database, the other file as `pipeline`.

        All raw tables are created if they do not exist, because models and plans read all of them.
        """
        config: dict[str, Any] = {
            "memory_limit": self.settings.memory_limit,
            "temp_directory": f"{self.settings.marts_db}.tmp",
        }
        with self._opened(config) as connection:
            connection.execute("set enable_progress_bar = false")
            self._ensure_tables(connection)
            yield connection

    def _ensure_tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(f"create schema if not exists {BUILD_SCHEMA}")
        for table, columns in _BUILD_TABLES.items():
            connection.execute(f"create table if not exists {BUILD_SCHEMA}.{table} {columns}")
        _ensure_raw(connection)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Keep the file of the raw tables open, so that the jobs of a load do not each open and checkpoint it."""
        with unlocked(lambda: duckdb.connect(self.settings.pipeline_db)):
            yield

    @contextmanager
    def asking(self, connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection for thousands of small queries on the marts; with files, this is the given connection."""
        yield connection

    def copy_marts(self, target: Path) -> None:
        """Copy the current marts to a new DuckDB file."""
        with self.connected() as connection:
            connection.execute("checkpoint")
        shutil.copyfile(self.settings.marts_db, target)
        with duckdb.connect(target) as connection:
            connection.execute(f"drop schema {BUILD_SCHEMA} cascade")

    def pin(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        """Return the snapshot of the raw tables that the open transaction sees; None for files.

        The raw tables in files do not change during a build.
        """
        return None

    def released(self, name: str) -> None:
        """Record that the current marts were published under a name; files need no record."""

    def is_newest_release(self, name: str) -> bool:
        """Return whether recorded changes are relative to the release of that name."""
        return True

    def _opened(self, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        """Return a connection to both files, after waiting until no other process holds either."""

        def both() -> duckdb.DuckDBPyConnection:
            connection = duckdb.connect(str(self.settings.marts_db), config=config)
            try:
                connection.execute(f"attach '{_quoted(str(self.settings.pipeline_db))}' as pipeline")
            except BaseException:
                connection.close()
                raise
            return connection

        return unlocked(both)

    def observed_days(self, source: str) -> frozenset[dt.date]:
        """Return the days of a source that the warehouse holds as observed."""
        with self.connected() as connection:
            rows = connection.execute(
                f"select {LOAD_RECORDS[source]} from pipeline.{source}.{source}_days where status = 'observed'"
            ).fetchall()
        return frozenset(day for (day,) in rows)

    def has_readings(self) -> bool:
        """Return whether any source has a day with readings; if not, there is nothing to build."""
        with self.connected() as connection:
            days = " union all ".join(
                f"select {day} from pipeline.{source}.{source}_days where status in ('observed', 'partial')"
                for source, day in LOAD_RECORDS.items()
            )
            (count,) = _one(connection, f"select count(*) from ({days})")
        return bool(count)

    def begin_build(self, since: dt.date | None = None) -> Rebuild | None:
        """Record all loads, of any run, that are not in the marts yet, and return what to rebuild.

        Until `end_build`, the marts count as incomplete and are not published.

        Args:
            since: rebuild from this day on, and all star-history days, even without new loads.

        Returns:
            The window from the first new load or `since` to the last day with readings (only that day without new
            loads), and separately the days of the archive; None if no day was observed.
        """
        with self.connected() as connection, transaction(connection):
            raw_snapshot = self.pin(connection)
            connection.execute(f"delete from {BUILD_SCHEMA}.building")
            last = None
            newest_archived = None
            for source, day in LOAD_RECORDS.items():
                newest = self._note_loads(connection, source, day)
                if source == "gh_archive":
                    newest_archived = newest
                else:
                    last = max(filter(None, (last, newest)), default=None)
            last = last or newest_archived  # if only the archive is loaded, the window is a single, harmless day
            if last is None:
                return None
            (first,) = _one(connection, f"select min(day) from {BUILD_SCHEMA}.building where source <> 'gh_archive'")
            stars_since, stars_first = self._note_star_weeks(connection, rebuild_all=since is not None)
            window = DayRange(min(filter(None, (first, stars_first, since, last))), last)
            connection.execute(f"insert into {BUILD_SCHEMA}.unpublished values (?)", [window.first])
            connection.execute(f"insert into {BUILD_SCHEMA}.stale_weeks values (?)", [window.first])
            self.note_stale_verticals(connection, window.first)
            self._note_star_months(connection, stars_since, window.first)
            archived = self._note_archive_months(connection, since)
            (builds,) = _one(connection, f"select coalesce(max(builds), 0) from {BUILD_SCHEMA}.builds")
            return Rebuild(window, stars_since, archived, builds + 1, raw_snapshot)

    def _note_loads(self, connection: duckdb.DuckDBPyConnection, source: str, day: str) -> dt.date | None:
        """Insert a source's loads that are not built yet into `building`; return its last day with readings."""
        loads = f"pipeline.{source}.{source}_days"
        connection.execute(
            f"""
            insert into {BUILD_SCHEMA}.building
            select $source, {day}, fetched_at from {loads} as loaded
            anti join {BUILD_SCHEMA}.built as built
                on built.source = $source and loaded.{day} = built.day and loaded.fetched_at = built.fetched_at
            """,
            {"source": source},
        )
        newest: dt.date | None = _one(
            connection, f"select max({day}) from {loads} where status in ('observed', 'partial')"
        )[0]
        return newest

    def _note_star_weeks(
        self, connection: duckdb.DuckDBPyConnection, *, rebuild_all: bool
    ) -> tuple[dt.datetime, dt.date | None]:
        """Record up to which load time star-history weeks are being built.

        Returns:
            (load time after which weeks are new, first day whose cycle read a new week, which may give that day a pace)
        """
        raw = "pipeline.star_history.star_history"
        (built_to,) = _one(connection, f"select max(built_to) from {BUILD_SCHEMA}.star_weeks")
        since: dt.datetime = NEVER if rebuild_all or built_to is None else built_to
        (newest, first) = _one(
            connection,
            f"select coalesce(max(loaded_at), $1), min(fetched_at)::date - 1 from {raw} where loaded_at > $1",
            [since],
        )
        connection.execute(f"delete from {BUILD_SCHEMA}.star_weeks")
        connection.execute(f"insert into {BUILD_SCHEMA}.star_weeks values (?, ?)", [built_to, newest])
        return since, first

    def _note_star_months(self, connection: duckdb.DuckDBPyConnection, since: dt.datetime, first: dt.date) -> None:
        """Record the months in which star histories change: those of new weeks, or all months after a late load.

        Rankings of days before the built ones can reveal a former name, and so give an id another key.
        """
        (newest_built,) = _one(connection, f"select max(day) from {BUILD_SCHEMA}.built where source = 'rankings'")
        is_late = newest_built is not None and first < newest_built
        connection.execute(
            f"""
            insert into {BUILD_SCHEMA}.unpublished_month
            select distinct unnest([date_trunc('month', week), date_trunc('month', week + 6)])::date
            from pipeline.star_history.star_history where loaded_at > $1
            """,
            [NEVER if is_late else since],
        )

    def _note_archive_months(
        self, connection: duckdb.DuckDBPyConnection, since: dt.date | None
    ) -> tuple[DayRange, ...]:
        """Return the days affected by new loads of archive files, including former readings, and record their months.

        A file affects the days of its events, and the day of its hour even without a star.
        """
        rows = connection.execute(
            f"""
            with loaded as (
                select days.day, days.first_day, days.last_day
                from pipeline.gh_archive.gh_archive_days as days
                semi join {BUILD_SCHEMA}.building as building
                    on building.source = 'gh_archive' and days.day = building.day
                union
                select days.day, days.first_day, days.last_day
                from pipeline.gh_archive.gh_archive_days as days
                where greatest(days.day, days.last_day) >= $since
            ),
            hours as (
                -- the last Pacific hours of a day belong to the next UTC day, with or without stars
                select distinct file_hour::date as day, file_hour::date + 1 as last_day
                from pipeline.gh_archive.gh_archive_hours
                where file_hour < $named_in_pacific_until
            )
            select least(day, loaded.first_day), greatest(day, loaded.last_day, hours.last_day)
            from loaded left join hours using (day)
            """,
            {"since": since or dt.date.max, "named_in_pacific_until": gh_archive.NAMED_IN_PACIFIC_UNTIL},
        ).fetchall()
        archived = joined_ranges(DayRange(first, last) for first, last in rows)
        for days in archived:
            _note_months(connection, days)
        return archived

    def _note_further_months(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Record the months of changes that the models themselves detected: keys, and the coverage of archive days."""
        (number,) = _one(connection, f"select coalesce(max(builds), 0) + 1 from {BUILD_SCHEMA}.builds")
        models = {
            "int_gh_archive_days__judged": "select day, day from pipeline.intermediate.int_gh_archive_days__judged",
            "int_repos__keyed": """
                select least(names.first_day, stars.first_day), greatest(names.last_day, stars.last_day)
                from pipeline.intermediate.int_repos__keyed as keyed
                left join (
                    select repo_ref, min(first_day) as first_day, max(last_day) as last_day
                    from pipeline.intermediate.int_gh_archive_names__seen group by repo_ref
                ) as names using (repo_ref)
                left join (
                    select repo_id, min(day) as first_day, max(day) as last_day
                    from pipeline.intermediate.int_star_days__read group by repo_id
                ) as stars on keyed.repo_ref = stars.repo_id
            """,
        }
        for model, days in models.items():
            (is_there,) = _one(connection, "select count(*) from duckdb_tables() where table_name = ?", [model])
            if is_there:
                rows = connection.execute(f"{days} where changed_in >= ?", [number]).fetchall()
                for month in joined_ranges(DayRange(first, last) for first, last in rows if first):
                    _note_months(connection, month)

    def relations_with_other_columns(self, columns: Mapping[str, str]) -> list[str]:
        """Return the relations that are new or were built with other columns than the models have now.

        They need a full refresh: an incremental build would fail on them, or fill a new one with the window only.

        Args:
            columns: columns of the current models, from `columns_of_relations`.
        """
        with self.connected() as connection:
            (is_built,) = _one(connection, f"select count(*) > 0 from {BUILD_SCHEMA}.built")
            (built,) = _one(connection, f"select any_value(columns) from {BUILD_SCHEMA}.relations")
        known = json.loads(built or "{}")
        return sorted(name for name, now in columns.items() if known.get(name) != now) if is_built else []

    def end_build(self, columns: Mapping[str, str] | None = None) -> None:
        """Record that the marts contain every load that `begin_build` recorded.

        Args:
            columns: columns of the models that were built, from `columns_of_relations`.
        """
        with self.connected() as connection, transaction(connection):
            connection.execute(
                f"delete from {BUILD_SCHEMA}.built using {BUILD_SCHEMA}.building as building"
                " where built.source = building.source and built.day = building.day"
            )
            connection.execute(f"insert into {BUILD_SCHEMA}.built from {BUILD_SCHEMA}.building")
            connection.execute(f"delete from {BUILD_SCHEMA}.building")
            self._note_further_months(connection)
            (builds,) = _one(connection, f"select coalesce(max(builds), 0) + 1 from {BUILD_SCHEMA}.builds")
            connection.execute(f"delete from {BUILD_SCHEMA}.builds")
            connection.execute(f"insert into {BUILD_SCHEMA}.builds values (?)", [builds])
            connection.execute(f"update {BUILD_SCHEMA}.star_weeks set built_to = building_to")
            connection.execute(f"delete from {BUILD_SCHEMA}.relations")
            connection.execute(f"insert into {BUILD_SCHEMA}.relations values (?)", [json.dumps(columns or {})])

    def note_stale_verticals(self, connection: duckdb.DuckDBPyConnection, first_day: dt.date) -> None:
        """Record that languages over verticals must be rebuilt from a day on, because repositories or clusters changed.

        Until `end_verticals` the marts are not published.
        """
        connection.execute(f"insert into {BUILD_SCHEMA}.stale_verticals values (?)", [first_day])

    def begin_verticals(self) -> DayRange | None:
        """Return the days for which languages over verticals must be rebuilt; None if there are none."""
        with self.connected() as connection, transaction(connection):
            (first,) = _one(connection, f"select min(first_day) from {BUILD_SCHEMA}.stale_verticals")
            (is_built,) = _one(
                connection, "select count(*) from duckdb_tables() where table_name = 'fct_repo_signal_day'"
            )
            (last,) = _one(connection, "select max(day) from fct_repo_signal_day") if is_built else (None,)
            if first is None or last is None or first > last:
                return None
            connection.execute(f"insert into {BUILD_SCHEMA}.unpublished values (?)", [first])
            return DayRange(first, last)

    def end_verticals(self) -> None:
        """Record that languages over verticals are complete for all days."""
        with self.connected() as connection:
            connection.execute(f"delete from {BUILD_SCHEMA}.stale_verticals")

    def changed_from(self) -> dt.date | None:
        """Return the first day that changed since its weekly tables were rebuilt; None if there is none.

        A release does not reset this: a run that builds and publishes days, such as the daily one, rebuilds no week.
        """
        with self.connected() as connection:
            day: dt.date | None = _one(connection, f"select min(first_day) from {BUILD_SCHEMA}.stale_weeks")[0]
        return day

    def note_renewed_weeks(self, connection: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date) -> None:
        """Record that all weekly tables are rebuilt from the marts for the weeks of Monday `first` to Monday `last`.

        A change of a day affects all later weeks, so it is resolved only if no later week has ended. Days before the
        first total affect no week before that of the first total.
        """
        connection.execute(
            f"""
            delete from {BUILD_SCHEMA}.stale_weeks
            where
                (select max(day) from fct_repo_signal_day) < $next_end
                and (
                    first_day >= $first
                    or $first <= (select min(day) from fct_repo_day where stars_total is not null)
                )
            """,
            {"first": first, "next_end": last + dt.timedelta(days=13)},
        )


def log_waiting(holder: str, log: logging.Logger | None) -> None:
    """Log, in the terminal and in the log of a run, for which process this one waits."""
    text = f"waiting for another writer of this warehouse: {holder}"
    console.warning(text)
    if log:
        log.info(text)


def columns_of_relations(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return relation -> its columns, with declared types, for every relation that dbt keeps between builds.

    Only a change of these forces a full refresh: dbt recreates views and tables in every build, and neither comments
    nor the order of columns affect the inserts of an incremental build. Checksums of models would miss changes (a
    formula can be in a macro) and report irrelevant ones (a comment in the SQL).

    Args:
        manifest: manifest of dbt.
    """
    kept = {
        node["name"]: node
        for node in manifest["nodes"].values()
        if node["resource_type"] in {"model", "seed"} and node["config"]["materialized"] in {"incremental", "seed"}
    }
    return {name: ", ".join(sorted(_declared_columns(kept[name]))) for name in sorted(kept)}


def _declared_columns(node: Mapping[str, Any]) -> Iterator[str]:
    types = node["config"].get("column_types") or {}
    for name, column in node["columns"].items():
        yield f"{name} {column.get('data_type') or types.get(name) or ''}".strip().lower()


def unlocked(opened: Callable[[], T]) -> T:
    """Return the result of `opened`, after waiting until no other process holds the file that it opens.

    Raises:
        HeldError: a process holds the file for longer than `trouble.HOLDER_SECONDS`.
    """
    begun, said = time.monotonic(), False
    while True:
        try:
            return opened()
        except duckdb.IOException as error:
            holder = trouble.holder_of(str(error))
            if holder is None:
                raise
            waited = time.monotonic() - begun
            if waited > trouble.HOLDER_SECONDS:
                raise HeldError(holder.way_out) from None
            if waited > SAY_AFTER_SECONDS and not said:
                console.warning("waiting up to %.0f seconds for %s", trouble.HOLDER_SECONDS, holder)
                said = True
            time.sleep(POLL_SECONDS)


def joined_ranges(ranges: Iterable[DayRange], most: int = MOST_RANGES) -> tuple[DayRange, ...]:
    """Return the ranges in order with adjacent ones merged; if there are too many, also the nearest ones."""
    joined: list[DayRange] = []
    for days in sorted(ranges, key=lambda days: (days.first, days.last)):
        if joined and (days.first - joined[-1].last).days <= 1:
            joined[-1] = DayRange(joined[-1].first, max(joined[-1].last, days.last))
        else:
            joined.append(days)
    if len(joined) <= most:
        return tuple(joined)
    widest = sorted((after.first - before.last for before, after in pairwise(joined)), reverse=True)[most - 1]
    bridged = [joined[0]]
    for days in joined[1:]:
        if days.first - bridged[-1].last > widest:
            bridged.append(days)
        else:
            bridged[-1] = DayRange(bridged[-1].first, days.last)
    return tuple(bridged)


def row_counts(connection: duckdb.DuckDBPyConnection, names: Collection[str]) -> dict[str, int]:
    """Return table -> number of rows for those of the named tables that exist in either file."""
    tables = connection.execute(
        "select database_name, schema_name, table_name from duckdb_tables()"
        " where database_name in ('pipeline', current_database())"
    ).fetchall()
    return {
        table: _one(connection, f'select count(*) from "{database}"."{schema}"."{table}"')[0]
        for database, schema, table in tables
        if table in names
    }


def replace_weeks(
    connection: duckdb.DuckDBPyConnection,
    table: WeeklyTable,
    rows: pd.DataFrame | pa.Table,
    first: dt.date,
    last: dt.date,
) -> None:
    """Replace the weeks from `first` to `last` of a weekly table by `rows`, in one transaction."""
    with transaction(connection):
        ensure_table(connection, table)
        connection.execute(f"delete from {table.name} where week between ? and ?", [first, last])
        connection.register("new_weeks", rows)
        order = [column for column in ("week", "rank", "cluster", "repo_key") if column in table.columns]
        connection.execute(f"insert into {table.name} by name from new_weeks order by {', '.join(order)}")
        connection.unregister("new_weeks")


def append_rows(
    connection: duckdb.DuckDBPyConnection,
    table: WeeklyTable,
    query: str | None = None,
    parameters: dict[str, Any] | None = None,
    *,
    instead: str | None = None,
) -> int:
    """Append the rows of a query to an append-only table in one transaction; return their number.

    Args:
        connection: connection to the warehouse.
        table: the table.
        query: query for the new rows; None only creates the table.
        parameters: parameters of the query.
        instead: condition for existing rows that the new rows replace, such as outcomes that were unknown.
    """
    with transaction(connection):
        ensure_table(connection, table)
        if query is None:
            return 0
        # evaluated before rows are deleted, because the query reads the table
        connection.execute(f"create or replace temp table new_rows as {query}", parameters)
        if instead:
            connection.execute(f"delete from {table.name} where {instead}")
        connection.execute(f"insert into {table.name} by name from new_rows")
        (count,) = _one(connection, "select count(*) from new_rows")
        connection.execute("drop table new_rows")
    return int(count)


def ensure_table(connection: duckdb.DuckDBPyConnection, table: WeeklyTable) -> None:
    """Create a table with its comments if it does not exist, and add the columns that an older home lacks."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in table.columns.items())
    connection.execute(f"create table if not exists {table.name} ({columns})")
    present = {column for column, *_ in connection.execute(f"from {table.name} limit 0").description}
    for name, (kind, _) in table.columns.items():
        if name not in present:  # the next rebuild fills the column
            connection.execute(f"alter table {table.name} add column {name} {kind}")
    # only comments that differ are written: in a lake each comment is a change of the schema
    written = _comments_of(connection)
    comments: dict[str | None, str] = {None: table.comment}
    comments |= {name: comment for name, (_, comment) in table.columns.items()}
    for column, comment in comments.items():
        if written.get((table.name, column)) != comment:
            target = f"column {table.name}.{column}" if column else f"table {table.name}"
            connection.execute(f"comment on {target} is '{_quoted(comment)}'")
            written[table.name, column] = comment


def _comments_of(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str | None], str]:
    """Return the comments on tables (column None) and columns of the current database, read once per process."""
    (path,) = _one(connection, "select path from duckdb_databases() where database_name = current_database()")
    if path in _comments:
        return _comments[path]
    here = "database_name = current_database() and schema_name = 'main' and comment is not null"
    rows = connection.execute(
        f"select table_name, null, comment from duckdb_tables() where {here}"
        f" union all select table_name, column_name, comment from duckdb_columns() where {here}"
    ).fetchall()
    found = {(table, column): comment for table, column, comment in rows}
    if path:  # an in-memory database has no path that identifies it
        _comments[path] = found
    return found


_comments: dict[str, dict[tuple[str, str | None], str]] = {}
"""path of a database -> its comments, cached because reading them makes a lake read the statistics of every table"""


_LOADS = "(source varchar, day date, fetched_at timestamp)"
_BUILD_TABLES = {
    "built": _LOADS,
    "building": _LOADS,
    "unpublished": "(first_day date)",
    "unpublished_month": "(month date)",
    "stale_verticals": "(first_day date)",
    "stale_weeks": "(first_day date)",
    "star_weeks": "(built_to timestamp, building_to timestamp)",
    "relations": "(columns varchar)",
    "builds": "(builds bigint)",
}


def _ensure_raw(connection: duckdb.DuckDBPyConnection) -> None:
    for dataset, tables in {"rankings": rankings.TABLES, "gh_archive": gh_archive.TABLES, **schemas.TABLES}.items():
        connection.execute(f"create schema if not exists pipeline.{dataset}")
        for table, schema in tables.items():
            connection.register("columns_of", schema.empty_table())
            connection.execute(f"create table if not exists pipeline.{dataset}.{table} as from columns_of")
            connection.unregister("columns_of")


def _note_months(connection: duckdb.DuckDBPyConnection, days: DayRange) -> None:
    connection.execute(
        f"insert into {BUILD_SCHEMA}.unpublished_month"
        " select unnest(generate_series(date_trunc('month', ?::date), ?::date, interval 1 month))::date",
        [days.first, days.last],
    )


def _one(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | None = None) -> tuple[Any, ...]:
    row = connection.execute(sql, parameters).fetchone()
    assert row
    return row


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _quoted(text: str) -> str:
    return text.replace("'", "''")
