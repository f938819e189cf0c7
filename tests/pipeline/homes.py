"""Homes, upstreams and the command line for the tests of the pipeline: real processes on real files.

Here: what several test modules share. Not here: fixtures (`conftest.py`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree

import duckdb

from tests import warm
from tests.shared import made_once

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("reposignal"))
Ran = subprocess.CompletedProcess[str]
Rows = list[tuple[str, ...]]
PATIENCE_SECONDS = 300
OF_THE_ORCHESTRATOR = {"backfill", "lake", "run"}
"""verbs that import Dagster; `demo` does too, but runs as a user starts it"""
MADE = "columns(lambda name: name not in ('made_at', 'graded_at', 'run_id'))"

FIRST = dt.date(2024, 3, 1)  # a Friday: 14 days touch three weeks
NEVER_PUBLISHED = dt.date(2024, 3, 9)
HEADER = "rank,item,repo_name,stars,forks,language,repo_url,username,issues,last_commit,description\n"


def day_number(number: int) -> dt.date:
    """Return the day of a small upstream, numbered from 1."""
    return FIRST + dt.timedelta(number - 1)


def file_of(day: dt.date) -> str:
    """Return the upstream's name of a day's file."""
    return f"github-ranking-{day}.csv"


def content_of(day: dt.date) -> str:
    """Return a file of two lists of twenty: one repository is renamed on the sixth day, one enters on the eleventh."""
    number = (day - FIRST).days
    rows = []
    for item in ("Python", "Rust"):
        for rank in range(1, 21):
            name = f"{item.lower()}-{rank:02}"
            if (item, rank) == ("Rust", 20) and number >= 10:
                name = "rust-newcomer"
            owner = "moved" if (item, rank) == ("Python", 5) and number >= 5 else "owner"
            stars = 40_000 - 1_500 * rank + number * (rank * 7 % 23) + (300 if (rank, number) == (7, 8) else 0)
            rows.append(
                f"{rank},{item},{name},{stars},{stars // 9},{item},https://github.com/{owner}/{name},{owner},3,"
                f"{day}T01:00:00Z,what {name} is\n"
            )
    return HEADER + "".join(rows)


def write_upstream(folder: Path, numbers: range) -> Path:
    """Return the folder with the days of a small upstream; one of the days was never published."""
    folder.mkdir(parents=True, exist_ok=True)
    for day in map(day_number, numbers):
        if day != NEVER_PUBLISHED:
            (folder / file_of(day)).write_text(content_of(day))
    return folder


@dataclass
class Home:
    """A home of the pipeline with its environment."""

    path: Path
    rankings_url: str | None = None
    profile: str = "local"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("REPOSIGNAL_", "DAGSTER_", "DBT_"))
        }
        given = {"REPOSIGNAL_HOME": str(self.path), "REPOSIGNAL_PROFILE": self.profile, **self.extra}
        if self.rankings_url:
            given["REPOSIGNAL_RANKINGS_URL"] = self.rankings_url
        return kept | given

    @property
    def published(self) -> Path:
        return self.path / "published" / "reposignal.duckdb"

    def run(self, *arguments: str, stdin: str = "") -> Ran:
        """Return the result of `reposignal ARGUMENTS`."""
        if arguments[:1] and arguments[0] in OF_THE_ORCHESTRATOR:
            return warm.run(warm.COMMAND, arguments, self.environment, PATIENCE_SECONDS)
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Start a process that runs one command after the other."""
        process = warm.Process(_SESSION, (), self.environment, is_piped=True)
        try:
            yield Session(process)
        finally:
            process.kill()
            process.communicate()

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Return rows of the published copy."""
        with duckdb.connect(str(self.published), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def tables(self) -> dict[str, Rows]:
        """Return every row of every published table except `ops_run`, without times of the build, as ordered text."""
        with duckdb.connect(str(self.published), read_only=True) as connection:
            names = [
                name for (name,) in connection.execute("select table_name from duckdb_tables() order by 1").fetchall()
            ]
            return {
                name: connection.execute(f"select {MADE}::varchar from {name} order by all").fetchall()
                for name in names
                if name != "ops_run"
            }

    def copied(self, path: Path) -> Home:
        """Return a copy of this home; `published` stays a relative link."""
        copytree(self.path, path, symlinks=True)
        return Home(path, self.rankings_url, self.profile, dict(self.extra))


_SESSION = """
import contextlib, io, json, os, sys
from reposignal_pipeline.cli import main
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(json.loads(line))
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=answers, flush=True)
"""


class Session:
    """A separate process that runs commands on one home on request."""

    def __init__(self, process: warm.Process) -> None:
        self.process = process

    def run(self, *arguments: str) -> Ran:
        """Return the result and the output of a command."""
        assert self.process.stdin and self.process.stdout
        watchdog = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        watchdog.start()
        self.process.stdin.write(json.dumps(arguments) + "\n")
        answer = self.process.stdout.readline()
        watchdog.cancel()
        assert answer, f"{arguments} ended its process"
        return subprocess.CompletedProcess(arguments, *json.loads(answer))

    def load(self, first: int, last: int) -> Ran:
        """Return the result of a backfill of days of the small upstream."""
        return self.run(*backfill(first, last))


def backfill(first: int, last: int) -> tuple[str, ...]:
    """Return the arguments that load days of the small upstream."""
    return "backfill", "rankings", "--from", str(day_number(first)), "--to", str(day_number(last))


def assert_alike(one: dict[str, Rows], other: dict[str, Rows]) -> None:
    """Fail with the first rows that differ, because a full diff of two warehouses is unreadable."""
    assert one.keys() == other.keys()
    for name, rows in one.items():
        if rows != other[name]:
            left, right = set(rows), set(other[name])
            only = (sorted(left - right, key=str)[:2], sorted(right - left, key=str)[:2])
            raise AssertionError(f"{name}: {len(rows)} rows against {len(other[name])}; only here, only there: {only}")


def assert_one_line(text: str) -> None:
    """Fail unless an error is reported as one line, without a traceback."""
    assert text.startswith("reposignal: "), text
    assert len(text.strip().splitlines()) == 1, text
    assert "Traceback" not in text


@dataclass
class Served:
    """A folder served on the loopback."""

    address: str = ""
    """host:port"""
    requests: list[str] = field(default_factory=list)
    """path and query of every request"""
    status: int | None = None
    """responses instead of files"""
    pause: float = 0
    """in seconds, before each response"""


@contextmanager
def served(folder: Path, pause: float = 0) -> Iterator[Served]:
    """Serve a folder on the loopback, each response after a pause in seconds."""
    upstream = Served(pause=pause)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            upstream.requests.append(self.path)
            time.sleep(upstream.pause)
            file = folder / self.path.partition("?")[0].rpartition("/")[2]
            found = upstream.status is None and file.is_file()
            content = file.read_bytes() if found else b""
            self.send_response(upstream.status or (200 if found else 404))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream.address = f"127.0.0.1:{server.server_port}"
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()


Demo = tuple[Home, Ran]


def run_demo_once() -> Demo:
    """Return the home of a single run of `reposignal demo` and its result. Read it; to write, copy it."""

    def home_in(folder: Path) -> Home:
        # a distant time zone reveals times that are not kept in UTC
        return Home(folder / "home", profile="demo", extra={"TZ": "Asia/Tokyo"})

    def run(folder: Path) -> None:
        ran = home_in(folder).run("demo")
        (folder / "ran.json").write_text(json.dumps([ran.args, ran.returncode, ran.stdout, ran.stderr]))

    folder = made_once("demo", run)
    return home_in(folder), subprocess.CompletedProcess(*json.loads((folder / "ran.json").read_text()))


def parsed_once() -> Path:
    """Return a home with only dbt's parsed project. Read it; to write, copy it."""

    def parse(folder: Path) -> None:
        # the resources parse the project if there is no manifest
        subprocess.run(
            [sys.executable, "-c", "import reposignal_pipeline.defs.resources"],
            env=Home(folder / "home").environment,
            check=True,
            timeout=PATIENCE_SECONDS,
        )

    return made_once("parsed", parse) / "home"
