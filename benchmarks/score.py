"""Measures the cost of the score: `python -m benchmarks.score [--repositories N] [--years N] [--keep DIR]`.

Readings of 12,000 repositories over 8 years are generated directly in the warehouse (33 million rows of
int_repo_days__stepped, with weekdays, bursts, unstars, gaps and breaks). Then dbt builds all models from there to
fct_repo_signal_day: a full rebuild, and one more day, each in a separate process with the default memory limit. The
floor is a copy of the rows of the score by DuckDB, sorted by day, which any build has to write. Earlier models are not
measured.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb

from benchmarks.__main__ import Cost, measured
from reposignal_pipeline.config import PROJECT_ROOT, load_settings
from reposignal_pipeline.warehouse import Warehouse

DBT_PROJECT = PROJECT_ROOT / "dbt_project"
LAST_DAY = dt.date(2025, 6, 29)
MODELS = (
    "int_repo_months__based",
    "int_repo_days__paced",
    "int_repo_days__surprised",
    "int_gh_archive_accounts__judged",
    "int_repo_days__authenticated",
    "fct_repo_signal_day",
)
READINGS = """
    create or replace temp table repos as
    select
        range as repo_key,
        exp(-2.5 + 5 * random()) as pace,
        (50 + 20000 * pow(random(), 4))::bigint as total_before,
        (random() * 0.9 * $days)::integer as born
    from range(1, $repositories + 1);

    insert into intermediate.int_repo_days__stepped by name
    with days as (
        select range as n, date '{first}' + range::integer as day from range($days)
    ),
    drawn as (
        select
            repos.repo_key, repos.total_before, days.n, days.day,
            case
                when hash(repos.repo_key, days.n, 1) % 20000 = 0 then -(0.2 * repos.total_before)
                else
                    repos.pace * (1 - 0.2 * (isodow(days.day) > 5)::integer)
                    * (1 + 30 * (hash(repos.repo_key, days.n // 5) % 150 = 0)::integer)
                    * (-ln(1 - hash(repos.repo_key, days.n, 2) / 18446744073709551616)) - 0.3
            end::bigint as step
        from repos, days
        where (days.n >= repos.born or repos.repo_key % 10 > 0) and hash(repos.repo_key, days.n, 3) % 50 <> 0
    ),
    summed as (
        select
            *,
            total_before + greatest(sum(step) over before, 0) as stars_total,
            lag(day) over before as previous_day
        from drawn
        window before as (partition by repo_key order by n rows between unbounded preceding and current row)
    )
    select
        day, repo_key, 'rankings' as source, 'o' || repo_key || '/r' || repo_key as name_key,
        'O' || repo_key || '/r' || repo_key as full_name, ['Python', 'Go', 'Rust', 'C'][repo_key % 4 + 1] as language,
        1 as attributes, day + interval 4 hours as observed_at, stars_total::bigint as stars_total,
        (stars_total // 8)::bigint as forks_total, 0 as stars_spread, null::timestamp as created_at, previous_day,
        case when previous_day is not null then step end as step, 24.0 * (day - previous_day) as gap_hours,
        false as is_read_before_previous, step < -100 and previous_day is not null as is_dropped, false as is_restored,
        false as is_below_peak, false as is_doubtful, false as is_purged, false as is_returned, false as is_waved,
        false as is_renamed,
        case when step < -100 and previous_day is not null then step else 0 end as excluded_step
    from summed
    order by day, repo_key
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=__doc__)
    parser.add_argument("--repositories", type=int, default=12_000)
    parser.add_argument("--years", type=int, default=8)
    parser.add_argument("--keep", type=Path, help="folder for the warehouse, which is reused if it exists")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = given.keep or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "filled").exists():
            _fill(home, given.repositories, 365 * given.years)
            (home / "filled").touch()
        with duckdb.connect(str(home / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
            ((rows,),) = connection.execute("select count(*) from intermediate.int_repo_days__stepped").fetchall()
        print(f"{rows:,} readings of {given.repositories:,} repositories\n")
        print("| what | wall s | CPU s | peak MB | slowest models |\n|---|---|---|---|---|")
        _row("everything rebuilt", home, {}, "--full-refresh")
        _floor(home)
        _next_day(home)
        day = (LAST_DAY + dt.timedelta(days=1)).isoformat()
        window = {"window_start": day, "window_end": day, "archived_days": [], "build_number": 2}
        _row("one day more", home, window)
        _row("that day again", home, window)


def _fill(home: Path, repositories: int, days: int) -> None:
    warehouse = Warehouse(load_settings({"REPOSIGNAL_HOME": str(home), "REPOSIGNAL_PROFILE": "local"}))
    with warehouse.writing("benchmark"):
        warehouse.begin_build()
    _dbt(home, {}, "build", "--full-refresh", "--empty", "--exclude-resource-type", "unit_test", "test")
    first = LAST_DAY - dt.timedelta(days=days - 1)
    with duckdb.connect(str(home / "warehouse" / "pipeline.duckdb"), config={"memory_limit": "6GB"}) as connection:
        connection.execute("select setseed(0.5)")
        for statement in READINGS.replace("{first}", first.isoformat()).split(";\n"):
            wanted = {
                name: value
                for name, value in (("days", days), ("repositories", repositories))
                if f"${name}" in statement
            }
            connection.execute(statement, wanted)


def _next_day(home: Path) -> None:
    with duckdb.connect(str(home / "warehouse" / "pipeline.duckdb")) as connection:
        connection.execute("delete from intermediate.int_repo_days__stepped where day > ?", [LAST_DAY])
        connection.execute(
            """
            insert into intermediate.int_repo_days__stepped by name
            select * replace (
                day + 1 as day, observed_at + interval 1 day as observed_at, day as previous_day,
                stars_total + 3 as stars_total, 3 as step, 24.0 as gap_hours, false as is_dropped, 0 as excluded_step
            )
            from intermediate.int_repo_days__stepped where day = $last
            """,
            {"last": LAST_DAY},
        )


def _floor(home: Path) -> None:
    """Print the cost of only writing the rows of the score, sorted."""
    with duckdb.connect(config={"memory_limit": "2GB", "threads": os.cpu_count() or 1}) as connection:
        connection.execute(f"set temp_directory = '{home}/floor.tmp'")
        connection.execute(
            f"attach '{home}/warehouse/reposignal.duckdb' as marts (read_only); attach '{home}/floor.duckdb' as floor"
        )
        began, spent = time.perf_counter(), time.process_time()
        connection.execute(
            "create or replace table floor.copied as from marts.main.fct_repo_signal_day order by day, repo_key"
        )
        wall, cpu = time.perf_counter() - began, time.process_time() - spent
    (home / "floor.duckdb").unlink()
    print(f"| the floor: the same rows copied, sorted by day | {wall:.1f} | {cpu:.1f} | | |", flush=True)


def _row(what: str, home: Path, variables: Mapping[str, object], *arguments: str) -> None:
    cost = _dbt(home, variables, "run", "--select", *MODELS, *arguments)
    results = json.loads((home / "target" / "run_results.json").read_text())["results"]
    models = sorted(
        ((result["execution_time"], result["unique_id"].split(".")[-1]) for result in results), reverse=True
    )
    total = sum(seconds for seconds, _ in models)
    slowest = ", ".join(f"{name} {seconds:.1f} s" for seconds, name in models[:4])
    print(
        f"| {what} | {total:.1f} (with dbt's start {cost.wall:.1f})"
        f" | {cost.cpu:.1f} | {cost.peak_mb:,.0f} | {slowest} |",
        flush=True,
    )


def _dbt(home: Path, variables: Mapping[str, object], *arguments: str) -> Cost:
    """Return the cost of a dbt invocation in a separate process."""
    dbt = [str(Path(sys.executable).with_name("dbt")), *arguments, "--vars", json.dumps(variables), "--quiet"]
    return measured(
        [*dbt, "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)],
        REPOSIGNAL_PIPELINE_DB=str(home / "warehouse" / "pipeline.duckdb"),
        REPOSIGNAL_MARTS_DB=str(home / "warehouse" / "reposignal.duckdb"),
        DBT_TARGET_PATH=str(home / "target"),
        DBT_LOG_PATH=str(home / "log"),
    )


if __name__ == "__main__":
    main()
