"""Reads star events from GH Archive, the hourly files of all public GitHub events since 2011-02-12.

This module knows the file names and both layouts, selects the data to store, and quarantines broken files and lines.
Bytes are fetched in `transport`; dbt gives the numbers their meaning.

An hour is `YYYY-MM-DD-H.json.gz`, with one JSON event a line and up to 0.6 GB of JSON. Only stars (`WatchEvent`) are
parsed: in the layout since 2015 the type is in the first bytes of a line. Files before 2015 are named in Pacific time,
and a file can contain events of a neighbouring hour, so a star is assigned to the UTC day on which it was given. The
account is stored only as a keyed hash, and the text of quarantined lines is never stored: lines contain logins and
e-mail addresses.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import os
import re
import secrets
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from dlt.extract import DltResource
from isal import igzip_lib

from reposignal_pipeline.sources.names import FULL_NAME
from reposignal_pipeline.sources.schemas import raw_source, utc_now
from reposignal_pipeline.sources.transport import Upstream, UpstreamError

FETCHES_AT_ONCE = 4
HOURS_AHEAD = 6
"""files fetched or parsed ahead; together with the chunk size this limits memory and disk"""
CHUNK_BYTES = 2 << 20
BATCH_STARS = 5_000
STARS_A_LOAD, HOURS_A_LOAD = 150_000, 14 * 24
"""A load takes half a second at any size, while the next hours are parsed; a killed run loses at most one load."""
LONGEST_LINE_BYTES = 16 << 20
"""GitHub's largest events have about 1 MB"""
LARGEST_HOUR_BYTES = 8 << 30
"""bytes of JSON, thirteen times a modern hour; a larger file is treated as a decompression bomb"""
MOST_LINES = 5_000_000
"""25 times a modern hour; a file with more lines is treated as a decompression bomb too"""
UNREACHED_IN_A_ROW = 6
"""consecutive hours without a response after which the upstream is given up"""
PACIFIC, NAMED_IN_PACIFIC_UNTIL = ZoneInfo("America/Los_Angeles"), dt.date(2015, 1, 1)
"""Files of earlier days are named by Pacific hours: the hour skipped in spring has no file, and the file of the hour
repeated in autumn contains two hours."""
DAYS_LATE, DAYS_EARLY = 7, 1
"""largest difference between the day of a star and that of its file: crawled late, or named in Pacific time"""
HOLLOW_SHARE = 0.1
"""A file with fewer events than this share of its former events was emptied, not corrected: hours with one event or
none come from crawlers that were down."""
LINES_NAMED = 100
"""quarantined lines that are listed per hour; further lines are only counted"""
KEY_BYTES = 32
MOST_DIGESTS = 1_000
"""There are about twenty event types. A file with this many has another layout, and its lines are parsed singly."""

STAR = "WatchEvent"
Status = Literal["observed", "partial", "missing", "refused", "not_reached"]
_WORTH = ("not_reached", "missing", "refused", "partial", "observed")

_TIME = pa.timestamp("us")
_STARS = pa.schema(
    [
        ("file_hour", _TIME),
        ("event_id", pa.int64()),
        ("repo_id", pa.int64()),
        ("full_name", pa.string()),
        ("actor_hash", pa.int64()),
        ("created_at", _TIME),
        ("day", pa.date32()),
    ]
)
TABLES = {
    "gh_archive": _STARS,
    "gh_archive_hours": pa.schema(
        [
            ("file_hour", _TIME),
            ("status", pa.string()),
            ("reason", pa.string()),
            *((name, pa.int64()) for name in ("events", "stars", "lines_set_aside", "duplicates")),
            ("event_mix", pa.string()),
            ("file_bytes", pa.int64()),
            ("json_bytes", pa.int64()),
            ("first_day", pa.date32()),
            ("last_day", pa.date32()),
            ("run_id", pa.string()),
            ("fetched_at", _TIME),
        ]
    ),
    "gh_archive_quarantine": pa.schema(
        [
            ("file_hour", _TIME),
            ("line", pa.int64()),
            ("reason", pa.string()),
            ("is_whole_file", pa.bool_()),
            ("run_id", pa.string()),
        ]
    ),
    "gh_archive_days": pa.schema(
        [
            ("day", pa.date32()),
            ("status", pa.string()),
            ("reason", pa.string()),
            *((name, pa.int64()) for name in ("hours_observed", "events", "stars")),
            ("first_day", pa.date32()),
            ("last_day", pa.date32()),
            ("run_id", pa.string()),
            ("fetched_at", _TIME),
        ]
    ),
}
"""raw table -> columns, so that a table exists before its first row"""


MERGE_KEYS = {"gh_archive_days": "day"}
"""table -> merge key; rows of the other tables are replaced by `file_hour`"""


