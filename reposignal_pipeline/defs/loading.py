"""Shared parts of ingest assets: loading a batch into raw tables under the writer's lock, and the asset spec."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import dagster as dg
import dlt as dlthub
from dagster_dlt import DagsterDltTranslator
from dagster_dlt.translator import DltResourceTranslatorData
from dlt.extract import DltResource

from reposignal_pipeline.defs.partitions import OWNERS
from reposignal_pipeline.defs.resources import finish_pending_load, raw_pipeline
from reposignal_pipeline.warehouse import Warehouse


class IngestTranslator(DagsterDltTranslator):
    """Names the asset like its source and puts it into the group `ingest`."""

    def __init__(self, deps: list[dg.AssetKey], description: str) -> None:
        self._deps, self._description = deps, description

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        return (
            super()
            .get_asset_spec(data)
            .replace_attributes(
                key=dg.AssetKey(data.resource.name),
                deps=self._deps,
                group_name="ingest",
                owners=OWNERS,
                description=self._description,
            )
        )


def _in_parts(tables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of rows, then the load record (`_days`) that confirms them; empty parts are left out."""
    load_record = {table: rows for table, rows in tables.items() if table.endswith("_days")}
    rest = {table: rows for table, rows in tables.items() if table not in load_record}
    return [part for part in (rest, load_record) if part]


class Loader:
    """Loads batches of one run into a dataset, and holds the writer's lock only during each load.

    Args:
        dataset: dataset of the raw tables.
        source: function that returns the dlt resource for rows by table.
        context: context of the run.
        warehouse: the warehouse.
    """

    def __init__(
        self,
        dataset: str,
        source: Callable[[Mapping[str, Any]], DltResource],
        context: dg.AssetExecutionContext,
        warehouse: Warehouse,
    ) -> None:
        self._dataset, self._source = dataset, source
        self._run_id, self._warehouse, self._log = context.run_id, warehouse, context.log
        self._pipeline: dlthub.Pipeline = raw_pipeline(dataset)
        self._pipeline.config.restore_from_destination = (
            False  # sources keep no state in dlt, and declare their schemas
        )
        with self.writing():
            finish_pending_load(self._pipeline)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._warehouse.writing(f"run {self._run_id}: {self._dataset}", self._log, of=self._dataset):
            yield

    def load(self, tables: Mapping[str, Any]) -> None:
        """Load rows by table."""
        with self.writing():
            self.load_writing(tables)

    def load_writing(self, tables: Mapping[str, Any]) -> None:
        """Load rows by table; the caller holds the lock of `writing`."""
        with self._warehouse.loading():
            finish_pending_load(self._pipeline)
            for part in _in_parts(tables) if self._warehouse.commits_apart else [dict(tables)]:
                self._pipeline.run(self._source(part)).raise_on_failed_jobs()

    def stamp(self, rows: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
        """Return rows with the run id and a new load key, so that loading the batch again replaces it."""
        key = f"{self._run_id}:{uuid4().hex[:12]}"
        return [{**row, "run_id": self._run_id, "load_key": key, **more} for row in rows]
