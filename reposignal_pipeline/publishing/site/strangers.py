"""Cleans names, descriptions and topics by strangers for pages: single-line text of limited length, safe links.

This module cleans and clips text and derives file names and links. The template engine escapes HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from reposignal_pipeline.publishing.answers import without_controls

LONGEST = 280
"""characters of a description that are shown; GitHub allows 350"""

# noncharacters, which no page may contain: 34 at the ends of planes, 32 in a separate block
_PLANE_ENDS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_NONCHARACTERS = re.compile(f"[\ufdd0-\ufdef{_PLANE_ENDS}]")
_GITHUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_SLUG = re.compile(r"[a-z0-9._-]{1,100}")


def one_line(text: object, most: int = LONGEST) -> str:
    """Return a text on one line, without controls and overrides, of at most `most` characters; "" for None."""
    if text is None:
        return ""
    # the rest would be dropped anyway
    head = " ".join(str(text)[: 4 * most].split())
    clean = _NONCHARACTERS.sub("\N{REPLACEMENT CHARACTER}", without_controls(head))
    return clean if len(clean) <= most and len(str(text)) <= 4 * most else clean[: most - 1].rstrip() + "…"


def cleaned(value: Any) -> Any:
    """Return a JSON value with controls and overrides replaced in all texts; lengths do not change."""
    if isinstance(value, str):
        return _NONCHARACTERS.sub("\N{REPLACEMENT CHARACTER}", without_controls(value))
    if isinstance(value, dict):
        return {cleaned(name): cleaned(inner) for name, inner in value.items()}
    return [cleaned(inner) for inner in value] if isinstance(value, list) else value


def github_url(full_name: str | None) -> str | None:
    """Return the URL of a repository on GitHub; None if the name is not a valid GitHub name."""
    if full_name is None or not _GITHUB_NAME.fullmatch(full_name):
        return None
    return f"https://github.com/{full_name}"


def slugs(names: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Return repo_key -> file name without extension: owner--name in lower case.

    Names that differ only in case, and names that are not valid on GitHub, get their key as a suffix.

    Args:
        names: (repo_key, full name) pairs.
    """
    wished = {key: name.lower().replace("/", "--", 1) for key, name in names}
    counts = Counter(wished.values())
    return {
        key: slug if counts[slug] == 1 and _SLUG.fullmatch(slug) else f"{re.sub('[^a-z0-9-]', '-', slug)[:80]}-{key}"
        for key, slug in wished.items()
    }
