"""`kill -9` at any moment costs only time: the same command continues, and readers do not notice."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.pipeline.homes import COMMAND, PATIENCE_SECONDS, Home, assert_alike, backfill, day_number, served

BACKFILL = backfill(1, 14)


class Reader(threading.Thread):
    """Opens the published file again and again, and counts."""

    def __init__(self, home: Home) -> None:
        super().__init__(daemon=True)
        self.home, self.stopping = home, threading.Event()
        self.seen: list[tuple[int, int]] = []
        self.troubles: list[str] = []

    def run(self) -> None:
        while not self.stopping.wait(0.2):
            try:
                with duckdb.connect(str(self.home.published), read_only=True) as connection:
                    row = connection.execute(
                        "select count(distinct day), (select count(*) from weekly_repo_trends) from fct_repo_day"
                    ).fetchone()
                    assert row
                    self.seen.append(row)
            except Exception as error:
                self.troubles.append(repr(error))


def lock_names(home: Home, step: str) -> bool:
    return f": {step} (process" in (home.path / "warehouse" / "writer.lock").read_text()


def kill_when(home: Home, sign: Callable[[], bool]) -> None:
    """Start the backfill and kill it, without warning, as soon as the sign appears."""
    process = subprocess.Popen([COMMAND, *BACKFILL], env=home.environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not sign():
        assert process.poll() is None, f"it ended before the sign: {process.communicate()}"
        assert time.monotonic() < deadline, "the sign never came"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_backfill_killed_at_five_moments_ends_as_if_it_never_was(half: Home, whole: Home, tmp_path: Path) -> None:
    home = half.copied(tmp_path / "home")
    started = time.time()
    ran_model = home.path / "dbt" / "target" / "run" / "reposignal" / "models" / "marts" / "fct_repo_day.sql"
    reader = Reader(home)
    reader.start()
    with served(Path(str(half.rankings_url)), pause=0.5) as upstream:
        home.rankings_url = f"http://{upstream.address}"
        signs: dict[str, Callable[[], bool]] = {
            "download": lambda: bool(upstream.requests),
            "load": lambda: any((home.path / "dlt" / "rankings" / "load" / "normalized").glob("*/started_jobs/*")),
            "dbt": lambda: lock_names(home, "marts") and ran_model.exists() and ran_model.stat().st_mtime > started,
            "weekly": lambda: lock_names(home, "weekly_trends"),
            "publish": lambda: lock_names(home, "publish") and any((home.path / "releases").glob("*.making")),
        }
        for moment, sign in signs.items():
            before = home.published.resolve()
            kill_when(home, sign)
            assert_nobody_holds_the_warehouse(home)
            assert home.published.resolve() == before, moment
            assert home.query("select max(day) from fct_repo_day") == [(day_number(7),)], moment
            upstream.pause = 0  # the other moments come after the download
        ran = home.run(*BACKFILL)
    reader.stopping.set()
    reader.join()
    assert ran.returncode == 0, ran.stderr
    assert_alike(whole.tables(), home.tables())
    assert reader.troubles == []
    assert len(reader.seen) > 50
    first, last = home_counts(half), home_counts(whole)
    assert set(reader.seen) <= {first, last}  # the old copy or the new one, never a mixture
    killed = home.query(f"select job, status from ops_run where status <> 'success' and started_at > '{_utc(started)}'")
    assert {status for _, status in killed} == {"failure"}
    assert len(killed) == len(signs)
    assert list((home.path / "releases").glob("*.making")) == []


def assert_nobody_holds_the_warehouse(home: Home) -> None:
    """Fail if a process started by a killed run still has its files open, as a separate dbt process would."""
    for name in ("pipeline", "reposignal"):
        duckdb.connect(str(home.path / "warehouse" / f"{name}.duckdb"), read_only=True).close()


def home_counts(home: Home) -> tuple[int, int]:
    (row,) = home.query("select count(distinct day), (select count(*) from weekly_repo_trends) from fct_repo_day")
    return row  # type: ignore[return-value]


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds - 1))
