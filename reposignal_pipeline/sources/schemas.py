"""Schemas of the raw tables of the two GitHub sources, and the dlt resource that loads rows into raw tables.

Names, types and bounds are declared here, so that a table exists before its first row, values that a column cannot
hold are rejected, and loading a batch twice changes nothing. The rows themselves come from `repositories`,
`star_history` and `gh_archive`.

Times are UTC without a zone, because DuckDB converts zoned times to the session's zone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import dlt
import pyarrow as pa
from dlt.common.schema.typing import TDeleteInsertStrategyDict
from dlt.extract import DltResource

from reposignal_pipeline.sources.names import FULL_NAME

_TIME = pa.timestamp("us")
_RUN = [("run_id", pa.string()), ("load_key", pa.string())]
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""GitHub's weeks begin on Sunday"""

GITHUB_BEGAN = dt.date(2007, 10, 1)
"""shortly before the first repository (2007-10-29): nothing on GitHub is older"""
COUNT_MOST = 2**31 - 1
"""the maximum of an integer column in the models; the most starred repository has 4,000 times fewer stars"""
TEXT_MOST = 100_000
"""maximum number of characters; GitHub itself cuts descriptions at 350"""

_COUNT = (0, COUNT_MOST)
_MOMENT = (dt.datetime.combine(GITHUB_BEGAN, dt.time()), dt.datetime(2100, 1, 1))
BOUNDS: dict[str, tuple[Any, Any]] = {
    "repo_id": (1, 2**53),
    **dict.fromkeys(("stars_total", "forks_total", "issues_open", "pull_requests_open", "total", *WEEKDAYS), _COUNT),
    **dict.fromkeys(("created_at", "pushed_at"), _MOMENT),
    "week": (GITHUB_BEGAN - dt.timedelta(days=7), dt.date(2100, 1, 1)),
}
"""column -> (minimum, maximum), for every table of this module"""
PATTERNS = {"full_name": FULL_NAME, "node_id": re.compile(r"[\x21-\x7e]{1,200}")}
"""column -> pattern that its text must match in full"""

