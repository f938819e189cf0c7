"""Builds ranking files, byte by byte as the upstream's CSV writer would, well-formed or not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

HEADER = "rank,item,repo_name,stars,forks,language,repo_url,username,issues,last_commit,description"
COLUMNS = HEADER.split(",")


def row(rank: int = 1, item: str = "C", **cells: str) -> list[str]:
    """Return the cells of a row; `cells` replaces some by name."""
    name = cells.get("repo_name", f"repo{rank}")
    plain = {
        "rank": str(rank),
        "item": item,
        "repo_name": name,
        "stars": str(10_000 - rank),
        "forks": "7",
        "language": "C",
        "repo_url": f"https://github.com/owner/{name}",
        "username": "owner",
        "issues": "3",
        "last_commit": "2024-01-01T12:30:00Z",
        "description": "a thing",
    }
    return list((plain | cells).values())


def lists(*items: str, length: int = 3) -> list[list[str]]:
    """Return complete lists, one for each item."""
    return [row(rank, item) for item in items for rank in range(1, length + 1)]


def line(cells: Sequence[str], end: str = "\n") -> bytes:
    """Return one row as a CSV writer writes it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return (text.getvalue().removesuffix("\r\n") + end).encode()


def file_of(rows: Iterable[Sequence[str]], end: str = "\n") -> bytes:
    """Return a complete file."""
    return HEADER.encode() + end.encode() + b"".join(line(cells, end) for cells in rows)


def file_of_lines(lines: Iterable[bytes]) -> bytes:
    """Return a complete file of raw lines."""
    return HEADER.encode() + b"\n" + b"".join(lines)
