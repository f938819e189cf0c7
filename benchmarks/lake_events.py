"""Measures 600 million star events on the lake: `python -m benchmarks.lake events`.

The events are generated directly in the raw tables of the archive, one commit per day, as loads of whole days would
write them. Measured in separate processes, with peak memory: stars by repository and week over all events, the models
of the project, and one more day of both. The floor is the same aggregation by DuckDB from the same Parquet files,
without a lake. `benchmarks.gh_archive` measures the load of files.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.__main__ import Cost, measured, size_mb
from reposignal_pipeline.config import PROJECT_ROOT, Settings, load_settings
from reposignal_pipeline.lake.catalog import Lake, attached, lake_environment, snapshot

DBT_PROJECT = PROJECT_ROOT / "dbt_project"
FIRST_DAY = dt.date(2024, 1, 1)
DAYS, STARS_A_DAY = 400, 1_500_000
REPOSITORIES, ACTORS = 2_000_000, 20_000_000
RAW = "pipeline.gh_archive"
MODELS = (
    "stg_gh_archive__stars",
    "stg_gh_archive__hours",
    "int_gh_archive_repo_days__counted",
    "int_gh_archive_days__summed",
)
MEMORY_LIMIT = "4GB"
"""of DuckDB in the plain statements; the models have the project's own default"""

STARS = """
    insert into pipeline.gh_archive.gh_archive by name
    with events as (
        select
            range as number,
            (range - $first) * 86400 // $stars as second,
            (hash(range) >> 11) / pow(2, 53) as chance
        from range($first, $first + $stars)
    ),
    stars as (
        select
            number,
            timestamp '{day}' + to_seconds(second) as created_at,
            -- half by a power law, half to some thousand that are talked about for three days
            case
                when hash(number, 'talk') % 2 = 0
                    then (hash($number // 3, floor(4000 * pow(chance, 2))) % {repositories})::bigint
                else floor({repositories} * pow(chance, 2.5))::bigint
            end as repo,
            floor({actors} * pow((hash(number, 'actor') >> 11) / pow(2, 53), 2))::bigint as actor
        from events
    )
    select
        date_trunc('hour', created_at) as file_hour,
        30000000000 + number * 70 + (hash(number, 'id') % 70)::bigint as event_id,
        1000000 + repo * 300 as repo_id,
        'owner' || repo % 700001 || '/repo' || repo as full_name,
        (hash(actor) >> 1)::bigint as actor_hash,
        created_at,
        created_at::date as day
    from stars
    order by number
"""
HOURS = """
    insert into pipeline.gh_archive.gh_archive_hours by name
    select
        file_hour, 'observed' as status, count(*) * 11 as events, count(*) as stars,
        0 as lines_set_aside, 0 as duplicates,
        json_object('PushEvent', count(*) * 10, 'WatchEvent', count(*))::varchar as event_mix,
        count(*) * 4600 as file_bytes, count(*) * 30000 as json_bytes,
        min(day) as first_day, max(day) as last_day, 'filled' as run_id, timestamp '2025-06-01' as fetched_at
    from pipeline.gh_archive.gh_archive
    where day = date '{day}'
    group by file_hour
    order by file_hour
"""
DAY = """
    insert into pipeline.gh_archive.gh_archive_days by name
    select
        file_hour::date as day, 'observed' as status, count(*) as hours_observed, sum(events)::bigint as events,
        sum(stars)::bigint as stars, min(first_day) as first_day, max(last_day) as last_day,
        'filled' as run_id, timestamp '2025-06-01' as fetched_at
    from pipeline.gh_archive.gh_archive_hours
    where file_hour::date = date '{day}'
    group by all
"""
WEEKS = """
    select date_trunc('week', day)::date as week, repo_id, count(*) as stars
    from {source}
    where {days}
    group by all
"""
WEEKLY, DAILY = "pipeline.intermediate.bench_repo_weeks", "pipeline.intermediate.bench_repo_days"
COUNTED = "pipeline.intermediate.int_gh_archive_repo_days__counted"
COUNTS = "select day, repo_id, count(*) as stars from {source} where day = date '{day}' group by all"


