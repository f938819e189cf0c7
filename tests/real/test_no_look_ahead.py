"""A day is built from its past only: deleting everything later from the recordings changes nothing before.

Recorded months of a few whole lists, with a purge by the platform; built at once, built from the readings up to two
chosen days, and built day by day at the end. Not here: GitHub's readings, topics and the archive, which generated
stories cover (tests/dbt).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dbt"))
from built_homes import BuiltHome, Rows, window

from reposignal_pipeline.analysis import forecast
from reposignal_pipeline.analysis.weekly import language_trends, repo_trends
from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.defs.forecasts import BREAKOUTS_OF_WEEKS, Speakers, frame, issue, models_folder
from reposignal_pipeline.defs.trends import CLOSINGS
from reposignal_pipeline.sources.rankings import HEADER, parse_day
from reposignal_pipeline.warehouse import append_rows

pytestmark = [pytest.mark.real, pytest.mark.slow]

FIRST, LAST = dt.date(2023, 4, 1), dt.date(2024, 9, 30)
LISTS = ["top-100-stars", "Go", "Python", "Vim-script"]
DAYS_A_LOAD = 300
TABLES = (
    "fct_repo_day", "fct_repo_signal_day", "fct_language_day", "fct_language_vertical_day", "fct_language_reach_day",
    *(f"pipeline.intermediate.int_repo_days__{verb}" for verb in ("stepped", "paced", "surprised", "authenticated")),
)  # fmt: skip
OF_TOPICS = ("fct_language_vertical_day", "fct_language_reach_day")  # unknown to the rankings
# the purge, and a day drawn from those that look back a year
CUTS = (dt.date(2024, 1, 3), LAST - dt.timedelta(random.Random(5).randrange(1, 120)))
HINDSIGHT = ["best_total", "settling_total", "settled_on", "has_break", "crossed_on"]
NOW = dt.datetime(2025, 7, 1)
RUN = ["run", "--select", "+fct_language_day", "+fct_language_reach_day", "+fct_language_vertical_day"]


def loaded(rankings: Path, home: BuiltHome) -> BuiltHome:
    years = [str(rankings / f"rankings-{year}.parquet") for year in range(FIRST.year, LAST.year + 1)]
    with duckdb.connect(config={"threads": 2, "memory_limit": "1GB"}) as connection:
        rows = connection.execute(
            f"""
            select snapshot_date, {HEADER} from read_parquet($years)
            where snapshot_date between $first and $last and item in $lists
            order by snapshot_date, array_position($lists, item), rank
            """,
            {"years": years, "first": FIRST, "last": LAST, "lists": LISTS},
        ).fetchall()
    texts = {FIRST + dt.timedelta(number): io.StringIO() for number in range((LAST - FIRST).days + 1)}
    for day, *cells in rows:
        if not texts[day].tell():
            texts[day].write(HEADER + "\n")
        csv.writer(texts[day], lineterminator="\n").writerow(cells)
    days = [
        parse_day(day, text.getvalue().encode() or None, f"github-ranking-{day}.csv") for day, text in texts.items()
    ]
    for start in range(0, len(days), DAYS_A_LOAD):
        home.load(days[start : start + DAYS_A_LOAD])
    return home


@pytest.fixture(scope="module")
def whole(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    home = BuiltHome(tmp_path_factory.mktemp("look-ahead") / "whole")
    return loaded(real_data / "rankings", home).built(["seed"], RUN)


@pytest.fixture(scope="module", params=CUTS, ids=str)
def past(
    request: pytest.FixtureRequest, whole: BuiltHome, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dt.date, BuiltHome]:
    """A day, and a home without anything later."""
    home = whole.raw_copy(tmp_path_factory.mktemp("look-ahead") / str(request.param), request.param)
    return request.param, home.built(["seed"], RUN)


def differing(home: BuiltHome, other: BuiltHome, table: str, until: dt.date) -> tuple[int, Rows]:
    """Return the number of rows of a table up to a day, and up to ten that differ between the homes."""
    file, _, relation = (table if "." in table else f"reposignal.main.{table}").partition(".")
    with home.connect() as connection:
        database = {"pipeline": other.pipeline_db, "reposignal": other.marts_db}[file]
        connection.execute(f"attach '{database}' as other (read_only)")
        sides = [f"(select * from {side}.{relation} where day <= date '{until}')" for side in (file, "other")]
        ((count,),) = connection.execute(f"select count(*) from {sides[0]}").fetchall()
        rows = connection.execute(
            f"(from {sides[0]} except all from {sides[1]}) union all (from {sides[1]} except all from {sides[0]})"
            " order by day limit 10"
        ).fetchall()
    return count, rows


def test_the_homes_have_rows_to_compare(whole: BuiltHome) -> None:
    """Otherwise equality would prove nothing."""
    ((rows, growth_year, breakouts, review, surprising),) = whole.query(
        """
        select
            count(*), count(growth_year), count(*) filter (where is_breakout),
            count(*) filter (where authenticity = 'review'), count(surprise)
        from fct_repo_signal_day
        """
    )
    assert rows > 150_000
    assert growth_year > 20_000
    assert breakouts > 30
    assert review > 20
    assert surprising > 100_000


@pytest.mark.parametrize("table", TABLES)
def test_nothing_later_is_used(whole: BuiltHome, past: tuple[dt.date, BuiltHome], table: str) -> None:
    """Nor on any day before."""
    day, home = past
    count, rows = differing(home, whole, table, day)
    assert rows == []
    if table not in OF_TOPICS:
        assert count > 1000
        assert home.query(f"select max(day) from {table}") == [(day,)]


# --- weeks and Mondays


@pytest.fixture(scope="module")
def marts(whole: BuiltHome, past: tuple[dt.date, BuiltHome]) -> Iterator[list[duckdb.DuckDBPyConnection]]:
    """Both homes' marts in writable copies, the whole one first."""
    folder = past[1].folder
    homes = [whole.copy(folder / "whole-copy"), past[1].copy(folder / "copy")]
    connections = [duckdb.connect(str(home.marts_db), config={"threads": 2}) for home in homes]
    yield connections
    for connection in connections:
        connection.close()


