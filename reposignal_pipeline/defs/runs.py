"""Launches Dagster runs from the command line, in this process and recorded for the UI.

This module sets the order of the runs of `reposignal run`, `backfill` and `demo`. The jobs are defined in `schedules`.
"""

import datetime as dt
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO, cast
from uuid import uuid4

import dagster as dg

from reposignal_pipeline.config import FIRST_DAYS, Settings, load_settings
from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.partitions import INGEST_POOL
from reposignal_pipeline.home import ready_dagster_home
from reposignal_pipeline.lake.catalog import LakeError, check, ready, warehouse_of
from reposignal_pipeline.trouble import STAYS, line_of_messages, one_line, recognised
from reposignal_pipeline.warehouse import console as notices

PROCESS_TAG = "reposignal/process"
RUNS_LOOKED_AT = 100
PUBLISHING = ("daily", "weekly", "publish")
"""jobs that end with a release"""
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass
class Done:
    """A summary of what a command did."""

    loaded: dict[str, str] = field(default_factory=dict)
    """source -> summary of its load"""
    incomplete: list[str] = field(default_factory=list)
    """reasons for missing data, such as refused files or repositories that were not reached"""
    rebuilt: str = "nothing"
    is_published: bool = False


class LaunchError(Exception):
    """A run could not be launched, or it failed. The message is one line."""


def load_days(
    loads: Mapping[str, tuple[dt.date, dt.date]], *, only_missing: bool, reread: bool = False, workers: int = 1
) -> Done:
    """Load a range of days of each source, rebuild the tables that depend on them, and publish.

    Args:
        loads: source -> (first day, last day).
        only_missing: skip days that are already loaded.
        reread: read loaded star histories again.
        workers: lake only: number of processes that load parts of the range concurrently.

    Raises:
        LaunchError: a run failed.
    """
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    for source, (first, last) in loads.items():
        if first < FIRST_DAYS[source] or last > yesterday:
            raise LaunchError(f"{source} has days from {FIRST_DAYS[source]} to {yesterday} (yesterday, UTC)")
    with _launching() as (instance, definitions):
        from reposignal_pipeline.defs.partitions import week_of
        from reposignal_pipeline.defs.resources import settings
        from reposignal_pipeline.defs.warehouse import marts, verticals

        done = Done()
        for source, days in _in_order(loads):
            settings_of_run = {"only_missing": only_missing} | ({"reread": True} if reread else {})
            config = {"ops": {source: {"config": settings_of_run}}}
            if workers > 1:
                done.incomplete += _load_apart(source, days, settings_of_run, workers)
                done.loaded[source] = f"{days[0]} to {days[1]}, by {workers} workers"
                continue
            loading = _execute(definitions, "ingest", instance, days, config=config, assets=[dg.AssetKey(source)])
            done.incomplete += _incomplete(loading)
            done.loaded[source] = _in_words(loading, source)
        warehouse = warehouse_of(settings)
        what = f"reposignal {', '.join(f'{source} {first}..{last}' for source, (first, last) in loads.items())}"
        if done.incomplete:
            with warehouse.writing(what):
                is_empty = not warehouse.has_readings()
            if is_empty:
                return done
        with warehouse.rebuilding(what):
            _execute(definitions, "build", instance, assets=marts.keys)
            with warehouse.writing(what):
                totals = warehouse.observed_days("rankings") | warehouse.observed_days("repositories")
                # this build also included days that a killed run had left
                changed_from = warehouse.changed_from()
            # rows of later days depend on earlier days, so all complete weeks since the first change are rebuilt
            last_week = min(week_of(max(totals, default=dt.date.min)), week_of(yesterday - dt.timedelta(days=6)))
            # a rebuild of all days begins with the first reading
            first_week = max(week_of(changed_from), week_of(min(totals))) if changed_from and totals else None
            if first_week and first_week <= last_week:
                _execute(definitions, "weekly", instance, (first_week, last_week))
            else:  # otherwise the weekly job builds the verticals after the clusters, which saves a start of dbt
                _execute(definitions, "build", instance, assets=verticals.keys)
                _execute(definitions, "publish", instance)
        done.is_published = True
        if changed_from:
            since = "all days" if changed_from == dt.date.min else f"days from {changed_from} on"
            weeks = f", weeks from {first_week} on" if first_week and first_week <= last_week else ""
            done.rebuilt = f"{since}{weeks}"
    return done


def ready_instance() -> None:
    """Create Dagster's home and the tables of a lake, and set the number of concurrent ingest runs."""
    with _launching():
        from reposignal_pipeline.defs.resources import settings

        with warehouse_of(settings).connected():
            pass


def publish_again() -> None:
    """Publish the current marts, with their site.

    Raises:
        LaunchError: the run failed.
    """
    with _launching() as (instance, definitions):
        _execute(definitions, "publish", instance)


