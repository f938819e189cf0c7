"""Compares the lake with files: `python -m benchmarks.lake PART --catalog URL`, with PART one of events, day, workers.

`day`: a backfill, one more day and the queries of docs/questions.md, in files and in lakes on a folder and on S3, on
the recordings of REPOSIGNAL_REAL_DATA. `workers`: an ingest by 1, 2 and 4 processes from an upstream that takes 200 ms
per file. `events`: 600 million star events (`lake_events`). Every lake is a separate database on the catalog's server,
which is dropped at the end; the role in the URL must be allowed to create databases.

Without --catalog, a PostgreSQL server of the machine is started, and an S3 server as well.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import http.server
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import duckdb

from benchmarks import lake_events
from benchmarks.__main__ import LAST_DAY, REPOSIGNAL, Cost, measured, questions, served, size_mb, write_upstream
from reposignal_pipeline.config import LakeSettings, load_settings
from reposignal_pipeline.lake.catalog import REPOSIGNAL as MARTS
from reposignal_pipeline.lake.catalog import attached, newest_release, ready

SECONDS_A_FILE = 0.2
WORKERS = (1, 2, 4)


@dataclass(frozen=True)
class Servers:
    """The servers for lakes."""

    catalog: str
    """URL of a database, with a role that may create databases"""
    s3: Mapping[str, str] | None
    """environment variables of an S3 server; None without one"""
    bucket: str = ""

    @contextmanager
    def lake(self, name: str, data: str) -> Iterator[dict[str, str]]:
        """Yield the environment variables of a lake in a new database, which is dropped at the end."""
        import psycopg2

        session = psycopg2.connect(self.catalog)
        session.autocommit = True
        database = f"bench_{name}_{os.getpid()}"
        with session.cursor() as cursor:
            cursor.execute(f"create database {database}")
            try:
                url = urlunsplit(urlsplit(self.catalog)._replace(path=f"/{database}"))
                yield {
                    "REPOSIGNAL_PROFILE": "lake",
                    "REPOSIGNAL_LAKE_CATALOG": url,
                    "REPOSIGNAL_LAKE_DATA": data,
                    **(self.s3 or {}),
                }
            finally:
                cursor.execute(f"drop database {database} with (force)")
        session.close()


# One more day, and the questions


def day(servers: Servers, base: Path, first: dt.date, last: dt.date, runs: int) -> None:
    """Print the costs of files and of lakes."""
    upstream = base / "upstream"
    if not upstream.exists():
        upstream.mkdir(parents=True)
        write_upstream(Path(os.environ["REPOSIGNAL_REAL_DATA"]), upstream)
    with served(upstream) as url:
        source = {"REPOSIGNAL_RANKINGS_URL": url}
        local = _Costs.of(base / "local", {"REPOSIGNAL_PROFILE": "local", **source}, first, last, runs)
        print("| part | wall s | CPU s | peak MB | of the files' |\n|---|---|---|---|---|")
        local.show("files", local)
        places = {"folder": str(base / "data")}
        if servers.s3:
            places["s3"] = f"s3://{servers.bucket}/bench-{os.getpid()}"
        for name, data in places.items():
            with servers.lake(name, data) as environment:
                _Costs.of(base / name, environment | source, first, last, runs).show(f"lake on {name}", local)


@dataclass(frozen=True)
class _Costs:
    """The costs of one warehouse."""

    backfill: Cost
    day: Cost
    opened: float
    """seconds until the first query can run"""
    answers: Sequence[tuple[float, float]]
    """seconds of each query: (first run, median of later runs)"""
    size: str

    @classmethod
    def of(cls, home: Path, environment: Mapping[str, str], first: dt.date, last: dt.date, runs: int) -> _Costs:
        given = {**environment, "REPOSIGNAL_HOME": str(home)}
        command = [str(REPOSIGNAL), "backfill", "rankings", "--from", str(first), "--to", str(last)]
        backfill = measured(command, **given)
        more = str(last + dt.timedelta(days=1))
        one_day = measured([str(REPOSIGNAL), "run", "--day", more, "--source", "rankings"], **given)
        began = time.perf_counter()
        settings = load_settings({**os.environ, **given})
        with _released(ready(settings)) if settings.lake else _published(settings.published_db) as connection:
            opened = time.perf_counter() - began
            answers = [_answered(connection, query, runs) for query in questions()]
        data = settings.lake.data if settings.lake else str(settings.warehouse_dir)
        size = "" if data.startswith("s3:") else f"{size_mb(Path(data)):,.0f} MB"
        return cls(backfill, one_day, opened, answers, size)

    def show(self, name: str, local: _Costs) -> None:
        """Print the costs, with ratios to those of files."""
        for what, cost, floor in (
            (f"{name}: backfill", self.backfill, local.backfill),
            (f"{name}: one more day", self.day, local.day),
        ):
            ratio = f"{cost.wall / floor.wall:.2f}x"
            print(f"| {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak_mb:,.0f} | {ratio} |")
        for what, which in (("asked first", 0), ("again", 1)):
            mine, theirs = ([answer[which] for answer in costs.answers] for costs in (self, local))
            ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
            note = f"{sum(mine) / sum(theirs):.2f}x; median {statistics.median(ratios):.1f}x, worst {max(ratios):.1f}x"
            slowest = max(range(len(mine)), key=mine.__getitem__) + 1
            print(
                f"| {name}: {len(mine)} questions, {what}; slowest {max(mine):.3f} s (number {slowest}) "
                f"| {sum(mine):.2f} | | | {note} |"
            )
        print(f"| {name}: opened; data {self.size} | {self.opened:.2f} | | | |", flush=True)


def _published(path: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(path.resolve()), read_only=True)


def _released(place: LakeSettings) -> duckdb.DuckDBPyConnection:
    """Return a read-only connection to the marts of the last release."""
    with attached(place, lakes=(MARTS,), read_only=True) as connection:
        release = newest_release(connection)
    assert release, "nothing was released"
    return attached(place, lakes=(MARTS,), at_snapshot=release[1])


def _answered(connection: duckdb.DuckDBPyConnection, query: str, runs: int) -> tuple[float, float]:
    spent = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        connection.execute(query).fetchall()
        spent.append(time.perf_counter() - began)
    return spent[0], statistics.median(spent[1:])


# Workers

_READY = "from reposignal_pipeline.defs.runs import ready_instance; ready_instance()"
_INGEST = """
import datetime as dt, sys
import dagster as dg
from reposignal_pipeline.defs import runs
first, last, workers = dt.date.fromisoformat(sys.argv[1]), dt.date.fromisoformat(sys.argv[2]), int(sys.argv[3])
if workers > 1:
    runs._load_apart("rankings", (first, last), {"only_missing": True}, workers)
