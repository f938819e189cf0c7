"""What the name of a repository looks like, for every door that lets one in.

Here: the patterns. Not here: whether a repository of that name exists.
"""

import re

# GitHub's characters for names. A part of dots alone, as in `owner/..`, would lead elsewhere in a path or an address.
# The patterns use no look-ahead: DuckDB and Arrow read them, too. The lengths are well beyond GitHub's own.
OWNER = r"\.{0,99}[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
NAME = r"\.{0,99}[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}"
FULL_NAME = re.compile(f"{OWNER}/{NAME}")
GITHUB_ADDRESS = re.compile(r"(?:[a-z+]+://)?(?:[^@/\s]+@)?(?:www\.)?github\.com[/:]", re.IGNORECASE)


def name_in(text: str) -> str | None:
    """Return the `owner/name` that a text is, or a GitHub address names; None if it is neither."""
    address = GITHUB_ADDRESS.match(text)
    if address:
        text = "/".join(re.split(r"[?#]", text[address.end() :])[0].strip("/").split("/")[:2])
    name = text.removesuffix(".git")
    return name if FULL_NAME.fullmatch(name) else None