def monday_before(day: dt.date) -> dt.date:
    """Return the last Monday before which all days are known once a day has been built."""
    return day + dt.timedelta(1) - dt.timedelta((day.weekday() + 1) % 7)


def same(frames: list[pd.DataFrame]) -> pd.DataFrame:
    whole, past = frames
    pd.testing.assert_frame_equal(whole, past, check_exact=True)
    return past


def test_weeks_that_had_ended_stay_as_they_were(
    marts: list[duckdb.DuckDBPyConnection], past: tuple[dt.date, BuiltHome]
) -> None:
    last = monday_before(past[0]) - dt.timedelta(1)
    given = {"first": last - dt.timedelta(27), "last": last}
    trends = [repo_trends(connection.execute(CLOSINGS, given).df()) for connection in marts]
    assert len(same(trends)) > 1000
    assert len(same([language_trends(repos) for repos in trends])) > 10


def test_a_monday_depends_only_on_earlier_days(
    marts: list[duckdb.DuckDBPyConnection], past: tuple[dt.date, BuiltHome]
) -> None:
    monday = monday_before(past[0])
    frames = [frame(connection, monday - dt.timedelta(70), monday).drop(columns=HINDSIGHT) for connection in marts]
    assert len(same(frames)) > 2000


def test_a_model_and_its_forecasts_use_only_the_past(
    marts: list[duckdb.DuckDBPyConnection], past: tuple[dt.date, BuiltHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Smaller than the real ones, because both homes fit each quarter."""
    monkeypatch.setattr(forecast, "FIT_ROWS", 10_000)
    monkeypatch.setattr(forecast, "EPOCHS", 2)
    monkeypatch.setattr(forecast, "LEAST_CROSSINGS", 20)
    monday = monday_before(past[0])
    ledgers, files, breakouts = [], [], []
    for connection, name in zip(marts, ("whole", "past"), strict=True):
        settings = Settings(home=past[1].folder / f"home-{name}", profile=Profile.LOCAL, rankings_base="")
        append_rows(connection, forecast.FORECASTS)
        # as a backfill does it: the whole home knows all outcomes
        last = LAST if name == "whole" else monday
        speakers = Speakers(connection, models_folder(settings), last)
        issue(connection, speakers, monday - dt.timedelta(28), monday, NOW)
        ledgers.append(connection.execute("from fct_forecast order by forecast_id").df())
        models = sorted(models_folder(settings).glob("*.json"))
        files.append([(path.name, path.read_text()) for path in models])
        given = {"first": monday - dt.timedelta(28), "last": monday - dt.timedelta(7)}
        breakouts.append(connection.execute(f"from ({BREAKOUTS_OF_WEEKS}) order by week, rank", given).df())
    assert files[0] == files[1] != []
    assert len(same(ledgers)) > 100
    assert len(same(breakouts)) > 0


# --- one day per build


def test_day_by_day_equals_all_at_once(whole: BuiltHome, tmp_path: Path) -> None:
    """The last three days one at a time, over the end of a month, because a month has its own bases."""
    end = dt.date(2024, 9, 2)
    home = whole.raw_copy(tmp_path / "daily", end)
    days = [end - dt.timedelta(days) for days in (2, 1, 0)]
    windows = [(FIRST, days[0] - dt.timedelta(1)), *((day, day) for day in days)]
    home.built(["seed"], *([*RUN, *window(*days)] for days in windows))
    assert {table: rows for table in TABLES if (rows := differing(home, whole, table, end)[1])} == {}
