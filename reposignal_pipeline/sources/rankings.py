"""The daily ranking files: star totals of the leading repositories since 2018-12-18.

This module knows the name and format of the files with all their quirks, and quarantines files and rows that break
the format. Bytes are fetched in `transport`; dbt gives the numbers their meaning.

There is one file a day, `github-ranking-YYYY-MM-DD.csv`, taken at about 03:00-04:30 UTC of that day. A row is a place
in a list (`item`). A repository is in several lists, and its counts may differ between them. CRLF up to 2019-04-20,
quoted newlines, exact duplicates and label drift are loaded unchanged; staging models clean them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import dlt
import duckdb
import pyarrow as pa
from dlt.common.schema.typing import TColumnSchema
from dlt.extract import DltResource
from pyarrow import csv

from reposignal_pipeline.sources.names import NAME, OWNER
from reposignal_pipeline.sources.schemas import COUNT_MOST
from reposignal_pipeline.sources.transport import Upstream

COLUMNS = (
    "rank", "item", "repo_name", "stars", "forks", "language", "repo_url", "username", "issues", "last_commit",
    "description",
)  # fmt: skip
HEADER = ",".join(COLUMNS)
FETCHES_AT_ONCE = 8

Status = Literal["observed", "missing", "refused"]
Part = Literal["rows", "load_record"]
PARTS: tuple[Part, ...] = ("rows", "load_record")


class MalformedFileError(Exception):
    """The whole file is rejected; the message names file, line and cause."""


@dataclass
class Day:
    """One day as read: the rows of its file, its status and its quarantined rows."""

    day: dt.date
    file: str
    status: Status
    reason: str | None = None
    sha256: str | None = None
    text: pa.Table | None = None
    """rows in file order, all cells as text, with `snapshot_date` and `file_row` (the header is row 1)"""
    set_aside: list[dict[str, Any]] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    """`lists`, `longest_list` and `distinct_places` (item x rank) among the good rows"""


def file_name(day: dt.date) -> str:
    """Return the name of a day's file at the upstream."""
    return f"github-ranking-{day.isoformat()}.csv"


def read_days(upstream: Upstream, days: Iterable[dt.date]) -> list[Day]:
    """Return the days in order; several files are fetched concurrently.

    Raises:
        UpstreamError: the upstream neither returned a file nor reported that it does not exist.
    """

    def read(day: dt.date) -> Day:
        name = file_name(day)
        return parse_day(day, upstream.read(name), upstream.address(name))

    with ThreadPoolExecutor(FETCHES_AT_ONCE, thread_name_prefix="rankings") as pool:
        return list(pool.map(read, days))


def parse_day(day: dt.date, content: bytes | None, file: str) -> Day:
    """Return the rows of a file as text; a missing or rejected file gives a day with that status and a reason."""
    if content is None:
        return Day(day, file, "missing", reason="no file published for this day")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        text, set_aside = _parse(content, file)
    except MalformedFileError as error:
        return _refused(day, file, sha256, str(error))
    text = text.add_column(0, "snapshot_date", pa.array([day] * text.num_rows, pa.date32()))
    return Day(day, file, "observed", sha256=sha256, text=text, set_aside=set_aside)


def _refused(day: dt.date, file: str, sha256: str, reason: str) -> Day:
    whole = {"file_row": None, "reason": reason, "row_text": None, "is_whole_file": True}
    return Day(day, file, "refused", reason=reason, sha256=sha256, set_aside=[whole])


def _parse(content: bytes, file: str) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return (rows as text in file order, rows quarantined because their cells cannot be read).

    Raises:
        MalformedFileError: the file is empty, cut off or in another format.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    head = content.split(b"\n", 1)[0].rstrip(b"\r")
    if not content.strip():
        raise MalformedFileError(f"{file}, line 1: the file is empty")
    if head != HEADER.encode():
        raise MalformedFileError(
            f"{file}, line 1: the header is {head[:80].decode(errors='replace')!r}, not {HEADER!r}"
        )
    if not content.endswith(b"\n"):
        lines = content.count(b"\n") + 1
        raise MalformedFileError(f"{file}, line {lines}: the last line has no newline: the file is cut off")

    lines = content.count(b"\n")
    text = _read_csv(content)
    set_aside: list[dict[str, Any]] = []
    if text is None or text.num_rows != lines - 1 or _ends_inside_quotes(text):
        text, set_aside = _sort_out(content)
    else:
        text = text.append_column("file_row", pa.array(range(2, lines + 1), pa.int32()))
    if not text.num_rows:
        cause = set_aside[0]["reason"] if set_aside else "no rows below the header"
        raise MalformedFileError(f"{file}, line 2: no good row: {cause}")
    _refuse_if_cut_off(text, set_aside, file)
    return text, set_aside


