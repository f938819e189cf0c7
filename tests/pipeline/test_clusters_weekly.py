"""Weekly clusters in a warehouse: which repositories, what is known when, and the same rows in any order of loading.

Here: the asset over generated weekly tables, and languages over clusters as dbt builds them in the demo home.
"""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from reposignal_pipeline.analysis.clusters import CLUSTER_TABLES, TOO_FEW
from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.defs.clusters import past_of, week_of_clusters, weekly_clusters
from reposignal_pipeline.warehouse import DayRange, Warehouse, append_rows, replace_weeks
from tests.pipeline.homes import PATIENCE_SECONDS, ROOT, Home

MONDAY = dt.date(2024, 3, 4)
WEEK = dt.timedelta(weeks=1)
FIELDS = {
    "agents": ["ai-agents", "llm", "automation", "tool-use", "prompts"],
    "databases": ["sql", "storage-engine", "transactions", "query-planner", "replication"],
    "games": ["game-engine", "physics", "shaders", "sprites", "voxel"],
    "audio": ["speech", "synthesizer", "midi", "tts", "waveform"],
}
WEEKS = 6


def field_of(repo: int, week: int) -> str:
    """Return a repository's field: six of each change to another one in the fourth week."""
    names = list(FIELDS)
    return names[(repo + (week >= 3 and repo <= 24 and repo % 4 == 0)) % 4]


