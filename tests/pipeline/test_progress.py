"""What a command shows as it runs: bars in a terminal, nothing elsewhere, and at its end what it loaded and changed."""

import os
import pty
import re
import subprocess
import threading
from pathlib import Path

import duckdb
import pytest

from tests.pipeline.homes import COMMAND, PATIENCE_SECONDS, Home, Ran, backfill

CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(home: Home, *arguments: str) -> tuple[Ran, str]:
    """Return the result of a command whose standard error is a terminal, and the text in the terminal."""
    ours, theirs = pty.openpty()
    got = bytearray()

    def read() -> None:
        try:
            while part := os.read(ours, 65536):
                got.extend(part)
        except OSError:  # the last process with the terminal open is gone
            pass

    reader = threading.Thread(target=read)
    reader.start()
    size = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    try:
        ran = subprocess.run(
            [COMMAND, *arguments], env=home.environment | size, stdout=subprocess.PIPE, stderr=theirs, text=True,
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return ran, CONTROLS.sub("", got.decode()).replace("\r", "\n")


@pytest.fixture(scope="module")
def day_again(whole: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Ran, str]:
    home = whole.copied(tmp_path_factory.mktemp("progress") / "home")
    return home, *in_terminal(home, "run", "--day", "2024-03-14")


def test_a_terminal_shows_each_step_and_how_far_it_is(day_again: tuple[Home, Ran, str]) -> None:
    _, ran, shown = day_again
    assert ran.returncode == 0, shown
    assert re.search(r"^rankings .* 1 of 1 days *$", shown, re.MULTILINE)
    assert re.search(r"^marts .* 0:\d\d:\d\d \d+ of \d+ nodes of dbt *$", shown, re.MULTILINE)
    assert re.search(r"^published warehouse .* 0:\d\d:\d\d *$", shown, re.MULTILINE)
    assert "start of" not in shown.splitlines()[-1]


def test_the_end_shows_what_was_loaded_what_changed_and_where_to_look(day_again: tuple[Home, Ran, str]) -> None:
    home, ran, _ = day_again
    summary = dict(re.split(" {2,}", line, maxsplit=1) for line in ran.stdout.splitlines())
    assert summary["rankings"] == "40 places; days: 1 observed"
    assert summary["rebuilt"] == "days from 2024-03-14 on, weeks from 2024-03-11 on"
    with duckdb.connect(str(home.path / "warehouse" / "reposignal.duckdb"), read_only=True) as connection:
        assert connection.execute("from build.stale_weeks").fetchall() == []  # no week is due any more
    assert summary["published"].startswith(str(home.published))
    assert summary["site"].startswith(str(home.path / "published" / "site" / "index.html"))


def test_no_bars_appear_outside_a_terminal(whole: Home, tmp_path: Path) -> None:
    ran = whole.copied(tmp_path / "home").run(*backfill(1, 14))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("rankings      0 places; days: 1 missing, 13 loaded before\nrebuilt ")


def test_an_aborted_run_is_reported_in_the_terminal(whole: Home, tmp_path: Path) -> None:
    home = whole.copied(tmp_path / "home")
    home.rankings_url = "http://127.0.0.1:1"
    ran, shown = in_terminal(home, "run", "--day", "2024-03-14")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.search(r"^rankings: interrupted", shown, re.MULTILINE)
    assert re.search(r"^reposignal: .*127\.0\.0\.1:1", shown, re.MULTILINE)