else:
    assert runs._worker("rankings", sys.argv[1], sys.argv[2], {"only_missing": True}) == {"incomplete": []}
"""
_STAGES = """
# Python imports this at start if its folder is on the path; it records the seconds of an ingest by stage
import atexit, contextlib, functools, json, os, sys, time
if os.environ.get("BENCH_STAGES"):
    import dlt
    from reposignal_pipeline.lake import catalog
    from reposignal_pipeline.sources import rankings

    began, spent = time.monotonic(), {"start": 0.0, "fetch": 0.0, "wait": 0.0, "hold": 0.0, "dlt": 0.0}
    fetch, lock, run = rankings.read_days, catalog._locked, dlt.Pipeline.run
    if os.environ.get("BENCH_FETCHES"):
        rankings.FETCHES_AT_ONCE = int(os.environ["BENCH_FETCHES"])

    @contextlib.contextmanager
    def timed(name):
        start = time.monotonic()
        try:
            yield
        finally:
            spent[name] += time.monotonic() - start

    def read_days(*arguments):
        spent["start"] = spent["start"] or time.monotonic() - began
        with timed("fetch"):
            return fetch(*arguments)

    @contextlib.contextmanager
    def locked(*arguments):
        with contextlib.ExitStack() as stack:
            with timed("wait"):
                stack.enter_context(lock(*arguments))
            with timed("hold"):
                yield

    @functools.wraps(run)
    def run_timed(*arguments, **named):
        with timed("dlt"):
            return run(*arguments, **named)

    rankings.read_days, catalog._locked, dlt.Pipeline.run = read_days, locked, run_timed

    def write_stages():
        if spent["fetch"]:
            with open(os.path.join(os.environ["BENCH_STAGES"], str(os.getpid())), "w") as file:
                json.dump(spent | {"all": time.monotonic() - began}, file)

    atexit.register(write_stages)
