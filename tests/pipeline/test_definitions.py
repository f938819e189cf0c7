"""The definitions as Dagster sees them: the asset graph, jobs, schedules, pools.

Renew the snapshot with `RENEW_ASSET_GRAPH=1 .venv/bin/python -m pytest tests/pipeline/test_definitions.py -k snapshot`.
"""

import json
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.homes import ROOT, Home

SNAPSHOT = Path(__file__).with_name("asset_graph.json")
RENEW = "RENEW_ASSET_GRAPH" in os.environ
WINDOW = [
    "--vars",
    '{"window_start": "2024-03-04", "window_end": "2024-03-10", "loaded_since": "1970-01-01 00:00:00",'
    ' "archived_days": [], "build_number": 1}',
]
BUILD = ["build", "--exclude-resource-type", "unit_test"]


def report(home: Home) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.pipeline.graph"],
        env=home.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def read(home: Home) -> dict[str, Any]:
    ran = report(home)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def local(fresh: Home) -> dict[str, Any]:
    return read(fresh)


def test_the_asset_graph_is_that_of_the_snapshot(local: dict[str, Any]) -> None:
    if RENEW:
        SNAPSHOT.write_text(json.dumps(local["graph"], indent=1) + "\n")
    assert local["graph"] == json.loads(SNAPSHOT.read_text())


def test_no_group_comes_before_one_that_it_reads(local: dict[str, Any]) -> None:
    """Otherwise the lineage of groups shows the first one last."""
    graph = local["graph"]
    before: dict[str, set[str]] = {node["group"]: set() for node in graph.values()}
    for node in graph.values():
        before[node["group"]] |= {graph[key]["group"] for key in node["upstream"]} - {node["group"]}
    assert len([*TopologicalSorter(before).static_order()]) == len(before)


def test_every_asset_has_owners_and_a_description_and_kinds(local: dict[str, Any]) -> None:
    assert {key: node["has"] for key, node in local["graph"].items() if len(node["has"]) < 3} == {}


def test_every_check_has_a_description(local: dict[str, Any]) -> None:
    checks = local["checks"]
    assert len(checks) > 100
    assert [name for name, description in checks.items() if not description] == []
    (bounds,) = {text for name, text in checks.items() if "between_fct_repo_day_stars_total__0" in name}
    assert bounds == "`stars_total` is NULL or at least 0."


def test_every_asset_is_made_in_the_writer_pool(local: dict[str, Any]) -> None:
    assert {pool for pools in local["pools"].values() for pool in pools} == {"warehouse_writer"}
    assert all(local["pools"].values())


def test_daily_and_weekly_jobs_end_with_the_published_copy(local: dict[str, Any]) -> None:
    daily, weekly = local["jobs"]["daily"], local["jobs"]["weekly"]
    assert {"rankings", "fct_repo_signal_day", "published_warehouse"} <= set(daily)
    forecasts = {
        "fct_forecast",
        "fct_forecast_superseded",
        "fct_forecast_outcome",
        "weekly_breakouts",
        "weekly_track_record",
    }
    trends = {"weekly_repo_trends", "weekly_language_trends", "weekly_cluster_trends"}
    clusters = {"fct_clustering_week", "fct_cluster_week", "fct_cluster_member_week"}
    verticals = {
        "stg_clusters__clusters",
        "stg_clusters__members",
        "fct_language_vertical_day",
        "fct_language_reach_day",
    }
    article = {"weekly_article", "fct_article_claim"}
    assert set(weekly) == trends | clusters | verticals | forecasts | article | {"published_warehouse"}


def test_a_range_is_loaded_separately_from_unpartitioned_assets(local: dict[str, Any]) -> None:
    jobs = local["jobs"]
    assert jobs["ingest"] == ["gh_archive", "rankings", "repositories", "star_history"]
    assert sorted(["rankings"] + jobs["build"] + jobs["publish"]) == jobs["daily"]  # the configured ones


def test_with_a_token_the_daily_job_queries_every_source(fresh: Home) -> None:
    jobs = read(Home(fresh.path, fresh.rankings_url, extra={"GITHUB_TOKEN": "a,b"}))["jobs"]
    assert {"rankings", "repositories", "star_history"} <= set(jobs["daily"])


def test_schedules_run_on_their_own_against_live_upstreams(local: dict[str, Any]) -> None:
    assert local["schedules"] == {
        "daily_schedule": ["daily", "0 9 * * *", "RUNNING"],
        "catch_up_schedule": ["daily", "0 12-21/3 * * *", "RUNNING"],
        "weekly_schedule": ["weekly", "0 11 * * 1", "RUNNING"],
        "refit_schedule": ["refit", "0 10 2 * *", "RUNNING"],
    }


def test_schedules_are_off_on_the_sample_and_a_broken_manifest_is_rebuilt(demo: Home, tmp_path: Path) -> None:
    home = demo.copied(tmp_path / "home")
    manifest = home.path / "dbt" / "target" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:1000])  # killed while it was written
    found = read(home)
    assert {status for *_, status in found["schedules"].values()} == {"STOPPED"}
    assert len(found["graph"]) == len(json.loads(SNAPSHOT.read_text()))


def test_an_unknown_profile_fails_with_its_name(tmp_path: Path) -> None:
    ran = report(Home(tmp_path / "home", profile="prod"))
    assert ran.returncode != 0
    assert "REPOSIGNAL_PROFILE='prod' is not a profile; use one of: demo, local" in ran.stderr


def test_dbt_builds_a_window_or_everything(local: dict[str, Any]) -> None:
    assert local["dbt_build_args"] == [BUILD, [*BUILD, *WINDOW], [*BUILD, "--full-refresh"], [*BUILD, "--full-refresh"]]
