"""Measures GH Archive: `python -m benchmarks.gh_archive [hour] [day] [reload] [scale] [--keep DIR]`.

Each part prints rows for BENCHMARKS.md: an hour compared with its floor (decompression only) and with other readers, a
day of 24 files in a separate process, the same day again in a warehouse with 100 million stars, and the marts at that
size. The large archive is generated directly in the warehouse; `gh_archive_hours` generates the hourly files.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import dlt
import duckdb
from isal import igzip_lib, isal_zlib

from benchmarks.__main__ import Cost, measured, run, size_mb
from benchmarks.gh_archive_hours import EVENTS, write_hours
from reposignal_pipeline.config import load_settings
from reposignal_pipeline.sources.gh_archive import (
    TABLES,
    Hour,
    batches,
    clear,
    file_name,
    gh_archive_source,
    hours_of,
    read_hours,
    standing,
)
from reposignal_pipeline.sources.transport import Upstream
from reposignal_pipeline.warehouse import Warehouse

DAY = dt.date(2024, 12, 3)
KEY = bytes(32)
READ_BYTES = 1 << 20
FILLED_FROM = dt.date(2015, 1, 1)
FILLED_STARS, FILLED_REPOSITORIES = 100_000_000, 2_000_000
FILL_STEPS = 25
SMALL_EVENTS = 20_000
"""events per hour of the day that is loaded before the marts are built"""
PARTS = ("hour", "day", "reload", "scale")


def decompress(file: Path) -> int:
    """Return the number of JSON bytes of a file, decompressed and discarded: the minimum for any reader."""
    size = 0
    with file.open("rb") as opened:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            size += len(member.decompress(opened.read(READ_BYTES) if member.needs_input else b"", READ_BYTES))
    return size


def decompress_pieces(file: Path) -> int:
    """Return the same with a plain loop, which passes 1 MB of the file at a time and allocates new memory each time."""
    member = isal_zlib.decompressobj(wbits=31)
    with file.open("rb") as opened:
        return sum(len(member.decompress(piece)) for piece in iter(lambda: opened.read(READ_BYTES), b""))


def decompress_day(files: Path, day: dt.date = DAY) -> None:
    """Decompress 24 files on two cores."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(decompress, (files / file_name(hour) for hour in hours_of(day))))


def load(home: Path, hours: Iterable[Hour]) -> None:
    """Load hours into the raw tables of a home, like the asset."""
    warehouse = home / "warehouse" / "pipeline.duckdb"
    pipeline = dlt.pipeline(
        "gh_archive",
        destination=dlt.destinations.duckdb(str(warehouse)),
        dataset_name="gh_archive",
        pipelines_dir=str(home / "dlt"),
    )
    with _attached(warehouse) as connection:
        known = standing(connection, DAY, DAY)
    for batch in batches(hours, known, "benchmark"):
        if batch.replaced:
            with _attached(warehouse) as connection:
                clear(connection, batch)
        with duckdb.connect(str(warehouse)):
            pipeline.run(gh_archive_source(batch.tables))


@contextmanager
def _attached(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to the raw tables of a home, which are created if they do not exist."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{warehouse}' as pipeline")
        connection.execute("create schema if not exists pipeline.gh_archive")
        for table, schema in TABLES.items():
            connection.register("columns_of", schema.empty_table())
            connection.execute(f"create table if not exists pipeline.gh_archive.{table} as from columns_of")
            connection.unregister("columns_of")
        yield connection


def load_files(home: Path, files: Path, hours: Sequence[dt.datetime]) -> None:
    """Load the files of hours, from .gz to committed rows."""
    (home / "warehouse").mkdir(parents=True, exist_ok=True)
    load(home, read_hours(Upstream(str(files)), hours, KEY))


def load_day(home: str, files: str, modules: str) -> None:
    """Load the day, and write the list of imported modules; runs in a separate process."""
    load_files(Path(home), Path(files), hours_of(DAY))
    Path(modules).write_text("\n".join(sys.modules))


def import_all(modules: str) -> None:
    """Import what loading a day imports, and do nothing with it."""
    for name in Path(modules).read_text().split():
        try:
            import_module(name)
        except Exception:
            # not every name in sys.modules can be imported
            continue


