"""Bursts and accounts as judged in loaded files: groups among honest stars, any order of loading, no look-ahead.

Here: the models through dbt on generated days. Not here: single rules (unit tests in the yml of the models), recorded
histories (tests/real).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest
from archive_rows import Row, star
from built_homes import BuiltHome, Rows, window
from story import file_of, row

from reposignal_pipeline.sources.rankings import Day, parse_day

START = dt.date(2025, 1, 1)
LAST, BOUGHT_ON, RING_ON, CAMPAIGN_FROM, SPLIT = 131, 112, 110, 95, 100
ARCHIVED = range(84, LAST + 1)
LATE = (RING_ON, 98)
IDS = {"own/steady": 1, "own/campaign": 2, "own/hit": 3, "own/ring-a": 4, "own/ring-b": 5, "own/bought": 6}
RUN = ["run", "--select", "+int_repo_days__authenticated"]
TABLES = ("int_repo_days__authenticated", "int_gh_archive_accounts__judged")


def day(number: int) -> dt.date:
    return START + dt.timedelta(number)


def ranking_day(number: int) -> Day:
    """Return a file of six repositories with three stars a day; two of them get 300 more, one of these with forks."""
    given = 100 * min(max(number - CAMPAIGN_FROM + 1, 0), 3)
    rows = []
    for rank, name in enumerate(IDS, 1):
        stars = 2000 + 3 * number + (given if name in ("own/campaign", "own/hit") else 0)
        forks = 200 + (given // 10 if name == "own/hit" else 0)
        owner, repo = name.split("/")
        rows.append(row(rank, "Go", username=owner, repo_name=repo, stars=str(stars), forks=str(forks), language="Go"))
    return parse_day(day(number), file_of(rows), f"github-ranking-{day(number)}.csv")


def archived(numbers: Iterable[int]) -> dict[str, list[Row]]:
    """Return star events: three repositories with a few regulars, and on one day each a ring and many newcomers."""
    rows = []
    for number in numbers:
        events: Iterator[int] = count(number * 1000)
        # (repository, account): regulars return every few days
        given = [(name, (7 * number + 13 * IDS[name] + n) % 60) for name in list(IDS)[:3] for n in range(12)]
        if number == RING_ON:
            given += [(name, 500 + n) for name in ("own/ring-a", "own/ring-b") for n in range(15)]
            given += [("own/ring-a", 600 + n) for n in range(10)]
        if number == BOUGHT_ON:
            given += [("own/bought", 700 + n) for n in range(50)] + [("own/bought", n) for n in range(5)]
        moment = dt.datetime.combine(day(number), dt.time(12))
        rows += [star(moment, next(events), (IDS[name], name)) | {"actor_hash": account} for name, account in given]
    return {"gh_archive": rows}


def tables(home: BuiltHome, until: dt.date = dt.date.max) -> dict[str, Rows]:
    return {
        table: home.query(f"select * from pipeline.intermediate.{table} where day <= $1 order by all", until)
        for table in TABLES
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    home = BuiltHome(tmp_path_factory.mktemp("authenticity") / "whole")
    home.load([ranking_day(number) for number in range(LAST + 1)])
    home.append(**archived(ARCHIVED))
    return home.built(["seed"], RUN)


def judgements(home: BuiltHome, name: str) -> dict[int, tuple[str | None, list[str]]]:
    """Return authenticity and reasons by day."""
    rows = home.query(
        """
        select day - $2::date, authenticity, authenticity_reasons
        from pipeline.intermediate.int_repo_days__authenticated
        inner join pipeline.intermediate.int_repo_days__stepped using (day, repo_key)
        where full_name = $1 order by day
        """,
        name, START,
    )  # fmt: skip
    return {number: (authenticity, reasons) for number, authenticity, reasons in rows}


@pytest.mark.slow
def test_a_day_by_day_home_is_the_same(whole: BuiltHome, tmp_path: Path) -> None:
    """Half the days, then the rest, then late archive days; before these, no judgement uses them."""
    home = BuiltHome(tmp_path / "home")
    home.load([ranking_day(number) for number in range(SPLIT)])
    home.append(**archived(set(range(84, SPLIT)) - set(LATE)))
    home.built(["seed"], RUN)
    early = tables(home, day(97))
    assert early == tables(whole, day(97))
    home.load([ranking_day(number) for number in range(SPLIT, LAST + 1)])
    rest = [(day(SPLIT), day(LAST))]
    late = [(day(number), day(number)) for number in sorted(LATE)]
    home.append(**archived(set(range(SPLIT, LAST + 1)) - set(LATE)))
    home.built(
        [*RUN, *window(day(SPLIT), day(LAST), None, rest, 2)],
        home.appending("late", **archived(LATE)),
        [*RUN, *window(day(LAST), day(LAST), None, late, 3)],
    )
    assert tables(home) == tables(whole)


def test_a_burst_is_judged_once_it_settles_and_for_four_weeks(whole: BuiltHome) -> None:
    campaign, hit = judgements(whole, "own/campaign"), judgements(whole, "own/hit")
    assert {campaign[number][0] for number in range(50, CAMPAIGN_FROM)} == {"ok"}
    assert campaign[CAMPAIGN_FROM + 2] == (None, ["burst_goes_on"])
    # the last 7 days that contain all of it end four days after it
    settled = range(CAMPAIGN_FROM + 4, CAMPAIGN_FROM + 6 + 29)
    assert {str(campaign[number]) for number in settled} == {"('review', ['few_forks'])"}
    assert {str(hit[number]) for number in settled} == {"('ok', [])"}
    assert campaign[CAMPAIGN_FROM + 6 + 30] == hit[LAST] == ("ok", [])


def test_groups_of_accounts_are_found_among_honest_stars(whole: BuiltHome) -> None:
    flagged = {
        name: {number: reasons for number, (status, reasons) in judgements(whole, name).items() if status == "review"}
        for name in IDS
    }
    assert flagged["own/steady"] == flagged["own/hit"] == {}
    for ring in ("own/ring-a", "own/ring-b"):
        assert list(flagged[ring]) == list(range(RING_ON, LAST + 1))
        assert {str(reasons) for reasons in flagged[ring].values()} == {"['lockstep']"}
    assert list(flagged["own/bought"]) == list(range(BOUGHT_ON, LAST + 1))
    assert {str(reasons) for reasons in flagged["own/bought"].values()} == {"['one_star_accounts']"}


def test_no_account_is_named(whole: BuiltHome) -> None:
    """Hashes of accounts stay in the raw table."""
    columns = "select column_name from duckdb_columns() where column_name like 'actor%' and table_name <> 'gh_archive'"
    assert whole.query(columns + " and table_name not like 'stg_%'") == []
