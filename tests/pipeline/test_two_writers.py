"""Several commands and runs on one home at the same time: they queue, and the result is as if they had run in turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.homes import COMMAND, PATIENCE_SECONDS, Home, assert_alike, backfill, day_number

pytestmark = pytest.mark.slow

_RUN_OF_THE_DAEMON = """
import sys
import dagster as dg
from reposignal_pipeline.definitions import defs
with dg.DagsterInstance.get() as instance:
    done = defs().resolve_job_def("daily").execute_in_process(instance=instance, partition_key=sys.argv[1])
sys.exit(not done.success)
"""
"""what `make dev` starts for the schedule and for a UI backfill: a process without a command"""


def started(home: Home, *command: str) -> subprocess.Popen[str]:
    dagster_home = {"DAGSTER_HOME": str(home.path / "dagster")}
    return subprocess.Popen(command, env=home.environment | dagster_home, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """Return the output of a command that succeeded."""
    _, output = process.communicate(timeout=3 * PATIENCE_SECONDS)
    assert process.returncode == 0, output
    return output


def test_commands_and_a_run_of_the_daemon_queue(half: Home, whole: Home, tmp_path: Path) -> None:
    home = half.copied(tmp_path / "home")
    of_daemon = started(home, sys.executable, "-c", _RUN_OF_THE_DAEMON, str(day_number(8)))
    first = started(home, COMMAND, *backfill(8, 11))
    time.sleep(3)
    second = started(home, COMMAND, *backfill(10, 14))
    output = ended(first) + ended(second)
    ended(of_daemon)
    assert "reposignal: waiting for another writer of this warehouse: " in output
    # the machine decides which comes first
    assert any(f"(process {process.pid})" in output for process in (of_daemon, first, second))
    assert_alike(whole.tables(), home.tables())


def test_the_next_command_continues_after_a_killed_one(half: Home, whole: Home, tmp_path: Path) -> None:
    home = half.copied(tmp_path / "home")
    first = started(home, COMMAND, *backfill(8, 14))
    lock = home.path / "warehouse" / "writer.lock"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while f": marts (process {first.pid})" not in lock.read_text():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    second = started(home, COMMAND, *backfill(13, 14))
    assert second.stderr
    assert f"(process {first.pid})" in second.stderr.readline()
    os.kill(first.pid, signal.SIGKILL)
    ended(second)
    first.communicate()
    assert_alike(whole.tables(), home.tables())
