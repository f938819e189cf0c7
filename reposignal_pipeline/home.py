"""Makes the home ready for Dagster: `python -m reposignal_pipeline.home`, which `make dev` runs first.

Here: folders and the instance's configuration. Not here: the warehouse files, which the pipeline makes.
"""

import os
import sys
from pathlib import Path

import yaml

from reposignal_pipeline.config import PROFILE_MARK, PROJECT_ROOT, ConfigError, Settings, load_settings
from reposignal_pipeline.trouble import line_of

LAKE_STORAGE = {
    "run_storage": ("dagster_postgres", "PostgresRunStorage"),
    "event_log_storage": ("reposignal_pipeline.lake.event_log", "PooledPostgresEventLogStorage"),
    "schedule_storage": ("dagster_postgres", "PostgresScheduleStorage"),
}


def ready_home(settings: Settings) -> None:
    """Make the home, which takes no more than a moment.

    Raises:
        ConfigError: if the home cannot be made or written.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(line_of(error, settings.home)) from None
    if not os.access(settings.home, os.W_OK):
        raise ConfigError(f"REPOSIGNAL_HOME={settings.home} cannot be written: make it writable, or name another home")


def ready_dagster_home() -> Path:
    """Return Dagster's home with the project's `dagster.yaml` in it, made for this place.

    Raises:
        ConfigError: if the home cannot be made or written.
    """
    settings = load_settings()
    home = settings.dagster_home
    configuration = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    configuration["event_log_storage"]["config"]["base_dir"] = str(home / "history" / "runs")
    if settings.lake:
        # whoever works on the lake from another machine sees the same runs
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


def _write(path: Path, text: str) -> None:
    """Write a file aside and put it in place: a full disk leaves the former one."""
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
