"""The weekly tables compared with one another and with the daily marts, on the demo's home; and each check can fail."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from reposignal_pipeline.defs.identities import IDENTITIES, Identity, checked, specs_of
from tests.pipeline.homes import Home

FIRST, LAST = dt.date(2025, 10, 20), dt.date(2026, 2, 23)
PLANTS = {
    "rows_are_last_readings": (
        "update weekly_repo_trends set stars_total = stars_total + 1 where week = '2026-01-05' and rank = 3",
        "delete from weekly_repo_trends where week = '2026-01-05' and rank = 4",
        "update weekly_repo_trends set stars_gained = stars_gained + 1 where week = '2026-02-02' and rank = 1",
    ),
    "ranks_follow_scores": (
        "update weekly_repo_trends set rank = rank + 1 where week = '2026-02-02' and rank > 7",
        "update weekly_repo_trends set rank = null where week = '2026-02-02' and rank = 200",
    ),
    "rank_changes_are_of_the_week_before": (
        "update weekly_repo_trends set rank_change = 0 where week = '2026-02-02' and rank_change = 1",
    ),
    "languages_add_up_repositories": (
        "update weekly_language_trends set repos = repos + 1 where week = '2026-02-02' and language = 'Go'",
        "update weekly_language_trends set stars_gained = null where week = '2026-02-02' and language = 'Go'",
        "update weekly_language_trends set top50_share = 0.5 where week = '2026-02-16' and language = 'Go'",
    ),
    "top50_is_that_of_the_day": (
        "update weekly_language_trends set top50_repos = 9 where week = '2026-02-16' and language = 'Go'",
        "update weekly_language_trends set top50_share_low = 0.01 where week = '2026-02-16' and language = 'Go'",
    ),
    "breakouts_are_those_of_the_trends": (
        "delete from weekly_breakouts where week = (select max(week) from weekly_breakouts)",
        "update weekly_breakouts set probability = 0.123 where probability is not null",
        "update weekly_breakouts set first_flagged_on = as_of_date + 1",
    ),
    "the_record_counts_the_ledger": (
        "update weekly_track_record set resolved = resolved + 1 where week = '2026-02-16'",
        "update weekly_track_record set brier = brier / 2 where week = '2026-02-16'",
    ),
    "members_were_read_in_the_week": (
        "insert into fct_cluster_member_week from fct_cluster_member_week limit 1",
        "update fct_cluster_member_week set repo_key = -repo_key where week = '2026-02-16'",
    ),
    "clusters_add_up_members": (
        "update fct_cluster_week set size = size + 1 where week = '2026-02-16'",
        "update fct_cluster_week set stars_gained = null where week = '2026-02-16'",
        "update fct_clustering_week set clusters = clusters + 1 where week = '2026-02-16'",
    ),
    "trends_are_those_of_the_clusters": (
        "update weekly_cluster_trends set growth = growth + 0.1 where week = '2026-02-16'",
        "update weekly_cluster_trends set momentum = null where week = '2026-02-16'",
        "delete from weekly_cluster_trends where week = '2026-02-16'",
    ),
}


@pytest.fixture(scope="module")
def marts(demo: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identities") / "reposignal.duckdb"
    shutil.copy(demo.published.resolve(), path)
    path.chmod(0o644)
    return path


@pytest.fixture
def connection(marts: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The marts in a transaction that is rolled back."""
    with duckdb.connect(str(marts)) as connection:
        connection.begin()
        yield connection
        connection.rollback()


def failed(connection: duckdb.DuckDBPyConnection, *tables: str) -> set[str]:
    """Return the identities that do not hold."""
    tables = tables or tuple(identity.table for identity in IDENTITIES)
    return {result.check_name or "" for result in checked(connection, FIRST, LAST, *tables) if not result.passed}


def test_every_identity_holds_in_the_demo(connection: duckdb.DuckDBPyConnection) -> None:
    assert failed(connection) == set()


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: identity.name)
def test_a_broken_identity_is_found(connection: duckdb.DuckDBPyConnection, identity: Identity) -> None:
    for number, statement in enumerate(PLANTS[identity.name]):
        connection.execute(statement)
        assert identity.name in failed(connection, identity.table), PLANTS[identity.name][number]
        connection.rollback()
        connection.begin()


def test_checks_are_declared_for_their_tables() -> None:
    assert {spec.name for spec in specs_of("weekly_breakouts")} == {"breakouts_are_those_of_the_trends"}
    assert len({identity.name for identity in IDENTITIES}) == len(IDENTITIES)
