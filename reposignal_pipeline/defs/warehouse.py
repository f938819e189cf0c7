"""Builds the marts from raw tables with one dbt invocation for all days that the marts do not contain yet.

A second invocation builds languages over verticals, which read the weekly clusters, which read the marts of the first.
Both execute inside the process of the Dagster run.
"""

import datetime as dt
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from itertools import dropwhile, takewhile
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject, dbt_assets
from dagster_dbt.asset_utils import get_subset_selection_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from dbt_common.events.base_types import EventMsg
from dbt_common.events.functions import msg_to_dict

from reposignal_pipeline import dbt_program
from reposignal_pipeline.config import load_settings
from reposignal_pipeline.defs import progress
from reposignal_pipeline.defs.gh_archive import GH_ARCHIVE
from reposignal_pipeline.defs.github import REPOSITORIES, STAR_HISTORY
from reposignal_pipeline.defs.ingest import RANKINGS
from reposignal_pipeline.defs.partitions import OWNERS, WRITER_POOL
from reposignal_pipeline.defs.resources import dbt_project
from reposignal_pipeline.trouble import one_line, recognised
from reposignal_pipeline.warehouse import DayRange, Rebuild, Warehouse, columns_of_relations, row_counts

LOADS = {
    "rankings": RANKINGS,
    "repositories": REPOSITORIES,
    "star_history": STAR_HISTORY,
    "gh_archive": GH_ARCHIVE,
}
RAW_SNAPSHOT = "REPOSIGNAL_RAW_SNAPSHOT"
"""lake only: environment variable with the snapshot of the raw tables that dbt reads, unaffected by concurrent loads"""
CLUSTER_SOURCE = "clusters"
"""dbt source of the weekly cluster tables, whose asset keys are the table names"""
VERTICALS = f"source:{CLUSTER_SOURCE}+"
MOST_OF_DBT = 260
"""maximum characters of a dbt message, so that the path of its log fits into the same line"""
RESULTS = ("LogModelResult", "LogSeedResult", "LogTestResult")
"""dbt events with the result of a node"""
LAYER_GROUPS = {"staging": "staging", "intermediate": "intermediate", "marts": "marts"}


class BuildConfig(dg.Config):
    """What to rebuild in addition to the loaded days."""

    rebuild_from: str | None = None
    """Rebuild from this day (YYYY-MM-DD) on, for example after a change of a formula."""
    full_refresh: bool = False
    """Drop and rebuild every table, for example after a change of columns."""


def check_description(test: Mapping[str, Any]) -> str | None:
    """Return what a data test asserts: the first comment of a SQL file, or a sentence for a generic test.

    Args:
        test: node of dbt's manifest.
    """
    generic = test.get("test_metadata")
    if not generic:
        lines = [line.strip() for line in test["raw_code"].splitlines()]
        comment = [*takewhile(lambda line: line.startswith("--"), dropwhile(lambda line: line[:2] != "--", lines))]
        return " ".join(line.lstrip("- ") for line in comment) or None
    asserted = generic["kwargs"]
    column = asserted.get("column_name")
    text = None
    match generic["name"]:
        case "not_null":
            text = f"`{column}` is never NULL."
        case "unique":
            text = f"Each `{column}` occurs once."
        case "unique_together":
            text = f"Each combination of {', '.join(f'`{name}`' for name in asserted['columns'])} occurs once."
        case "accepted_values":
            text = f"`{column}` is NULL or one of: {', '.join(map(str, asserted['values']))}."
        case "between":
            bounds = (("at least", asserted.get("low")), ("at most", asserted.get("high")))
            text = f"`{column}` is NULL or {' and '.join(f'{word} {at}' for word, at in bounds if at is not None)}."
    return text


