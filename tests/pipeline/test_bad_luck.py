"""Failures in the middle of a run: a full disk, damaged working files, a failing build. One home goes through all."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from reposignal_pipeline.defs.warehouse import failed_nodes
from tests.mounts import mounted
from tests.pipeline.homes import Home, Ran, assert_one_line, day_number

SPARE_BYTES = 300_000


def refused(ran: Ran) -> str:
    """Return the one line with which a command failed."""
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert_one_line(ran.stderr)
    assert len(ran.stderr) < 900
    return ran.stderr


def test_the_message_of_dbt_begins_with_the_cause() -> None:
    model = {
        "unique_id": "model.reposignal.fct_repo_day",
        "status": "error",
        "message": "Runtime Error in model fct_repo_day (models/fct_repo_day.sql)\n  Conversion Error:\x1b[0m a\n  b",
    }
    test = {"unique_id": "test.reposignal.assert_x", "status": "fail", "message": "Got 3 results, configured to fail"}
    fine = {"unique_id": "model.reposignal.dim_repo", "status": "success", "message": "OK"}
    assert failed_nodes([fine, model, test]) == "Conversion Error: a b (in fct_repo_day, and 1 more failed)"
    assert failed_nodes([test]) == "Got 3 results, configured to fail (in assert_x)"
    assert failed_nodes([fine]) is None


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_continues(half: Home, tmp_path: Path) -> None:
    with mounted(tmp_path / "a (1) disk", "size=150m") as disk:
        home = half.copied(disk / "home")
        filler = disk / "filler"
        with home.session() as session:
            with filler.open("wb") as file:
                try:
                    while True:
                        file.write(b"\0" * 100_000)
                        file.flush()
                except OSError:
                    pass
            with filler.open("r+b") as file:
                file.truncate(filler.stat().st_size - SPARE_BYTES)
            assert f"the disk of {home.path} is full (" in refused(session.load(8, 8))
            assert list((home.path / "releases").glob("*.making")) == []
            filler.unlink()
            ran = session.load(8, 8)
            assert ran.returncode == 0, ran.stderr
        assert home.query("select max(day) from fct_repo_day") == [(day_number(8),)]


@pytest.mark.slow
def test_damaged_working_files_are_repaired_or_named_for_deletion(half: Home, tmp_path: Path) -> None:
    home = half.copied(tmp_path / "a (1) home")
    rankings, history = home.path / "dlt" / "rankings", home.path / "dagster" / "history"
    (rankings / "state.json").write_text('{"_state_version": 1, "_sta')
    for schema in rankings.glob("schemas/*.json"):
        schema.write_bytes(b"\0" * 100)
    for file in history.glob("runs/index.db*"):
        file.write_bytes(b"garbage" * 1000)
    with home.session() as session:
        line = refused(session.load(8, 8))
        assert f"delete the folder {history}; only the record of past runs is lost" in line
    for file in sorted(history.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    history.rmdir()
    with home.session() as session:
        ran = session.load(8, 8)
        assert ran.returncode == 0, ran.stderr
        with duckdb.connect(str(home.path / "warehouse" / "reposignal.duckdb")) as connection:
            connection.execute("alter table fct_repo_signal_day drop column signal_score")
        line = refused(session.load(9, 9))
        assert line.startswith("reposignal: The source and target schemas on this incremental model"), line
        assert "(in fct_repo_signal_day)" in line
        assert "dbt.log" in line
        assert "\x1b" not in line
        shown = session.run("doctor").stdout
        assert re.search(r"^WRONG +runs +build of .* failed: ", shown, re.MULTILINE), shown
    assert home.query("select max(day) from fct_repo_day") == [(day_number(8),)]
