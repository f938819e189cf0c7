"""Prints the definitions for this process's settings as JSON; the tests run it in a separate process."""

import datetime as dt
import json
import sys
from typing import Any

import dagster as dg

from reposignal_pipeline.definitions import defs
from reposignal_pipeline.defs.warehouse import dbt_build_args
from reposignal_pipeline.warehouse import NEVER, DayRange, Rebuild


def graph(definitions: dg.Definitions) -> dict[str, Any]:
    """Return each asset with the properties that the snapshot keeps."""
    nodes = definitions.resolve_asset_graph().asset_nodes
    return {
        node.key.to_user_string(): {
            "upstream": sorted(key.to_user_string() for key in node.parent_keys),
            "group": node.group_name,
            "partitions": _partitions(node.partitions_def),
            "has": [
                name
                for name, value in (("owners", node.owners), ("description", node.description), ("kinds", node.kinds))
                if value
            ],
        }
        for node in sorted(nodes, key=lambda node: node.key)
    }


def _partitions(partitions: dg.PartitionsDefinition[Any] | None) -> str | None:
    return (
        str(partitions.schedule_type.value).lower()
        if isinstance(partitions, dg.TimeWindowPartitionsDefinition)
        else None
    )


def report() -> dict[str, Any]:
    """Return everything that the tests of the definitions check."""
    definitions: dg.Definitions = defs()
    week = Rebuild(DayRange(dt.date(2024, 3, 4), dt.date(2024, 3, 10)), NEVER)
    return {
        "graph": graph(definitions),
        "checks": {
            f"{spec.asset_key.to_user_string()}/{spec.name}": spec.description
            for checks in (definitions.assets or [])
            if isinstance(checks, dg.AssetsDefinition)
            for spec in checks.check_specs
        },
        "jobs": {
            job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
            for job in definitions.resolve_all_job_defs()
            if not job.name.startswith("__")
        },
        "schedules": {
            name: [schedule.job_name, schedule.cron_schedule, schedule.default_status.value]
            for name in ("daily_schedule", "catch_up_schedule", "weekly_schedule", "refit_schedule")
            for schedule in [definitions.resolve_schedule_def(name)]
        },
        "pools": {
            key.to_user_string(): sorted(node.pools)
            for node in definitions.resolve_asset_graph().asset_nodes
            for key in [node.key]
            if node.is_materializable
        },
        "dbt_build_args": [
            dbt_build_args(None),
            dbt_build_args(week),
            dbt_build_args(week, full_refresh=True),
            dbt_build_args(None, full_refresh=True),
        ],
    }


if __name__ == "__main__":
    json.dump(report(), sys.stdout)
