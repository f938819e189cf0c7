"""Resources of the assets: settings, warehouse, the parsed dbt project, and dlt."""

import fcntl
import json
import logging
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import dlt as dlthub
from dagster_dbt import DbtProject
from dagster_dlt import DagsterDltResource

from reposignal_pipeline import dbt_program
from reposignal_pipeline.config import DBT_PROJECT_DIR, Settings, load_settings
from reposignal_pipeline.defs.partitions import GITHUB_POOL, INGEST_POOL, WRITER_POOL
from reposignal_pipeline.lake.catalog import lake_environment, ready, warehouse_of
from reposignal_pipeline.lake.destination import lake_destination
from reposignal_pipeline.warehouse import Warehouse

DAYS_A_RUN = 120
"""lake only: days per run of a range; starting a run takes about as long as loading 60 days"""

settings = load_settings()

file_pool, github_pool = (INGEST_POOL, GITHUB_POOL) if settings.lake else (WRITER_POOL, WRITER_POOL)
# a backfill of a range in the UI is one run, or several concurrent runs with a lake
ingest_backfills = dg.BackfillPolicy.multi_run(DAYS_A_RUN) if settings.lake else dg.BackfillPolicy.single_run()


class WarehouseResource(dg.ConfigurableResource[Warehouse]):
    """The warehouse of the settings, in DuckDB files or in a lake."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Warehouse, None, None]:
        """Yield the warehouse to the steps of a run, which share one process; release its locks when the run ends."""
        with closing(warehouse_of(load_settings())) as warehouse:
            yield warehouse


def raw_pipeline(dataset: str) -> dlthub.Pipeline:
    """Return the dlt pipeline that fills a dataset of the raw tables."""
    _heal(settings.dlt_dir / dataset)
    return dlthub.pipeline(
        dataset,
        destination=lake_destination(settings.lake)
        if settings.lake
        else dlthub.destinations.duckdb(str(settings.pipeline_db)),
        dataset_name=dataset,
        pipelines_dir=str(settings.dlt_dir),
    )


def _heal(folder: Path) -> None:
    """Delete a working folder of dlt whose state or schemas are damaged, for example by a power failure.

    The folder contains no data of the warehouse, except at most an unfinished load, whose days are loaded again.
    """
    for file in [folder / "state.json", *folder.glob("schemas/*.json")]:
        try:
            content = json.loads(file.read_bytes())
            is_whole = isinstance(content, dict) and any("engine_version" in key for key in content)
        except FileNotFoundError:
            continue
        except ValueError:
            is_whole = False
        if not is_whole:
            logging.getLogger(__name__).warning("%s is damaged: the folder %s is recreated", file, folder)
            shutil.rmtree(folder)
            return


def finish_pending_load(pipeline: dlthub.Pipeline) -> None:
    """Finish the load that a killed run left pending; otherwise dlt would load it in place of the next batch."""
    if pipeline.has_pending_data:
        pipeline.run()


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that `profiles.yml` and dbt read."""
    return {
        "REPOSIGNAL_PIPELINE_DB": str(settings.pipeline_db),
        "REPOSIGNAL_MARTS_DB": str(settings.marts_db),
        "REPOSIGNAL_MEMORY_LIMIT": settings.memory_limit,
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        **(lake_environment(settings.lake) if settings.lake else {}),
    }


def _prepared(project: DbtProject) -> DbtProject:
    """Return the project with a manifest at least as new as its files, made in the same folder as they are now."""
    newest = max(path.stat().st_mtime for path in DBT_PROJECT_DIR.rglob("*") if path.suffix in {".sql", ".yml", ".csv"})
    settings.dbt_dir.mkdir(parents=True, exist_ok=True)
    with (settings.dbt_dir / "parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a concurrent command on a new home would parse into the same folder
        parsed_in = settings.dbt_dir / "parsed_in"
        # the parsed project holds absolute paths: after a move of the checkout, dbt would look for its files there
        if not parsed_in.exists() or parsed_in.read_text() != str(project.project_dir):
            (project.target_path / dbt_program.PARSED_PROJECT).unlink(missing_ok=True)
            project.manifest_path.unlink(missing_ok=True)
            parsed_in.write_text(str(project.project_dir))
        if not _is_whole(project.manifest_path) or project.manifest_path.stat().st_mtime < newest:
            dbt_program.parse(project.project_dir, project.target_path)
    return project


def _is_whole(manifest: Path) -> bool:
    """Return whether the manifest is complete; dbt writes it in place and may be killed while writing."""
    try:
        with manifest.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"}"
    except OSError:
        return False


# dbt is found and runs in this environment even if it is not activated; its settings are environment variables.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ.update(dbt_environment(settings))
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
# a range of days logs one event per day; PostgreSQL takes a thousand at once
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
if settings.lake:
    ready(settings)

dbt_project = _prepared(DbtProject(project_dir=DBT_PROJECT_DIR, target_path=settings.dbt_dir / "target"))


@dg.definitions
def defs() -> dg.Definitions:
    """Return the resources; steps are short, so they run in the process of their run."""
    return dg.Definitions(
        executor=dg.in_process_executor,
        resources={
            "warehouse": WarehouseResource(),
            "dlt": DagsterDltResource(),
        },
    )