def load_dicts(home: Path, file: Path, hour: dt.datetime) -> None:
    """Load a file in the simplest way: standard library, one dict per event, dlt's typing and merge."""

    @dlt.resource(name="gh_archive", write_disposition="merge", merge_key="file_hour")
    def stars() -> Iterator[dict[str, Any]]:
        with gzip.open(file) as lines:
            for line in lines:
                event = json.loads(line)
                if event["type"] == "WatchEvent":
                    yield {
                        "file_hour": hour,
                        "event_id": int(event["id"]),
                        "repo_id": event["repo"]["id"],
                        "full_name": event["repo"]["name"],
                        "actor_hash": _hashed(event["actor"]["id"]),
                        "created_at": event["created_at"],
                        "day": event["created_at"][:10],
                    }

    home.mkdir(parents=True, exist_ok=True)
    dlt.pipeline(
        "dicts",
        destination=dlt.destinations.duckdb(str(home / "dicts.duckdb")),
        dataset_name="gh_archive",
        pipelines_dir=str(home / "dlt"),
    ).run(stars())


def _hashed(actor: int) -> int:
    digest = hashlib.blake2b(str(actor).encode(), digest_size=8, key=KEY).digest()
    return int.from_bytes(digest, "little", signed=True)


def read_json(home: Path, file: Path, threads: int | None) -> None:
    """Load a file with DuckDB's `read_json` and declared columns."""
    home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(home / "read_json.duckdb")) as connection:
        if threads:
            connection.execute(f"set threads = {threads}")
        connection.execute(
            f"""
            create or replace table stars as
            select
                id::bigint as event_id, repo.id as repo_id, repo.name as full_name, hash(actor.id) as actor_hash,
                created_at, created_at::date as day
            from read_json(
                '{file}', format = 'newline_delimited', maximum_object_size = 33554432,
                columns = {{
                    id: 'varchar', type: 'varchar', actor: 'struct(id bigint)',
                    repo: 'struct(id bigint, name varchar)', created_at: 'timestamp'
                }}
            )
            where type = 'WatchEvent'
            """
        )


