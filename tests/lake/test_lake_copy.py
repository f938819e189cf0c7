"""The local copy of the marts that a home of a lake keeps: changes are copied again, and stale copies are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from lakes import LakeHome, warehouse_in

from reposignal_pipeline.lake.catalog import Lake
from tests.pipeline.homes import Rows

pytestmark = pytest.mark.slow

COPY = "warehouse/marts-copy.duckdb"


@pytest.fixture
def lake(folder_half: LakeHome, tmp_path: Path) -> Iterator[Lake]:
    """Seven days in a lake of its own, published from this home."""
    with warehouse_in(folder_half.copied(tmp_path / "home")) as lake:
        yield lake


def rows_in(connection: duckdb.DuckDBPyConnection) -> dict[str, Rows]:
    names = connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'main' and database_name = current_database()"
    ).fetchall()
    return {
        name: connection.execute(f"select columns(*)::varchar from {name} order by all").fetchall() for (name,) in names
    }


def texts_in(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, ...]]:
    return connection.execute(
        """
        select table_name, null, comment from duckdb_tables()
        where schema_name = 'main' and database_name = current_database()
        union all
        select table_name, column_name, comment from duckdb_columns()
        where schema_name = 'main' and database_name = current_database()
        order by all
        """
    ).fetchall()


def assert_copied(lake: Lake, target: Path) -> None:
    """Fail unless a copy made now has every row and every comment of the marts, and nothing else."""
    lake.copy_marts(target)
    with lake.connected() as connection, duckdb.connect(str(target), read_only=True) as copy:
        assert rows_in(copy) == rows_in(connection)
        assert texts_in(copy) == texts_in(connection)
        assert copy.execute("select distinct schema_name from duckdb_tables()").fetchall() == [("main",)]


def test_changed_tables_are_copied_again(lake: Lake, tmp_path: Path) -> None:
    assert_copied(lake, tmp_path / "before")
    with lake.connected() as connection:
        connection.execute("delete from dim_repo where repo_key = (select min(repo_key) from dim_repo)")
        connection.execute(
            "update fct_repo_day set stars_total = stars_total + 1 where day = (select max(day) from fct_repo_day)"
        )
        connection.execute("insert into build.unpublished select max(day) from fct_repo_day")
        connection.execute("comment on column dim_repo.full_name is 'another comment'")
        connection.execute("create table another as select 1 as one")
        connection.execute("drop table signal_weight")
    assert_copied(lake, tmp_path / "after")


def test_a_month_that_another_home_published_is_copied_again(lake: Lake, tmp_path: Path) -> None:
    """The month has not changed since the newest release, but it has since the copy was made."""
    assert_copied(lake, tmp_path / "before")
    with lake.connected() as connection:
        connection.execute("update fct_repo_day set stars_total = stars_total + 1")
        connection.execute(
            "insert into build.releases select 'another', max(id), now()::timestamp from reposignal.current_snapshot()"
        )
    assert_copied(lake, tmp_path / "after")


@pytest.mark.parametrize("stamp", ["snapshot_us = snapshot_us + 1", "snapshot_id = snapshot_id + 1000"])
def test_the_copy_of_another_lake_is_not_used(lake: Lake, tmp_path: Path, stamp: str) -> None:
    assert_copied(lake, tmp_path / "before")
    with duckdb.connect(str(lake.settings.home / COPY)) as copy:
        copy.execute(f"update build.copied set {stamp}")
        copy.execute("delete from dim_repo")
        copy.execute("delete from fct_repo_day")
    assert_copied(lake, tmp_path / "after")


def test_a_copy_older_than_the_catalogs_snapshots_is_not_used(lake: Lake, tmp_path: Path) -> None:
    assert_copied(lake, tmp_path / "before")
    with lake.connected() as connection:
        connection.execute("update fct_repo_day set stars_total = stars_total + 1")
        connection.execute("insert into build.unpublished values (null)")
        connection.execute("call ducklake_expire_snapshots('reposignal', older_than => now() - interval 0 second)")
    assert_copied(lake, tmp_path / "after")


def test_unchanged_tables_are_left_alone(lake: Lake, tmp_path: Path) -> None:
    lake.copy_marts(tmp_path / "before")
    with duckdb.connect(str(lake.settings.home / COPY)) as copy:
        copy.execute("delete from dim_repo")
    lake.copy_marts(tmp_path / "after")
    with duckdb.connect(str(tmp_path / "after"), read_only=True) as copy:
        assert copy.execute("select count(*) from dim_repo").fetchall() == [(0,)]
