"""What a day of 12,000 repositories costs: `python -m benchmarks.github [--repositories N] [--keep DIR]`.

A GitHub API runs in a process of its own on the loopback, with a world of generated histories; the pipeline is the real
command in another, at times of its own (time_machine). Printed are requests, wall time, and the CPU time and peak memory
of the pipeline's processes alone.

Here: the days and their bookkeeping. Not here: benchmarks of rankings (`__main__`).
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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx

TOKEN = "ghp_known0fake0token0which0must0never0be0seen"
NOW = dt.datetime(2026, 3, 3, 6)
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
    """Run the API in a process of its own; yield its address."""
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
    """Tell the API its time, its limits or its faults."""
    httpx.post(f"{base}/_control", json=wishes).raise_for_status()


def counts(base: str) -> dict[str, int]:
    """Return how many requests of which kind the API has answered."""
    found: dict[str, int] = httpx.get(f"{base}/_control").json()["counts"]
    return found


def measured(script: str, argument: list[Any], environment: dict[str, str], base: str) -> dict[str, Any]:
    """Run a command; return its status, what it said, wall and CPU seconds, peak memory and requests."""
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
    environment = os.environ | {
        "REPOSIGNAL_HOME": str(folder / "home"),
        "REPOSIGNAL_PROFILE": "local",
        "REPOSIGNAL_RANKINGS_URL": str(folder / "rankings"),
        "REPOSIGNAL_GITHUB_API_URL": base,
        "REPOSIGNAL_UNIVERSE_SIZE": str(n),
        "REPOSIGNAL_GITHUB_REQUESTS_A_MINUTE": "1000000",
        "GITHUB_TOKEN": TOKEN,
    }
    day = dt.timedelta(days=1)

    def show(what: str, found: dict[str, Any]) -> None:
        print(f"{what}: {json.dumps(found)}  cpu/repository {1000 * found['cpu_s'] / n:.2f} ms", flush=True)

    def run(now: dt.datetime, *arguments: str) -> dict[str, Any]:
        steer(base, now=now.isoformat())
        return measured(_COMMAND, [now.isoformat(), list(arguments)], environment, base)

    sources = ("--source", "repositories", "--source", "star_history")
    show("first day, whole run", run(NOW, "run", *sources))
    show("normal day, whole run", run(NOW + day, "run", *sources))
    show("next normal day, whole run", run(NOW + 2 * day, "run", *sources))
    now = NOW + 3 * day
    steer(base, now=now.isoformat())
    yesterday = str(now.date() - day)
    for source in ("repositories", "star_history"):
        argument = [now.isoformat(), source, yesterday, yesterday]
        show(f"normal day, {source} alone", measured(_INGEST, argument, environment, base))
    with duckdb.connect(str(folder / "home" / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
        print(connection.execute("from star_history.star_history_days order by day").df().to_string())


if __name__ == "__main__":
    main()
