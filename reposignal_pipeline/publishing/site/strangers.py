"""Names, descriptions and topics by strangers, made fit for a page: shown as text, short, and linked only if plain.

Here: cleaning, clipping, file names and links. Not here: escaping, which is the template engine's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from reposignal_pipeline.publishing.answers import without_controls

LONGEST = 280
"""characters of a description that are shown: GitHub itself allows 350"""

# code points that no page may hold: 34 at the ends of planes, 32 in a block of their own
_PLANE_ENDS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_NONCHARACTERS = re.compile(f"[\ufdd0-\ufdef{_PLANE_ENDS}]")
_GITHUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_SLUG = re.compile(r"[a-z0-9._-]{1,100}")


def told(text: object, most: int = LONGEST) -> str:
    """Return a text on one line, without controls and overrides, of `most` characters at most; None is empty."""
    if text is None:
        return ""
    # what comes after is dropped anyway: 10 kB are not searched
    head = " ".join(str(text)[: 4 * most].split())
    clean = _NONCHARACTERS.sub("\N{REPLACEMENT CHARACTER}", without_controls(head))
    return clean if len(clean) <= most and len(str(text)) <= 4 * most else clean[: most - 1].rstrip() + "…"


def cleaned(value: Any) -> Any:
    """Return a JSON value whose texts hold no controls and no overrides; their length is kept."""
    if isinstance(value, str):
        return _NONCHARACTERS.sub("\N{REPLACEMENT CHARACTER}", without_controls(value))
    if isinstance(value, dict):
        return {cleaned(name): cleaned(inner) for name, inner in value.items()}
    return [cleaned(inner) for inner in value] if isinstance(value, list) else value


def github_url(full_name: str | None) -> str | None:
    """Return the address of a repository, or None if the name is none that GitHub gives."""
    if full_name is None or not _GITHUB_NAME.fullmatch(full_name):
        return None
    return f"https://github.com/{full_name}"


def slugs(names: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Return a file name, without ending, for each repository: owner--name, the same on every file system.

    Names that are alike but for case, or that are none of GitHub's, get their key added.

    Args:
        names: repo_key and full name.
    """
    wished = {key: name.lower().replace("/", "--", 1) for key, name in names}
    counts = Counter(wished.values())
    return {
        key: slug if counts[slug] == 1 and _SLUG.fullmatch(slug) else f"{re.sub('[^a-z0-9-]', '-', slug)[:80]}-{key}"
        for key, slug in wished.items()
    }
