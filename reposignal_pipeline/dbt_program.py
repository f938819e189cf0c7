"""Runs dbt inside the calling process, so that all invocations share one import and one parsed project.

This module invokes dbt. `defs.warehouse` chooses what to build and reports it to Dagster.

dbt parses the whole project again for every new value of `--vars`, and each build has a different window. No parsed
content depends on a variable, so each invocation reuses the project as parsed without variables.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.artifacts.schemas.run import RunExecutionResult
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumuro_decoder
from dbt_common.events.base_types import EventMsg

PARSED_PROJECT = "partial_parse.msgpack"
LOG = "dbt.log"
MOST_LOG_BYTES = 10_000_000
LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
"""levels of the dbt events that are logged"""


class DbtError(Exception):
    """dbt could not execute an invocation. The message is one line."""


def invoke(
    arguments: Sequence[str],
    *,
    project_dir: Path,
    target_path: Path,
    parsed: Path,
    on_event: Callable[[EventMsg], None] | None = None,
) -> RunExecutionResult:
    """Run dbt, close its database connections, and return the result of each node.

    Args:
        arguments: command and options, as on dbt's command line.
        project_dir: folder of `dbt_project.yml` and `profiles.yml`.
        target_path: folder for dbt's compiled files.
        parsed: file with the parsed project; if it is missing, dbt parses the project.
        on_event: called with each event that dbt logs, from dbt's threads.

    Raises:
        DbtError: dbt could not execute the invocation.
        KeyboardInterrupt: a signal interrupted dbt; dbt has cancelled its query.
    """
    callbacks = [on_event] if on_event else []
    done = _carried_out(arguments, project_dir, target_path, _manifest(parsed), callbacks)
    assert isinstance(done.result, RunExecutionResult)
    return done.result


def parse(project_dir: Path, target_path: Path) -> None:
    """Write the manifest and the parsed project below `target_path`.

    Raises:
        DbtError: the project cannot be parsed.
    """
    # messages about parsing go to the log only, not into the output of the first command on a new home
    _carried_out(["parse"], project_dir, target_path, is_printed=False)


def _carried_out(
    arguments: Sequence[str],
    project_dir: Path,
    target_path: Path,
    manifest: Manifest | None = None,
    callbacks: Sequence[Callable[[EventMsg], None]] = (),
    *,
    is_printed: bool = True,
) -> dbtRunnerResult:
    folders = {
        "--project-dir": project_dir,
        "--profiles-dir": project_dir,
        "--target-path": target_path,
        "--log-path": target_path,
    }
    options = [text for name, folder in folders.items() for text in (name, str(folder))]
    # dbt's own loggers format every debug event before dropping it, which takes a sixth of the time of a build
    silent = ["--log-level", "none", "--log-level-file", "none", "--no-use-colors"]
    with _in_the_same_folder(), _interruptible(), _closing_connections(), _log(target_path / LOG, is_printed) as log:
        done = dbtRunner(manifest, [log, *callbacks]).invoke([*arguments, *options, *silent])
    if isinstance(done.exception, KeyboardInterrupt):
        raise done.exception
    if done.exception:
        raise DbtError(_one_line(str(done.exception))) from done.exception
    return done


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _manifest(parsed: Path) -> Manifest | None:
    """Return a new copy of the parsed project, because dbt changes it while compiling; None to parse again."""
    try:
        return Manifest.from_msgpack(parsed.read_bytes(), decoder=extended_mashumuro_decoder)
    except Exception:  # missing, truncated, or written by another version of dbt
        return None


@contextmanager
def _log(path: Path, is_printed: bool) -> Iterator[Callable[[EventMsg], None]]:
    """Yield a function that appends dbt's messages to its log and prints them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=MOST_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def write(event: EventMsg) -> None:
        if level := LEVELS.get(event.info.level):
            text = str(event.info.msg)  # type: ignore[attr-defined]
            if is_printed:
                print(text)
            handler.handle(logging.LogRecord("dbt", level, "", 0, text, None, None))

    with closing(handler):
        yield write


@contextmanager
def _in_the_same_folder() -> Iterator[None]:
    """Restore the working directory, which dbt changes to the project folder."""
    before = Path.cwd()
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Convert signals into KeyboardInterrupt, on which dbt cancels its query; Dagster would raise another exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _closing_connections() -> Iterator[None]:
    """Close the DuckDB files that the adapter keeps open; a process cannot open them with another configuration."""
    try:
        yield
    finally:
        with suppress(Exception):  # raised if dbt opened none
            DuckDBConnectionManager.env().close()  # type: ignore[no-untyped-call]
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