REPOSITORIES = pa.schema(
    [
        ("day", pa.date32()),
        ("repo_id", pa.int64()),
        ("node_id", pa.string()),
        ("asked_name", pa.string()),
        ("full_name", pa.string()),
        ("state", pa.string()),
        ("stars_total", pa.int64()),
        ("forks_total", pa.int64()),
        ("issues_open", pa.int64()),
        ("pull_requests_open", pa.int64()),
        ("language", pa.string()),
        ("topics", pa.string()),
        ("description", pa.string()),
        ("license", pa.string()),
        ("created_at", _TIME),
        ("pushed_at", _TIME),
        ("is_archived", pa.bool_()),
        ("is_fork", pa.bool_()),
        ("observed_at", _TIME),
        ("reason", pa.string()),
        *_RUN,
    ]
)
REPOSITORIES_DAYS = pa.schema(
    [
        ("day", pa.date32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        *((name, pa.int64()) for name in ("expected", "observed", "answered", "graphql_queries", "rest_requests")),
        ("is_swept", pa.bool_()),
        ("run_id", pa.string()),
        ("fetched_at", _TIME),
    ]
)
UNIVERSE_CHANGES = pa.schema(
    [
        ("day", pa.date32()),
        ("repo_id", pa.int64()),
        ("node_id", pa.string()),
        ("full_name", pa.string()),
        ("change", pa.string()),
        ("via", pa.string()),
        ("reason", pa.string()),
        *_RUN,
    ]
)
STAR_HISTORY = pa.schema(
    [
        ("repo_id", pa.int64()),
        ("week", pa.date32()),
        ("total", pa.int64()),
        *((name, pa.int64()) for name in WEEKDAYS),
        ("fetched_at", _TIME),
        ("loaded_at", _TIME),
        ("load_key", pa.string()),
    ]
)
STAR_HISTORY_READS = pa.schema(
    [
        ("repo_id", pa.int64()),
        ("full_name", pa.string()),
        ("page", pa.int64()),
        ("status", pa.string()),
        ("first_day", pa.date32()),
        ("last_day", pa.date32()),
        ("etag", pa.string()),
        ("stars_total", pa.int64()),
        ("reason", pa.string()),
        ("fetched_at", _TIME),
        *_RUN,
    ]
)
STAR_HISTORY_QUARANTINE = pa.schema(
    [
        ("repo_id", pa.int64()),
        ("full_name", pa.string()),
        ("week", pa.date32()),
        ("reason", pa.string()),
        ("row_text", pa.string()),
        ("fetched_at", _TIME),
        *_RUN,
    ]
)
STAR_HISTORY_DAYS = pa.schema(
    [
        ("day", pa.date32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        *((name, pa.int64()) for name in ("expected", "asked", "answered", "left_out", "rest_requests")),
        ("run_id", pa.string()),
        ("fetched_at", _TIME),
    ]
)

TABLES = {
    "repositories": {
        "repositories": REPOSITORIES,
        "repositories_days": REPOSITORIES_DAYS,
        "universe_changes": UNIVERSE_CHANGES,
    },
    "star_history": {
        "star_history": STAR_HISTORY,
        "star_history_reads": STAR_HISTORY_READS,
        "star_history_quarantine": STAR_HISTORY_QUARANTINE,
        "star_history_days": STAR_HISTORY_DAYS,
    },
}
"""dataset -> table -> columns"""


def admitted(schema: pa.Schema, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return (the row with NULL for each value that its column cannot hold, column -> why the value was rejected).

    All upstream JSON passes through this function before it reaches a raw table.
    """
    good, refused = dict(row), {}
    for name, value in row.items():
        if value is not None and (cause := _flaw(schema.field(name), value)):
            good[name] = None
            refused[name] = f"{name} is {ascii(value)[:40]}, {cause}"
    return good, refused


def _flaw(field: pa.Field, value: Any) -> str | None:
    """Return why a column cannot hold a value; None if it can."""
    kind, words = _kind(field.type)
    # `type`, not `isinstance`: bool is a subclass of int, and datetime a subclass of date
    if type(value) is not kind:
        return f"not {words}"
    if isinstance(value, str):
        pattern = PATTERNS.get(field.name)
        if "\x00" in value or len(value) > TEXT_MOST:
            return f"not a text of up to {TEXT_MOST:,} characters"
        return f"not a {field.name}" if pattern and not pattern.fullmatch(value) else None
    low, high = BOUNDS.get(field.name, (value, value))
    return None if low <= value <= high else f"not between {low} and {high}"


def _kind(column: pa.DataType) -> tuple[type, str]:
    if pa.types.is_timestamp(column):
        return dt.datetime, "a time"
    if pa.types.is_date(column):
        return dt.date, "a day"
    if pa.types.is_boolean(column):
        return bool, "true or false"
    return (int, "a whole number") if pa.types.is_integer(column) else (str, "a text")


Rows: TypeAlias = "pa.Table | Sequence[Mapping[str, Any]]"


def github_source(dataset: str, rows: Mapping[str, Rows] | None = None) -> DltResource:
    """Return the dlt resource that loads a batch of rows into the tables of a dataset.

    Existing rows with the same merge key are replaced, so loading a batch twice changes nothing. The merge key is
    `load_key`, and `day` in the `_days` tables.

    Args:
        dataset: `repositories` or `star_history`.
        rows: table -> rows; a column that a row lacks is NULL.
    """
    return raw_source(
        dataset, TABLES[dataset], rows or {}, lambda table: "day" if table.endswith("_days") else "load_key"
    )


def raw_source(
    dataset: str, tables: Mapping[str, pa.Schema], rows: Mapping[str, Rows], merge_key: Callable[[str], str]
) -> DltResource:
    """Return the dlt resource that replaces, in each table, all rows that share a merge key with the new rows.

    Args:
        dataset: dataset of the tables, and the name of the first table.
        tables: table -> columns.
        rows: table -> rows; a column that a row lacks is NULL.
        merge_key: function from table name to the column whose values select the rows to replace.
    """

    @dlt.resource(name=dataset)
    def batch() -> Iterator[Any]:
        for table, schema in tables.items():
            key = merge_key(table)
            given = rows.get(table, ())
            columns = given if isinstance(given, pa.Table) else pa.Table.from_pylist(list(given), schema)
            if len(columns) or (table == dataset and not rows):
                hints = dlt.mark.make_hints(
                    table_name=table, write_disposition=_replacing(key), columns=_time_hints(schema)
                )
                columns = columns.cast(pa.schema([field.with_nullable(field.name != key) for field in schema]))
                yield dlt.mark.with_hints(columns, hints, create_table_variant=True)

    return batch


def _replacing(key: str) -> TDeleteInsertStrategyDict:
    # dlt's own merge key would compare every stored row with every new one; with a scope DuckDB skips row groups
    scope = f"{key} in (select {key} from {{staging_table}})"
    return {"disposition": "merge", "strategy": "delete-insert", "destination_scope": scope}


def utc_now() -> dt.datetime:
    """Return the current time as naive UTC, the form that every table uses."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def _time_hints(schema: pa.Schema) -> Any:
    return {
        field.name: {"data_type": "timestamp", "timezone": False}
        for field in schema
        if pa.types.is_timestamp(field.type)
    }