@contextmanager
def _launching() -> Iterator[tuple[dg.DagsterInstance, dg.Definitions]]:
    """Prepare the home and yield the Dagster instance and the definitions for runs of this process."""
    settings = load_settings()
    if settings.lake:
        try:
            check(ready(settings))
        except LakeError as error:
            raise LaunchError(str(error)) from None
    os.environ["DAGSTER_HOME"] = str(ready_dagster_home())
    _log_to(settings.command_log)
    with _storage_errors_in_one_line(settings), dg.DagsterInstance.get() as instance:
        # imported only now that the home exists, because the definitions create files in it
        from reposignal_pipeline.definitions import defs

        _bury_dead_runs(instance)
        if settings.lake:
            instance.event_log_storage.set_concurrency_slots(INGEST_POOL, settings.lake_workers)
        yield instance, defs()


def _log_to(path: Path) -> None:
    """Send warnings of libraries to a log file, and notices for the user to the terminal, one line each."""
    # warnings of libraries, such as each retry to reach the record of runs, are for the log only
    logging.basicConfig(filename=path)
    logging.raiseExceptions = False  # no traceback if the log cannot be written on a full disk
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for handler in notices.handlers[:]:
        notices.removeHandler(handler)
    notices.addHandler(_Notices())


class _Notices(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        progress.say(f"reposignal: {record.getMessage()}")


@contextmanager
def _storage_errors_in_one_line(settings: Settings) -> Iterator[None]:
    """Convert errors of the record of runs, or of the lake's catalog that contains it, into a `LaunchError`."""
    from sqlalchemy.exc import SQLAlchemyError

    lost: tuple[type[Exception], ...] = (SQLAlchemyError, LakeError)
    with suppress(ImportError):
        from dagster_postgres.utils import DagsterPostgresException

        lost = (*lost, DagsterPostgresException)
    try:
        yield
    except lost as error:
        known = recognised([str(error)], settings.home)
        # only the first line, because the others are SQL
        raise LaunchError(known or f"{one_line(str(error).partition(chr(10))[0])}: {STAYS}") from None


def _load_apart(source: str, days: tuple[dt.date, dt.date], config: Mapping[str, Any], workers: int) -> list[str]:
    """Load parts of a range in separate processes, each with its own run; return reasons for missing data.

    Raises:
        LaunchError: a part failed; raised after all parts have ended.
    """
    parts = _parts(*days, workers)
    with load_settings().command_log.open("a") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps([source, str(first), str(last), dict(config)])],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )
            for first, last in parts
        ]  # fmt: skip
        try:
            progress.begin(source)
            outputs: list[str] = []
            for process in processes:
                progress.reach(len(outputs), len(processes), "workers")
                outputs.append(process.communicate()[0])
            progress.end()
        except BaseException:
            for process in processes:
                process.terminate()
            raise
    outcomes = [
        json.loads(text) if text else {"failure": f"worker {process.pid} ended with status {process.returncode}"}
        for process, text in zip(processes, outputs, strict=True)
    ]
    for outcome in outcomes:
        if "failure" in outcome:
            raise LaunchError(outcome["failure"])
    return [reason for outcome in outcomes for reason in outcome["incomplete"]]


