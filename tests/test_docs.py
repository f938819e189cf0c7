"""The documentation says what the project does: commands, settings, links, columns and queries.

The published tables are made here without rows, from the places where they are described; a warehouse is not needed.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest
import yaml
from jinja2 import Template

from reposignal_pipeline.analysis.clusters import CLUSTER_TABLES
from reposignal_pipeline.analysis.forecast import BREAKOUTS, FORECASTS, OUTCOMES, SUPERSEDED, TRACK_RECORD
from reposignal_pipeline.analysis.weekly import LANGUAGE_TRENDS, REPO_TRENDS
from reposignal_pipeline.cli import _parser
from reposignal_pipeline.config import PROJECT_ROOT
from reposignal_pipeline.publishing.article import ARTICLES, CLAIMS
from reposignal_pipeline.publishing.runs import record_runs

DOCS = PROJECT_ROOT / "docs"
REFERENCE = DOCS / "reference.md"
PAGES = sorted(
    [
        *PROJECT_ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(PROJECT_ROOT / name / "README.md" for name in ("data", "findings")),
    ]
)
MARTS = PROJECT_ROOT / "dbt_project" / "models" / "marts"
GENERATED = [DOCS / "data-dictionary.md", DOCS / "backtest.md"]
PLACEHOLDERS = {
    "YYYY-MM-DD": "2026-01-31",
    "DAY": "2026-01-31",
    "SOURCE": "rankings",
    "NAME": "rankings",
    "PORT": "8000",
}


def questions() -> dict[str, str]:
    """Return title -> SQL of every question of docs/questions.md, in order."""
    page = (DOCS / "questions.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## (\d+\. [^\n]+)$(?:(?!^## ).)*?^```sql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))


def published_tables() -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """Yield name, comment and (column, type, comment) of the tables that dbt and pandas fill."""
    for path in sorted(MARTS.glob("*.yml")):
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", []):
            columns = [(column["name"], column["data_type"], column["description"]) for column in model["columns"]]
            yield model["name"], model["description"], columns
    weekly = (REPO_TRENDS, LANGUAGE_TRENDS, FORECASTS, SUPERSEDED, OUTCOMES, BREAKOUTS, TRACK_RECORD, ARTICLES, CLAIMS)
    for table in (*weekly, *CLUSTER_TABLES):
        yield table.name, table.comment, [(name, kind, text) for name, (kind, text) in table.columns.items()]


@pytest.fixture(scope="module")
def catalog() -> Iterator[duckdb.DuckDBPyConnection]:
    """Every published table, with its comments and without rows."""
    with duckdb.connect() as connection:
        for table, comment, columns in published_tables():
            connection.execute(f"create table {table} ({', '.join(f'{name} {kind}' for name, kind, _ in columns)})")
            connection.execute(f"comment on table {table} is {_literal(comment)}")
            for name, _, text in columns:
                connection.execute(f"comment on column {table}.{name} is {_literal(text)}")
        record_runs(connection, [])
        macros = PROJECT_ROOT / "dbt_project" / "macros" / "languages.sql"
        connection.execute(Template(macros.read_text(encoding="utf-8")).module.language_functions())
        yield connection


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _data_dictionary() -> ModuleType:
    spec = importlib.util.spec_from_file_location("data_dictionary", DOCS / "data_dictionary.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _commands(page: Path) -> list[str]:
    """Return every call of `reposignal` and `make` in a page's code."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    lines = [line.removeprefix("$ ") for block in blocks for line in _shell_lines(block)] + spans
    calls = (
        re.match(r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?((?:reposignal|make)(?: .*)?)$", line, re.DOTALL) for line in lines
    )
    return [match[1] for match in calls if match]


def _shell_lines(block: str) -> Iterator[str]:
    """Yield the lines of a console block; the lines of a quotation that spans several are one."""
    lines = iter(block.splitlines())
    for line in lines:
        whole = line
        while whole.count('"') % 2 and "reposignal sql" in whole:
            whole += "\n" + next(lines)
        yield whole


def _called(tool: str) -> list[Any]:
    found = {(page, command) for page in PAGES for command in _commands(page) if command.split()[0] == tool}
    return [pytest.param(command, id=f"{page.name}: {command}"[:80]) for page, command in sorted(found)]


def test_the_data_dictionary_is_in_step(catalog: duckdb.DuckDBPyConnection) -> None:
    page = (DOCS / "data-dictionary.md").read_text(encoding="utf-8")
    assert page == _data_dictionary().dictionary(catalog), "run `make demo docs`"


def test_the_data_dictionary_of_nothing_is_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _data_dictionary().main() == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert not home.exists()


def test_every_column_is_described(catalog: duckdb.DuckDBPyConnection) -> None:
    blank = catalog.execute("select table_name, column_name from duckdb_columns() where trim(comment) = ''").fetchall()
    assert blank == []


def test_there_are_enough_questions_and_each_table_is_in_one() -> None:
    assert len(questions()) >= 20
    queries = " ".join(questions().values())
    tables = [*(name for name, _, _ in published_tables()), "ops_run"]
    assert [table for table in tables if not re.search(rf"\b{table}\b", queries)] == []


@pytest.mark.parametrize("title", questions())
def test_a_question_fits_the_tables_and_names_no_date(catalog: duckdb.DuckDBPyConnection, title: str) -> None:
    catalog.execute(questions()[title]).fetchall()
    assert not re.search(r"\d{4}-\d\d", questions()[title])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        file = page.parent / path if path else page
        if not file.exists() or (heading and heading not in _headings(file)):
            broken.append(target)
    assert broken == []


def _headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("command", _called("reposignal"))
def test_a_command_is_understood(command: str) -> None:
    words = shlex.split(re.sub(r"[\[\]]", "", command), comments=True)[1:]
    words = [PLACEHOLDERS.get(word, word) for word in words]
    if not words:
        return
    parser: argparse.ArgumentParser = _parser()
    if len(words) == 1:  # the verb alone, as a text speaks of it
        verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        assert words[0] in verbs.choices
    else:
        parser.parse_args(words[: words.index("<")] if "<" in words else words)


def test_every_verb_is_in_the_reference() -> None:
    verbs = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    named = {word for command in _commands(REFERENCE) for word in command.split()[1:2]}
    assert set(verbs.choices) <= named


@pytest.mark.parametrize("command", _called("make"))
def test_a_make_target_exists(command: str) -> None:
    targets = re.findall(r"^([a-z]+):", (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    words = shlex.split(command, comments=True)[1:]
    assert {word for word in words if "=" not in word} - {"(Dagster"} <= set(targets)


@pytest.mark.parametrize(("page", "expected"), [("README.md", 1), ("docs/analysts.md", 5)])
def test_queries_of_commands_fit_the_tables(catalog: duckdb.DuckDBPyConnection, page: str, expected: int) -> None:
    calls = [shlex.split(command) for command in _commands(PROJECT_ROOT / page) if " sql " in command]
    queries = [words[2] for words in calls if "..." not in words[2]]
    assert len(queries) == expected
    for query in queries:
        catalog.execute(query).fetchall()


def test_settings_are_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(REPOSIGNAL_\w+)`", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE))
    code = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "reposignal_pipeline").rglob("*.py"))
    read = set(re.findall(r'(?:(?:environ|given)(?:\.get\(|\[)|_whole\(given,)\s*"(REPOSIGNAL_\w+)"', code))
    assert documented == read


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED], ids=lambda page: page.name)
def test_lines_are_below_100_columns(page: Path) -> None:
    """Rows of tables and pictures, which Markdown cannot wrap, are exempt."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) >= 100 and not line.startswith(("|", "!["))] == []


def _named_files(page: Path) -> set[str]:
    """Return the files that a page's code spans name, without placeholders such as `NAME.py`."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text(encoding="utf-8"))
    files = (
        span for span in spans if re.fullmatch(r"[\w./-]+\.(?:py|md|sql|yml|csv|j2|json|svg|png|toml|css|txt)", span)
    )
    return {name for name in files if "NAME" not in name and "YYYY" not in name}


@pytest.mark.parametrize(
    "page", [PROJECT_ROOT / "CONTRIBUTING.md", DOCS / "architecture.md"], ids=lambda page: page.name
)
def test_files_named_by_the_guides_exist(page: Path) -> None:
    package = PROJECT_ROOT / "reposignal_pipeline"
    inside = {path.relative_to(folder).as_posix() for folder in (package, DOCS) for path in folder.rglob("*.*")}
    inside |= {path.relative_to(PROJECT_ROOT / "dbt_project").as_posix() for path in MARTS.parents[1].rglob("*.*")}
    names = {name.rpartition("/")[2] for name in inside}
    named = _named_files(page)
    assert len(named) > 20
    absent = [name for name in named if not ((PROJECT_ROOT / name).exists() or name in inside or name in names)]
    assert sorted(absent) == []


def test_models_named_by_the_guides_exist() -> None:
    models = {path.stem for path in MARTS.parent.rglob("*.sql")}
    for page in (PROJECT_ROOT / "CONTRIBUTING.md", DOCS / "architecture.md"):
        named = set(re.findall(r"`((?:stg|int|fct|dim)_[a-z_]+)`", page.read_text(encoding="utf-8")))
        weekly = {name for name, _, _ in published_tables()}
        assert {name for name in named if not name.endswith("_")} - models - weekly == set()


def test_pages_of_docs_are_listed() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert [name for name in sorted(pages) if f"({name})" not in index] == []


def test_decisions_are_listed() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (DOCS / "decisions").iterdir() if f"decisions/{path.name}" not in index] == []