def _read_csv(content: bytes) -> pa.Table | None:
    """Return all cells as text; None if a row has the wrong number of columns or is not UTF-8."""
    try:
        return csv.read_csv(
            pa.py_buffer(content),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(content)),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(COLUMNS, pa.string()),
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None


def _ends_inside_quotes(text: pa.Table) -> bool:
    return text.num_rows > 0 and str(text[COLUMNS[-1]][-1]).endswith("\n")


# As in other CSV readers, text after a closing quote belongs to the cell, unless the quotes contain a newline: then the
# quote was stray and "closed" at the quote that opens another cell, whose text follows.
_FIELD = r'(?:"(?:[^"\n]++|"")*+"[^,\n]*+|"(?:[^"]++|"")*+"(?=,|\r?\n)\r?|[^",\n][^,\n]*+|)'
_RECORD = re.compile(rf"(?:{_FIELD},)*+{_FIELD}\n".encode())
_CELLS = re.compile(r'(?:\A|,)(?:"((?:[^"]++|"")*+)"([^,\n]*+)|([^",\n][^,\n]*+|))')
_ROW_BEGINS = re.compile(rf'"?\d+"?,(?:{_FIELD},){{2}}"?\d+"?,(?:{_FIELD},){{4}}'.encode())
"""a rank, and a star count three fields later: no line inside a quoted description looks like this"""


def _sort_out(content: bytes) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return (rows as text, quarantined rows) of a file with quoted newlines or broken rows.

    A stray quote swallows the text up to the next quote, and the result can have the right number of columns. So a
    record that contains the beginning of another row is quarantined only up to the end of its first line.
    """
    rows: list[tuple[int, list[str]]] = []
    set_aside: list[dict[str, Any]] = []
    number, end = 1, content.index(b"\n") + 1
    while (start := end) < len(content):
        end = content.index(b"\n", start) + 1
        if not content[start:end].strip(b"\r\n"):
            continue
        number += 1
        record = _RECORD.match(content, start)
        is_runaway = record is None or any(
            _ROW_BEGINS.match(content, start + newline.end()) for newline in re.finditer(rb"\n(?!\Z)", record.group())
        )
        if record and not is_runaway:
            end = record.end()
        row = content[start:end].removesuffix(b"\n").removesuffix(b"\r")
        cause = None
        try:
            cells = _CELLS.findall(row.decode())
        except UnicodeDecodeError as error:
            cause = f"not UTF-8 at byte {error.start} of the row"
        else:
            if is_runaway:
                cause = "a quote is never closed, or opens inside a field"
            elif len(cells) != len(COLUMNS):
                cause = f"{len(cells)} fields instead of {len(COLUMNS)}"
        if cause:
            set_aside.append(_aside(number, cause, row.decode(errors="replace")))
        else:
            rows.append((number, [quoted.replace('""', '"') + rest + plain for quoted, rest, plain in cells]))
    columns = zip(*(cells for _, cells in rows), strict=True) if rows else [()] * len(COLUMNS)
    text = pa.table(dict(zip(COLUMNS, (pa.array(column, pa.string()) for column in columns), strict=True)))
    return text.append_column("file_row", pa.array([number for number, _ in rows], pa.int32())), set_aside


def _aside(file_row: int, reason: str, row_text: str) -> dict[str, Any]:
    return {
        "file_row": file_row,
        "reason": f"row {file_row}: {reason}",
        "row_text": row_text[:10_000],
        "is_whole_file": False,
    }


_TEXT_SCHEMA = pa.schema(
    [("snapshot_date", pa.date32()), *((column, pa.string()) for column in COLUMNS), ("file_row", pa.int32())]
)

# A cast alone would round 1.5 to 2.
_WHOLE = r"'[0-9]{1,18}(\.0)?'"


def _count(column: str) -> str:
    cell = f"case when regexp_full_match({column}, {_WHOLE}) then {column}::bigint end"
    return f"nullif(least({cell}, {COUNT_MOST + 1}), {COUNT_MOST + 1})"


def _flaw(column: str) -> str:
    return (
        f"case when not regexp_full_match({column}, {_WHOLE}) then '{column} is not a number from 0'"
        f" when {_count(column)} is null then '{column} is more than {COUNT_MOST}' end"
    )


_VERDICTS = rf"""
    select
        *,
        case
            when not regexp_full_match(username, '{OWNER}') then 'username is not a GitHub name'
            when not regexp_full_match(repo_name, '{NAME}') then 'repo_name is not a GitHub name'
            when trim(item) = '' then 'item is empty'
            when not regexp_full_match(rank, {_WHOLE}) or coalesce(try_cast(rank as integer), 0) < 1
                then 'rank is not a number from 1'
            else {_flaw("stars")}
        end as bad,
        concat_ws('; ',
            {_flaw("forks")} || ': kept as unknown',
            {_flaw("issues")} || ': kept as unknown',
            case when last_commit <> '' and not coalesce(isfinite(try_cast(last_commit as timestamp)), false)
                then 'last_commit is not a time: kept as unknown' end
        ) as unknown_cells
    from rows
