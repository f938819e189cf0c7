"""The packages follow the architecture: their imports, and the modules that may read the environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "reposignal_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
WITHOUT_DAGSTER = ("sources", "analysis", "publishing", "sample")

TOUCH_THE_ENVIRONMENT = {
    "config.py",
    "defs/resources.py",
    "defs/runs.py",
    "cli.py:_demo",
    "defs/warehouse.py:marts",
    "lake/catalog.py:ready",
}
"""`config` reads it; the others pass it to Dagster, dlt, dbt, libpq and DuckDB"""

LAYOUT = (
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-lake.txt",
    "Makefile",
    "workspace.yaml",
    "dagster.yaml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "data/sample",
    "dbt_project/dbt_project.yml",
    ".ci/run",
    "docs",
    "benchmarks",
)


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), str(module))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def touches_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in {"environ", "getenv", "putenv"} for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "putenv", "unsetenv"}


def environment_touched(tree: ast.Module) -> Iterator[str]:
    """Yield the top-level function around each access, or nothing for the module's own body."""
    for statement in tree.body:
        if any(touches_environment(node) for node in ast.walk(statement)):
            yield statement.name if isinstance(statement, ast.FunctionDef | ast.ClassDef) else ""


@pytest.mark.parametrize("room", WITHOUT_DAGSTER)
def test_the_packages_outside_defs_do_not_import_dagster(room: str) -> None:
    modules = sorted((PACKAGE / room).rglob("*.py"))
    assert modules
    known = {
        (name_of(module), name)
        for module in modules
        for name in imported(tree_of(module))
        if name.partition(".")[0].startswith("dagster") or name.startswith("reposignal_pipeline.defs")
    }
    assert known == set()


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(module: Path) -> Iterator[str]:
    """Yield the rooms that a module imports, its own left out."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        rooms = (name.split(".")[1] for name in names if name.startswith(f"{PACKAGE.name}."))
        yield from (room for room in rooms if room != room_of(module))


def test_rooms_import_what_the_architecture_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## What each room may import")[2].partition("\n#")[0]
    documented = {
        room: set(re.findall(r"`(\w+)`", others))
        for room, others in re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M)
    }
    found: dict[str, set[str]] = {room_of(module): set() for module in MODULES if room_of(module) != "__init__"}
    for module in MODULES:
        if room_of(module) in found:
            found[room_of(module)] |= set(rooms_imported(module))
    assert documented == found


def test_only_these_touch_the_environment() -> None:
    touching = {
        (name_of(module), f"{name_of(module)}:{function}")
        for module in MODULES
        for function in environment_touched(tree_of(module))
    }
    assert [place for place in sorted(touching) if not TOUCH_THE_ENVIRONMENT.intersection(place)] == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_opens_with_its_charter(module: Path) -> None:
    charter = ast.get_docstring(tree_of(module))
    assert charter
    assert charter.splitlines()[0].endswith((".", ":"))


def test_no_module_is_a_collection_of_helpers() -> None:
    drawers = {"utils", "helpers", "common", "core", "misc"}
    assert [name_of(module) for module in MODULES if drawers.intersection(module.with_suffix("").parts)] == []


@pytest.mark.parametrize("path", LAYOUT)
def test_the_documented_layout_exists(path: str) -> None:
    found = ROOT / path
    assert found.exists()
    assert found.is_dir() or found.stat().st_size > 0


@pytest.mark.parametrize("requirements", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_requirements_name_packages_and_no_address(requirements: Path) -> None:
    lines = [line for line in requirements.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert [line for line in lines if re.search(r"\w+://|git\+|--(?:extra-)?index-url|--find-links", line)] == []
    pins = [line for line in lines if not line.lstrip().startswith("#")]
    assert pins
    assert [line for line in pins if "==" not in line] == []


def test_no_window_takes_the_first_row_without_a_partition() -> None:
    """Without rows, DuckDB 1.5.5 returns a row of NULL for it: findings/duckdb-first-row-of-an-empty-table.sh."""
    files = [*MODULES, *(ROOT / "dbt_project").rglob("*.sql"), *(ROOT / "docs").rglob("*.md")]
    whole_table = re.compile(r"row_number\(\)\s+over\s*\(\s*order\b[^)]*\)\s*(?:<=?|=)\s*1\b", re.IGNORECASE)
    found = [path for path in files if whole_table.search(path.read_text(encoding="utf-8"))]
    assert found == [ROOT / "docs" / "analysts.md"]  # which warns of it
