"""The record of loaded days that are not built yet."""

from __future__ import annotations

import datetime as dt
import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.warehouse import (
    BUILD_SCHEMA,
    NEVER,
    DayRange,
    Rebuild,
    Warehouse,
    columns_of_relations,
    console,
    joined_ranges,
)

DAY = dt.date(2026, 3, 2)
AT = dt.datetime(2026, 3, 3, 6)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    settings = Settings(home=tmp_path, profile=Profile.LOCAL, rankings_base="")
    settings.warehouse_dir.mkdir(parents=True)
    return Warehouse(settings)


def observe(warehouse: Warehouse, day: dt.date, at: dt.datetime) -> None:
    with warehouse.connected() as connection:
        connection.execute(
            "insert into pipeline.repositories.repositories_days (day, status, fetched_at) values (?, 'observed', ?)",
            [day, at],
        )


def read_week(warehouse: Warehouse, week: dt.date, fetched_at: dt.datetime, loaded_at: dt.datetime) -> None:
    with warehouse.connected() as connection:
        connection.execute(
            "insert into pipeline.star_history.star_history (repo_id, week, fetched_at, loaded_at) values (1, ?, ?, ?)",
            [week, fetched_at, loaded_at],
        )


def changed_months(warehouse: Warehouse) -> set[dt.date]:
    with warehouse.connected() as connection:
        return {month for (month,) in connection.execute(f"from {BUILD_SCHEMA}.unpublished_month").fetchall()}


def test_nothing_loaded_is_nothing_to_build(warehouse: Warehouse) -> None:
    assert warehouse.begin_build() is None