class Events:
    """A lake of generated events. Its methods are the measured processes.

    Args:
        home: a working folder; the environment gives the location of the lake.
    """

    def __init__(self, home: Path) -> None:
        given = {"REPOSIGNAL_HOME": str(home), "REPOSIGNAL_PROFILE": "lake", "REPOSIGNAL_MEMORY_LIMIT": MEMORY_LIMIT}
        self.settings = load_settings({**os.environ, **given})
        self.settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
        self.lake = Lake(self.settings)

    def fill(self, first: str, end: str, stars: str) -> None:
        """Commit days, numbered from `FIRST_DAY`, each with `stars` stars; existing days are skipped."""
        with self.lake.connected() as connection:
            connection.execute("call pipeline.set_option('parquet_compression', 'zstd')")
            for number in range(int(first), int(end)):
                self._commit_day(connection, number, int(stars))

    def _commit_day(self, connection: duckdb.DuckDBPyConnection, number: int, stars: int) -> None:
        day = FIRST_DAY + dt.timedelta(days=number)
        names = {"day": day, "repositories": REPOSITORIES, "actors": ACTORS}
        found = connection.execute(f"select count(*) from {RAW}.gh_archive_days where day = ?", [day]).fetchone()
        if found and found[0]:
            return
        connection.begin()
        connection.execute(STARS.format(**names), {"first": number * stars, "stars": stars, "number": number})
        connection.execute(HOURS.format(**names))
        connection.execute(DAY.format(**names))
        connection.commit()

    def roll_up(self, first: str, last: str) -> None:
        """Write stars by repository and week of a range of days into a table of the lake, replacing these weeks."""
        with self._connected() as connection:
            days = f"day between date '{first}' and date '{last}'"
            rows = WEEKS.format(source=f"{RAW}.gh_archive", days=days)
            connection.execute(f"create schema if not exists {WEEKLY.rpartition('.')[0]}")
            connection.execute(f"create table if not exists {WEEKLY} (week date, repo_id bigint, stars bigint)")
            connection.begin()
            connection.execute(f"delete from {WEEKLY} where week between date '{first}' and date '{last}'")
            connection.execute(f"insert into {WEEKLY} {rows}")
            connection.commit()

    def roll_up_files(self, target: str) -> None:
        """Write the same from the same files into one file, without the lake."""
        self._copy(WEEKS.format(source=self._files(), days="true"), target)

    def count_day(self, day: str) -> None:
        """Write stars by repository of a day into a table of the lake: the query of the model as plain SQL."""
        with self._connected() as connection:
            connection.execute(f"create table if not exists {DAILY} (day date, repo_id bigint, stars bigint)")
            connection.execute(f"insert into {DAILY} {COUNTS.format(source=f'{RAW}.gh_archive', day=day)}")

    def count_day_files(self, day: str, target: str) -> None:
        """Write the same from the same files into one file."""
        self._copy(COUNTS.format(source=self._files(), day=day), target)

    def _copy(self, rows: str, target: str) -> None:
        with duckdb.connect(config=self._config()) as connection:
            connection.execute(f"copy ({rows}) to '{target}' (format parquet, compression zstd)")

    def _files(self) -> str:
        return f"read_parquet('{self.lake.place.data}/pipeline/gh_archive/gh_archive/**/*.parquet')"

    def _connected(self) -> duckdb.DuckDBPyConnection:
        connection = attached(self.lake.place, self._config())
        connection.execute("set enable_progress_bar = false")
        return connection

    def _config(self) -> dict[str, Any]:
        return {
            "memory_limit": self.settings.memory_limit,
            "temp_directory": str(self.settings.home / "spill"),
            "preserve_insertion_order": "false",
        }

    def dbt(self, verb: str, first: dt.date, last: dt.date) -> tuple[Cost, dict[str, float]]:
        """Return (cost of the project's models for some archive days, model -> seconds)."""
        with self._connected() as connection:
            seen = snapshot(connection, "pipeline")
        days = [first.isoformat(), last.isoformat()]
        window = {"window_start": days[1], "window_end": days[1], "archived_days": [days], "build_number": 1}
        home, place = self.settings.home, self.lake.place
        dbt = [str(Path(sys.executable).with_name("dbt")), verb, "--select", *MODELS, "--vars", json.dumps(window)]
        if verb == "build":
            dbt += ["--exclude-resource-type", "unit_test", "--indirect-selection", "cautious"]
        where = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
        cost = measured(
            [*dbt, "--quiet", *where],
            REPOSIGNAL_PIPELINE_DB=str(self.settings.pipeline_db),
            REPOSIGNAL_MARTS_DB=str(self.settings.marts_db),
            REPOSIGNAL_MEMORY_LIMIT=Settings.memory_limit,
            REPOSIGNAL_RAW_SNAPSHOT=str(seen),
            DBT_TARGET_PATH=str(home / "target"),
            DBT_LOG_PATH=str(home / "log"),
            **lake_environment(place),
        )
        results = json.loads((home / "target" / "run_results.json").read_text())["results"]
        return cost, {result["unique_id"].split(".")[2]: result["execution_time"] for result in results}


