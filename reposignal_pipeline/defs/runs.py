"""Runs launched from the command line: in this process, recorded where the UI looks.

Here: what `reposignal run`, `backfill` and `demo` launch, in what order. Not here: the jobs themselves (`schedules`).
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
    """What a command did, in words."""

    loaded: dict[str, str] = field(default_factory=dict)
    """source -> what of it was loaded"""
    incomplete: list[str] = field(default_factory=list)
    """reasons why something is still missing, such as refused files or repositories that were not reached"""
    rebuilt: str = "nothing"
    is_published: bool = False


class LaunchError(Exception):
    """A run that could not be launched or failed; the message is one line."""


def load_days(
    loads: Mapping[str, tuple[dt.date, dt.date]], *, only_missing: bool, reread: bool = False, workers: int = 1
) -> Done:
    """Load a range of days of each source, rebuild what depends on them, publish.

    Args:
        loads: source -> first and last day.
        only_missing: leave out what already stands in the warehouse.
        reread: ask for star histories that stand already, too.
        workers: of a lake, processes that load parts of the range at the same time.

    Raises:
        LaunchError: if a run failed.
    """
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    for source, (first, last) in loads.items():
        if first < FIRST_DAYS[source] or last > yesterday:
            raise LaunchError(f"{source}: days run from {FIRST_DAYS[source]} to {yesterday} (yesterday, UTC)")
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
                # days that a killed run left were built now too
                changed_from = warehouse.changed_from()
            # a later day's row depends on earlier ones: every week since the first is renewed; the last one has ended
            last_week = min(week_of(max(totals, default=dt.date.min)), week_of(yesterday - dt.timedelta(days=6)))
            # what is built anew from the beginning of time begins with the first reading
            first_week = max(week_of(changed_from), week_of(min(totals))) if changed_from and totals else None
            if first_week and first_week <= last_week:
                _execute(definitions, "weekly", instance, (first_week, last_week))
            else:  # else they wait for the clusters of these weeks: dbt starts once less
                _execute(definitions, "build", instance, assets=verticals.keys)
                _execute(definitions, "publish", instance)
        done.is_published = True
        if changed_from:
            since = "all days" if changed_from == dt.date.min else f"days from {changed_from} on"
            weeks = f", weeks from {first_week} on" if first_week and first_week <= last_week else ""
            done.rebuilt = f"{since}{weeks}"
    return done


def ready_instance() -> None:
    """Make Dagster's home, and of a lake its tables, with as many ingest runs at once as are configured."""
    with _launching():
        from reposignal_pipeline.defs.resources import settings

        with warehouse_of(settings).connected():
            pass


def publish_again() -> None:
    """Publish the marts as they stand, with their site.

    Raises:
        LaunchError: if the run failed.
    """
    with _launching() as (instance, definitions):
        _execute(definitions, "publish", instance)


@contextmanager
def _launching() -> Iterator[tuple[dg.DagsterInstance, dg.Definitions]]:
    """Yield what a run of this process needs, in a home that is ready for it."""
    settings = load_settings()
    if settings.lake:
        try:
            check(ready(settings))
        except LakeError as error:
            raise LaunchError(str(error)) from None
    os.environ["DAGSTER_HOME"] = str(ready_dagster_home())
    _log_to(settings.dagster_home / "cli.log")
    with _told_in_one_line(settings), dg.DagsterInstance.get() as instance:
        # the definitions are imported here, once the home exists: they place their files in it
        from reposignal_pipeline.definitions import defs

        _bury_dead_runs(instance)
        if settings.lake:
            instance.event_log_storage.set_concurrency_slots(INGEST_POOL, settings.lake_workers)
        yield instance, defs()


def _log_to(path: Path) -> None:
    """Have libraries warn in a file, and what concerns the user on the terminal, in one line each."""
    # what libraries warn of, such as each attempt to reach the record of runs again, is for the log
    logging.basicConfig(filename=path)
    logging.raiseExceptions = False  # a log that cannot be written, on a full disk, prints no traceback
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for handler in notices.handlers[:]:
        notices.removeHandler(handler)
    notices.addHandler(_Notices())


