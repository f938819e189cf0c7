"""Measures days with 12,000 repositories: `python -m benchmarks.github [--repositories N] [--keep DIR]`.

A GitHub API with generated histories runs in a separate process on the loopback interface. The pipeline is the real
command, with a simulated clock (time_machine). Prints requests, wall time, and the CPU time and peak memory of the
pipeline's processes only. `__main__` measures the rankings.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx

TOKEN = "ghp_known0fake0token0which0must0never0be0seen"
NOW = dt.datetime(2026, 3, 3, 9)
WORLD_FIRST = dt.date(2024, 3, 1)

_COMMAND = """
import datetime, json, resource, sys, time
import time_machine
now, arguments = json.loads(sys.argv[1])
time_machine.travel(datetime.datetime.fromisoformat(now).replace(tzinfo=datetime.UTC), tick=True).start()
from reposignal_pipeline.cli import main
sys.exit(main(arguments))
"""
_INGEST = """
import datetime, json, sys
import time_machine
now, source, first, last = json.loads(sys.argv[1])
time_machine.travel(datetime.datetime.fromisoformat(now).replace(tzinfo=datetime.UTC), tick=True).start()
from reposignal_pipeline.defs import runs
day = datetime.date.fromisoformat
executed = runs._execute
runs._execute = lambda *a, **k: executed(*a, **k) if a[1] == "ingest" else None
runs._incomplete = lambda loading: []
runs.load_days({source: (day(first), day(last))}, only_missing=False)
"""


@contextmanager
def serving(world: str, token_points: int) -> Iterator[str]:
    """Run the API in a separate process; yield its base URL."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "reposignal_pipeline.sample.github_api"),
            *("--world", world, "--now", NOW.isoformat(), "--token", f"{TOKEN}={token_points}"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def steer(base: str, **wishes: Any) -> None:
    """Set the time, the limits or the faults of the API."""
    httpx.post(f"{base}/_control", json=wishes).raise_for_status()


def counts(base: str) -> dict[str, int]:
    """Return kind -> number of requests that the API has answered."""
    found: dict[str, int] = httpx.get(f"{base}/_control").json()["counts"]
    return found


def measured(script: str, argument: list[Any], environment: dict[str, str], base: str) -> dict[str, Any]:
    """Run a command; return its status, last message, wall and CPU seconds, peak memory and requests."""
    before, asked, began = resource.getrusage(resource.RUSAGE_CHILDREN), counts(base), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(argument)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    now = counts(base)
    return {
        "status": done.returncode,
        "said": (done.stderr.strip().splitlines() or [""])[-1][:200],
        "wall_s": round(wall, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_mb": after.ru_maxrss // 1024,
        "requests": {kind: now[kind] - asked.get(kind, 0) for kind in now if now[kind] != asked.get(kind, 0)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=12_000)
    parser.add_argument("--keep", type=Path, help="folder to work in and leave behind")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="reposignal-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    n = options.repositories
    try:
        world = f"generated:{n}:{WORLD_FIRST}:{NOW.date() + dt.timedelta(days=3)}"
        with serving(world, 1_000_000) as base:
            _days(folder, base, n)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def _days(folder: Path, base: str, n: int) -> None:
    (folder / "rankings").mkdir(exist_ok=True)
    day = dt.timedelta(days=1)
    sources = ("--source", "repositories", "--source", "star_history")

    def environment(home: str, token: str = TOKEN) -> dict[str, str]:
        return os.environ | {
            "REPOSIGNAL_HOME": str(folder / home),
            "REPOSIGNAL_PROFILE": "local",
            "REPOSIGNAL_RANKINGS_URL": str(folder / "rankings"),
            "REPOSIGNAL_GITHUB_API_URL": base,
            "REPOSIGNAL_UNIVERSE_SIZE": str(n),
            "REPOSIGNAL_GITHUB_REQUESTS_A_MINUTE": "1000000",
            "GITHUB_TOKEN": token,
        }

    def show(what: str, found: dict[str, Any]) -> None:
        print(f"{what}: {json.dumps(found)}  cpu/repository {1000 * found['cpu_s'] / n:.2f} ms", flush=True)

    def run(what: str, now: dt.datetime, *arguments: str, home: str = "home", token: str = TOKEN) -> None:
        steer(base, now=now.isoformat())
        show(what, measured(_COMMAND, [now.isoformat(), list(arguments)], environment(home, token), base))

    def ingest(what: str, now: dt.datetime, source: str) -> None:
        steer(base, now=now.isoformat())
        yesterday = str(now.date() - day)
        argument = [now.isoformat(), source, yesterday, yesterday]
        show(what, measured(_INGEST, argument, environment("home"), base))

    def at_history_request(number: int, strike: Callable[[], None]) -> threading.Thread:
        until = counts(base).get("history", 0) + number

        def watch() -> None:
            while counts(base).get("history", 0) < until:
                time.sleep(0.05)
            strike()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread

    ingest("first day, totals (search included)", NOW, "repositories")
    for home in ("quota", "revoked", "killed"):
        shutil.copytree(folder / "home", folder / home, symlinks=True)
    run("first day, the rest", NOW, "run", *sources)
    run("normal day", NOW + day, "run", *sources)
    run("next normal day", NOW + 2 * day, "run", *sources)
    ingest("normal day, totals alone", NOW + 3 * day, "repositories")
    ingest("normal day, histories alone", NOW + 3 * day, "star_history")

    steer(base, tokens={TOKEN: n * 7 // 12})
    run("quota spent at 7/12", NOW, "run", *sources, home="quota")
    steer(base, tokens={TOKEN: 1_000_000, "second": 1_000_000})
    run("resumed", NOW + dt.timedelta(hours=2), "run", *sources, home="quota")

    # a separate process, which is killed halfway
    steer(base, now=NOW.isoformat())
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, json.dumps([NOW.isoformat(), ["run", *sources]])], env=environment("killed")
    )
    at_history_request(n // 2, process.kill).join()
    process.wait()
    run("killed at 6/12, resumed", NOW, "run", *sources, home="killed")

    at_history_request(n // 2, lambda: steer(base, revoke=TOKEN))
    run("first of two tokens revoked at 6/12", NOW, "run", *sources, home="revoked", token=f"{TOKEN},second")

    for home in ("quota", "killed", "revoked"):
        print(f"{home}: rows that differ from the undisturbed home: {_differing(folder / home, folder / 'home')}")
    with duckdb.connect(str(folder / "home" / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
        print(connection.execute("from star_history.star_history_days order by day").df().to_string())


def _differing(one: Path, other: Path) -> int:
    """Return how many gains of the first cycle are in only one of two published copies."""
    with duckdb.connect() as connection:
        for name, home in (("one", one), ("other", other)):
            file = home / "published" / "reposignal.duckdb"
            connection.execute(f"attach '{file.resolve()}' as {name} (read_only)")
        rows = (
            "select repo_key, day, stars_gained from {}.fct_star_vintage where fetched_at::date <= date '"
            + str(NOW.date())
            + "'"
        )
        here, there = rows.format("one"), rows.format("other")
        found = connection.execute(
            f"select count(*) from (({here} except all {there}) union all ({there} except all {here}))"
        ).fetchone()
    return int(found[0]) if found else -1


if __name__ == "__main__":
    main()
