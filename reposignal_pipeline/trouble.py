"""Converts errors of the system, DuckDB, SQLite, dlt and Dagster into one line: the cause, the file, the remedy.

This module recognises errors and formats them; `cli`, `home` and `defs.runs` catch them. Many errors cross a process or
a framework and arrive as text, so they are recognised by their text, not by their class.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

MOST_OF_A_CAUSE = 400
"""maximum characters of a cause: about four lines of a terminal"""
STAYS = "what was loaded stays, and the same command continues from there"

HOLDER_SECONDS = 30.0
"""time limit when a foreign program holds a file, because an analyst may never close it"""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_FULL = r"No space left on device|database or disk is full|Disk quota exceeded|max_temp_directory_size"
_TOO_LARGE = r"File too large"
_READ_ONLY = r"Read-only file system|readonly database|Permission denied|Operation not permitted"
_NO_FOLDER = r"Not a directory|File exists|No such file or directory"
_DAMAGED_SQLITE = r"file is not a database|database disk image is malformed"
_DAMAGED_DUCKDB = (
    r"not a valid DuckDB database file|Could not read enough bytes from file|Corrupt database file"
    r"|Failed to load metadata pointer"
)
_LOCK = r'Could not set lock on file "(?P<file>[^"]+)"(?:.*?held in (?P<program>.*?) ?\(?PID (?P<process>\d+)\)?)?'
_FILE_NAMES = (r"[fF]ile \"([^\"]+)\"", r"database \"([^\"]+)\"", r": '(/[^']+)'")


@dataclass(frozen=True)
class Holder:
    """The process that keeps a DuckDB file open, from DuckDB's error message."""

    file: Path
    process: str
    """process id, or empty if DuckDB does not report it"""
    program: str

    def __str__(self) -> str:
        if not self.process:
            return f"a process that holds {self.file}"
        return f"process {self.process} ({Path(self.program).name or 'unknown'}), which holds {self.file}"

    @property
    def way_out(self) -> str:
        published = self.file.parent.parent / "published" / "reposignal.duckdb"
        who = f"process {self.process} ({Path(self.program).name or 'unknown'})" if self.process else "another process"
        return f"{self.file} is open in {who}: end it, then run the same command again; readers can open {published}"


def holder_of(text: str) -> Holder | None:
    """Return the holder of a file that DuckDB cannot open; None for any other error."""
    found = re.search(_LOCK, text, re.DOTALL)
    return Holder(Path(found["file"]), found["process"] or "", found["program"] or "") if found else None


def line_of(error: BaseException, home: Path) -> str:
    """Return one line about an error: its cause, and the remedy if it is known."""
    return line_of_messages(described(error), home)


def line_of_messages(messages: Sequence[str], home: Path) -> str:
    """Return one line about an error and its causes, given as messages with the innermost last."""
    return recognised(messages, home) or one_line(messages[-1] if messages else "no cause is known")


def recognised(messages: Sequence[str], home: Path) -> str | None:
    """Return one line about an error with a known remedy; None for any other error."""
    text = "\n".join(_ANSI.sub("", message) for message in messages)
    for pattern, format_line in _LINES:
        if (found := re.search(pattern, text)) and (line := format_line(found[0], _file(text), home)):
            return line
    holder = holder_of(text)
    return holder.way_out if holder else None


def _full(_: str, __: str | None, home: Path) -> str:
    free = f"{shutil.disk_usage(home).free / 1e6:,.1f} MB free" if home.exists() else "nothing free"
    return f"the disk of {home} is full ({free}): free some space; {STAYS}"


def _too_large(_: str, file: str | None, home: Path) -> str:
    return f"{file or home} reached the file size limit of the system (ulimit -f or a quota): raise it; {STAYS}"


def _read_only(found: str, file: str | None, home: Path) -> str:
    where = file or f"REPOSIGNAL_HOME={home}"
    return f"{where} cannot be read or written ({found}): change its permissions, or use another REPOSIGNAL_HOME"


def _no_folder(_: str, file: str | None, home: Path) -> str | None:
    if home.is_dir():
        return None
    return f"REPOSIGNAL_HOME={home} cannot be created: {file or home} is not a folder; use another home"


def _damaged_sqlite(found: str, _: str | None, home: Path) -> str:
    return damaged_record(home) or f"{home / 'dagster'}: {found}; delete this folder; only the record of runs is lost"


def _damaged_duckdb(_: str, file: str | None, home: Path) -> str:
    return damaged_database(file, home)


_LINES: Sequence[tuple[str, Callable[[str, str | None, Path], str | None]]] = (
    (_FULL, _full),
    (_TOO_LARGE, _too_large),
    (_DAMAGED_SQLITE, _damaged_sqlite),
    (_DAMAGED_DUCKDB, _damaged_duckdb),
    (_READ_ONLY, _read_only),
    (_NO_FOLDER, _no_folder),
)
"""(pattern of an error's text, function that returns the line from the matched text, the file and the home)"""


def damaged_record(home: Path) -> str | None:
    """Return what to do about a damaged record of runs; None if none of its files is damaged."""
    folder = home / "dagster"
    files = sorted([*folder.glob("history/**/*.db"), *folder.glob("schedules/*.db")])
    for file in files:
        if reason := _sqlite_damage(file):
            part = file.relative_to(folder).parts[0]
            lost = {"history": "the record of past runs", "schedules": "the on/off state of schedules"}[part]
            return f"{file} is damaged ({reason}): delete the folder {folder / part}; only {lost} is lost"
    return None


def damaged_database(file: str | None, home: Path) -> str:
    """Return what to do about a damaged DuckDB file."""
    name = Path(file).name if file else ""
    ways = {
        "pipeline.duckdb": "restore a backup of the folder warehouse, or move that folder away and load all days again",
        "reposignal.duckdb": (
            f"restore a backup of it; the last release in {home / 'published'} has its tables, including forecasts"
        ),
    }
    way = ways.get(name, "restore a backup of it")
    if file and Path(file).parent != home / "warehouse" and name == "reposignal.duckdb":
        way = "`reposignal site` publishes it again from the warehouse"
    return f"{file or home / 'warehouse'} is damaged: {way}"


def one_line(text: str, most: int = MOST_OF_A_CAUSE) -> str:
    """Return any text as one printable line without colours, cut to a length."""
    line = " ".join(_ANSI.sub("", text).split())
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _sqlite_damage(file: Path) -> str | None:
    """Return why SQLite rejects a file as damaged; None if it does not."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return None  # not readable or busy, which does not mean damaged
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else one_line(str(found), 80)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then its causes."""
    each: BaseException | None = error
    while each:
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def described(error: BaseException) -> list[str]:
    """Return the messages of an error and its causes, the innermost last."""
    texts = []
    for each in chain(error):
        is_bare = isinstance(each, OSError | LookupError) or not str(each)
        texts.append(f"{type(each).__name__}: {each}" if is_bare else str(each))
    return texts


def _file(text: str) -> str | None:
    """Return the file named in an error message, or None."""
    for pattern in _FILE_NAMES:
        if found := re.search(pattern, text):
            return found[1]
    return None
