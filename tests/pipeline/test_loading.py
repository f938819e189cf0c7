"""What is loaded, in what order, and what is refused."""

import socket
from pathlib import Path

import duckdb
import pytest

from tests.pipeline.homes import (
    NEVER_PUBLISHED,
    Home,
    assert_alike,
    assert_one_line,
    content_of,
    day_number,
    file_of,
    write_upstream,
)


@pytest.fixture
def mine(whole: Home, tmp_path: Path) -> Home:
    """A copy of the whole home with an upstream of its own, in the place of the former one."""
    home = whole.copied(tmp_path / "home")
    home.rankings_url = str(write_upstream(tmp_path / "upstream", range(1, 15)))
    return home


def release(home: Home) -> tuple[Path, int]:
    """Return what tells one published copy from another."""
    return home.published.resolve().relative_to(home.path.resolve()), home.published.stat().st_mtime_ns


def cut_off(home: Home, number: int) -> None:
    """Publish a day's file without its last rows."""
    day = day_number(number)
    lines = content_of(day).splitlines(keepends=True)
    (Path(str(home.rankings_url)) / file_of(day)).write_text("".join(lines[:-3]))


def test_the_marts_do_not_depend_on_the_order_of_loading(fresh: Home, whole: Home, tmp_path: Path) -> None:
    home = fresh.copied(tmp_path / "home")
    for first, last in ((10, 14), (1, 5), (6, 9)):  # backwards, and a hole that is filled later
        ran = home.load(first, last)
        assert ran.returncode == 0, ran.stderr
    assert_alike(whole.tables(), home.tables())


def test_the_small_upstream_has_what_makes_order_matter(whole: Home) -> None:
    assert whole.query(
        "select count(*) from (from dim_repo_alias select repo_key group by all having count(*) > 1)"
    ) == [(1,)]
    assert whole.query("select count(distinct day), count(distinct repo_key) from fct_repo_day") == [(13, 41)]
    assert whole.query("select count(distinct week) from weekly_repo_trends where rank_change is null") == [(3,)]


def test_a_day_twice_changes_nothing(mine: Home, whole: Home) -> None:
    ran = mine.run("run", "--day", str(day_number(14)))
    assert ran.returncode == 0, ran.stderr
    assert release(mine) != release(whole)
    assert_alike(whole.tables(), mine.tables())


def test_a_day_never_published_is_missing_with_a_reason(whole: Home) -> None:
    told = whole.query(
        f"select status, observed, coverage, reason from ops_source_coverage where day = '{NEVER_PUBLISHED}'"
    )
    assert told == [("missing", None, None, "no file published for this day")]


def test_a_malformed_file_is_refused_and_the_other_days_are_published(mine: Home) -> None:
    write_upstream(Path(str(mine.rankings_url)), range(15, 18))
    cut_off(mine, 16)
    ran = mine.load(15, 17)
    assert ran.returncode == 1
    assert_one_line(ran.stderr)
    assert file_of(day_number(16)) in ran.stderr
    assert "cut off" in ran.stderr
    statuses = mine.query(f"select status from ops_source_coverage where day >= '{day_number(15)}' order by day")
    assert statuses == [("observed",), ("refused",), ("observed",)]
    assert mine.query("select day, is_whole_file from ops_quarantine") == [(day_number(16), True)]
    assert mine.query(f"select count(*) from fct_repo_day where day >= '{day_number(15)}'") == [(80,)]


def test_a_malformed_republication_leaves_the_rows_and_the_published_copy(mine: Home, whole: Home) -> None:
    cut_off(mine, 5)
    ran = mine.run("run", "--day", str(day_number(5)))
    assert ran.returncode == 1
    assert_one_line(ran.stderr)
    assert "cut off" in ran.stderr
    assert release(mine) == release(whole)
    raw = []
    for home in (whole, mine):
        with duckdb.connect(str(home.path / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
            raw.append(
                connection.execute(
                    "select snapshot_date, item, rank, repo_name, stars from rankings.rankings order by all"
                ).fetchall()
            )
            assert connection.execute(
                f"select status from rankings.rankings_days where snapshot_date = '{day_number(5)}'"
            ).fetchall() == [("observed",)]
    assert raw[0] == raw[1]


def test_an_upstream_that_is_down_is_told_in_one_line(mine: Home, whole: Home) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        mine.rankings_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        ran = mine.run("run", "--day", str(day_number(14)))
    assert ran.returncode == 1
    assert_one_line(ran.stderr)
    assert file_of(day_number(14)) in ran.stderr
    assert release(mine) == release(whole)