def fill_archive(
    home: Path, events: int = FILLED_STARS, repos: int = FILLED_REPOSITORIES, last: dt.date = DAY - dt.timedelta(days=1)
) -> None:
    """Fill the raw tables with an archive that ends on `last`, as if loaded file by file.

    Stars per day triple from beginning to end. Half of them go to repositories by a power law, half to about a thousand
    repositories that trend for three days, so that 100 stars are about 60 repo-days. Every tenth repository is renamed
    halfway.
    """
    settings = replace(load_settings({}), home=home)
    settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
    seconds = ((last - FILLED_FROM).days + 1) * 86_400
    with Warehouse(settings).connected() as connection:
        for step in range(FILL_STEPS):
            first, end = (events * edge // FILL_STEPS for edge in (step, step + 1))
            connection.execute(
                f"""
                insert into pipeline.gh_archive.gh_archive by name
                with events as (
                    select
                        range as number,
                        floor({seconds} * (sqrt(1 + 8 * range / {events}) - 1) / 2)::bigint as second,
                        (hash(range) >> 11) / pow(2, 53) as chance
                    from range({first}, {end})
                ),
                stars as (
                    select
                        number,
                        second,
                        timestamp '{FILLED_FROM}' + to_seconds(second) as created_at,
                        case
                            when hash(number, 'talk') % 2 = 0
                                then (hash(second // 259200, floor(4000 * pow(chance, 2))) % {repos})::bigint
                            else floor({repos} * pow(chance, 2.5))::bigint
                        end as repo
                    from events
                )
                select
                    date_trunc('hour', created_at) as file_hour,
                    1000 + number * 700 as event_id,
                    1000000 + repo * 300 as repo_id,
                    'owner' || repo % 700001 || '/'
                    || case when repo % 10 = 0 and second > {seconds // 2} then 'renamed' else 'repo' end
                    || repo as full_name,
                    (hash(number, 'actor') >> 1)::bigint as actor_hash,
                    created_at,
                    created_at::date as day
                from stars
                """
            )
        connection.execute(
            """
            insert into pipeline.gh_archive.gh_archive_hours by name
            select
                file_hour, 'observed' as status, count(*) * 11 as events, count(*) as stars,
                0 as lines_set_aside, 0 as duplicates,
                json_object('PushEvent', count(*) * 10, 'WatchEvent', count(*))::varchar as event_mix,
                count(*) * 4600 as file_bytes, count(*) * 30000 as json_bytes,
                min(day) as first_day, max(day) as last_day, 'filled' as run_id,
                timestamp '2025-01-01' as fetched_at
            from pipeline.gh_archive.gh_archive
            group by file_hour
            order by file_hour
            """
        )
        connection.execute(
            """
            insert into pipeline.gh_archive.gh_archive_days by name
            select
                file_hour::date as day, 'observed' as status, count(*) as hours_observed, sum(events)::bigint as events,
                sum(stars)::bigint as stars, min(first_day) as first_day, max(last_day) as last_day,
                'filled' as run_id, timestamp '2025-01-01' as fetched_at
            from pipeline.gh_archive.gh_archive_hours
            group by all
            order by day
            """
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gh_archive", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=EVENTS, help="events per hour")
    parser.add_argument("--stars", type=int, default=FILLED_STARS, help="stars in the full warehouse")
    parser.add_argument("--repositories", type=int, default=FILLED_REPOSITORIES, help="repositories in it")
    parser.add_argument("--keep", type=Path, help="working folder, which is kept and reused")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    folder = options.keep or Path(tempfile.mkdtemp(prefix="reposignal-bench-"))
    try:
        files = _written(folder, DAY, options.events)
        for part in options.parts or PARTS:
            if part == "hour":
                _hour(folder, files, options.rounds)
            elif part == "day":
                _day(folder, files)
            else:
                full = _filled(folder, options.stars, options.repositories)
                if part == "reload":
                    _reload(folder, files, full, options.rounds)
                else:
                    _scale(folder, files, full)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def _hour(folder: Path, files: Path, rounds: int) -> None:
    """Print the cost of one hour; each round uses another hour of the day, and the first round is not measured."""
    home = folder / "hour"
    shutil.rmtree(home, ignore_errors=True)
    ways: dict[str, Callable[[dt.datetime, Path], object]] = {
        "floor": lambda hour, file: decompress(file),
        "pieces": lambda hour, file: decompress_pieces(file),
        "ours": lambda hour, file: load_files(home, files, [hour]),
        "one": lambda hour, file: read_json(home, file, 1),
        "all": lambda hour, file: read_json(home, file, None),
    }
    spent: dict[str, list[Cost]] = {way: [] for way in (*ways, "dicts")}
    hours = hours_of(DAY)[: rounds + 1]
    for number, hour in enumerate(hours):
        for way, go in ways.items():
            cost = _spent(lambda go=go, hour=hour: go(hour, files / file_name(hour)))  # type: ignore[misc]
            if number:
                spent[way].append(cost)
    spent["dicts"].append(_spent(lambda: load_dicts(home, files / file_name(hours[-1]), hours[-1])))
    with duckdb.connect(str(home / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
        found = connection.execute("select count(*) from gh_archive.gh_archive where file_hour = ?", [hours[-1]])
        stars = (found.fetchone() or (0,))[0]
    size = decompress(files / file_name(hours[-1]))
    middle = {way: statistics.median(cost.cpu for cost in costs) for way, costs in spent.items()}
    wall = {way: statistics.median(cost.wall for cost in costs) for way, costs in spent.items()}
    print(f"one hour: {size / 1e6:,.0f} MB of JSON, {stars:,} stars; medians of {rounds} interleaved rounds")
    print("| one hour | wall s | CPU s | of the floor | of ours |\n|---|---|---|---|---|")
    for way, what in (
        ("floor", "floor: ISA-L decompression, 1 MB of JSON at a time"),
        ("pieces", "the same, 1 MB of the file at a time"),
        ("ours", "ours: .gz to committed rows through dlt"),
        ("one", "DuckDB `read_json`, 1 thread"),
        ("all", "DuckDB `read_json`, its own threads"),
        ("dicts", "dlt fed with parsed dicts, once"),
    ):
        ratios = f"{middle[way] / middle['floor']:.2f}x | {middle[way] / middle['ours']:.1f}x"
        print(f"| {what} | {wall[way]:.2f} | {middle[way]:.2f} | {ratios} |", flush=True)


def _day(folder: Path, files: Path) -> None:
    """Print the cost of a day, each run in a separate process."""
    modules = folder / "modules.txt"
    costs: dict[str, list[Cost]] = {"floor": [], "ours": [], "imports": []}
    for _ in range(3):
        home = folder / "day"
        shutil.rmtree(home, ignore_errors=True)
        costs["floor"].append(_spent(lambda: decompress_day(files)))
        costs["ours"].append(_process("load_day", home, files, modules))
        costs["imports"].append(_process("import_all", modules))
    middle = {way: _middle(runs) for way, runs in costs.items()}
    floor, ours, imports = middle["floor"], middle["ours"], middle["imports"]
    cpu, wall = ours.cpu - imports.cpu, ours.wall - imports.wall
    print("| one day: 24 files | wall s | CPU s | peak MB | note |\n|---|---|---|---|---|")
    _row("floor: decompression on two cores", floor, "")
    _row("imports alone", imports, "")
    note = f"CPU {cpu / floor.cpu:.2f}x, wall {wall / floor.wall:.2f}x the floor"
    _row("ours, imports apart", Cost(wall, cpu, ours.peak_mb), note)


def _reload(folder: Path, files: Path, full: Path, rounds: int) -> None:
    """Print the cost of loading a day again: in a warehouse with only that day, and in a full one."""
    empty, copy = folder / "empty", folder / "full-again"
    for home in (empty, copy):
        shutil.rmtree(home, ignore_errors=True)
    (empty / "warehouse").mkdir(parents=True)
    shutil.copytree(full, copy)
    hours: list[Hour] = []
    reading = _spent(lambda: hours.extend(read_hours(Upstream(str(files)), hours_of(DAY), KEY)))
    costs: dict[Path, list[Cost]] = {empty: [], copy: []}
    for number in range(rounds + 1):
        for home, spent in costs.items():
            cost = _spent(lambda home=home: load(home, hours))  # type: ignore[misc]
            if number:
                spent.append(cost)
    few, many = _middle(costs[empty]), _middle(costs[copy])
    print("| one day again, loading alone | wall s | CPU s | peak MB | note |\n|---|---|---|---|---|")
    _row("in a warehouse that holds this day", few, f"besides, reading: {reading.cpu:.1f} s CPU")
    both = (many.cpu + reading.cpu) / (few.cpu + reading.cpu)
    _row(
        "in a full one", many, f"CPU {many.cpu / few.cpu:.2f}x, wall {many.wall / few.wall:.2f}x; read too {both:.2f}x"
    )


def _scale(folder: Path, files: Path, full: Path) -> None:
    """Print the cost of the marts at full size with the real commands: a rebuild, and one more day."""
    before = DAY - dt.timedelta(days=1)
    small = _written(folder, before, SMALL_EVENTS)
    alone, home = folder / "alone", folder / "scale"
    for used in (alone, home):
        shutil.rmtree(used, ignore_errors=True)
    shutil.copytree(full, home)

    def run_day(where: Path, day: dt.date, upstream: Path) -> Cost:
        return run(where, "run", "--day", str(day), "--source", "gh_archive", REPOSIGNAL_GH_ARCHIVE_URL=str(upstream))

    print("| marts at size, whole commands | wall s | CPU s | peak MB | note |\n|---|---|---|---|---|")
    # loads a small version of the last day again; nothing was built before
    rebuilt = run_day(home, before, small)
    published = size_mb(home / "published" / "reposignal.duckdb")
    sizes = f"warehouse {size_mb(home / 'warehouse'):,.0f} MB, published file {published:,.0f} MB"
    _row("everything rebuilt", rebuilt, sizes)
    run_day(alone, before, small)
    floor, more = run_day(alone, DAY, files), run_day(home, DAY, files)
    _row("one day more on one day", floor, "the floor")
    note = f"{more.wall / floor.wall:.2f}x the floor, {more.wall - floor.wall:+.1f} s"
    _row("one day more on the whole archive", more, note)


def _written(folder: Path, day: dt.date, events: int) -> Path:
    files = folder / f"hours-{events}"
    if not all((files / file_name(hour)).exists() for hour in hours_of(day)):
        write_hours(files, day, 24, events)
    return files


def _filled(folder: Path, stars: int, repositories: int) -> Path:
    home = folder / f"full-{stars}"
    if not (home / "filled").exists():
        shutil.rmtree(home, ignore_errors=True)
        fill_archive(home, stars, repositories)
        (home / "filled").touch()
    return home


def _spent(what: Callable[[], object]) -> Cost:
    """Return the cost of a call in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    what()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu, 0)


def _process(function: str, *arguments: Path) -> Cost:
    """Return the cost of a function of this module in a separate process."""
    script = f"import sys; from benchmarks import gh_archive; gh_archive.{function}(*sys.argv[1:])"
    return measured([sys.executable, "-c", script, *map(str, arguments)], RUNTIME__DLTHUB_TELEMETRY="false")


def _middle(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, what) for cost in costs) for what in ("wall", "cpu", "peak_mb")))


def _row(what: str, cost: Cost, note: str) -> None:
    peak = f"{cost.peak_mb:,.0f}" if cost.peak_mb else ""
    print(f"| {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {peak} | {note} |", flush=True)


if __name__ == "__main__":
    main()
