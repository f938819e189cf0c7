"""What is loaded, in what order, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from reposignal_pipeline.warehouse import BUILD_SCHEMA, columns_of_relations
from tests.pipeline.homes import (
    NEVER_PUBLISHED,
    Home,
    Ran,
    Rows,
    assert_alike,
    assert_one_line,
    content_of,
    day_number,
    file_of,
    served,
    write_upstream,
)

pytestmark = pytest.mark.slow


@dataclass
class Story:
    """The history of a copy of the whole home in this order: each chapter is a command and the state after it."""

    home: Home
    day_twice: Ran
    tables_after_day_twice: dict[str, Rows]
    republished: Ran
    """of the fifth day, truncated"""
    raw_after_republished: list[tuple[object, ...]]
    down: Ran
    releases: list[tuple[Path, int]]
    """before, and after each of the above"""
    range_with_refused: Ran
    """of three days, the second truncated"""
    tables_before_upgrade: dict[str, Rows]
    upgraded: Ran
    """the first command after the columns of models changed"""


@pytest.fixture(scope="module")
def story(whole: Home, tmp_path_factory: pytest.TempPathFactory) -> Story:
    path = tmp_path_factory.mktemp("story")
    home, upstream = whole.copied(path / "home"), write_upstream(path / "upstream", range(1, 18))
    for number in (5, 16):
        cut_off(upstream, number)
    with served(upstream) as server:
        home.rankings_url = f"http://{server.address}"
        with home.session() as session:
            releases = [release(home)]
            day_twice = session.run("run", "--day", str(day_number(14)))
            tables = home.tables()
            releases.append(release(home))
            republished = session.run("run", "--day", str(day_number(5)))
            raw = raw_rows(home)
            releases.append(release(home))
            server.status = 502
            down = session.run("run", "--day", str(day_number(14)))
            releases.append(release(home))
            server.status = None
            ranged = session.load(15, 17)
            before = home.tables()
            for file, table, column in (
                ("reposignal", "main.fct_language_day", "repos_with_gain"),
                ("pipeline", "intermediate.int_rankings_repo_days__merged", "stars_spread"),
            ):
                take_column_away(home, file, table, column)
            upgraded = session.load(15, 17)
    return Story(home, day_twice, tables, republished, raw, down, releases, ranged, before, upgraded)


def release(home: Home) -> tuple[Path, int]:
    """Return the identity of a published copy."""
    return home.published.resolve(), home.published.stat().st_mtime_ns


def take_column_away(home: Home, file: str, table: str, column: str) -> None:
    """Turn a home into one of a version whose model did not have this column yet."""
    with duckdb.connect(str(home.path / "warehouse" / f"{file}.duckdb")) as connection:
        connection.execute(f"alter table {table} drop column {column}")
    with duckdb.connect(str(home.path / "warehouse" / "reposignal.duckdb")) as connection:
        row = connection.execute(f"select columns from {BUILD_SCHEMA}.relations").fetchone()
        assert row
        built = json.loads(row[0])
        name = table.partition(".")[2]
        kept = [declared for declared in built[name].split(", ") if declared.split()[0] != column]
        assert kept != built[name].split(", ")
        built[name] = ", ".join(kept)
        connection.execute(f"update {BUILD_SCHEMA}.relations set columns = ?", [json.dumps(built)])


def raw_rows(home: Home) -> list[tuple[object, ...]]:
    """Return the places as loaded, and each day's status."""
    with duckdb.connect(str(home.path / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
        return connection.execute(
            "select snapshot_date, status, item, rank, repo_name, stars"
            " from rankings.rankings_days left join rankings.rankings using (snapshot_date) order by all"
        ).fetchall()


def cut_off(upstream: Path, number: int) -> None:
    """Publish a day's file without its last rows."""
    day = day_number(number)
    lines = content_of(day).splitlines(keepends=True)
    (upstream / file_of(day)).write_text("".join(lines[:-3]))


def test_the_marts_do_not_depend_on_the_order_of_loading(fresh: Home, whole: Home, tmp_path: Path) -> None:
    home = fresh.copied(tmp_path / "home")
    with home.session() as session:
        for first, last in ((10, 14), (1, 5), (6, 9)):  # backwards, with a gap that is filled later
            ran = session.load(first, last)
            assert ran.returncode == 0, ran.stderr
    assert_alike(whole.tables(), home.tables())


def test_the_small_upstream_has_what_makes_order_matter(whole: Home) -> None:
    renamed = "select repo_key from dim_repo_alias group by all having count(*) > 1"
    assert whole.query(f"select count(*) from ({renamed})") == [(1,)]
    assert whole.query("select count(distinct day), count(distinct repo_key) from fct_repo_day") == [(13, 41)]
    assert whole.query("select count(distinct week) from weekly_repo_trends") == [(3,)]


def test_a_day_never_published_is_missing_with_a_reason(whole: Home) -> None:
    coverage = "select status, observed, coverage, reason from ops_source_coverage"
    assert whole.query(f"{coverage} where day = '{NEVER_PUBLISHED}'") == [
        ("missing", None, None, "no file published for this day")
    ]


def test_a_day_twice_changes_nothing(story: Story, whole: Home) -> None:
    assert story.day_twice.returncode == 0, story.day_twice.stderr
    assert story.releases[1] != story.releases[0]
    assert_alike(whole.tables(), story.tables_after_day_twice)


def test_a_malformed_republication_is_refused_and_leaves_the_former_rows(story: Story, whole: Home) -> None:
    assert story.republished.returncode == 1
    assert_one_line(story.republished.stderr)
    assert file_of(day_number(5)) in story.republished.stderr
    assert "cut off" in story.republished.stderr
    assert story.raw_after_republished == raw_rows(whole)


def test_a_run_that_fails_leaves_the_published_copy(story: Story) -> None:
    assert story.releases[1:] == [story.releases[1]] * 3


def test_an_upstream_that_is_down_is_reported_in_one_line(story: Story) -> None:
    assert story.down.returncode == 1
    assert_one_line(story.down.stderr)
    assert f"{file_of(day_number(14))}: answered 502" in story.down.stderr


def test_a_malformed_file_is_refused_and_the_other_days_are_published(story: Story, whole: Home) -> None:
    ran, home = story.range_with_refused, story.home
    assert ran.returncode == 1
    assert_one_line(ran.stderr)
    assert file_of(day_number(16)) in ran.stderr
    assert "cut off" in ran.stderr
    statuses = home.query(f"select status from ops_source_coverage where day >= '{day_number(15)}' order by day")
    assert statuses == [("observed",), ("refused",), ("observed",)]
    assert home.query("select day, is_whole_file from ops_quarantine order by day") == [
        (day_number(5), True),
        (day_number(16), True),
    ]
    assert home.query(f"select count(*) from fct_repo_day where day >= '{day_number(15)}'") == [(80,)]
    former = f"select * from fct_repo_day where day < '{day_number(15)}' order by all"
    assert home.query(former) == whole.query(former)


def test_a_home_with_old_columns_is_rebuilt_with_the_same_rows(story: Story) -> None:
    assert story.upgraded.returncode == story.range_with_refused.returncode, story.upgraded.stderr
    assert_one_line(story.upgraded.stderr)
    assert_alike(story.tables_before_upgrade, story.home.tables())


def test_models_declare_the_columns_that_are_built(whole: Home) -> None:
    """Otherwise a column could change without any home noticing."""
    declared = columns_of_relations(json.loads((whole.path / "dbt" / "target" / "manifest.json").read_bytes()))
    with duckdb.connect() as connection:
        for file in ("reposignal", "pipeline"):
            path = whole.path / "warehouse" / f"{file}.duckdb"
            connection.execute(f"attach '{path}' as {file} (read_only)")
        built = dict(
            connection.execute(
                "select table_name, map_from_entries(list((column_name, lower(data_type)))) from duckdb_columns()"
                " where schema_name in ('main', 'intermediate', 'seeds') group by table_name"
            ).fetchall()
        )
    for name, columns in declared.items():
        types = dict((*column.split(" ", 1), None)[:2] for column in columns.split(", "))
        assert types == {column: built[name][column] if types.get(column) else None for column in built[name]}, name
