"""The `dbt` that runs call: dbt itself, with the project as it was parsed last.

dbt parses the whole project anew for every other value of `--vars`, and each build has another window. Nothing in the
project depends on a variable while it is parsed, so the parsing that `defs.resources` asked for, without any, serves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumuro_decoder


def main() -> int:
    """Run dbt with this process's arguments and return its exit status."""
    arguments = sys.argv[1:]
    done = dbtRunner(manifest=_parsed() if arguments[:1] == ["build"] else None).invoke(arguments)
    if done.success:
        return 0
    return 2 if done.exception else 1


def _parsed() -> Manifest | None:
    try:
        found = (Path(os.environ["DBT_TARGET_PATH"]) / "partial_parse.msgpack").read_bytes()
        return Manifest.from_msgpack(found, decoder=extended_mashumuro_decoder)
    except Exception:  # not there, cut off by a kill, of another dbt: dbt parses by itself
        return None


if __name__ == "__main__":
    sys.exit(main())
