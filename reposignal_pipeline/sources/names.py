"""Patterns that validate repository names wherever one enters the project.

Whether a repository of that name exists is not checked here.
"""

import re

# Characters that GitHub allows in names. A part made only of dots, as in `owner/..`, would change a path or a URL.
# The patterns use no look-ahead because DuckDB and Arrow run them too. The lengths are well beyond GitHub's own limits.
OWNER = r"\.{0,99}[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
NAME = r"\.{0,99}[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}"
FULL_NAME = re.compile(f"{OWNER}/{NAME}")
GITHUB_ADDRESS = re.compile(r"(?:[a-z+]+://)?(?:[^@/\s]+@)?(?:www\.)?github\.com[/:]", re.IGNORECASE)


def name_in(text: str) -> str | None:
    """Return `owner/name` from a full name or a GitHub URL; None if the text is neither."""
    address = GITHUB_ADDRESS.match(text)
    if address:
        text = "/".join(re.split(r"[?#]", text[address.end() :])[0].strip("/").split("/")[:2])
    name = text.removesuffix(".git")
    return name if FULL_NAME.fullmatch(name) else None