class _Translator(DagsterDbtTranslator):
    """Names assets like their dbt nodes.

    Args:
        group: group of all assets; None for the group of their layer.
    """

    def __init__(self, group: str | None = None) -> None:
        self._group = group
        super().__init__(
            settings=DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_duplicate_source_asset_keys=True)
        )

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        # seeds depend on the loads too, so that a backfill builds the whole dbt project in one run
        return spec.merge_attributes(deps=list(LOADS.values())) if unique_id.startswith("seed.") else spec

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] == "source":
            source: str = dbt_resource_props["source_name"]
            return dg.AssetKey(dbt_resource_props["name"]) if source == CLUSTER_SOURCE else LOADS[source]
        return dg.AssetKey(dbt_resource_props["name"])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        if self._group:
            return self._group
        if dbt_resource_props["resource_type"] == "seed":
            return "seeds"
        return LAYER_GROUPS[dbt_resource_props["fqn"][1]]

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        return spec and dg.AssetCheckSpec(
            name=spec.name,
            asset=spec.asset_key,
            description=spec.description or check_description(manifest["nodes"][unique_id]),
            additional_deps=spec.additional_deps,
            metadata=spec.metadata,
            blocking=spec.blocking,
        )

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        return OWNERS


_translator = _Translator()


def dbt_build_args(rebuild: Rebuild | None, *, full_refresh: bool = False) -> list[str]:
    """Return the arguments of the dbt build for the changes in `rebuild`; of everything if it is None."""
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    if rebuild and not full_refresh:
        variables = {
            "window_start": rebuild.window.first.isoformat(),
            "window_end": rebuild.window.last.isoformat(),
            "loaded_since": rebuild.loaded_since.isoformat(sep=" "),
            "archived_days": [[days.first.isoformat(), days.last.isoformat()] for days in rebuild.archived],
            "build_number": rebuild.number,
        }
        arguments += ["--vars", json.dumps(variables)]
    return [*arguments, "--full-refresh"] if full_refresh else arguments


def vertical_build_args(days: DayRange) -> list[str]:
    """Return the arguments of the dbt build of languages over verticals; a full refresh if `first` is `date.min`."""
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    if days.first == dt.date.min:
        return [*arguments, "--full-refresh"]
    window = {"window_start": days.first.isoformat(), "window_end": days.last.isoformat()}
    return [*arguments, "--vars", json.dumps(window)]


