"""The models of the project as dbt compiled them, run on rows in memory: a small history in a second.

Here: creating the input tables of the models, running them for a window of days, reading rows. Not here: dbt itself
(`built_homes`) and the expected rows (test modules).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

Rows = list[tuple[Any, ...]]
ALL_DAYS = (dt.date(2000, 1, 1), dt.date(2999, 12, 31))

STAGED = {
    "stg_rankings__places": (
        "day date, list varchar, rank integer, full_name varchar, name_key varchar, stars_total bigint,"
        " forks_total bigint, issues_open bigint, language varchar, description varchar, last_commit_at timestamp"
    ),
    "stg_repositories__observations": (
        "day date, repo_id bigint, full_name varchar, name_key varchar, state varchar, stars_total bigint,"
        " forks_total bigint, language varchar, topics varchar[], description varchar, created_at timestamp,"
        " is_archived boolean, is_fork boolean, observed_at timestamp"
    ),
    "stg_gh_archive__stars": "day date, repo_ref bigint, repo_id bigint, full_name varchar, name_key varchar",
    "stg_repositories__universe_changes": (
        "day date, repo_id bigint, full_name varchar, name_key varchar, change varchar, via varchar, reason varchar"
    ),
}


class TinyWarehouse:
    """Takes staged rows and builds any of the models."""

    def __init__(self, manifest: dict[str, Any], models: Sequence[str]) -> None:
        nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
        self.models = [nodes[name] for name in models]
        self.connection = duckdb.connect(config={"threads": 1})
        for database in ("pipeline", "reposignal"):
            self.connection.execute(f"attach ':memory:' as {database}")
        for node in [*self.models, *(nodes[name] for name in STAGED)]:
            self.connection.execute(f"create schema if not exists {node['database']}.{node['schema']}")
        for name, columns in STAGED.items():
            self.connection.execute(f"create table pipeline.staging.{name} ({columns})")

    def stage(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Replace the rows of a staged table; missing fields are NULL."""
        self.connection.execute(f"delete from pipeline.staging.{table}")
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            self.connection.execute(f"insert into pipeline.staging.{table} ({names}) values ({marks})", [*row.values()])

    def build(self, window: tuple[dt.date, dt.date] = ALL_DAYS, *, full: bool = True) -> None:
        """Build every model for a window of days, as the incremental strategy does, or from scratch."""
        for node in self.models:
            relation = f"{node['database']}.{node['schema']}.{node['name']}"
            is_whole = node["config"]["incremental_strategy"] == "replace_all"  # and equal to a build of all days
            first, last = ALL_DAYS if is_whole else window
            sql = re.sub(r"date '2000-01-01'", f"date '{first}'", node["compiled_code"])
            sql = re.sub(r"date '2999-12-31'", f"date '{last}'", sql)
            if full or is_whole or node["config"]["materialized"] == "table":
                self.connection.execute(f"create or replace table {relation} as {sql}")
            else:
                self.connection.execute(f"create or replace temp table fresh as {sql}")
                self.connection.execute(f"delete from {relation} where day between ? and ?", [*window])
                self.connection.execute(f"insert into {relation} by name from fresh")

    def query(self, sql: str, *parameters: Any) -> Rows:
        """Return rows of a query; marts as `reposignal.main.NAME`, the rest as `pipeline.SCHEMA.NAME`."""
        return self.connection.execute(sql, parameters).fetchall()
