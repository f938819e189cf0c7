"""`reposignal lake`: init, status, import, export."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from lakes import LakeHome, plain

from tests.pipeline.homes import MADE, Home, Rows, assert_alike, assert_one_line

pytestmark = pytest.mark.slow


def tables_of(file: Path) -> dict[str, Rows]:
    """Return what `Home.tables` returns, for the file of the marts."""
    with duckdb.connect(str(file), read_only=True) as connection:
        names = connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'main' and table_name <> 'ops_run' order by 1"
        ).fetchall()
        return {
            name: connection.execute(f"select {MADE}::varchar from {name} order by all").fetchall() for (name,) in names
        }


def raw_rows_of(file: Path) -> dict[str, Rows]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return LakeHome.raw_rows_of(connection)


def test_init_creates_a_lake_and_a_second_init_changes_nothing(lake_home: LakeHome) -> None:
    first = lake_home.run("lake", "init")
    assert first.returncode == 0, first.stderr
    assert "nothing yet" in first.stdout
    again = lake_home.run("lake", "init")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert not any(secret in first.stdout + first.stderr for secret in lake_home.secrets)


def test_init_checks_the_bucket_before_it_creates_anything(make_lake: Callable[..., LakeHome]) -> None:
    home = make_lake(on_s3=True)
    right = home.data
    home.data = "s3://no-such-bucket/lake"
    ran = home.run("lake", "init")
    assert ran.returncode == 1
    assert_one_line(ran.stderr)
    assert "no-such-bucket" in ran.stderr
    home.data = right
    ran = home.run("lake", "init")
    assert ran.returncode == 0, ran.stderr


def test_status_shows_how_an_analyst_attaches_the_release(
    bucket_half: LakeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = bucket_half.run("lake", "status")
    assert ran.returncode == 0, ran.stderr
    assert not any(secret in ran.stdout + ran.stderr for secret in bucket_half.secrets)
    (statement,) = (line for line in ran.stdout.splitlines() if line.strip().startswith("attach "))
    monkeypatch.setenv("PGPASSWORD", bucket_half.postgres.password)
    with plain(bucket_half) as connection:
        connection.execute(statement)
        rows = connection.execute("select count(*) from reposignal.main.fct_repo_day").fetchall()
    assert rows == bucket_half.query("select count(*) from fct_repo_day")


def test_files_are_imported_into_a_lake_and_exported_again(half: Home, lake_home: LakeHome, tmp_path: Path) -> None:
    came = lake_home.run("lake", "import", str(half.path))
    assert came.returncode == 0, came.stderr
    assert_alike(raw_rows_of(half.path / "warehouse" / "pipeline.duckdb"), lake_home.raw_rows())
    assert_alike(half.tables(), lake_home.lake_tables())

    twice = lake_home.run("lake", "import", str(half.path))
    assert twice.returncode == 1
    assert_one_line(twice.stderr)

    out = tmp_path / "out"
    went = lake_home.run("lake", "export", str(out))
    assert went.returncode == 0, went.stderr
    for file in ("pipeline.duckdb", "reposignal.duckdb"):
        assert (out / "warehouse" / file).exists()
    assert_alike(
        raw_rows_of(half.path / "warehouse" / "pipeline.duckdb"), raw_rows_of(out / "warehouse" / "pipeline.duckdb")
    )
    assert_alike(half.tables(), tables_of(out / "warehouse" / "reposignal.duckdb"))
    refused = lake_home.run("lake", "export", str(out))
    assert refused.returncode == 1
    assert_one_line(refused.stderr)


def test_only_a_home_with_files_and_of_the_same_sources_is_imported(
    lake_home: LakeHome, folder_half: LakeHome, tmp_path: Path
) -> None:
    for home in (tmp_path / "nothing", folder_half.path):
        ran = lake_home.run("lake", "import", str(home))
        assert ran.returncode == 1
        assert_one_line(ran.stderr)


def test_a_profile_without_a_lake_is_reported(half: Home) -> None:
    ran = half.run("lake", "status")
    assert ran.returncode == 1
    assert_one_line(ran.stderr)
    assert "REPOSIGNAL_PROFILE" in ran.stderr
    assert not any(name.startswith("REPOSIGNAL_LAKE") for name in os.environ)


def test_several_workers_are_for_a_lake(half: Home) -> None:
    ran = half.run("backfill", "rankings", "--from", "2024-03-01", "--to", "2024-03-02", "--workers", "2")
    assert ran.returncode == 1
    assert_one_line(ran.stderr)