def measure(home: Path, days: int = DAYS, stars: int = STARS_A_DAY, modelled: int = DAYS) -> None:
    """Fill the lake of the environment, query it and print the table.

    Args:
        home: a working folder.
        days: number of days with events.
        stars: number of stars per day.
        modelled: number of last days for which the models are built.
    """
    home.mkdir(parents=True, exist_ok=True)
    events = Events(home)
    last = FIRST_DAY + dt.timedelta(days=days - 1)
    print("| what | wall s | CPU s | peak MB | note |\n|---|---|---|---|---|")
    filled = _step(home, "fill", 0, days, stars)
    _row(f"{days * stars:,} events made, a commit a day", filled, _files(events, "gh_archive"))
    roll_up(events, last, days * stars)
    models(events, last, modelled, modelled * stars)
    one_more_day(events, days, stars)
    _assert_sum(events, WEEKLY, (days + 1) * stars)
    _assert_sum(events, COUNTED, (modelled + 1) * stars, "stars_gained")
    print(f"\nall files of the lake: {_files(events)}", flush=True)


def roll_up(events: Events, last: dt.date, stars: int) -> None:
    """Print the cost of all weeks, on the lake and on its files."""
    home = events.settings.home
    whole = _step(home, "roll_up", FIRST_DAY, last)
    _assert_sum(events, WEEKLY, stars)
    _row("stars by repository and week, into a table", whole, _rows(events, WEEKLY))
    target = home / "weeks.parquet"
    floor = _step(home, "roll_up_files", target)
    target.unlink()
    _row("floor: the same files without a lake, into a file", floor, f"the lake takes {whole.wall / floor.wall:.2f}x")


def models(events: Events, last: dt.date, days: int, stars: int) -> None:
    """Print the cost of the project's models, built month by month as in a backfill."""
    spent = Cost(0, 0, 0)
    first = last - dt.timedelta(days=days - 1)
    while first <= last:
        end = min(last, (first.replace(day=1) + dt.timedelta(days=32)).replace(day=1) - dt.timedelta(days=1))
        cost, _ = events.dbt("run", first, end)
        spent = Cost(spent.wall + cost.wall, spent.cpu + cost.cpu, max(spent.peak_mb, cost.peak_mb))
        first = end + dt.timedelta(days=1)
    _assert_sum(events, COUNTED, stars, "stars_gained")
    _row(f"the models of the archive's days, {days} of them, month by month", spent, _rows(events, COUNTED))


def one_more_day(events: Events, days: int, stars: int) -> None:
    """Print the cost of one more day after `days` days."""
    home, day = events.settings.home, FIRST_DAY + dt.timedelta(days=days)
    _row(f"one more day: {stars:,} events made and committed", _step(home, "fill", days, days + 1, stars), "")
    cost, seconds = events.dbt("build", day, day)
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:3]
    note = ", ".join(f"{name} {took:.1f} s" for name, took in slowest)
    _row("its models and their tests, whole process of dbt", cost, note)
    cost, _ = events.dbt("build", day, day)
    _row("the same again", cost, "")
    target = home / "day.parquet"
    plain, floor = _step(home, "count_day", day), _step(home, "count_day_files", day, target)
    target.unlink()
    _row("its stars by repository in plain SQL, into a table", plain, "the start of Python included")
    _row("floor: the same files without a lake, into a file", floor, f"the lake takes {plain.wall / floor.wall:.2f}x")
    week = day - dt.timedelta(days=day.weekday())
    _row("its week of the roll-up again, by SQL", _step(home, "roll_up", week, day), "")


def _step(home: Path, method: str, *arguments: object) -> Cost:
    """Return the cost of a method of `Events` in a separate process."""
    script = "import sys; from pathlib import Path; from benchmarks.lake_events import Events; "
    script += "getattr(Events(Path(sys.argv[1])), sys.argv[2])(*sys.argv[3:])"
    return measured([sys.executable, "-c", script, *map(str, (home, method, *arguments))])


def _files(events: Events, below: str = "") -> str:
    folder = Path(events.lake.place.data) / "pipeline"
    if below:
        folder = folder / "gh_archive" / below
    count = sum(1 for _ in folder.rglob("*.parquet"))
    return f"{count:,} files, {size_mb(folder):,.0f} MB"


def _rows(events: Events, table: str) -> str:
    with attached(events.lake.place) as connection:
        row = connection.execute(f"select count(*) from {table}").fetchone()
    folder = Path(events.lake.place.data).joinpath(*table.split("."))
    count = sum(1 for _ in folder.rglob("*.parquet"))
    return f"{row[0] if row else 0:,} rows, {count:,} files, {size_mb(folder):,.0f} MB"


def _assert_sum(events: Events, table: str, wanted: int, column: str = "stars") -> None:
    with attached(events.lake.place) as connection:
        row = connection.execute(f"select sum({column})::bigint from {table}").fetchone()
    assert row == (wanted,), f"{table} holds {row} stars, not {wanted:,}"


def _row(what: str, cost: Cost, note: str) -> None:
    print(f"| {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak_mb:,.0f} | {note} |", flush=True)
