"""Killed workers, a restarted catalog, a refusing bucket: nothing is lost or doubled; the same command repairs it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from lakes import PATIENCE_SECONDS, LakeHome, warehouse_in

from reposignal_pipeline.lake.upkeep import clean, orphans
from tests.pipeline.homes import COMMAND, Home, Ran, assert_alike, assert_one_line, backfill

pytestmark = pytest.mark.slow
BACKFILL = backfill(1, 14)


@contextmanager
def started(home: LakeHome) -> Iterator[subprocess.Popen[str]]:
    """Start the backfill in a process group of its own, and kill what is left of it at the end."""
    process = subprocess.Popen(
        [COMMAND, *BACKFILL],
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_group(process)


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a run and its dbt without warning, like a machine that fails."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(sign: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Return as soon as the sign appears, which must be before the process ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not sign():
        if process and process.poll() is not None:
            raise AssertionError(f"it ended before the sign: {process.communicate()}")
        assert time.monotonic() < deadline, "the sign never came"
        time.sleep(0.1)  # each poll is a login, which costs both sides some milliseconds of two cores


def holders(home: LakeHome) -> list[str]:
    """Return the holders of writer locks, by their activity."""
    rows = home.postgres.execute(
        """
        select application_name from pg_locks join pg_stat_activity using (pid)
        where locktype = 'advisory' and granted and classid = hashtext('reposignal')::oid and datname = %s
        """,
        [home.database],
    )
    return [name for (name,) in rows]


def holds(home: LakeHome, step: str) -> bool:
    return any(name.endswith(f": {step}") for name in holders(home))


def stuck(home: LakeHome) -> int:
    """Return how many commits wait for a table of the catalog."""
    sql = "select count(*) from pg_stat_activity where datname = %s and wait_event_type = 'Lock'"
    return int(home.postgres.execute(sql, [home.database])[0][0])


@contextmanager
def no_commit(home: LakeHome, lake: str) -> Iterator[None]:
    """Block commits that add files in the middle of their writes to the catalog."""
    table = f"{lake}.ducklake_data_file"
    with home.postgres.session(home.database) as cursor:
        cursor.execute(
            f"create function {lake}.wait() returns trigger language plpgsql"
            " as 'begin perform pg_advisory_xact_lock(7, 7); return null; end'"
        )
        cursor.execute("select pg_advisory_lock(7, 7)")
        cursor.execute(
            f"create trigger wait before insert on {table} for each statement execute function {lake}.wait()"
        )
        try:
            yield
        finally:
            cursor.execute("select pg_advisory_unlock(7, 7)")
            cursor.execute(f"drop trigger wait on {table}")
            cursor.execute(f"drop function {lake}.wait()")


def cut_off(home: LakeHome) -> None:
    """End the sessions of waiting commits, as the server does when it finds that the client is gone."""
    home.postgres.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and wait_event_type = 'Lock'",
        [home.database],
    )


def left_alone(home: LakeHome) -> bool:
    """Return whether no client is connected any more."""
    sql = "select count(*) from pg_stat_activity where datname = %s"
    return home.postgres.execute(sql, [home.database]) == [(0,)]


def run_to_its_end(home: LakeHome) -> Ran:
    with started(home) as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(BACKFILL, process.returncode, out, err)


def local_raw_rows(home: Home) -> dict[str, list[tuple[str, ...]]]:
    """Return for a home with files what `LakeHome.raw_rows` returns."""
    with duckdb.connect(str(home.path / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
        return LakeHome.raw_rows_of(connection)


def assert_whole(home: LakeHome, whole: Home) -> None:
    """Fail unless the lake has the content of an undisturbed home, and every file in the catalog exists."""
    assert_alike(local_raw_rows(whole), home.raw_rows())
    assert_alike(whole.tables(), home.lake_tables())
    assert_alike(whole.tables(), home.tables())
    assert home.files_of_catalog() - home.files() == set()


def assert_healed(home: LakeHome, whole: Home) -> None:
    """Fail unless the same command adds what is missing, and then everything is there once."""
    ran = run_to_its_end(home)
    assert ran.returncode == 0, ran.stderr
    assert_whole(home, whole)


def test_workers_killed_at_any_moment_lose_and_double_nothing(
    folder_half: LakeHome, whole: Home, tmp_path: Path
) -> None:
    home = folder_half.copied(tmp_path / "home")
    release = home.release()
    orphaned = killed_in_mid_commit(home)
    # killed while it loads, and while it holds the lock of the marts: a load is complete or absent
    for step, delay in (("rankings", 0.3), ("marts", 2.0)):
        with started(home) as process:
            wait_for(lambda step=step: holds(home, step), process)  # type: ignore[misc]
            time.sleep(delay)
            kill_group(process)
        wait_for(lambda: left_alone(home))
        assert home.release() == release
        rows = home.raw_rows()
        assert len(rows["rankings"]) in (7 * 40, 13 * 40), (step, delay)
        assert (len(rows["rankings"]) > 280) >= (len(rows["rankings_days"]) > 7), (step, delay)
    # killed, but its dbt continues: the next run waits for it
    with started(home) as killed, started_after(home, killed) as again:
        _, err = again.communicate(timeout=PATIENCE_SECONDS)
        assert again.returncode == 0, err
    wait_for(lambda: left_alone(home))
    assert_whole(home, whole)
    left = home.files() - home.files_of_catalog()
    assert orphaned <= left
    assert_cleaned(home, left)
    assert_whole(home, whole)


def killed_in_mid_commit(home: LakeHome) -> set[str]:
    """Kill a worker in the middle of a commit to the catalog; return the files that the catalog then lacks."""
    with started(home) as process:
        with no_commit(home, "pipeline"):
            wait_for(lambda: stuck(home), process)
            kill_group(process)
            cut_off(home)
        wait_for(lambda: left_alone(home))
    orphaned = home.files() - home.files_of_catalog()
    assert orphaned, "the commit had no file"
    return orphaned


def assert_cleaned(home: LakeHome, orphaned: set[str]) -> None:
    """Fail unless upkeep finds these files, keeps them for a day, and then removes them and no others."""
    with warehouse_in(home) as lake:
        assert {path.removeprefix(f"{home.data}/") for path in orphans(lake, grace_hours=0)} == orphaned
        assert orphans(lake) == []
        clean(lake)
        assert home.files() >= orphaned
        deleted = clean(lake, grace_hours=0)
    assert {path.removeprefix(f"{home.data}/") for path in deleted["orphaned"]} == orphaned
    assert home.files() & orphaned == set()


@contextmanager
def started_after(home: LakeHome, killed: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kill a run, but not its dbt, in mid-commit, and continue once the next run has come as far, if it does."""
    with contextlib.ExitStack() as stack:
        with no_commit(home, "reposignal"):
            wait_for(lambda: stuck(home), killed)
            os.kill(killed.pid, signal.SIGKILL)
            killed.wait()
            again = stack.enter_context(started(home))
            wait_for(lambda: holds(home, "marts"), again)
            deadline = time.monotonic() + 20  # enough for a dbt that does not wait to reach the same commit
            while stuck(home) < 2 and time.monotonic() < deadline:
                time.sleep(0.1)
        yield again


def test_a_catalog_that_is_restarted_meanwhile_costs_at_most_a_run(
    folder_half: LakeHome, whole: Home, tmp_path: Path
) -> None:
    home = folder_half.copied(tmp_path / "home")
    for step, restart in (("rankings", home.postgres.restart), ("marts", lambda: crash(home))):
        with started(home) as process:
            wait_for(lambda step=step: holds(home, step), process)  # type: ignore[misc]
            time.sleep(0.5)
            restart()
            _, err = process.communicate(timeout=PATIENCE_SECONDS)
        if process.returncode:
            assert_one_line(err)
    assert_healed(home, whole)


def crash(home: LakeHome) -> None:
    home.postgres.kill()
    time.sleep(2)
    home.postgres.start()


def test_a_bucket_that_refuses_everything_for_twenty_seconds_costs_at_most_a_run(
    bucket_half: LakeHome, whole: Home, tmp_path: Path
) -> None:
    home = bucket_half.copied(tmp_path / "home")
    refused = home.s3.refused
    with started(home) as process:
        wait_for(lambda: holds(home, "rankings"), process)
        time.sleep(0.5)
        home.s3.refuse(20)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert home.s3.refused > refused
    if process.returncode:
        assert_one_line(err)
    assert_healed(home, whole)
