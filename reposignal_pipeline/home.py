"""Prepares the home for Dagster; `make dev` runs `python -m reposignal_pipeline.home` first.

This module creates the folders and the configuration of the Dagster instance. Runs create the warehouse files.
"""

import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import yaml

from reposignal_pipeline.config import PROFILE_MARK, PROJECT_ROOT, ConfigError, Settings, load_settings
from reposignal_pipeline.trouble import line_of

LAKE_STORAGE = {
    "run_storage": ("dagster_postgres", "PostgresRunStorage"),
    "event_log_storage": ("reposignal_pipeline.lake.event_log", "PooledPostgresEventLogStorage"),
    "schedule_storage": ("dagster_postgres", "PostgresScheduleStorage"),
}

MOST_LOG_BYTES = 10_000_000
"""size at which the log of commands is set aside; one former log is kept"""
OUTPUT_DAYS = 30
"""days for which the captured output of a run's steps is kept"""


def ready_home(settings: Settings) -> None:
    """Create the folder of the home.

    Raises:
        ConfigError: the home cannot be created or is not writable.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(line_of(error, settings.home)) from None
    if not os.access(settings.home, os.W_OK):
        raise ConfigError(f"REPOSIGNAL_HOME={settings.home} cannot be written: make it writable, or use another home")


def ready_dagster_home() -> Path:
    """Return Dagster's home, after writing the project's `dagster.yaml` into it with the paths of this home.

    Raises:
        ConfigError: the home cannot be created or is not writable.
    """
    settings = load_settings()
    home = settings.dagster_home
    configuration = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    configuration["event_log_storage"]["config"]["base_dir"] = str(home / "history" / "runs")
    if settings.lake:
        # all machines that use the lake share the same record of runs
        for storage, (module, name) in LAKE_STORAGE.items():
            url = {"postgres_url": {"env": "REPOSIGNAL_LAKE_CATALOG"}}
            configuration[storage] = {"module": module, "class": name, "config": url}
    ready_home(settings)
    try:
        for folder in (home, settings.warehouse_dir):
            folder.mkdir(parents=True, exist_ok=True)
        _write(settings.home / PROFILE_MARK, f"{settings.profile}\n")
        _write(home / "dagster.yaml", yaml.safe_dump(configuration))
    except OSError as error:
        raise ConfigError(line_of(error, settings.home)) from None
    return home


def prune_logs(settings: Settings) -> None:
    """Delete the output of old runs, and set a large log of commands aside.

    The records of runs stay: Dagster would show the partitions of a deleted run as missing.
    """
    log = settings.command_log
    with suppress(FileNotFoundError):
        if log.stat().st_size > MOST_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
    # other folders of the storage are not the output of a run
    for output in (settings.dagster_home / "storage").glob("*/compute_logs"):
        folder = output.parent
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < time.time() - OUTPUT_DAYS * 86_400:
                shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    """Write a file atomically, so that a full disk leaves the previous version intact."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    aside = path.with_name(f"{path.name}.next")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    try:
        print(ready_dagster_home())
    except ConfigError as error:
        sys.exit(f"reposignal: {error}")
