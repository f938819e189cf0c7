"""What a process imports: a query imports no orchestrator, and definitions import nothing that only a step uses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.homes import Home, parsed_once

ORCHESTRATION = {"dagster", "dagster_dbt", "dbt", "sqlalchemy"}
ANALYSIS = {"sklearn", "scipy", "igraph", "matplotlib", "altair", "vl_convert"}
_IMPORTED = """
import contextlib, io, json, sys
from reposignal_pipeline.cli import main
output = io.StringIO()
with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), contextlib.suppress(SystemExit):
    main({arguments!r})
print(json.dumps(sorted(sys.modules)))
"""


def packages_after(code: str, home: Path) -> set[str]:
    """Return the top-level packages that a process has imported at its end."""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=Home(home).environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(ran.stdout.splitlines()[-1])}


@pytest.mark.parametrize("arguments", [["--help"], ["sql", "select 1"], ["explain", "o/n"], ["doctor"]], ids=" ".join)
def test_a_query_imports_no_orchestrator(arguments: list[str], tmp_path: Path) -> None:
    imported = packages_after(_IMPORTED.format(arguments=arguments), tmp_path / "home")
    assert imported & (ORCHESTRATION | ANALYSIS | {"pandas"}) == set()
    assert ("duckdb" in imported) == (arguments != ["--help"])


def test_the_definitions_import_nothing_that_only_a_step_uses() -> None:
    code = "import json, sys, reposignal_pipeline.definitions as d; d.defs(); print(json.dumps(sorted(sys.modules)))"
    imported = packages_after(code, parsed_once())
    assert imported & ANALYSIS == set()
    assert "dagster" in imported