class DamagedFileError(Exception):
    """A file is known to be damaged, but not at which byte; the message is the cause.

    Args:
        cause: the message.
        good_bytes: bytes of JSON in the preceding gzip members, whose checksums were right.
    """

    def __init__(self, cause: str, good_bytes: int = 0) -> None:
        super().__init__(cause)
        self.good_bytes = good_bytes


@dataclass
class Hour:
    """One file as read: its stars, its status and its counts."""

    file_hour: dt.datetime
    file: str
    status: Status = "observed"
    reason: str | None = None
    stars: pa.Table = field(default_factory=_STARS.empty_table)
    event_mix: Counter[str] = field(default_factory=Counter)
    """type -> events"""
    lines_set_aside: int = 0
    set_aside: list[tuple[int, str]] = field(default_factory=list)
    """(line, reason) of the first `LINES_NAMED` of these"""
    duplicates: int = 0
    file_bytes: int = 0
    json_bytes: int = 0

    @property
    def events(self) -> int:
        return self.event_mix.total()

    @property
    def day(self) -> dt.date:
        """Return the day in the name of the file."""
        return self.file_hour.date()

    @property
    def days(self) -> tuple[dt.date, dt.date] | None:
        """Return the first and the last day of its stars; None without stars."""
        if not self.stars.num_rows:
            return None
        ends = pc.min_max(self.stars["day"])
        return ends["min"].as_py(), ends["max"].as_py()

    def is_worse_than(self, former: Standing | None) -> bool:
        """Return whether a former reading of this hour is more complete and must be kept."""
        if former is None:
            return False
        if self.status == former.status == "partial":  # cut earlier
            return self.events < former.events
        if self.events < HOLLOW_SHARE * former.events:
            return True
        if former.events < HOLLOW_SHARE * self.events:
            return False
        return _WORTH.index(self.status) < _WORTH.index(former.status)

    def is_as_before(self, former: Standing | None) -> bool:
        """Return whether a former reading has the same status and number of events."""
        return former is not None and (self.status, self.events) == (former.status, former.events)

    @property
    def finding(self) -> str:
        """Return a message about this reading."""
        return self.reason or f"{self.file}: {self.events:,} events"

    def standing_after(self, former: Standing | None) -> Standing:
        """Return the state of the hour in the warehouse after this reading replaces the former one."""
        spans = [*(self.days or ()), *((former.first_day, former.last_day) if former else ())]
        known = [day for day in spans if day]
        return Standing(
            self.status, self.events, self.stars.num_rows, min(known, default=None), max(known, default=None)
        )

    def row(self, former: Standing | None) -> dict[str, Any]:
        """Return the hour's row in `gh_archive_hours`."""
        return vars(self.standing_after(former)) | {
            "file_hour": self.file_hour,
            "reason": self.reason,
            "lines_set_aside": self.lines_set_aside,
            "duplicates": self.duplicates,
            "event_mix": orjson.dumps(dict(self.event_mix.most_common())).decode() if self.event_mix else None,
            "file_bytes": self.file_bytes,
            "json_bytes": self.json_bytes,
        }

    def quarantine(self) -> Iterator[dict[str, Any]]:
        """Yield rows of `gh_archive_quarantine` for a refused file or quarantined lines, without their text."""
        if self.status == "refused":
            yield {"file_hour": self.file_hour, "line": None, "reason": self.reason, "is_whole_file": True}
        for line, reason in self.set_aside:
            yield {"file_hour": self.file_hour, "line": line, "reason": reason, "is_whole_file": False}


def file_name(file_hour: dt.datetime) -> str:
    """Return the name of an hour's file at the upstream; the hour is not zero-padded."""
    return f"{file_hour:%Y-%m-%d}-{file_hour.hour}.json.gz"


def hours_of(day: dt.date) -> list[dt.datetime]:
    """Return the hours in the file names of a day: 24, or 23 if Pacific clocks went forward on a day before 2015."""
    hours = [dt.datetime(day.year, day.month, day.day, hour) for hour in range(24)]
    return hours if day >= NAMED_IN_PACIFIC_UNTIL else [hour for hour in hours if _is_on_clocks(hour)]


def _is_on_clocks(hour: dt.datetime) -> bool:
    return hour.replace(tzinfo=PACIFIC).astimezone(dt.UTC).astimezone(PACIFIC).replace(tzinfo=None) == hour