@dbt_assets(
    manifest=dbt_project.manifest_path,
    project=dbt_project,
    dagster_dbt_translator=_translator,
    name="marts",
    exclude=VERTICALS,
    pool=WRITER_POOL,
)
def marts(
    context: dg.AssetExecutionContext, config: BuildConfig, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[Any]:
    """Rebuild the days that loads have changed, with the data tests for these days."""
    with warehouse.rewriting(f"run {context.run_id}: marts", context.log):
        columns = columns_of_relations(json.loads(dbt_project.manifest_path.read_bytes()))
        if changed := warehouse.relations_with_other_columns(columns):
            context.log.info("all days are rebuilt, because columns changed in %s", ", ".join(changed))
        full_refresh = config.full_refresh or bool(changed)
        since = dt.date.min if full_refresh else config.rebuild_from and dt.date.fromisoformat(config.rebuild_from)
        rebuild = warehouse.begin_build(since=since or None)
        context.log.info("rebuilding %s", rebuild or "nothing: no day was observed yet")
        if rebuild and rebuild.raw_snapshot is not None:
            os.environ[RAW_SNAPSHOT] = str(rebuild.raw_snapshot)
        events = _built(context, dbt_build_args(rebuild, full_refresh=full_refresh))
        if not context.is_subset:
            # a subset of the models leaves new loads incomplete: they are not published until all models are built
            warehouse.end_build(columns)
        with warehouse.connected() as connection:
            rows = row_counts(connection, {key.path[-1] for key in context.selected_asset_keys})
    yield from _counted(context, events, rows)


@dbt_assets(
    manifest=dbt_project.manifest_path,
    project=dbt_project,
    # a separate group: in the groups of their layers, the UI would draw staging after marts
    dagster_dbt_translator=_Translator("verticals"),
    name="verticals",
    select=VERTICALS,
    pool=WRITER_POOL,
)
def verticals(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Iterator[Any]:
    """Rebuild languages over verticals for the days whose repositories or clusters changed."""
    with warehouse.rewriting(f"run {context.run_id}: verticals", context.log):
        days = warehouse.begin_verticals()
        if not days:
            warehouse.end_verticals()
            chosen = context.selected_asset_keys
            upstream = {key: context.assets_def.asset_deps[key] & chosen for key in sorted(chosen)}
            for key in TopologicalSorter(upstream).static_order():  # Dagster requires this order
                yield dg.MaterializeResult(asset_key=key, metadata={"rebuilt": "nothing: no day of it is built yet"})
            return
        context.log.info("rebuilding %s", days)
        events = _built(context, vertical_build_args(days))
        if not context.is_subset:
            warehouse.end_verticals()
        with warehouse.connected() as connection:
            rows = row_counts(connection, {key.path[-1] for key in context.selected_asset_keys})
    yield from _counted(context, events, rows)


def _built(context: dg.AssetExecutionContext, arguments: list[str]) -> list[Any]:
    """Build the models that the context selects, and return their Dagster events.

    Raises:
        dg.Failure: a model or a data test failed; the message begins with the cause.
    """
    selection, indirect_selection = get_subset_selection_for_context(
        context,
        _manifest(),
        select=context.op.tags.get("dagster_dbt/select"),
        exclude=context.op.tags.get("dagster_dbt/exclude"),
        selector=None,
        dagster_dbt_translator=_translator,
        current_dbt_indirect_selection_env=None,
    )
    if indirect_selection:
        selection += ["--indirect-selection", indirect_selection]
    results: list[EventMsg] = []

    def keep(message: EventMsg) -> None:
        if message.info.name in RESULTS:
            results.append(message)
            data = message.data
            progress.reach(len(results), getattr(data, "total", 0) or data.num_models, "nodes of dbt")

    said = ""
    try:
        result = dbt_program.invoke(
            # the manifest of the parsed project already exists; writing it and the graph takes half a second per build
            [*arguments, *selection, "--no-write-json"],
            project_dir=dbt_project.project_dir,
            target_path=dbt_project.target_path,
            parsed=dbt_project.target_path / dbt_program.PARSED_PROJECT,
            on_event=keep,
        )
        nodes = [
            {"unique_id": one.node.unique_id, "status": str(one.status), "message": one.message}
            for one in result.results
        ]
        said = failed_nodes(nodes) or ""
    except dbt_program.DbtError as error:
        said = str(error)
    if said:
        known = recognised([said], load_settings().home)
        log = dbt_project.target_path / dbt_program.LOG
        raise dg.Failure(known or f"{one_line(said, MOST_OF_DBT)}; dbt's log: {log}")
    return [
        event
        for message in results
        for event in DbtCoreCliEventMessage(
            raw_event=msg_to_dict(message), event_history_metadata={}
        ).to_default_asset_events(_manifest(), _translator, context, dbt_project.target_path, dbt_project)
    ]


@cache
def _manifest() -> Mapping[str, Any]:
    return dict(json.loads(dbt_project.manifest_path.read_bytes()))


def failed_nodes(results: list[dict[str, Any]]) -> str | None:
    """Return the first failure of a dbt build, the cause before the node; None if all nodes succeeded."""
    failed = [result for result in results if result["status"] in ("error", "fail", "runtime error")]
    if not failed:
        return None
    node, said = failed[0]["unique_id"].split(".")[2], (failed[0]["message"] or failed[0]["status"]).strip()
    head, _, cause = said.partition("\n")
    # the line "Runtime Error in model NAME (FILE)" precedes DuckDB's message
    cause = one_line(cause if cause.strip() and re.match(r"\w+ Error in ", head) else said, MOST_OF_DBT - 60)
    return f"{cause} (in {node}{f', and {len(failed) - 1} more failed' if len(failed) > 1 else ''})"


def _counted(context: dg.AssetExecutionContext, events: list[Any], rows: Mapping[str, int]) -> Iterator[Any]:
    """Yield the events of a build, with the number of rows of each table."""
    for event in events:
        if isinstance(event, dg.Output) and (
            count := rows.get(context.asset_key_for_output(event.output_name).path[-1])
        ):
            context.add_output_metadata({"dagster/row_count": count}, output_name=event.output_name)
        yield event