def _parts(first: dt.date, last: dt.date, number: int) -> list[tuple[dt.date, dt.date]]:
    """Return a range of days as at most `number` ranges of about equal length."""
    total = (last - first).days + 1
    number = min(number, total)
    edges = [first + dt.timedelta(days=total * n // number) for n in range(number + 1)]
    return [(start, end - dt.timedelta(days=1)) for start, end in pairwise(edges)]


def _worker(source: str, first: str, last: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Load a part of a range; return the result for the parent process, as JSON data."""
    try:
        with _launching() as (instance, definitions):
            loading = _execute(
                definitions,
                "ingest",
                instance,
                (dt.date.fromisoformat(first), dt.date.fromisoformat(last)),
                config={"ops": {source: {"config": dict(config)}}},
                assets=[dg.AssetKey(source)],
            )
            return {"incomplete": _incomplete(loading)}
    except LaunchError as error:
        return {"failure": str(error)}


def troubled_runs(settings: Settings) -> list[str]:
    """Return a message for each run that failed or was interrupted since the last release, newest first.

    Raises:
        LaunchError: the record of runs cannot be read.
    """
    troubled = []
    _log_to(settings.command_log)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    with _storage_errors_in_one_line(settings), dg.DagsterInstance.get() as instance:
        for record in instance.get_run_records(limit=RUNS_LOOKED_AT):
            run = record.dagster_run
            if run.status == dg.DagsterRunStatus.SUCCESS and run.job_name in PUBLISHING:
                break
            words = f"{run.job_name} of {record.create_timestamp:%Y-%m-%d %H:%M} UTC"
            if run.status == dg.DagsterRunStatus.FAILURE:
                logs = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
                causes = _causes([entry.dagster_event for entry in logs if entry.dagster_event])
                troubled.append(f"{words} failed{': ' if causes else ''}{one_line(causes[-1] if causes else '', 200)}")
            elif run.status == dg.DagsterRunStatus.CANCELED or _is_dead(run):
                troubled.append(f"{words} was interrupted")
    return troubled


def _in_order(loads: Mapping[str, tuple[dt.date, dt.date]]) -> Iterator[tuple[str, tuple[dt.date, dt.date]]]:
    """Yield loads in order of dependency: rankings propose repositories, totals show whose history has changed."""
    for source in ("rankings", "repositories", "star_history", "gh_archive"):
        if source in loads:
            yield source, loads[source]


def _incomplete(loading: dg.ExecuteInProcessResult) -> list[str]:
    return [
        f"{name}: {reason}"
        for evaluation in loading.get_asset_check_evaluations()
        for name in ("refused", "incomplete")
        if name in evaluation.metadata
        for reason in evaluation.metadata[name].value  # type: ignore[union-attr]
    ]


def _in_words(loading: dg.ExecuteInProcessResult, source: str) -> str:
    """Return the summary of a load from the metadata of its ingest asset."""
    for event in reversed(loading.all_events):
        if event.is_step_materialization and event.asset_key == dg.AssetKey(source):
            metadata = event.step_materialization_data.materialization.metadata
            return str(metadata["loaded"].value)
    return "nothing"


class _Stderr:
    """Standard error without Dagster's messages about its record of runs, which go to the log."""

    OF_THE_RECORD = ("Exception while storing event batch", "Falling back to storing multiple single-event")

    def __init__(self, shown: TextIO, log: TextIO) -> None:
        self._shown, self._log = shown, log

    def write(self, text: str) -> int:
        if not text.startswith(self.OF_THE_RECORD):
            return self._shown.write(text)
        with suppress(OSError):  # the disk may be full, which is also why Dagster writes the message
            self._log.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)


def _quiet_stderr(log: TextIO) -> redirect_stderr[TextIO]:
    return redirect_stderr(cast(TextIO, _Stderr(sys.stderr, log)))


def _execute(
    definitions: dg.Definitions,
    job: str,
    instance: dg.DagsterInstance,
    partitions: tuple[dt.date, dt.date] | None = None,
    *,
    config: dict[str, Any] | None = None,
    assets: Iterable[dg.AssetKey] | None = None,
) -> dg.ExecuteInProcessResult:
    """Execute a run, for a range of partitions if given, and return its result.

    Raises:
        LaunchError: the run failed; the message gives the cause in one line.
    """
    # no retries: the user sees the error and can run the command again
    tags = {"dagster/max_retries": "0", PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}
    first, last = partitions or (None, None)
    if first != last:
        tags |= {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    settings = load_settings()
    progress.begin(f"start of {job}", stays=False)
    with _log(settings) as log, redirect_stdout(log), _quiet_stderr(log):  # dbt's output goes to the log
        run_id = str(uuid4())
        instance.add_event_listener(run_id, _show_step)
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config=(config or {}) | quiet,
            partition_key=str(first) if first and first == last else None,
            tags=tags,
            raise_on_error=False,
            asset_selection=list(assets) if assets else None,
        )
    if not result.success:
        cause = line_of_messages(_causes(result.all_events), settings.home)
        details = settings.command_log
        raise LaunchError(f"{cause} (job {job}, run {result.run_id}; details in {details})")
    return result


def _show_step(entry: dg.EventLogEntry) -> None:
    """Update the progress bars when a step begins or ends."""
    event = entry.dagster_event
    if event and event.is_step_start and event.step_key:
        progress.begin(event.step_key)
    elif event and (event.is_step_success or event.is_step_failure):
        progress.end(is_done=event.is_step_success)


@contextmanager
def _log(settings: Settings) -> Iterator[TextIO]:
    """Yield the log of commands; an error while closing it on a full disk is ignored."""
    log = settings.command_log.open("a")
    try:
        yield log
    finally:
        with suppress(OSError):
            log.close()


def _causes(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """Return the messages of the first failed step, the innermost last, and log its traceback."""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return [data.user_failure_data.description]
            messages, error = [], data.error
            if error:
                logging.getLogger(__name__).error("step %s: %s", event.step_key, error.to_string())
            while error:
                messages.append(f"step {event.step_key}: {error.message}")
                error = error.cause
            return messages
    return []


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs whose process is gone as failed, because there may be no daemon that does it."""
    for run in instance.get_runs(limit=RUNS_LOOKED_AT):
        if _is_dead(run):
            instance.report_run_failed(run, f"process {run.tags[PROCESS_TAG].rpartition(':')[2]} is gone")


def _is_dead(run: dg.DagsterRun) -> bool:
    """Return whether a run is unfinished and its process on this machine is gone."""
    where, _, process = run.tags.get(PROCESS_TAG, "").rpartition(":")
    return run.status not in ENDED and where == socket.gethostname() and not _is_alive(int(process))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # all other output goes to the log
    print(json.dumps(_worker(*json.loads(sys.argv[1]))), file=answers, flush=True)
