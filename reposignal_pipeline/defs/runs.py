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
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import pairwise
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import track

from reposignal_pipeline.config import FIRST_DAYS, load_settings
from reposignal_pipeline.defs.partitions import INGEST_POOL
from reposignal_pipeline.home import ready_dagster_home
from reposignal_pipeline.lake.catalog import LakeError, check, ready, warehouse_of

MOST_OF_A_CAUSE = 1000
PROCESS_TAG = "reposignal/process"
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class LaunchError(Exception):
    """A run that could not be launched or failed; the message is one line."""


def load_days(
    loads: Mapping[str, tuple[dt.date, dt.date]], *, only_missing: bool, reread: bool = False, workers: int = 1
) -> list[str]:
    """Load a range of days of each source, rebuild what depends on them, publish.

    Args:
        loads: source -> first and last day.
        only_missing: leave out what already stands in the warehouse.
        reread: ask for star histories that stand already, too.
        workers: of a lake, processes that load parts of the range at the same time.

    Returns:
        The reasons why something is missing all the same: refused files, repositories not reached; empty if nothing is.

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

        incomplete: list[str] = []
        for source, days in _in_order(loads):
            settings_of_run = {"only_missing": only_missing} | ({"reread": True} if reread else {})
            config = {"ops": {source: {"config": settings_of_run}}}
            if workers > 1:
                incomplete += _load_apart(source, days, settings_of_run, workers)
                continue
            loading = _execute(definitions, "ingest", instance, days, config=config, assets=[dg.AssetKey(source)])
            incomplete += _incomplete(loading)
        warehouse = warehouse_of(settings)
        if incomplete and not warehouse.has_readings():
            return incomplete
        with warehouse.rebuilding():
            _execute(definitions, "build", instance, assets=marts.keys)
            with warehouse.writing("reposignal: which weeks to renew"):
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
    return incomplete


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
    # what libraries warn of, such as each attempt to reach the record of runs again, is for the log
    logging.basicConfig(filename=settings.dagster_home / "cli.log")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with _told_in_one_line(), dg.DagsterInstance.get() as instance:
        # the definitions are imported here, once the home exists: they place their files in it
        from reposignal_pipeline.definitions import defs

        _bury_dead_runs(instance)
        if settings.lake:
            instance.event_log_storage.set_concurrency_slots(INGEST_POOL, settings.lake_workers)
        yield instance, defs()


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    """Turn the loss of a lake's catalog, which holds the record of runs as well, into a line."""
    from sqlalchemy.exc import SQLAlchemyError

    lost: tuple[type[Exception], ...] = (SQLAlchemyError, LakeError)
    with suppress(ImportError):
        from dagster_postgres.utils import DagsterPostgresException

        lost = (*lost, DagsterPostgresException)
    try:
        yield
    except lost as error:
        # its first line: the others are SQL
        cause = " ".join(str(error).splitlines()[:1])
        raise LaunchError(f"{cause}: what was loaded stays, and the same command goes on from there") from None


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
            console, is_quiet = Console(stderr=True), not sys.stderr.isatty()
            told = [
                process.communicate()[0]
                for process in track(processes, f"{source}, {workers} workers", console=console, disable=is_quiet)
            ]
        except BaseException:
            for process in processes:
                process.terminate()
            raise
    outcomes = [
        json.loads(text) if text else {"failure": f"worker {process.pid} ended with status {process.returncode}"}
        for process, text in zip(processes, told, strict=True)
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
    with (load_settings().dagster_home / "cli.log").open("a") as log, redirect_stdout(log):  # what dbt prints
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            run_config=(config or {}) | quiet,
            partition_key=str(first) if first and first == last else None,
            tags=tags,
            raise_on_error=False,
            asset_selection=list(assets) if assets else None,
        )
    if not result.success:
        raise LaunchError(f"run {result.run_id} of job {job} failed: {_cause(result)}")
    return result


def _cause(result: dg.ExecuteInProcessResult) -> str:
    """Return the innermost message of the first step that failed, in one line."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return " ".join(data.user_failure_data.description.split())[:MOST_OF_A_CAUSE]
            error = data.error
            while error and error.cause:
                error = error.cause
            if error:
                return f"step {event.step_key}: " + " ".join(error.message.split())[:MOST_OF_A_CAUSE]
    return "see the run in the UI"


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark as failed the runs whose process is gone: nobody else would, where no daemon watches."""
    host = socket.gethostname()
    for run in instance.get_runs(limit=100):
        where, _, process = run.tags.get(PROCESS_TAG, "").rpartition(":")
        if run.status not in ENDED and where == host and not _is_alive(int(process)):
            instance.report_run_failed(run, f"process {process} is gone")


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
