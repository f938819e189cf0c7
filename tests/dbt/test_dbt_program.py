"""dbt in the calling process: what it leaves behind, how it reports a failure, and how a signal ends it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import duckdb
import pytest

from reposignal_pipeline import dbt_program

PROJECT = {
    "dbt_project.yml": "name: tiny\nversion: 1.0.0\nprofile: tiny\nflags: {send_anonymous_usage_stats: false}\n",
    "profiles.yml": "tiny: {target: it, outputs: {it: {type: duckdb, threads: 1, path: '{folder}/tiny.duckdb'}}}",
    "models/good.sql": "select 1 as n",
    "models/bad.sql": "select no_such_column from {{ ref('good') }}",
    "models/endless.sql": (
        "{{ config(materialized='table') }} select max(a.range * b.range) from range(9999999) a, range(9999999) b"
    ),
    "tests/never_one.sql": "select * from {{ ref('good') }} where n = 1",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("{folder}", str(tmp_path)))
    return tmp_path


def invoked(project: Path, *arguments: str) -> dbt_program.RunExecutionResult:
    return dbt_program.invoke(
        arguments, project_dir=project, target_path=project / "target", parsed=project / "target" / "none"
    )


def test_the_process_can_open_the_file_afterwards_and_is_where_it_was(project: Path) -> None:
    before = Path.cwd()
    result = invoked(project, "run", "--select", "good")
    assert [str(one.status) for one in result.results] == ["success"]
    assert Path.cwd() == before
    # DuckDB refuses a second configuration of a file that this process has open
    with duckdb.connect(str(project / "tiny.duckdb"), read_only=True) as connection:
        assert connection.execute("from good").fetchall() == [(1,)]


def test_nodes_that_fail_are_results_with_their_cause_and_free_the_file(project: Path) -> None:
    result = invoked(project, "build", "--exclude", "endless")
    said = {one.node.name: (str(one.status), str(one.message)) for one in result.results}

    assert said["good"][0] == "success"
    log = (project / "target" / dbt_program.LOG).read_text()
    assert "Failure in test never_one" in log
    assert "\x1b" not in log
    assert said["never_one"] == ("fail", "Got 1 result, configured to fail if != 0")
    assert said["bad"][0] == "skipped"
    duckdb.connect(str(project / "tiny.duckdb"), read_only=True).close()
    result = invoked(project, "run", "--select", "good", "bad")
    assert ["no_such_column" in str(one.message) for one in result.results] == [False, True]


def test_a_dbt_usage_error_is_one_line(project: Path) -> None:
    (project / "models" / "good.sql").write_text("select * from {{ ref('nothing') }}")
    with pytest.raises(dbt_program.DbtError, match=r"^[^\n]*nothing[^\n]*$"):
        invoked(project, "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_query_and_frees_the_file(project: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    started = threading.Event()

    def interrupt() -> None:
        assert started.wait(300)
        time.sleep(0.5)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        dbt_program.invoke(
            ["run", "--select", "endless"],
            project_dir=project,
            target_path=project / "target",
            parsed=project / "target" / "none",
            on_event=lambda event: started.set() if event.info.name == "LogStartLine" else None,
        )
    assert signal.getsignal(number) is before
    duckdb.connect(str(project / "tiny.duckdb"), read_only=True).close()