def test_a_load_is_built_once(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    assert warehouse.begin_build() == Rebuild(DayRange(DAY, DAY), NEVER)
    warehouse.end_build()
    observe(warehouse, DAY + dt.timedelta(days=1), AT + dt.timedelta(days=1))
    later = DAY + dt.timedelta(days=1)
    assert warehouse.begin_build() == Rebuild(DayRange(later, later), NEVER, number=2)


def days_built(warehouse: Warehouse, first: dt.date, last: dt.date) -> None:
    with warehouse.connected() as connection:
        connection.execute(
            "create or replace table fct_repo_day as"
            f" select unnest(generate_series(date '{first}', date '{last}', interval 1 day))::date as day,"
            " 100 as stars_total"
        )
        connection.execute("create or replace table fct_repo_signal_day as from fct_repo_day")


def test_a_release_of_another_run_leaves_the_weeks_of_a_load_to_be_renewed(warehouse: Warehouse) -> None:
    monday = dt.date(2024, 3, 4)
    for n in range(14):
        observe(warehouse, monday + n * dt.timedelta(days=1), AT)
    warehouse.begin_build()  # by a daily run, which ends with a release and renews no week
    warehouse.end_build()
    days_built(warehouse, monday, monday + dt.timedelta(days=13))
    with warehouse.connected() as connection:
        connection.execute(f"delete from {BUILD_SCHEMA}.unpublished")
    warehouse.begin_build()
    warehouse.end_build()
    assert warehouse.changed_from() == monday


@pytest.mark.parametrize(
    ("first", "last", "is_settled"),
    [
        (0, 1, True),
        (1, 1, False),  # the first of both weeks is as it was
        (0, 0, False),  # the second week shows the first one's days, too
        (-1, 1, True),
    ],
)
def test_renewed_weeks_settle_what_changed_in_them(
    first: int, last: int, is_settled: bool, warehouse: Warehouse
) -> None:
    monday, week = dt.date(2024, 3, 4), dt.timedelta(weeks=1)
    observe(warehouse, monday, AT)
    observe(warehouse, monday + dt.timedelta(days=13), AT)
    warehouse.begin_build()
    warehouse.end_build()
    days_built(warehouse, monday, monday + dt.timedelta(days=13))
    with warehouse.connected() as connection:
        warehouse.note_renewed_weeks(connection, monday + first * week, monday + last * week)
    assert warehouse.changed_from() == (None if is_settled else monday)


def test_star_histories_older_than_every_total_are_settled_by_its_week(warehouse: Warehouse) -> None:
    monday = dt.date(2024, 3, 4)
    observe(warehouse, monday, AT)
    read_week(warehouse, dt.date(2019, 3, 3), AT, AT)
    warehouse.begin_build(since=dt.date.min)
    warehouse.end_build()
    days_built(warehouse, monday, monday)
    with warehouse.connected() as connection:
        warehouse.note_renewed_weeks(connection, monday, monday)
    assert warehouse.changed_from() is None


def test_weeks_long_past_are_new_when_they_were_loaded_since(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    read_week(warehouse, dt.date(2026, 2, 22), AT, AT)
    warehouse.begin_build()
    warehouse.end_build()
    read_week(warehouse, dt.date(2024, 4, 28), AT, AT + dt.timedelta(hours=1))
    rebuild = warehouse.begin_build()
    assert rebuild == Rebuild(DayRange(DAY, DAY), AT, number=2)
    assert {dt.date(2024, 4, 1), dt.date(2024, 5, 1)} <= changed_months(warehouse)


def test_weeks_of_a_killed_run_give_its_day_a_pace_later(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    warehouse.begin_build()
    warehouse.end_build()
    read_week(warehouse, dt.date(2026, 2, 22), AT, AT + dt.timedelta(minutes=1))  # killed before it reported its result
    later = DAY + dt.timedelta(days=3)
    observe(warehouse, later, AT + dt.timedelta(days=3))
    rebuild = warehouse.begin_build()
    assert rebuild
    assert rebuild.window == DayRange(DAY, later)


def test_days_loaded_late_touch_every_month_with_star_history(warehouse: Warehouse) -> None:
    def rank(day: dt.date, at: dt.datetime) -> None:
        with warehouse.connected() as connection:
            connection.execute(
                "insert into pipeline.rankings.rankings_days (snapshot_date, status, fetched_at)"
                " values (?, 'observed', ?)",
                [day, at],
            )

    rank(DAY, AT)
    read_week(warehouse, dt.date(2024, 6, 2), AT, AT)
    warehouse.begin_build()
    warehouse.end_build()
    with warehouse.connected() as connection:
        connection.execute(f"delete from {BUILD_SCHEMA}.unpublished_month")
    rank(DAY - dt.timedelta(days=30), AT + dt.timedelta(hours=1))
    warehouse.begin_build()
    assert dt.date(2024, 6, 1) in changed_months(warehouse)


def a_manifest() -> dict[str, Any]:
    """Return a manifest of dbt with an incremental model, a table, a view and a seed."""

    def node(kind: str, materialized: str, columns: dict[str, str | None], **config: Any) -> dict[str, Any]:
        declared = {name: {"name": name, "data_type": type, "description": ""} for name, type in columns.items()}
        return {
            "resource_type": kind,
            "config": {"materialized": materialized, **config},
            "columns": declared,
            "checksum": {"name": "sha256", "checksum": "1"},
        }

    nodes = {
        "fct_day": node("model", "incremental", {"day": "date", "stars": "bigint"}),
        "dim_all": node("model", "table", {"name": "varchar"}),
        "stg_view": node("model", "view", {"name": None}),
        "weights": node("seed", "seed", {"weight": None}, column_types={"weight": "double"}),
    }
    return {"nodes": {name: {"name": name, **entry} for name, entry in nodes.items()}}


def with_a_column(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["fct_day"]["columns"]["forks"] = {"name": "forks", "data_type": "bigint"}


def with_another_type(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["fct_day"]["columns"]["stars"]["data_type"] = "hugeint"


def without_a_column(manifest: dict[str, Any]) -> None:
    del manifest["nodes"]["fct_day"]["columns"]["stars"]


def with_a_new_model(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["fct_week"] = manifest["nodes"]["fct_day"] | {"name": "fct_week"}


def with_another_seed(manifest: dict[str, Any]) -> None:
    manifest["nodes"]["weights"]["config"]["column_types"]["weight"] = "integer"


def with_other_comments_and_sql(manifest: dict[str, Any]) -> None:
    for node in manifest["nodes"].values():
        node["checksum"]["checksum"] = "2"
        for column in node["columns"].values():
            column["description"] = "said better"


def in_another_order(manifest: dict[str, Any]) -> None:
    node = manifest["nodes"]["fct_day"]
    node["columns"] = dict(reversed(node["columns"].items()))


def without_a_model(manifest: dict[str, Any]) -> None:
    del manifest["nodes"]["fct_day"]


def with_other_columns_of_what_every_build_makes(manifest: dict[str, Any]) -> None:
    for name in ("dim_all", "stg_view"):
        manifest["nodes"][name]["columns"]["more"] = {"name": "more", "data_type": "varchar"}


@pytest.mark.parametrize(
    ("change", "rebuilt"),
    [
        (with_a_column, ["fct_day"]),
        (with_another_type, ["fct_day"]),
        (without_a_column, ["fct_day"]),
        (with_a_new_model, ["fct_week"]),
        (with_another_seed, ["weights"]),
        (with_other_comments_and_sql, []),
        (in_another_order, []),
        (without_a_model, []),
        (with_other_columns_of_what_every_build_makes, []),
    ],
)
def test_only_other_columns_of_what_builds_keep_rebuild_a_home(
    change: Callable[[dict[str, Any]], None], rebuilt: list[str], warehouse: Warehouse
) -> None:
    assert warehouse.relations_with_other_columns(columns_of_relations(a_manifest())) == []  # nothing was built
    observe(warehouse, DAY, AT)
    warehouse.begin_build()
    warehouse.end_build(columns_of_relations(a_manifest()))
    assert warehouse.relations_with_other_columns(columns_of_relations(a_manifest())) == []
    changed = a_manifest()
    change(changed)
    assert warehouse.relations_with_other_columns(columns_of_relations(changed)) == rebuilt
    warehouse.begin_build()  # and killed: a build that began is not done
    assert warehouse.relations_with_other_columns(columns_of_relations(changed)) == rebuilt


def test_a_home_without_recorded_columns_is_rebuilt(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    warehouse.begin_build()
    warehouse.end_build()
    assert warehouse.relations_with_other_columns(columns_of_relations(a_manifest())) == ["fct_day", "weights"]


# --- several writers

_A_RUN = """
import sys
from pathlib import Path
from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.warehouse import Warehouse
warehouse = Warehouse(Settings(home=Path(sys.argv[1]), profile=Profile.LOCAL, rankings_base=""))
with warehouse.rewriting("run 7: marts"):
    pass
print("between two steps", flush=True)
sys.stdin.readline()
warehouse.close()
print("ended", flush=True)
sys.stdin.readline()
"""


@contextmanager
def run_between_two_steps(warehouse: Warehouse) -> Iterator[subprocess.Popen[str]]:
    """Start a process that has written the marts and is going to publish them."""
    command = [sys.executable, "-c", _A_RUN, str(warehouse.settings.home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "between two steps\n"
        try:
            yield process
        finally:
            process.kill()


def is_free(warehouse: Warehouse, lock: str) -> bool:
    """Return whether another process could take a lock now; descriptors of one process exclude each other, too."""
    with (warehouse.settings.warehouse_dir / f"{lock}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_second_writer_waits_for_the_first_and_names_it(
    is_killed: bool, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    with run_between_two_steps(warehouse) as first:
        assert is_free(warehouse, "writer")  # loads continue meanwhile
        assert first.stdin

        def end() -> None:
            assert not is_free(warehouse, "rebuild")
            if is_killed:
                first.kill()
            else:
                first.stdin.write("\n")  # type: ignore[union-attr]
                first.stdin.flush()  # type: ignore[union-attr]

        timer = threading.Timer(4.5, end)
        timer.start()
        begun = time.monotonic()
        with warehouse.rebuilding("reposignal rankings"):
            assert 4 < time.monotonic() - begun < 60
        message = f"waiting for another writer of this warehouse: run 7: marts (process {first.pid})"
        assert [record.getMessage() for record in caplog.records if record.name == console.name] == [message]


def test_a_command_does_not_wait_for_its_own_runs(warehouse: Warehouse) -> None:
    with warehouse.rebuilding("reposignal rankings"):
        with closing(Warehouse(warehouse.settings)) as of_a_run, of_a_run.rewriting("run 8: marts"):
            assert not is_free(warehouse, "writer")
        assert is_free(warehouse, "writer")
        assert not is_free(warehouse, "rebuild")  # the next run of the command follows
    assert is_free(warehouse, "rebuild")


# --- days of the archive


def archive(
    warehouse: Warehouse, day: dt.date, at: dt.datetime, first: dt.date | None = None, last: dt.date | None = None
) -> None:
    """Record the load of a file day whose stars are of the days from `first` to `last`."""
    with warehouse.connected() as connection:
        connection.execute("delete from pipeline.gh_archive.gh_archive_days where day = ?", [day])
        connection.execute(
            "insert into pipeline.gh_archive.gh_archive_days (day, status, first_day, last_day, fetched_at)"
            " values (?, 'observed', ?, ?, ?)",
            [day, first, last, at],
        )


def on(day: int, month: int = 3, year: int = 2015) -> dt.date:
    return dt.date(year, month, day)


def test_archive_days_are_built_in_addition_to_the_window(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    warehouse.begin_build()
    warehouse.end_build()
    archive(warehouse, on(2), AT, on(1), on(2))
    archive(warehouse, on(3), AT, on(3), on(3))
    archive(warehouse, on(31), AT, on(31), on(1, 4))
    archive(warehouse, on(20), AT)  # nothing in it, which is recorded, too
    rebuild = warehouse.begin_build()
    assert rebuild == Rebuild(
        DayRange(DAY, DAY),
        NEVER,
        (DayRange(on(1), on(3)), DayRange(on(20), on(20)), DayRange(on(31), on(1, 4))),
        number=2,
    )
    assert {on(1), on(1, 4)} <= changed_months(warehouse)
    warehouse.end_build()
    assert warehouse.begin_build() == Rebuild(DayRange(DAY, DAY), NEVER, number=3)


def test_the_archive_alone_has_a_harmless_window(warehouse: Warehouse) -> None:
    assert not warehouse.has_readings()
    archive(warehouse, on(2), AT, on(2), on(3))
    archive(warehouse, on(9), AT, on(9), on(9))
    assert warehouse.has_readings()
    days = (DayRange(on(2), on(3)), DayRange(on(9), on(9)))
    assert warehouse.begin_build() == Rebuild(DayRange(on(9), on(9)), NEVER, days)


def test_hours_without_a_star_are_of_their_utc_day(warehouse: Warehouse) -> None:
    archive(warehouse, on(2, year=2012), AT, on(2, year=2012), on(2, year=2012))
    with warehouse.connected() as connection:
        connection.execute(
            "insert into pipeline.gh_archive.gh_archive_hours (file_hour)"
            " values ('2012-03-02 00:00'), ('2012-03-02 23:00')"
        )
    rebuild = warehouse.begin_build()
    assert rebuild
    assert rebuild.archived == (DayRange(on(2, year=2012), on(3, year=2012)),)


def test_a_day_read_again_is_built_again_with_the_days_it_touched(warehouse: Warehouse) -> None:
    archive(warehouse, on(2), AT, on(1), on(2))
    warehouse.begin_build()
    warehouse.end_build()
    archive(warehouse, on(2), AT + dt.timedelta(days=9), on(1), on(2))
    rebuild = warehouse.begin_build()
    assert rebuild
    assert rebuild.archived == (DayRange(on(1), on(2)),)


def test_a_killed_build_is_repeated_under_its_number(warehouse: Warehouse) -> None:
    archive(warehouse, on(2), AT, on(2), on(2))
    first = warehouse.begin_build()
    archive(warehouse, on(5), AT, on(5), on(5))
    second = warehouse.begin_build()
    assert first and second
    assert (first.number, second.number) == (1, 1)
    assert second.archived == (DayRange(on(2), on(2)), DayRange(on(5), on(5)))
    warehouse.end_build()
    third = warehouse.begin_build()
    assert third
    assert third.number == 2


def test_rebuilding_from_a_day_takes_the_archive_from_there(warehouse: Warehouse) -> None:
    observe(warehouse, DAY, AT)
    for day in (on(2), on(9)):
        archive(warehouse, day, AT, day, day)
    warehouse.begin_build()
    warehouse.end_build()
    rebuild = warehouse.begin_build(since=on(9))
    assert rebuild
    assert rebuild.archived == (DayRange(on(9), on(9)),)
    rebuild = warehouse.begin_build(since=dt.date.min)
    assert rebuild
    assert rebuild.archived == (DayRange(on(2), on(2)), DayRange(on(9), on(9)))


def test_months_of_what_models_found_changed_are_published(warehouse: Warehouse) -> None:
    archive(warehouse, on(2), AT, on(2), on(2))
    warehouse.begin_build()
    with warehouse.connected() as connection:
        connection.execute("create schema pipeline.intermediate")
        for table, rows in {
            "int_gh_archive_days__judged (day date, changed_in bigint)": "('2016-07-04', 1), ('2017-07-04', 0)",
            "int_repos__keyed (repo_ref bigint, changed_in bigint)": "(1, 1), (2, null), (3, 1)",
            "int_gh_archive_names__seen (repo_ref bigint, first_day date, last_day date)": (
                "(1, '2018-05-31', '2018-06-01'), (2, '2019-01-01', '2019-01-01')"
            ),
            "int_star_days__read (repo_id bigint, day date)": "(3, '2020-02-01'), (2, '2021-01-01')",
        }.items():
            connection.execute(f"create table pipeline.intermediate.{table}")
            connection.execute(f"insert into pipeline.intermediate.{table.split()[0]} values {rows}")
    warehouse.end_build()
    expected = {on(1), on(1, 7, 2016), on(1, 5, 2018), on(1, 6, 2018), on(1, 2, 2020)}
    assert changed_months(warehouse) == expected


def test_ranges_are_joined_and_bounded() -> None:
    def days(*pairs: tuple[int, int]) -> list[DayRange]:
        return [DayRange(on(first), on(last)) for first, last in pairs]

    assert joined_ranges([]) == ()
    assert joined_ranges(days((5, 6), (1, 2), (3, 3), (5, 5))) == tuple(days((1, 3), (5, 6)))
    apart = days((1, 1), (4, 4), (6, 6), (20, 21), (24, 24))
    assert joined_ranges(apart, most=5) == tuple(apart)
    assert joined_ranges(apart, most=3) == tuple(days((1, 6), (20, 24)))  # two gaps are alike
    assert joined_ranges(apart, most=2) == tuple(days((1, 6), (20, 24)))
    assert joined_ranges(apart, most=1) == tuple(days((1, 24)))
