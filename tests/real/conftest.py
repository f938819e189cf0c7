"""Slices of the recorded rankings, in raw tables and marts."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
import sys
from pathlib import Path

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dbt"))
from built_homes import BuiltHome

from reposignal_pipeline.sources.rankings import HEADER, parse_day

# Whole lists, so that a day's universe, ranks and coverage stay the same for these lists.
CORE = ["top-100-stars", "top-100-forks", "JavaScript", "TypeScript", "Go", "Python", "Java", "Vim-script"]
EVERY_LIST: list[str] = []
SLICES = [
    ("2019-10-10", "2019-12-20", CORE),  # a rename with a new owner, a wipe
    ("2021-01-10", "2021-06-20", CORE),  # a wipe and its restoration
    ("2021-07-10", "2021-10-01", EVERY_LIST),  # columns, spellings and lists change on 2021-08-20
    ("2021-10-02", "2022-05-31", CORE),  # 77 days without a file; 60 places a list; a wipe
    ("2023-11-25", "2024-01-10", EVERY_LIST),  # a purge by the platform
    ("2024-09-20", "2025-02-20", CORE),  # 76 days without a file
]
DAYS_A_LOAD = 60


def _days(first: str, last: str) -> list[dt.date]:
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [start + dt.timedelta(number) for number in range((end - start).days + 1)]


def _files(rankings: Path, days: list[dt.date], lists: list[str]) -> dict[dt.date, bytes]:
    """Return the days' CSVs as the upstream published them, cut to `lists`; days without a file are absent."""
    years = [str(rankings / f"rankings-{year}.parquet") for year in sorted({day.year for day in days})]
    with duckdb.connect(config={"threads": 2, "memory_limit": "1GB"}) as connection:
        rows = connection.execute(
            f"""
            select snapshot_date, {HEADER} from read_parquet($years)
            where snapshot_date between $first and $last and (len($lists) = 0 or item in $lists)
            order by
                snapshot_date, case item when 'top-100-stars' then 0 when 'top-100-forks' then 1 else 2 end,
                item, rank, username, repo_name
            """,
            {"years": years, "first": days[0], "last": days[-1], "lists": lists},
        ).fetchall()
    texts: dict[dt.date, io.StringIO] = {}
    for day, *cells in rows:
        if day not in texts:
            texts[day] = io.StringIO(HEADER + "\n")
            texts[day].seek(0, io.SEEK_END)
        csv.writer(texts[day], lineterminator="\n").writerow(cells)
    return {day: text.getvalue().encode() for day, text in texts.items()}


@pytest.fixture(scope="session")
def real_home(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """The slices, loaded as the pipeline loads them and built at once with all data tests."""
    rankings = Path(os.environ.get("REPOSIGNAL_REAL_DATA", "")) / "rankings"
    if "REPOSIGNAL_REAL_DATA" not in os.environ or not rankings.is_dir():
        pytest.skip("REPOSIGNAL_REAL_DATA names no folder of recordings")
    home = BuiltHome(tmp_path_factory.mktemp("real") / "home")
    for first, last, lists in SLICES:
        days = _days(first, last)
        for start in range(0, len(days), DAYS_A_LOAD):
            load = days[start : start + DAYS_A_LOAD]
            files = _files(rankings, load, lists)
            home.load([parse_day(day, files.get(day), f"github-ranking-{day}.csv") for day in load])
    return home.built(["build", "--exclude-resource-type", "unit_test"])
