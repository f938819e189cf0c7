"""Reuses files of the former release whose inputs and looked-up links have not changed.

This module records the inputs of each file and hard-links unchanged files. `pages` renders the files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

RECORD = ".site.json"
"""file of a release, next to its site: path -> inputs of the file"""

Lookup = tuple[str, Any, Any]
"""(table, key, value found); None if there was none"""


@dataclass(frozen=True)
class Made:
    """The inputs of a file."""

    inputs: str
    """digest of the data"""
    looked_up: Sequence[Lookup]
    """lookups of other pages; only pages that link to a moved page are written again"""
    charts: Sequence[str]
    """keys of the drawings in the file"""


class Links:
    """Paths of pages by subject; records each lookup while a page is rendered."""

    def __init__(self, **tables: dict[Any, Any]) -> None:
        self._values = tables
        self._noted: dict[Lookup, None] = {}
        self.tables = {name: _Table(name, values, self._noted) for name, values in tables.items()}

    @contextmanager
    def looked_up(self) -> Iterator[list[Lookup]]:
        """Yield a list that is filled, on exit, with the lookups made inside the context."""
        self._noted.clear()
        found: list[Lookup] = []
        yield found
        found.extend(self._noted)

    def hold(self, looked_up: Sequence[Lookup]) -> bool:
        """Return whether the same lookups still give the same values."""
        return all(self._values[table].get(key) == value for table, key, value in looked_up)


class _Table:
    def __init__(self, name: str, values: dict[Any, Any], noted: dict[Lookup, None]) -> None:
        self._name, self._values, self._noted = name, values, noted

    def __contains__(self, key: Any) -> bool:
        self._noted[self._name, key, self._values.get(key)] = None
        return key in self._values

    def __getitem__(self, key: Any) -> Any:
        self._noted[self._name, key, self._values.get(key)] = None
        return self._values[key]


class Shelf:
    """The files of a site that is being built, and those of the former site."""

    def __init__(self, target: Path, former: Path | None, edition: str) -> None:
        self.target = target
        self.former = former / "site" if former else None
        self.edition = edition
        self.written = 0
        self._made: dict[str, Made] = {}
        self._before = _record(former / RECORD, edition) if former else {}

    def known(self, path: str, inputs: str, links: Links) -> Made | None:
        """Return the inputs of a file of the former release if it can be reused, else None."""
        made = self._before.get(path)
        if made is None or made.inputs != inputs or not links.hold(made.looked_up):
            return None
        return made if self.former and (self.former / path).is_file() else None

    def link(self, path: str) -> None:
        """Reuse a file of the former release by a hard link."""
        assert self.former
        os.link(self.former / path, self._at(path))
        self._made[path] = self._before[path]

    def place(
        self, path: str, inputs: str | None, looked_up: Sequence[Lookup] = (), charts: Sequence[str] = ()
    ) -> Path:
        """Return the path to write a file to; a file without inputs is written for every release."""
        if inputs is not None:
            self._made[path] = Made(inputs, looked_up, charts)
        self.written += 1
        return self._at(path)

    def close(self, release: Path) -> None:
        """Write the record of the inputs of all files."""
        files = {path: asdict(made) for path, made in self._made.items()}
        (release / RECORD).write_text(json.dumps({"edition": self.edition, "files": files}), encoding="utf-8")

    def _at(self, path: str) -> Path:
        file = self.target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file


def digest(value: Any) -> str:
    """Return a digest of query results: dates, numbers, texts, lists and dataclasses of these."""
    content = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(content).hexdigest()


def recorded_edition(release: Path) -> str | None:
    """Return the edition of the site of a release; None if it has no record."""
    try:
        edition: str = json.loads((release / RECORD).read_text(encoding="utf-8"))["edition"]
    except (OSError, ValueError):
        return None
    return edition


def _record(file: Path, edition: str) -> dict[str, Made]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a release older than this record
        return {}
    if record["edition"] != edition:
        return {}
    return {
        path: Made(made["inputs"], [(table, key, value) for table, key, value in made["looked_up"]], made["charts"])
        for path, made in record["files"].items()
    }