def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return weekly_repo_trends and dim_repo of 80 tracked repositories, and of 40 known only from the rankings."""
    trends, versions = [], []
    for repo in range(1, 121):
        is_tracked = repo <= 80
        for number in range(WEEKS):
            week = MONDAY + number * WEEK
            field = field_of(repo, number) if is_tracked else "games"
            words = random.Random(f"{repo}/{field}").sample(FIELDS[field], 3)
            trends.append(
                {
                    **{
                        "week": week,
                        "repo_key": repo,
                        "full_name": f"owner/{repo}",
                        "language": ("Go", "Rust")[repo % 2],
                    },
                    **{
                        "as_of_date": week + dt.timedelta(days=6),
                        "stars_total": 1000 + 10 * number,
                        "stars_gained": 10,
                    },
                    **{"stars_gained_basis": "net_change", "growth_pct": 1.0, "is_tracked": is_tracked},
                }
            )
            if number in (0, 3):
                # on the Wednesday of the fourth week, so that the fourth week is the first to know it
                since = week + dt.timedelta(days=2) if number else week
                until = MONDAY + 3 * WEEK + dt.timedelta(days=2) if not number else None
                versions.append(
                    {
                        **{"repo_key": repo, "valid_from": since, "valid_to": until, "topics": words},
                        "description": "a thing",
                    }
                )
    return pd.DataFrame(trends), pd.DataFrame(versions).astype({"valid_to": "datetime64[us]"})


def fill(connection: duckdb.DuckDBPyConnection, until: dt.date = dt.date.max) -> None:
    """Create the input tables of the clusters, as in a home that knows nothing from a day on."""
    trends, versions = world()
    connection.register("trends", trends)
    connection.register("versions", versions)
    connection.execute("create or replace table weekly_repo_trends as from trends where week < $1", [until])
    connection.execute(
        "create or replace table dim_repo as select * replace (valid_to::date as valid_to) from versions"
        " where valid_from < $1",
        [until],
    )
    connection.execute("update dim_repo set valid_to = null where valid_to >= $1", [until])
    for table in CLUSTER_TABLES:
        append_rows(connection, table)


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    fill(made)
    return made


def run(connection: duckdb.DuckDBPyConnection, *numbers: int) -> None:
    for number in numbers:
        week = MONDAY + number * WEEK
        for table, frame in week_of_clusters(connection, week):
            replace_weeks(connection, table, frame, week, week)


def stored(connection: duckdb.DuckDBPyConnection, where: str = "true") -> dict[str, list[tuple[object, ...]]]:
    return {
        table.name: connection.execute(f"from {table.name} where {where} order by all").fetchall()
        for table in CLUSTER_TABLES
    }


def test_only_tracked_repositories_where_there_are_any(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, 0)
    assert connection.execute("select repos, clusters from fct_clustering_week").fetchall() == [(80, 4)]
    assert connection.execute("select max(repo_key) from fct_cluster_member_week").fetchone() <= (80,)  # type: ignore[operator]
    connection.execute("update weekly_repo_trends set is_tracked = false")
    run(connection, 0)
    assert connection.execute("select repos + repos_without_text from fct_clustering_week").fetchall() == [(120,)]


def test_a_single_week_gives_the_rows_of_the_range(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, *range(WEEKS))
    whole = stored(connection)
    assert {len(rows) > 0 for rows in whole.values()} == {True}
    for number in (3, 0, WEEKS - 1):
        run(connection, number)
        assert stored(connection) == whole, number


def test_nothing_later_is_used(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, *range(WEEKS))
    for number in (2, 3):
        monday_after = MONDAY + (number + 1) * WEEK
        past = duckdb.connect()
        fill(past, monday_after)
        run(past, *range(number + 1))
        assert stored(past) == stored(connection, f"week < date '{monday_after}'")


def test_new_texts_move_repositories_in_their_week(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, *range(WEEKS))
    entrants = connection.execute(
        "select week, list(repo_key) from fct_cluster_member_week where is_entrant group by week order by week"
    ).fetchall()
    assert [week for week, _ in entrants] == [MONDAY + 3 * WEEK]
    assert {4, 8, 12, 16, 20, 24} <= set(entrants[0][1])
    in_all = "select sum(entrants) from fct_cluster_week where week = $1"
    assert connection.execute(in_all, [MONDAY + 3 * WEEK]).fetchone() == (len(entrants[0][1]),)


def test_a_deleted_week_leaves_no_rows(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, 0, 1)
    connection.execute("delete from weekly_repo_trends where week = $1", [MONDAY + WEEK])
    run(connection, 1)
    assert not any(stored(connection, f"week = date '{MONDAY + WEEK}'").values())


def test_the_past_is_what_is_stored_before_the_week(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, 0, 1, 2)
    past = past_of(connection, MONDAY + WEEK)
    assert (past.first_week, past.newest) == (MONDAY, 4)
    assert set(past.clusters["week"]) == {pd.Timestamp(MONDAY)}
    assert past_of(connection, MONDAY).first_week is None
    late = past_of(connection, MONDAY + 20 * WEEK)
    assert (len(late.clusters), len(late.members), late.newest) == (0, 0, 4)


def test_the_asset_writes_its_weeks_and_notes_that_verticals_are_stale(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", profile=Profile.LOCAL, rankings_base="")
    settings.warehouse_dir.mkdir(parents=True)
    warehouse = Warehouse(settings)
    with warehouse.connected() as connection:
        fill(connection)
        connection.execute("create table fct_repo_signal_day as select date '2024-04-01' as day")
    ran = dg.materialize(
        [weekly_clusters],
        resources={"warehouse": warehouse},
        tags={
            "dagster/asset_partition_range_start": str(MONDAY),
            "dagster/asset_partition_range_end": str(MONDAY + 2 * WEEK),
        },
    )
    assert ran.success
    assert [check.check_name for check in ran.get_asset_check_evaluations() if not check.passed] == []
    with warehouse.connected() as connection:
        weeks = connection.execute("select week, clusters from fct_clustering_week order by week").fetchall()
    assert weeks == [(MONDAY + number * WEEK, 4) for number in range(3)]
    assert warehouse.begin_verticals() == DayRange(MONDAY + WEEK, dt.date(2024, 4, 1))
    warehouse.end_verticals()
    assert warehouse.begin_verticals() is None


# --- the demo home


def test_the_agents_of_the_sample_are_a_cluster(demo: Home) -> None:
    agents = demo.query(
        "select full_name from fct_cluster_member_week join fct_cluster_week using (week, cluster)"
        " where week = date '2026-02-23' and label like '%ai-agents%'"
    )
    assert {
        ("microsoft/magentic-ui",), ("modelscope/ms-agent",), ("hyperbrowserai/HyperAgent",),
        ("synthetic-20/agent-pod",), ("synthetic-50/agent-hut",),
    } <= set(agents)  # fmt: skip
    assert len(agents) >= 8
    before = "select distinct is_stable, reason from fct_clustering_week where week < date '2026-02-16'"
    assert demo.query(before) == [(False, TOO_FEW)]


def test_clusters_are_verticals_from_the_monday_after_their_first_week(demo: Home) -> None:
    days = "select min(day), max(day) from fct_language_vertical_day where vertical_basis = 'cluster'"
    assert demo.query(days) == [(dt.date(2026, 2, 23), dt.date(2026, 2, 27))]
    astray = (
        "from fct_language_vertical_day as cells where vertical_basis = 'cluster' and not exists ("
        "from fct_cluster_week where week = date '2026-02-16' and cluster = cells.cluster and label = cells.vertical"
        " and size = cells.vertical_repos)"
    )
    assert demo.query(astray) == []
    reach = (
        "select vertical_basis, min(verticals) from fct_language_reach_day"
        " where day = date '2026-02-27' and repos_with_topics > 0 group by all order by all"
    )
    assert demo.query(reach) == [("cluster", 1), ("curated", 1)]


AGAIN = """
import dagster as dg
from reposignal_pipeline.definitions import defs
definitions = defs()
build = {"ops": {"marts": {"config": {"rebuild_from": "2026-02-20"}}}}
weeks = {"dagster/asset_partition_range_start": "2026-02-09", "dagster/asset_partition_range_end": "2026-02-23"}
for job, tags in (("build", {"run_config": build}), ("weekly", {"tags": weeks})):
    assert definitions.resolve_job_def(job).execute_in_process(instance=dg.DagsterInstance.ephemeral(), **tags).success
"""


def test_days_and_weeks_that_are_built_again_are_the_same(demo: Home, tmp_path: Path) -> None:
    home = demo.copied(tmp_path / "home")
    subprocess.run([sys.executable, "-c", AGAIN], env=home.environment, cwd=ROOT, check=True, timeout=PATIENCE_SECONDS)
    tables = ("fct_language_vertical_day", "fct_language_reach_day", *(table.name for table in CLUSTER_TABLES))
    for table in tables:
        assert home.query(f"from {table} order by all") == demo.query(f"from {table} order by all"), table
