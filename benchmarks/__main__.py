"""`python -m benchmarks`: a backfill, one more day, and the queries of docs/questions.md, on recorded data.

REPOSIGNAL_REAL_DATA names the recordings. Prints a table for BENCHMARKS.md. Takes about half an hour and 12 GB of disk
below the temporary folder.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import functools
import http.server
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from reposignal_pipeline.sources.rankings import COLUMNS, HEADER, file_name

LAST_DAY = dt.date(2025, 6, 24)
"""last day of the recordings; the benchmark of one more day loads it on top of all others"""
REPOSIGNAL = Path(sys.executable).with_name("reposignal")
QUESTIONS = Path(__file__).parent.parent / "docs" / "questions.md"


@dataclass
class Cost:
    """Cost of a process with its children: wall and CPU seconds, and the largest resident set of one process in MB."""

    wall: float
    cpu: float
    peak_mb: float


def run(home: Path, *arguments: str, **environment: str) -> Cost:
    """Return the cost of one `reposignal` command; exit if it fails."""
    return measured([str(REPOSIGNAL), *arguments], REPOSIGNAL_HOME=str(home), REPOSIGNAL_PROFILE="local", **environment)


def measured(command: list[str], **environment: str) -> Cost:
    """Return the cost of a command and its children, from the accounting of the system; exit if it fails."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    script = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); " + (
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - started, cpu, int(done.stderr.split()[-1]) / 1024)


def write_upstream(recordings: Path, folder: Path) -> int:
    """Write every recorded day in the format of the upstream; return the number of files."""
    files = 0
    with duckdb.connect() as connection:
        for year in sorted(recordings.glob("rankings/rankings-*.parquet")):
            days = connection.execute(f"select distinct snapshot_date from '{year}' order by 1").fetchall()
            for (day,) in days:
                rows = connection.execute(
                    f"select {HEADER} from '{year}' where snapshot_date = ? order by item, rank", [day]
                )
                with (folder / file_name(day)).open("w", newline="") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow(COLUMNS)
                    writer.writerows(rows.fetchall())
                files += 1
    return files


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of the loopback interface; yield its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def size_mb(path: Path) -> float:
    """Return the size of a file, or of all files below a folder, in MB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def questions() -> list[str]:
    """Return the queries of docs/questions.md."""
    return re.findall(r"```sql\n(.*?)```", QUESTIONS.read_text(), flags=re.DOTALL)


def one_more_day(home: Path, url: str, runs: int) -> Cost:
    """Return the median cost of loading the last day into a home; each run uses a fresh copy."""
    costs = []
    for number in range(runs):
        copy = home.with_name(f"{home.name}-{number}")
        shutil.copytree(home, copy, symlinks=True)
        for stale in (copy / "dagster" / "dagster.yaml", copy / "dbt" / "target" / "partial_parse.msgpack"):
            stale.unlink(missing_ok=True)
        costs.append(run(copy, "run", "--day", str(LAST_DAY), "--source", "rankings", REPOSIGNAL_RANKINGS_URL=url))
        shutil.rmtree(copy)
    return sorted(costs, key=lambda cost: cost.wall)[len(costs) // 2]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, help="folder for the homes, which is kept; homes that are already filled are reused"
    )
    options = parser.parse_args()
    if not (recordings := os.environ.get("REPOSIGNAL_REAL_DATA")):
        sys.exit("REPOSIGNAL_REAL_DATA is not set: nothing to measure on")
    with tempfile.TemporaryDirectory(prefix="reposignal-bench-") as temporary:
        base = options.keep or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        upstream = base / "upstream"
        if not upstream.exists():
            upstream.mkdir()
            write_upstream(Path(recordings), upstream)
        with served(upstream) as url:
            measure(base, url, options.runs)


def measure(base: Path, url: str, runs: int) -> None:
    """Print the table."""
    before = LAST_DAY - dt.timedelta(days=1)
    years, month = base / "years", base / "month"
    print("| what | wall s | CPU s | peak MB | note |\n|---|---|---|---|---|")
    for home, first in ((years, dt.date(2018, 12, 18)), (month, LAST_DAY - dt.timedelta(days=31))):
        if home.exists():
            continue
        cost = run(home, "backfill", "rankings", "--from", str(first), "--to", str(before), REPOSIGNAL_RANKINGS_URL=url)
        published = size_mb(home / "published" / "reposignal.duckdb")
        sizes = f"warehouse {size_mb(home / 'warehouse'):,.0f} MB, published file {published:,.0f} MB"
        _row(f"backfill {first} to {before}", cost, sizes)
    short, long = one_more_day(month, url, runs), one_more_day(years, url, runs)
    _row("one more day on 1 month", short, "the floor")
    _row("one more day on 6.5 years", long, f"{long.wall / short.wall:.2f}x the floor, +{long.wall - short.wall:.1f} s")
    _questions(years, runs)


def _questions(home: Path, runs: int) -> None:
    floor = statistics.median(measured([sys.executable, "-c", "import duckdb"]).wall for _ in range(5))
    worst_process, worst_query, slow = 0.0, 0.0, 0
    with duckdb.connect(str((home / "published" / "reposignal.duckdb").resolve()), read_only=True) as connection:
        for query in questions():
            inside = []
            for _ in range(runs + 1):
                started = time.perf_counter()
                connection.execute(query).fetchall()
                inside.append(time.perf_counter() - started)
            whole = statistics.median(run(home, "sql", query).wall for _ in range(runs))
            worst_query, worst_process = max(worst_query, statistics.median(inside[1:])), max(worst_process, whole)
            slow += statistics.median(inside[1:]) > 0.1
    print(f"| slowest of {len(questions())} questions, query alone | {worst_query:.3f} | | | {slow} above 100 ms |")
    print(f"| the same by `reposignal sql`, whole | {worst_process:.3f} | | | `import duckdb` alone: {floor:.3f} |")


def _row(what: str, cost: Cost, note: str) -> None:
    print(f"| {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak_mb:,.0f} | {note} |", flush=True)


if __name__ == "__main__":
    main()
