"""Names that were renamed in full growth, listed twice or taken over, on the recorded days on which it happened.

Only these lists, read only by the models of identity. Not here: how often a link is right (decision 0005).
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pytest
from built_homes import BuiltHome
from tiny_warehouse import Rows, TinyWarehouse

pytestmark = pytest.mark.real

MODELS = (
    "int_rankings_repo_days__merged",
    "int_repo_readings__united",
    "int_rankings_renames__linked",
    "int_repo_names__claimed",
    "int_repo_names__resolved",
    "int_repos__identified",
    "int_repo_days__stepped",
)
LINKS = """
    select day::varchar, old_name_key, new_name_key
    from pipeline.intermediate.int_rankings_renames__linked order by all
"""
READINGS = """
    select day::varchar, name_key, stars_total, step from pipeline.intermediate.int_repo_days__stepped
    where repo_key in (select repo_key from pipeline.intermediate.int_repo_names__resolved where name_key = $1)
    order by day, name_key
"""
EVERYTHING = "select * from pipeline.intermediate.int_repo_days__stepped where day <= $1 order by day, repo_key"
CLAW = "openclaw/openclaw"


def rankings(data: Path, first: str, last: str, lists: list[str]) -> list[dict[str, Any]]:
    """Return the recorded places of some lists as staging has them."""
    files = [str(path) for folder in ("rankings", "rankings_later") for path in (data / folder).glob("*.parquet")]
    with duckdb.connect(config={"threads": 1}) as connection:
        rows: list[dict[str, Any]] = (
            connection.execute(
                """
                select
                    snapshot_date as day, item as list, rank, username || '/' || repo_name as full_name,
                    lower(full_name) as name_key, stars as stars_total, forks as forks_total,
                    nullif(trim(language), '') as language, nullif(trim(description), '') as description
                from read_parquet($files) where snapshot_date between $first and $last and item in $lists
                """,
                {"files": files, "first": first, "last": last, "lists": lists},
            )
            .to_arrow_table()
            .to_pylist()
        )
    return rows


@pytest.fixture(scope="module")
def warehouse(real_home: BuiltHome) -> TinyWarehouse:
    return TinyWarehouse(real_home.manifest(), MODELS)


def built(warehouse: TinyWarehouse, rows: list[dict[str, Any]]) -> TinyWarehouse:
    warehouse.stage("stg_rankings__places", rows)
    warehouse.build()
    return warehouse


def links(warehouse: TinyWarehouse) -> Rows:
    return [(day, f"{old} > {new}") for day, old, new in warehouse.query(LINKS)]


def test_four_names_in_five_days_are_one_repository(warehouse: TinyWarehouse, real_data: Path) -> None:
    """Two of them are in one file; no day before the first day of a name uses it."""
    rows = rankings(real_data, "2026-01-25", "2026-02-03", ["TypeScript", "top-100-stars"])
    built(warehouse, rows)
    assert links(warehouse) == [
        ("2026-01-28", "clawdbot/clawdbot > moltbot/moltbot"),
        ("2026-01-28", "lobehub/lobe-chat > lobehub/lobehub"),
        ("2026-01-30", "gothinkster/realworld > realworld-apps/realworld"),
        ("2026-01-30", "moltbot/moltbot > openclaw/moltbot"),
        ("2026-01-31", "f/awesome-chatgpt-prompts > f/prompts.chat"),
        ("2026-01-31", "openclaw/moltbot > openclaw/openclaw"),
    ]
    assert warehouse.query(READINGS, CLAW) == [
        ("2026-01-27", "clawdbot/clawdbot", 51438, None),
        ("2026-01-28", "moltbot/moltbot", 74719, 23281),
        ("2026-01-29", "moltbot/moltbot", 91742, 17023),
        ("2026-01-30", "openclaw/moltbot", 106094, 14352),
        ("2026-01-31", CLAW, 121392, 15298),
        ("2026-02-01", CLAW, 133853, 12461),
        ("2026-02-02", CLAW, 143964, 10111),
        ("2026-02-03", CLAW, 152717, 8753),
    ]
    cuts = (dt.date(2026, 1, 27), dt.date(2026, 1, 30))
    known = {cut: warehouse.query(EVERYTHING, cut) for cut in cuts}
    for cut in cuts:
        built(warehouse, [row for row in rows if row["day"] <= cut])
        assert warehouse.query(EVERYTHING, cut) == known[cut]


def test_a_listed_name_that_takes_over_another_repository_gains_nothing(
    warehouse: TinyWarehouse, real_data: Path
) -> None:
    """mdbootstrap/bootstrap-material-design: 9,086 stars, then the 20,190 of the name that left."""
    built(warehouse, rankings(real_data, "2020-09-28", "2020-10-09", ["CSS"]))
    name = "mdbootstrap/bootstrap-material-design"
    assert links(warehouse) == [
        ("2020-10-01", "fezvrasta/bootstrap-material-design > bootstrap-material-design/bootstrap-material-design"),
        ("2020-10-03", "bootstrap-material-design/bootstrap-material-design > fezvrasta/bootstrap-material-design"),
        ("2020-10-06", "fezvrasta/bootstrap-material-design > mdbootstrap/bootstrap-material-design"),
        ("2020-10-06", "mdbootstrap/bootstrap-material-design > mdbootstrap/material-design-for-bootstrap"),
    ]
    readings = warehouse.query(READINGS, name)
    assert max(step for *_, step in readings if step is not None) < 20
    assert min(step for *_, step in readings if step is not None) > -20
    keys = warehouse.query(
        """
        select repo_key, list(distinct name_key order by name_key) from pipeline.intermediate.int_repo_days__stepped
        where day in ('2020-10-05', '2020-10-06') and name_key like '%material-design%'
        group by repo_key having count(*) = 2
        """
    )
    assert sorted(names for _, names in keys) == [
        ["fezvrasta/bootstrap-material-design", name],
        [name, "mdbootstrap/material-design-for-bootstrap"],
    ]


@pytest.mark.parametrize(
    ("name", "days", "burst"),
    [
        ("twitter/the-algorithm", ("2023-04-01", "2023-04-05"), ("2023-04-03", 6442)),
        ("openai/symphony", ("2026-03-05", "2026-03-09"), ("2026-03-07", 2151)),
    ],
)
def test_a_burst_onto_the_counts_of_another_name_stays_a_burst(
    warehouse: TinyWarehouse, real_data: Path, name: str, days: tuple[str, str], burst: tuple[str, int]
) -> None:
    built(warehouse, rankings(real_data, *days, ["Scala", "Elixir", "Objective-C", "top-100-stars"]))
    assert [link for _, link in links(warehouse) if name in link] == []
    assert burst in [(day, gained) for day, _, _, gained in warehouse.query(READINGS, name)]