"""


@contextmanager
def _slow(folder: Path) -> Iterator[str]:
    """Serve a folder with the latency of a distant upstream; yield its URL."""

    class Slow(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            time.sleep(SECONDS_A_FILE)
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Slow, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def workers(servers: Servers, base: Path, first: dt.date, last: dt.date, connections_each: Sequence[int]) -> None:
    """Print the cost of an ingest with 1, 2 and 4 workers, for several numbers of connections per worker."""
    upstream, hook = base / "upstream", base / "hook"
    if not upstream.exists():
        upstream.mkdir(parents=True)
        write_upstream(Path(os.environ["REPOSIGNAL_REAL_DATA"]), upstream)
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(_STAGES)
    print(f"{(last - first).days + 1} days, {SECONDS_A_FILE:.1f} s a file\n")
    print("| connections each | workers | wall s | CPU s | speed-up | the slowest worker's seconds |")
    print("|---|---|---|---|---|---|")
    with _slow(upstream) as url:
        for connections in connections_each:
            alone = 0.0
            for number in WORKERS:
                name = f"workers{number}x{connections}"
                with servers.lake(name, str(base / f"data-{name}")) as lake:
                    lake["REPOSIGNAL_RANKINGS_URL"] = url
                    cost, stages = _ingest(base / name, lake, (first, last), number, connections)
                alone = alone or cost.wall
                slowest = max(stages, key=lambda stage: stage["all"])
                note = ", ".join(f"{name} {seconds:.1f}" for name, seconds in slowest.items())
                ratio = f"{alone / cost.wall:.2f}x"
                print(f"| {connections} | {number} | {cost.wall:.1f} | {cost.cpu:.1f} | {ratio} | {note} |", flush=True)


def _ingest(
    home: Path, lake: Mapping[str, str], days: tuple[dt.date, dt.date], number: int, connections: int
) -> tuple[Cost, list[dict[str, float]]]:
    """Return (cost of an ingest into a new lake, seconds by stage of each worker)."""
    stages = home / "stages"
    stages.mkdir(parents=True)
    environment = {**lake, "REPOSIGNAL_HOME": str(home)}
    measured([sys.executable, "-c", _READY], **environment)
    cost = measured(
        [sys.executable, "-c", _INGEST, *map(str, days), str(number)],
        **environment,
        PYTHONPATH=str(home.parent / "hook"),
        BENCH_STAGES=str(stages),
        BENCH_FETCHES=str(connections),
    )
    with attached(ready(load_settings({**os.environ, **environment})), read_only=True) as connection:
        row = connection.execute(
            "select count(*), count(distinct snapshot_date) from pipeline.rankings.rankings_days"
        ).fetchone()
    wanted = (days[1] - days[0]).days + 1
    assert row == (wanted, wanted), f"{row} days loaded, not {wanted}"
    return cost, [json.loads(file.read_text()) for file in stages.iterdir()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lake", description=__doc__)
    parser.add_argument("part", choices=("day", "workers", "events"))
    parser.add_argument("--catalog", help="URL of a PostgreSQL database, with a role that may create databases")
    parser.add_argument("--bucket", help="bucket on the S3 server of the AWS variables")
    parser.add_argument("--from", dest="first", type=dt.date.fromisoformat, default=dt.date(2018, 12, 18))
    parser.add_argument(
        "--to",
        dest="last",
        type=dt.date.fromisoformat,
        default=LAST_DAY - dt.timedelta(days=1),
        help="last day of the backfill; one more day is measured",
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8], help="connections per worker")
    parser.add_argument("--runs", type=int, default=5, help="runs of each query")
    parser.add_argument("--days", type=int, default=lake_events.DAYS)
    parser.add_argument("--stars", type=int, default=lake_events.STARS_A_DAY, help="stars per day")
    parser.add_argument(
        "--modelled", type=int, default=lake_events.DAYS, help="number of days for which the models are built"
    )
    parser.add_argument("--keep", type=Path, help="working folder, which is kept")
    options = parser.parse_args()
    if options.part != "events" and not os.environ.get("REPOSIGNAL_REAL_DATA"):
        sys.exit("REPOSIGNAL_REAL_DATA is not set: nothing to measure on")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that servers are stopped
    with tempfile.TemporaryDirectory(prefix="reposignal-bench-") as temporary, _servers(options) as servers:
        base = options.keep or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        if options.part == "day":
            day(servers, base, options.first, options.last, options.runs)
        elif options.part == "workers":
            workers(servers, base, options.first, options.last, options.connections)
        else:
            with servers.lake("events", str(base / "lake")) as lake:
                os.environ.update(lake)
                lake_events.measure(base, options.days, options.stars, min(options.modelled, options.days))


@contextmanager
def _servers(options: argparse.Namespace) -> Iterator[Servers]:
    """Yield the servers of the options, or newly started ones."""
    if options.catalog:
        s3 = {name: value for name, value in os.environ.items() if name.startswith("AWS_")} if options.bucket else None
        yield Servers(options.catalog, s3, options.bucket or "")
        return
    from tests.lake.servers import S3, Postgres, find_postgres

    if not (programs := find_postgres()):
        sys.exit("there is no PostgreSQL on this machine: give the URL of another one with --catalog")
    postgres, s3_server = Postgres(programs), S3()
    try:
        postgres.execute("alter role lake createdb")
        yield Servers(postgres.url("postgres"), s3_server.environment, s3_server.create_bucket("lake"))
    finally:
        s3_server.stop()
        postgres.remove()


if __name__ == "__main__":
    main()