def actor_key(path: Path) -> bytes:
    """Return the key that hashes actors, created on first use; without it no hash can be traced to an account.

    Raises:
        ValueError: the file does not hold a key of the right length.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # readable by its owner only
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(file.name, path)  # of concurrent processes, the first one sets the key
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path}: not a key of {KEY_BYTES} bytes; hashes without a valid key would identify accounts")
    return key


def read_hours(
    upstream: Upstream, file_hours: Iterable[dt.datetime], key: bytes, *, through: Path | None = None
) -> Iterator[Hour]:
    """Yield the hours in order; several are fetched and parsed concurrently, at most `HOURS_AHEAD` ahead.

    Args:
        upstream: upstream of the files.
        file_hours: hours in the names of the files.
        key: key of the actor hash.
        through: folder for temporary copies of remote files (default: the system's).

    Raises:
        UpstreamError: several hours in a row could not be read; a single one has the status 'not_reached'.
    """
    parsers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    unreached = 0
    ahead: deque[Future[Hour]] = deque()
    with (
        ThreadPoolExecutor(FETCHES_AT_ONCE, "fetch") as fetching,
        ThreadPoolExecutor(parsers, "parse") as parsing,
    ):
        try:
            rest = iter(file_hours)
            while True:
                while len(ahead) < HOURS_AHEAD and (file_hour := next(rest, None)) is not None:
                    fetched = fetching.submit(upstream.open, file_name(file_hour), through=through)
                    ahead.append(parsing.submit(_parsed, upstream, file_hour, fetched, key))
                if not ahead:
                    return
                hour = ahead.popleft().result()
                unreached = unreached + 1 if hour.status == "not_reached" else 0
                if unreached == UNREACHED_IN_A_ROW:
                    raise UpstreamError(f"{unreached} hours in a row could not be read, the last: {hour.reason}")
                yield hour
        finally:
            for parsed in ahead:
                parsed.cancel()
            fetching.shutdown(wait=False, cancel_futures=True)


def _parsed(upstream: Upstream, file_hour: dt.datetime, fetched: Future[BinaryIO | None], key: bytes) -> Hour:
    address = upstream.address(file_name(file_hour))
    try:
        file = fetched.result()
    except UpstreamError as error:
        return Hour(file_hour, address, "not_reached", str(error))
    if file is None:
        return Hour(file_hour, address, "missing", "no file published for this hour")
    with file:
        try:
            return parse_hour(file, file_hour, address, key)
        except OSError as error:
            return Hour(file_hour, address, "not_reached", f"{address}: {' '.join(str(error).split())}")


def parse_hour(file: BinaryIO, file_hour: dt.datetime, address: str, key: bytes) -> Hour:
    """Return the stars of a gzip file of events, with its status and counts.

    If a file ends too soon, the part before its end is valid and kept. If a file is damaged, the wrong bytes are
    unknown, so only the complete gzip members before the damage are kept; each member has its own checksum.

    Args:
        file: the file, positioned at its beginning.
        file_hour: hour in the name of the file.
        address: name of the file in reasons.
        key: key of the actor hash.

    Raises:
        OSError: the file cannot be read.
    """
    hour = read = Hour(file_hour, address)
    lines = _Lines(hour, key)
    begin, rest = file.tell(), ""
    try:
        cut = _decompress(file, hour, lines.take)
    except DamagedFileError as error:
        if not error.good_bytes:
            hour = Hour(file_hour, address, "refused", f"{address}: {error}: none of its events is kept")
            hour.file_bytes, hour.json_bytes = read.file_bytes, read.json_bytes
            return hour
        rest, cut = f"; the rest is {error}", True
        hour = Hour(file_hour, address)
        lines = _Lines(hour, key)
        file.seek(begin)
        _decompress(file, hour, lines.take, most=error.good_bytes)
        hour.file_bytes, hour.json_bytes = read.file_bytes, read.json_bytes
    lines.end(is_cut=cut)
    if cut:
        hour.status = "partial"
        hour.reason = f"{address}: cut short after {hour.events:,} events; they are kept{rest}"
    return hour


def _decompress(file: BinaryIO, hour: Hour, take: Callable[[bytes], None], most: int | None = None) -> bool:
    """Pass the decompressed bytes to `take` in chunks; return whether the file ended too soon.

    Args:
        file: the file, positioned at its beginning.
        hour: counts the bytes.
        take: receives the chunks.
        most: number of bytes after which to stop.

    Raises:
        DamagedFileError: not gzip, a wrong block or checksum, or a decompression bomb.
    """
    member = None
    compressed = b""
    good_bytes, is_begun = 0, False
    while hour.json_bytes != most:
        if not compressed and (member is None or member.needs_input):
            compressed = file.read(CHUNK_BYTES)
            hour.file_bytes += len(compressed)
            if not compressed:
                break
        if member is None:
            # zeros may separate members
            compressed = compressed.lstrip(b"\0") if is_begun else compressed
            if not compressed:
                continue
            if not compressed.startswith(_GZIP[: len(compressed)]):
                raise DamagedFileError(f"not gzip after {hour.json_bytes:,} bytes of JSON", good_bytes)
            member, is_begun = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), True
        try:
            chunk = member.decompress(compressed, CHUNK_BYTES)
        except igzip_lib.error as error:  # type: ignore[misc]  # its stub is no class
            raise DamagedFileError(f"damaged after {hour.json_bytes:,} bytes of JSON ({error})", good_bytes) from None
        compressed = b""
        chunk = chunk if most is None else chunk[: most - hour.json_bytes]
        hour.json_bytes += len(chunk)
        if hour.json_bytes > LARGEST_HOUR_BYTES:
            raise DamagedFileError(f"more than {LARGEST_HOUR_BYTES:,} bytes of JSON: a decompression bomb")
        if chunk:
            take(chunk)
        if member.eof:
            compressed, member, good_bytes = member.unused_data, None, hour.json_bytes
    return member is not None or not hour.file_bytes


_GZIP = b"\x1f\x8b"
_HEAD = re.compile(rb'\{"id":"([0-9]{1,18})","type":"([A-Za-z]{1,60})"')
_HEAD_BYTES = 96
"""bytes that contain the whole head of a line, up to the end of its type"""
_NO_DIGEST = (1 << 64) - 1
_BEFORE_ID, _BEFORE_TYPE = b'{"id":"', b'","type":"'


class _Lines:
    """Counts the lines of an hour by type and parses the stars among them.

    Since 2015 a line begins with its id and its type. All line heads of a chunk are compared in one vectorised step; a
    line that begins differently, or whose id has another length, is parsed singly.
    """

    def __init__(self, hour: Hour, key: bytes) -> None:
        self._hour, self._key = hour, key
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._line = 0
        self._stars: list[tuple[int, bytes]] = []
        self._tables: list[pa.Table] = []
        # sorted digests of types, with their types and counts; the last digest is a sentinel above all others
        self._digests = np.array([_NO_DIGEST], np.uint64)
        self._kinds = [""]
        self._counts = np.zeros(1, np.int64)
        self._is_star = self._is_named = np.array([False])

    def take(self, chunk: bytes) -> None:
        """Take the next bytes of the file.

        Raises:
            DamagedFileError: too many lines; the file is a decompression bomb.
        """
        if self._line > MOST_LINES:
            raise DamagedFileError(f"more than {MOST_LINES:,} lines: a decompression bomb")
        start = chunk.find(b"\n") + 1
        if not start:
            self._begin(chunk)
            return
        self._begin(chunk[:start])
        self._end_line()
        starts = [start]
        find, add = chunk.find, starts.append
        while start := find(b"\n", start) + 1:
            add(start)
        self._whole_lines(chunk, starts)
        if starts[-1] < len(chunk):
            self._begin(chunk[starts[-1] :])
        if len(self._stars) >= BATCH_STARS:
            self._parse_stars()

    def end(self, *, is_cut: bool) -> None:
        """Finish the file; if it was cut, its last line counts only if it is complete."""
        if self._begun_bytes and not (is_cut and _event(b"".join(self._begun)) is None):
            self._end_line()
        self._parse_stars()
        self._count_off()
        if self._tables:
            self._hour.stars, self._hour.duplicates = _once(pa.concat_tables(self._tables))

    def _begin(self, part: bytes) -> None:
        self._begun_bytes += len(part)
        if self._begun_bytes <= LONGEST_LINE_BYTES:
            self._begun.append(part)

    def _end_line(self) -> None:
        line, length = b"".join(self._begun), self._begun_bytes
        self._begun, self._begun_bytes = [], 0
        self._line += 1
        if length > LONGEST_LINE_BYTES:
            self._set_aside(self._line, f"{length:,} bytes long")
        else:
            self._one_line(self._line, line)

    def _one_line(self, number: int, line: bytes) -> None:
        """Take a line of any layout."""
        if head := _HEAD.match(line):
            kind = head[2].decode()
        elif not line.strip():
            return
        else:
            event = _event(line)
            kind = event.get("type") if event else None
            if not isinstance(kind, str) or not re.fullmatch("[A-Za-z]{1,60}", kind):
                self._set_aside(number, "not a JSON object with a type")
                return
        self._hour.event_mix[kind] += 1
        if kind == STAR:
            self._stars.append((number, line))

    def _whole_lines(self, chunk: bytes, starts: list[int]) -> None:
        """Take the complete lines of a chunk; `starts` holds where each begins, and last where the final one ends."""
        line, lines = self._line + 1, len(starts) - 1
        self._line += lines
        alone: Sequence[int] = range(lines)
        if lines and (head := _HEAD.match(chunk, starts[0])):
            usual, digests = _kinds(chunk, np.array(starts[:-1]), head.end(1) - starts[0])
            places = self._places(digests, lambda n: _HEAD.match(chunk, starts[usual[n]]))
            if places is not None:
                for n in usual[self._is_star[places]].tolist():
                    self._stars.append((line + n, chunk[starts[n] : starts[n + 1]]))
                named = usual if self._is_named[:-1].all() else usual[self._is_named[places]]
                alone = () if len(named) == lines else np.setdiff1d(alone, named).tolist()
        for n in alone:
            self._one_line(line + n, chunk[starts[n] : starts[n + 1]])

    def _places(self, digests: np.ndarray, head: Callable[[int], re.Match[bytes] | None]) -> np.ndarray | None:
        """Return the indexes of the digests among the known ones, and count them; None if there are too many."""
        places = np.searchsorted(self._digests, digests)
        if (self._digests[places] != digests).any():
            found, firsts = np.unique(digests, return_index=True)
            if len(self._digests) + len(found) > MOST_DIGESTS:
                return None
            heads = {digest: head(n) for digest, n in zip(found.tolist(), firsts.tolist(), strict=True)}
            self._count_off()
            kinds = {digest: match[2].decode() if match else "" for digest, match in heads.items()}
            kinds = dict(sorted((dict(zip(self._digests.tolist(), self._kinds, strict=True)) | kinds).items()))
            self._digests, self._kinds = np.array(list(kinds), np.uint64), list(kinds.values())
            self._counts = np.zeros(len(kinds), np.int64)
            self._is_star = np.array([kind == STAR for kind in self._kinds])
            self._is_named = np.array([kind != "" for kind in self._kinds])
            places = np.searchsorted(self._digests, digests)
        self._counts += np.bincount(places, minlength=len(self._counts))
        return places

    def _count_off(self) -> None:
        for kind, count in zip(self._kinds, self._counts.tolist(), strict=True):
            if kind:
                self._hour.event_mix[kind] += count

    def _set_aside(self, line: int, reason: str) -> None:
        self._hour.lines_set_aside += 1
        if len(self._hour.set_aside) < LINES_NAMED:
            self._hour.set_aside.append((line, f"{self._hour.file}, line {line}: {reason}"))

    def _parse_stars(self) -> None:
        stars, self._stars = sorted(self._stars), []
        numbers = [number for number, _ in stars]
        events: list[Any]
        try:
            events = [orjson.loads(line) for _, line in stars]
        except orjson.JSONDecodeError:
            events = [_event(line) for _, line in stars]
            for number, event in zip(numbers, events, strict=True):
                if event is None:
                    self._set_aside(number, "cut off or not JSON")
            numbers = [number for number, event in zip(numbers, events, strict=True) if event is not None]
            events = [event for event in events if event is not None]
        self._keep(numbers, events)

    def _keep(self, numbers: Sequence[int], events: Sequence[Any]) -> None:
        """Keep the stars of a batch; a batch with an unreadable event is split until that event is alone."""
        if not events:
            return
        complaint = ""
        for is_old in (False, True):
            try:
                converted = [_as_since_2015(event) for event in events] if is_old else events
                table, complaints = _stars(converted, self._hour, self._key)
            except _NOT_A_STAR as error:
                complaint = _in_words(error)
            else:
                self._tables.append(table)
                for n, complaint in complaints:
                    self._set_aside(numbers[n], complaint)
                return
        if len(events) == 1:
            self._set_aside(numbers[0], complaint)
            return
        half = len(events) // 2
        self._keep(numbers[:half], events[:half])
        self._keep(numbers[half:], events[half:])


def _kinds(chunk: bytes, starts: np.ndarray, before_type: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indexes of the lines with the usual head, and a digest of the 24 bytes that begin with each type.

    The text after a type is the same in every line, so all lines of a type have the same digest.

    Args:
        chunk: the bytes.
        starts: offsets at which lines begin.
        before_type: number of bytes from the beginning of a line to the end of its id.
    """
    words = np.ndarray(max(len(chunk) - 7, 0), "<u8", chunk, strides=(1,))
    heads = starts[: np.searchsorted(starts, len(chunk) - _HEAD_BYTES)]
    usual = np.flatnonzero(
        (words[heads] << np.uint64(8) == _word(b"\0" + _BEFORE_ID))
        & (words[heads + before_type] == _word(_BEFORE_TYPE[:8]))
        & (words[heads + (before_type + 2)] == _word(_BEFORE_TYPE[2:]))
    )
    kind = heads[usual] + (before_type + len(_BEFORE_TYPE))
    digests = words[kind] * np.uint64(0x9E3779B97F4A7C15)
    digests ^= words[kind + 8] * np.uint64(0xC2B2AE3D27D4EB4F)
    digests ^= words[kind + 16]
    return usual, digests


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        # a lone surrogate or invalid UTF-8 in a description must not lose a star
        try:
            event = json.loads(line.decode(errors="replace"))
        except (ValueError, RecursionError):
            return None
    return event if isinstance(event, dict) else None


_NOT_A_STAR = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def _in_words(error: Exception) -> str:
    """Return why an event is not a star, without quoting its text."""
    if isinstance(error, KeyError):
        return f"not a star: it has no {error}"
    return "not a star: an id, a name or a time that is none"


def _stars(events: Sequence[Any], hour: Hour, key: bytes) -> tuple[pa.Table, list[tuple[int, str]]]:
    """Return (events in the layout since 2015 as rows of `_STARS`, (index, complaint) of each that is not a star).

    Raises:
        KeyError, TypeError, ValueError, AttributeError, OverflowError: an event cannot be read.
    """
    repos = [event["repo"] for event in events]
    actors = [event["actor"]["id"] for event in events]
    # Arrow would truncate a fraction
    if not {type(repo["id"]) for repo in repos} <= {int, type(None)}:
        raise TypeError
    if not {type(actor) for actor in actors} <= {int, str, type(None)}:
        raise TypeError
    repo_id = pa.array([repo["id"] for repo in repos], pa.int64())
    full_name = pa.array([repo["name"] for repo in repos], pa.string())
    created_at = pa.array([event["created_at"] for event in events], pa.string()).cast(pa.timestamp("us", "UTC"))
    day = created_at.cast(pa.date32())
    event_id = pa.array([event["id"] for event in events], pa.string()).cast(pa.int64())
    is_near = pc.and_(
        pc.greater_equal(day, pa.scalar(hour.day - dt.timedelta(days=DAYS_LATE))),
        pc.less_equal(day, pa.scalar(hour.day + dt.timedelta(days=DAYS_EARLY))),
    )
    is_sound = {
        "its action is not 'started'": pa.array([event["payload"]["action"] == "started" for event in events]),
        "its time is not within days of its file's": is_near,
        "its repository has no full name": pc.match_substring_regex(full_name, f"^{FULL_NAME.pattern}$"),
        "its id is not one of GitHub's": pc.fill_null(pc.greater(event_id, 0), True),
    }
    masks = {flaw: ~pc.fill_null(mask, False).to_numpy(zero_copy_only=False) for flaw, mask in is_sound.items()}
    if event_id.null_count:
        event_id = pc.coalesce(event_id, _stand_ins(events, created_at, key))
    stars = pa.table(
        [
            pa.repeat(pa.scalar(hour.file_hour, _TIME), len(events)),
            event_id,
            pc.if_else(pc.greater(repo_id, 0), repo_id, pa.scalar(None, pa.int64())),
            full_name,
            _hashes(actors, key),
            created_at.cast(_TIME),
            day,
        ],
        schema=_STARS,
    )
    is_flawed = np.logical_or.reduce(list(masks.values()))
    if not is_flawed.any():
        return stars, []
    causes = [
        (n, "not a star: " + " and ".join(flaw for flaw, mask in masks.items() if mask[n]))
        for n in np.flatnonzero(is_flawed).tolist()
    ]
    return stars.filter(pa.array(~is_flawed)), causes


def _hashes(things: Sequence[object], key: bytes) -> pa.Array:
    """Return a keyed 64-bit hash of each value, which reveals nothing without the key; NULL for None."""
    keyed = hashlib.blake2b(digest_size=8, key=key)

    def digest(thing: object) -> bytes:
        one = keyed.copy()
        one.update(repr(thing).encode())
        return one.digest()

    hashes = np.frombuffer(b"".join(map(digest, things)), "<i8")
    return pa.array(hashes, mask=np.array([thing is None for thing in things]))


def _stand_ins(events: Sequence[Any], created_at: pa.Array, key: bytes) -> pa.Array:
    """Return negative ids for events without an id, from actor, repository and second of the star."""
    times = created_at.cast(pa.int64()).to_pylist()
    identities = [
        (event["actor"]["id"], event["repo"]["id"] or event["repo"]["name"].lower(), time)
        for event, time in zip(events, times, strict=True)
    ]
    return pc.bit_wise_or(_hashes(identities, key), pa.scalar(-1 << 63, pa.int64()))


def _as_since_2015(event: dict[str, Any]) -> dict[str, Any]:
    """Return a star in the layout since 2015; before, `repository` had a separate owner and `actor` was a login."""
    repo, actor = event.get("repo") or event["repository"], event.get("actor")
    name = repo["name"] if "/" in repo["name"] else f"{repo['owner']}/{repo['name']}"
    given, login = (actor.get("id"), actor.get("login")) if isinstance(actor, dict) else (None, actor)
    time = event["created_at"]
    if old := re.fullmatch(r"(\d{4})/(\d\d)/(\d\d) (\d\d:\d\d:\d\d) ([+-]\d\d):?(\d\d)", time):
        time = "{}-{}-{}T{}{}:{}".format(*old.groups())
    return {
        "id": str(event["id"]) if event.get("id") is not None else None,
        "repo": {"id": repo.get("id"), "name": name},
        "actor": {"id": given if given is not None else login.lower() if login else None},
        "payload": {"action": "started"} | (event.get("payload") or {}),
        "created_at": time,
    }


def _once(stars: pa.Table) -> tuple[pa.Table, int]:
    """Return (the first row of each event, number of duplicate rows)."""
    ids = stars["event_id"].to_numpy()
    _, first = np.unique(ids, return_index=True)
    repeated = len(ids) - len(first)
    return (stars.take(np.sort(first)), repeated) if repeated else (stars, 0)


@dataclass(frozen=True)
class Standing:
    """The state of an hour in the warehouse."""

    status: str
    events: int
    stars: int
    first_day: dt.date | None = None
    last_day: dt.date | None = None
    """last day of its stars, including those of former readings"""


@dataclass
class Batch:
    """Rows that are loaded together."""

    tables: dict[str, pa.Table]
    hours: int
    ends_on: dt.date
    replaced: list[dt.datetime]
    """hours with rows in the warehouse, some of which may be absent from this batch"""
    unheard: list[str]
    """messages about readings that were dropped because the earlier reading is kept"""


def batches(
    hours: Iterable[Hour],
    standing: Mapping[dt.datetime, Standing],
    run_id: str,
    kept_ids: Callable[[Sequence[dt.datetime]], np.ndarray] | None = None,
) -> Iterator[Batch]:
    """Yield batches of whole days, each as large as the load limits allow.

    A less complete reading of an hour does not replace an earlier one. The warehouse holds an event once a day, even if
    two files contain it and one of them keeps its earlier reading. If `hours` raises `UpstreamError`, the complete days
    before it are yielded first.

    Args:
        hours: hours of whole days, in order.
        standing: state of these hours in the warehouse.
        run_id: the run that loads them.
        kept_ids: returns the ids of the stars that the warehouse holds for the given hours. Without it, unchanged hours
            keep their earlier reading too if any hour of their day does.
    """
    waiting: list[Hour] = []
    unheard: list[str] = []
    days: list[dict[str, Any]] = []
    counted = 0
    try:
        for _, of_day in itertools.groupby(hours, lambda hour: hour.day):
            read = list(of_day)
            kept = {hour.file_hour: hour for hour in read if hour.is_worse_than(standing.get(hour.file_hour))}
            unheard += [f"{hour.finding}; the earlier reading of this hour is kept" for hour in kept.values()]
            if kept and not kept_ids:
                kept |= {hour.file_hour: hour for hour in read if hour.is_as_before(standing.get(hour.file_hour))}
            seen = _Seen(kept_ids(list(kept)) if kept and kept_ids else None)
            now: dict[dt.datetime, Standing] = {}
            for hour in read:
                former = standing.get(hour.file_hour)
                if former and hour.file_hour in kept:
                    now[hour.file_hour] = former
                else:
                    seen.strike_out(hour)
                    now[hour.file_hour] = hour.standing_after(former)
                    waiting.append(hour)
            days.append(_day(now, run_id))
            counted += len(read)
            if sum(hour.stars.num_rows for hour in waiting) >= STARS_A_LOAD or counted >= HOURS_A_LOAD:
                yield _batch(waiting, days, standing, run_id, hours=counted, unheard=unheard)
                waiting, days, unheard, counted = [], [], [], 0
    except UpstreamError:
        if days:
            yield _batch(waiting, days, standing, run_id, hours=counted, unheard=unheard)
        raise
    if days:
        yield _batch(waiting, days, standing, run_id, hours=counted, unheard=unheard)


class _Seen:
    """The ids of a day's events so far; ids ascend in most files, so most hours need no comparison.

    Args:
        ids: ids of events that the warehouse keeps from earlier readings.
    """

    def __init__(self, ids: np.ndarray | None = None) -> None:
        self._ids: list[np.ndarray] = []
        self._highest = 0
        if ids is not None:
            self._add(ids)

    def strike_out(self, hour: Hour) -> None:
        """Remove the events from an hour that the day already has."""
        ids = hour.stars["event_id"].to_numpy()
        if len(ids) and self._ids and ids.min() <= self._highest:
            is_new = ~np.isin(ids, np.concatenate(self._ids))
            hour.duplicates += int(np.count_nonzero(~is_new))
            hour.stars = hour.stars.filter(pa.array(is_new))
        self._add(ids)

    def _add(self, ids: np.ndarray) -> None:
        if len(ids):
            self._ids.append(ids)
            self._highest = max(self._highest, int(ids.max()))


def _batch(
    read: Sequence[Hour],
    days: Sequence[dict[str, Any]],
    standing: Mapping[dt.datetime, Standing],
    run_id: str,
    *,
    hours: int,
    unheard: list[str],
) -> Batch:
    rows = {
        "gh_archive_hours": [hour.row(standing.get(hour.file_hour)) for hour in read],
        "gh_archive_quarantine": [row for hour in read for row in hour.quarantine()],
        "gh_archive_days": days,
    }
    stamp = {"run_id": run_id, "fetched_at": utc_now()}
    tables = {name: pa.Table.from_pylist([row | stamp for row in rows[name]], TABLES[name]) for name in rows}
    stars = pa.concat_tables([_STARS.empty_table(), *(hour.stars for hour in read)])
    replaced = [hour.file_hour for hour in read if hour.file_hour in standing]
    return Batch({"gh_archive": stars} | tables, hours, days[-1]["day"], replaced, unheard)


def _day(hours: Mapping[dt.datetime, Standing], run_id: str) -> dict[str, Any]:
    """Return the row of a day whose hours are all known."""
    by_status: dict[str, list[int]] = {}
    for file_hour, each in hours.items():
        by_status.setdefault(each.status, []).append(file_hour.hour)
    lacking = {status: by_status[status] for status in reversed(_WORTH[:-1]) if status in by_status}
    if not lacking:
        status = "observed"
    elif "observed" in by_status or "partial" in by_status:
        status = "partial"
    else:
        status = "missing" if set(by_status) == {"missing"} else "not_observed"
    return {
        "day": min(hours).date(),
        "status": status,
        "reason": "; ".join(f"{name.replace('_', ' ')}: {_ranges(which)}" for name, which in lacking.items()) or None,
        "hours_observed": len(by_status.get("observed", ())),
        "events": sum(each.events for each in hours.values()),
        "stars": sum(each.stars for each in hours.values()),
        "first_day": min(filter(None, (each.first_day for each in hours.values())), default=None),
        "last_day": max(filter(None, (each.last_day for each in hours.values())), default=None),
        "run_id": run_id,
    }


def _ranges(hours: Sequence[int]) -> str:
    """Return hours as ranges, such as `hours 0-3, 7`."""
    begins = [hour for hour in hours if hour - 1 not in hours]
    ends = [hour for hour in hours if hour + 1 not in hours]
    spans = [f"{begin}" if begin == end else f"{begin}-{end}" for begin, end in zip(begins, ends, strict=True)]
    return ("hours " if len(hours) > 1 else "hour ") + ", ".join(spans)


def standing(connection: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date) -> dict[dt.datetime, Standing]:
    """Return the state in the warehouse of the hours of the days from `first` to `last`."""
    rows = connection.execute(
        """
        select file_hour, status, events, stars, first_day, last_day from pipeline.gh_archive.gh_archive_hours
        where file_hour >= ? and file_hour < ?
        """,
        [first, last + dt.timedelta(days=1)],
    ).fetchall()
    return {file_hour: Standing(*facts) for file_hour, *facts in rows}


def held_ids(connection: duckdb.DuckDBPyConnection, file_hours: Sequence[dt.datetime]) -> np.ndarray:
    """Return the ids of the stars that the warehouse holds for the files of some hours."""
    rows = connection.execute(
        "select event_id from pipeline.gh_archive.gh_archive where file_hour in (select unnest($1))", [file_hours]
    )
    return np.asarray(rows.fetchnumpy()["event_id"])


def clear(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Delete rows that a load would not replace: those of hours that are read again and now have no such rows."""
    for table in ("gh_archive", "gh_archive_quarantine"):
        refilled = set(batch.tables[table]["file_hour"].unique().to_pylist())
        emptied = [hour for hour in batch.replaced if hour not in refilled]
        if emptied:
            hours = ", ".join("?" * len(emptied))
            connection.execute(f"delete from pipeline.gh_archive.{table} where file_hour in ({hours})", emptied)


def gh_archive_source(tables: Mapping[str, pa.Table] | None = None) -> DltResource:
    """Return the dlt resource that loads a batch and replaces the previous rows of its hours and days."""
    return raw_source("gh_archive", TABLES, tables or {}, lambda table: MERGE_KEYS.get(table, "file_hour"))
