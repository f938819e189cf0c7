"""Makes the home ready for Dagster: `python -m reposignal_pipeline.home`, which `make dev` runs first.

Here: folders and the instance's configuration. Not here: the warehouse files, which the pipeline makes.
"""

import sys
from pathlib import Path

import yaml

from reposignal_pipeline.config import PROFILE_MARK, PROJECT_ROOT, ConfigError, load_settings

LAKE_STORAGE = {
    "run_storage": ("dagster_postgres", "PostgresRunStorage"),
    "event_log_storage": ("reposignal_pipeline.lake.event_log", "PooledPostgresEventLogStorage"),
    "schedule_storage": ("dagster_postgres", "PostgresScheduleStorage"),
}


def ready_dagster_home() -> Path:
    """Return Dagster's home with the project's `dagster.yaml` in it, made for this place."""
    settings = load_settings()
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    (settings.home / PROFILE_MARK).write_text(f"{settings.profile}\n")
    instance = (PROJECT_ROOT / "dagster.yaml").read_text().replace("DAGSTER_HOME", str(home))
    if settings.lake:
        # whoever works on the lake from another machine sees the same runs
        configuration = yaml.safe_load(instance)
        for storage, (module, name) in LAKE_STORAGE.items():
            url = {"postgres_url": {"env": "REPOSIGNAL_LAKE_CATALOG"}}
            configuration[storage] = {"module": module, "class": name, "config": url}
        instance = yaml.safe_dump(configuration)
    (home / "dagster.yaml").write_text(instance)
    return home


if __name__ == "__main__":
    try:
        print(ready_dagster_home())
    except ConfigError as error:
        sys.exit(f"reposignal: {error}")