class _Notices(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        progress.say(f"reposignal: {record.getMessage()}")


@contextmanager
def _told_in_one_line(settings: Settings) -> Iterator[None]:
    """Turn the loss of the record of runs, or of a lake's catalog, which holds it as well, into a line."""
    from sqlalchemy.exc import SQLAlchemyError

    lost: tuple[type[Exception], ...] = (SQLAlchemyError, LakeError)
    with suppress(ImportError):
        from dagster_postgres.utils import DagsterPostgresException

        lost = (*lost, DagsterPostgresException)
    try:
        yield
    except lost as error:
        known = recognised([str(error)], settings.home)
        # its first line: the others are SQL
        raise LaunchError(known or f"{one_line(str(error).partition(chr(10))[0])}: {STAYS}") from None


def _load_apart(source: str, days: tuple[dt.date, dt.date], config: Mapping[str, Any], workers: int) -> list[str]:
    """Load parts of a range in processes of their own, each a run; return what is missing all the same.

    Raises:
        LaunchError: when all have ended, with the first that failed.
    """
    parts = _parts(*days, workers)
    with (load_settings().dagster_home / "cli.log").open("a") as log:
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
    """Return a range of days in so many ranges of about the same length, or fewer."""
    total = (last - first).days + 1
    number = min(number, total)
    edges = [first + dt.timedelta(days=total * n // number) for n in range(number + 1)]
    return [(start, end - dt.timedelta(days=1)) for start, end in pairwise(edges)]


def _worker(source: str, first: str, last: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the load of a part of a range went, as the process that asked reads it."""
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
    """Return the runs that failed or broke off since the last one that published, each in words, the newest first.

    Raises:
        LaunchError: if the record of runs cannot be read.
    """
    troubled = []
    _log_to(settings.dagster_home / "cli.log")
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    with _told_in_one_line(settings), dg.DagsterInstance.get() as instance:
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
                troubled.append(f"{words} broke off")
    return troubled


def _in_order(loads: Mapping[str, tuple[dt.date, dt.date]]) -> Iterator[tuple[str, tuple[dt.date, dt.date]]]:
    """Yield loads as they build on one another: rankings put repositories forward, totals tell whose history moved."""
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
    """Return what an ingest asset says of its load."""
    for event in reversed(loading.all_events):
        if event.is_step_materialization and event.asset_key == dg.AssetKey(source):
            metadata = event.step_materialization_data.materialization.metadata
            return str(metadata["loaded"].value)
    return "nothing"


class _Stderr:
    """Standard error, without what Dagster writes there about its own record of runs: the log gets that."""

    OF_THE_RECORD = ("Exception while storing event batch", "Falling back to storing multiple single-event")

    def __init__(self, shown: TextIO, log: TextIO) -> None:
        self._shown, self._log = shown, log

    def write(self, text: str) -> int:
        if not text.startswith(self.OF_THE_RECORD):
            return self._shown.write(text)
        with suppress(OSError):  # a full disk is why it writes
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
    """Return the result of a run, over a range of partitions if there is one.

    Raises:
        LaunchError: with the cause in one line, if the run fails.
    """
    # who typed the command sees the error, and types it again
    tags = {"dagster/max_retries": "0", PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}
    first, last = partitions or (None, None)
    if first != last:
        tags |= {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    settings = load_settings()
    progress.begin(f"start of {job}", stays=False)
    with _log(settings) as log, redirect_stdout(log), _quiet_stderr(log):  # what dbt prints
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
        details = settings.dagster_home / "cli.log"
        raise LaunchError(f"{cause} (job {job}, run {result.run_id}; details in {details})")
    return result


def _show_step(entry: dg.EventLogEntry) -> None:
    """Show in the terminal which step begins or ends."""
    event = entry.dagster_event
    if event and event.is_step_start and event.step_key:
        progress.begin(event.step_key)
    elif event and (event.is_step_success or event.is_step_failure):
        progress.end(is_done=event.is_step_success)


@contextmanager
def _log(settings: Settings) -> Iterator[TextIO]:
    """Yield the log of commands. That its last lines find no space on a full disk is no error of its own."""
    log = (settings.dagster_home / "cli.log").open("a")
    try:
        yield log
    finally:
        with suppress(OSError):
            log.close()


def _causes(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """Return the messages of the first step that failed, the innermost last; the log gets its stack."""
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
    """Mark as failed the runs whose process is gone: nobody else would, where no daemon watches."""
    for run in instance.get_runs(limit=RUNS_LOOKED_AT):
        if _is_dead(run):
            instance.report_run_failed(run, f"process {run.tags[PROCESS_TAG].rpartition(':')[2]} is gone")


def _is_dead(run: dg.DagsterRun) -> bool:
    """Return whether a run that has not ended is of a process of this machine that is gone."""
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
    os.dup2(2, 1)  # whatever else is printed belongs to the log
    print(json.dumps(_worker(*json.loads(sys.argv[1]))), file=answers, flush=True)