"""
_TYPED = f"""
    select
        snapshot_date, file_row, rank::integer as rank, item, username, repo_name, stars::bigint as stars,
        {_count("forks")} as forks,
        {_count("issues")} as issues, language, repo_url,
        case when isfinite(try_cast(last_commit as timestamp)) then last_commit::timestamp end as last_commit_at,
        description
    from judged where bad is null order by snapshot_date, file_row
"""
_BAD = f"""
    select
        snapshot_date, file_row, concat_ws('; ', bad, nullif(unknown_cells, '')) as reason,
        concat_ws(',', {", ".join(COLUMNS)}) as row_text
    from judged where bad is not null or unknown_cells <> '' order by snapshot_date, file_row
"""
_PLACES = """
    select
        snapshot_date, count(*) as lists, max(places) as longest_list, sum(places)::bigint as distinct_places
    from (
        select snapshot_date, item, count(distinct rank) as places
        from judged where bad is null group by snapshot_date, item
    )
    group by snapshot_date
"""


def typed_rows(days: Sequence[Day]) -> pa.Table:
    """Return the typed good rows of all observed days, in order, and add the bad rows to each day's `set_aside`.

    A day without any good row becomes refused.
    """
    with duckdb.connect() as connection:
        texts = [day.text for day in days if day.text is not None]
        connection.register("rows", pa.concat_tables([_TEXT_SCHEMA.empty_table(), *texts]))
        connection.execute(f"create temp table judged as {_VERDICTS}")
        typed = connection.execute(_TYPED).to_arrow_table()
        places = connection.execute(_PLACES).to_arrow_table().to_pylist()
        bad = connection.execute(_BAD).to_arrow_table().to_pylist()
    set_aside: dict[dt.date, list[dict[str, Any]]] = defaultdict(list)
    for row in bad:
        set_aside[row["snapshot_date"]].append(_aside(row["file_row"], row["reason"], row["row_text"]))
    good = {row.pop("snapshot_date"): row for row in places}
    for day in days:
        day.set_aside += set_aside[day.day]
        day.places = good.get(day.day, {})
        if day.status == "observed" and not day.places:
            refused = _refused(
                day.day, day.file, day.sha256 or "", f"{day.file}, line 2: no good row: {day.set_aside[0]['reason']}"
            )
            vars(day).update(vars(refused))
    return typed


def _refuse_if_cut_off(text: pa.Table, set_aside: list[dict[str, Any]], file: str) -> None:
    """Reject a file whose last list is shorter than most of its lists: the file was cut off at the end of a line.

    In every file from 2018-12-18 to 2025-06-24 all lists have the same length, 100 or 60. Some files repeat rows, so
    ranks measure the length of a list; broken rows at the end count as one rank each.
    """
    ranks: dict[str, set[int]] = defaultdict(set)
    last, read_to = None, 1
    for item, rank, row in zip(*(text[name].to_pylist() for name in ("item", "rank", "file_row")), strict=True):
        if rank.isdecimal() and int(rank) > 0:
            ranks[item].add(int(rank))
            last, read_to = item, row
    if last is None or len(ranks) == 1:
        return
    lengths = Counter(len(places) for places in ranks.values())
    length = max(lengths, key=lambda places: (lengths[places], places))
    end = max([text["file_row"][-1].as_py(), *(entry["file_row"] for entry in set_aside)])
    reached = max(ranks[last])
    if reached + end - read_to < length:
        raise MalformedFileError(
            f"{file}, row {end}: the last list, {last!r}, ends after {reached} of {length} rows: cut off"
        )


# Times are UTC without a zone, because DuckDB converts zoned times to the session's zone.
_UTC: TColumnSchema = {"data_type": "timestamp", "timezone": False}

_ROWS_SCHEMA = pa.schema(
    [
        ("snapshot_date", pa.date32()),
        ("file_row", pa.int32()),
        ("rank", pa.int32()),
        *((name, pa.string()) for name in ("item", "username", "repo_name")),
        *((name, pa.int64()) for name in ("stars", "forks", "issues")),
        *((name, pa.string()) for name in ("language", "repo_url")),
        ("last_commit_at", pa.timestamp("us")),
        ("description", pa.string()),
    ]
)
_PLACE_COUNTS = ("lists", "longest_list", "distinct_places")
_DAYS_SCHEMA = pa.schema(
    [
        ("snapshot_date", pa.date32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("rows_read", pa.int64()),
        *((name, pa.int64()) for name in _PLACE_COUNTS),
        ("rows_quarantined", pa.int64()),
        ("run_id", pa.string()),
        ("fetched_at", pa.timestamp("us")),
    ]
)
_QUARANTINE_SCHEMA = pa.schema(
    [
        ("snapshot_date", pa.date32()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("file_row", pa.int32()),
        ("reason", pa.string()),
        ("row_text", pa.string()),
        ("is_whole_file", pa.bool_()),
        ("run_id", pa.string()),
    ]
)

TABLES = {"rankings": _ROWS_SCHEMA, "rankings_days": _DAYS_SCHEMA, "rankings_quarantine": _QUARANTINE_SCHEMA}
"""raw table -> columns, so that a table exists before its first row"""


@dlt.source(name="rankings")
def rankings_source(
    readings: Sequence[Day] = (),
    *,
    observed: frozenset[dt.date] = frozenset(),
    run_id: str = "",
    typed: pa.Table | None = None,
    parts: Sequence[Part] = PARTS,
) -> DltResource:
    """Return the dlt source that replaces each read day as a whole, in three tables.

    `rankings` holds the rows of a day, `rankings_days` one row a day with its status, and `rankings_quarantine` the
    rejected rows. A missing or refused day leaves the previous rows of the day unchanged.

    Args:
        readings: days as read, in order.
        observed: days that the warehouse already holds as observed.
        run_id: the run that loads them.
        typed: the result of `typed_rows` for the readings, if it was already computed.
        parts: what to load; the rows must be loaded before or together with the load record of each day.
    """

    @dlt.resource(
        name="rankings", write_disposition="merge", merge_key="snapshot_date", columns={"last_commit_at": _UTC}
    )
    def rankings() -> Iterator[Any]:
        if "rows" in parts:
            yield _not_null(typed_rows(readings) if typed is None else typed, "snapshot_date")
            set_aside = [
                {
                    "snapshot_date": reading.day,
                    "file": reading.file,
                    "sha256": reading.sha256,
                    "run_id": run_id,
                    **entry,
                }
                for reading in readings
                for entry in reading.set_aside
            ]
            table = pa.Table.from_pylist(set_aside, _QUARANTINE_SCHEMA)
            yield _to_table("rankings_quarantine", table, ["snapshot_date", "sha256"])
        if "load_record" not in parts:
            return
        fetched_at = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        days = [
            {
                "snapshot_date": reading.day,
                "status": reading.status,
                "reason": reading.reason,
                "file": reading.file,
                "sha256": reading.sha256,
                "rows_read": reading.text.num_rows if reading.text is not None else None,
                **dict.fromkeys(_PLACE_COUNTS) | reading.places,
                "rows_quarantined": len({entry["file_row"] for entry in reading.set_aside}),
                "run_id": run_id,
                "fetched_at": fetched_at,
            }
            for reading in readings
            if reading.status == "observed" or reading.day not in observed
        ]
        yield _to_table("rankings_days", pa.Table.from_pylist(days, _DAYS_SCHEMA), ["snapshot_date"], fetched_at=_UTC)

    return rankings


def _not_null(table: pa.Table, *names: str) -> pa.Table:
    return table.cast(pa.schema([field.with_nullable(field.name not in names) for field in table.schema]))


def _to_table(name: str, table: pa.Table, merge_key: list[str], **columns: Any) -> Any:
    table = _not_null(table, "snapshot_date", *merge_key)
    hints = dlt.mark.make_hints(table_name=name, write_disposition="merge", merge_key=merge_key, columns=columns)
    return dlt.mark.with_hints(table, hints, create_table_variant=True)
