"""The notebook on the demo's published file: every question answered and drawn, hostile texts and SQL harmless."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from types import ModuleType
from typing import Any

import duckdb
import pandas as pd
import pytest

from tests.pipeline.homes import Home, run_demo_once
from tests.test_docs import questions

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "questions.py"
HOSTILE = "<img src=x onerror=alert(1)>[a](http://127.0.0.1:9/x.png)\u202egnp"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The demo's published file in a folder of its own, because no process may open one file in two ways at once."""
    home, ran = run_demo_once()
    assert ran.returncode == 0, ran.stderr
    path = tmp_path_factory.mktemp("notebook") / "home"
    copytree(home.published.parent, path / "published")
    return Home(path)


@pytest.fixture(scope="module")
def notebook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("questions_notebook", NOTEBOOK)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ran(notebook: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """Return what every cell shows, as HTML, and what the cells define. An error in a cell is raised."""
    monkeypatch.setenv("REPOSIGNAL_HOME", str(home))
    outputs, definitions = notebook.app.run()
    return "\n".join(str(getattr(output, "text", "")) for output in outputs), dict(definitions)


def test_it_runs_and_draws_every_question_of_the_docs(notebook: ModuleType) -> None:
    page = (NOTEBOOK.parents[1] / "docs" / "questions.md").read_text(encoding="utf-8")
    found = notebook.questions(page)
    assert [(question.title, question.sql) for question in found] == [
        (t, sql.strip()) for t, sql in questions().items()
    ]
    assert all(question.watch_for.startswith("Watch for:") for question in found)
    assert list(notebook.PICTURES) == [int(question.title.split(".")[0]) for question in found]


def test_every_question_is_answered_and_drawn_of_columns_it_has(
    notebook: ModuleType, demo: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, definitions = ran(notebook, demo.path, monkeypatch)
    answers = definitions["answers"]
    assert len(answers) == len(questions())
    assert [question.title for question, answer in answers.items() if isinstance(answer, str)] == []
    assert sum(not answer.empty for answer in answers.values()) > 20
    for question, answer in answers.items():
        picture = notebook.PICTURES[int(question.title.split(".")[0])]
        needed = {*([picture.x] if isinstance(picture.x, str) else picture.x), picture.y, picture.colour}
        assert needed - {None, "rows", "quantity"} <= set(answer.columns), question.title
        if not answer.empty:
            assert notebook.chart(answer, picture).to_dict()["description"] in shown.replace("&amp;", "&")
    assert "danger" not in shown


def test_it_runs_as_a_script_and_exports_a_page(demo: Home, tmp_path: Path) -> None:
    copy = shutil.copy(NOTEBOOK, tmp_path)  # marimo keeps a folder next to the file that it runs
    page = tmp_path / "questions.html"
    environment = demo.environment | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "marimo", "export", "html", "--no-include-code", str(copy), "-o", str(page)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "thu-pacman/chitu" in page.read_text(encoding="utf-8")


def test_texts_of_strangers_stay_text(
    notebook: ModuleType, demo: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "published" / "reposignal.duckdb"
    published.parent.mkdir()
    shutil.copyfile(demo.published, published)
    with duckdb.connect(str(published)) as connection:
        connection.execute("update weekly_repo_trends set full_name = $1 where growth_pct > 5", [HOSTILE])
    shown, definitions = ran(notebook, tmp_path, monkeypatch)
    answer = next(iter(definitions["answers"].values()))
    assert HOSTILE in set(answer["full_name"])
    assert "<img src=x" not in shown
    assert "&lt;img src=x" in shown
    assert "\u202e" not in shown
    words = notebook.chart(answer, notebook.PICTURES[1]).to_dict()["description"]
    assert "onerror" in words and "\u202e" not in words


def test_custom_sql_reads_only_this_file(notebook: ModuleType, demo: Home, tmp_path: Path) -> None:
    private = tmp_path / "private.csv"
    private.write_text("secret\n1\n")
    with duckdb.connect(str(demo.published), read_only=True, config={"enable_external_access": "false"}) as connection:
        assert isinstance(notebook.answered(connection, "select count(*) from dim_repo"), pd.DataFrame)
        for sql in (f"from '{private}'", "delete from dim_repo", "selec 1", f"copy dim_repo to '{tmp_path / 'x'}'"):
            assert isinstance(notebook.answered(connection, sql), str), sql


def test_a_missing_file_is_reported(notebook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, definitions = ran(notebook, tmp_path / "none", monkeypatch)
    assert "No file" in shown
    assert "answers" not in definitions


@pytest.mark.parametrize("value", [None, 0.5, 7, True, ["a", "b"], "x" * 10_000, "a\x1b[31m\u2066b"])
def test_a_value_is_one_short_line(notebook: ModuleType, value: Any) -> None:
    text = notebook.plain(value)
    assert len(text) <= 200
    assert text.isprintable()
    assert os.linesep not in text
