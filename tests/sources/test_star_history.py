"""How a page of star history is read, which pages are requested, and which weeks are new."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.sample.github_api import GitHubApi
from reposignal_pipeline.sample.github_world import ALWAYS, Repository, World
from reposignal_pipeline.sources.discovery import Member
from reposignal_pipeline.sources.github import Answer, GitHub
from reposignal_pipeline.sources.schemas import STAR_HISTORY, STAR_HISTORY_READS, WEEKDAYS
from reposignal_pipeline.sources.star_days import STAR_DAYS
from reposignal_pipeline.sources.star_history import Ask, Plan, fresh_weeks, parse_page, plan, read
from reposignal_pipeline.warehouse import Warehouse

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 2, 26, 9)  # a Thursday
TODAY = NOW.date()
SUNDAY = dt.date(2026, 2, 22)
ASK = Ask(7, "a/b", 1, stars_total=100)


def epoch(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def week(sunday: dt.date, *days: int) -> dict[str, Any]:
    return {"week": epoch(sunday), "total": sum(days), "days": list(days)}


def weeks(count: int, newest: dt.date = SUNDAY) -> list[dict[str, Any]]:
    partial = [week(newest, 1, 2, 3, 4, 5, 0, 0)]
    return partial + [week(newest - 7 * n * DAY, n, 0, 0, 0, 0, 0, 1) for n in range(1, count)]


def answer(
    content: Any,
    status: int = 200,
    *,
    url: str = "/repositories/7/stargazers/history",
    links: dict[str, str] | None = None,
    at: dt.datetime = NOW,
) -> Answer:
    return Answer(status, content, url, is_moved=False, etag='W/"x"', links=links or {}, answered_at=at)


def test_a_page_covers_the_days_that_have_ended() -> None:
    reads = parse_page(ASK, answer(weeks(30)))
    assert len(reads.weeks) == 30
    assert reads.weeks[0]["week"] == SUNDAY
    assert [reads.weeks[0][day] for day in WEEKDAYS] == [1, 2, 3, 4, 5, 0, 0]
    (reading,) = reads.reads
    assert (reading["status"], reading["etag"]) == ("read", 'W/"x"')
    assert (reading["first_day"], reading["last_day"]) == (SUNDAY - 29 * 7 * DAY, TODAY - DAY)
    assert reads.quarantine == []


def test_a_week_that_does_not_add_up_is_set_aside_and_not_covered() -> None:
    content = weeks(5)
    content[2]["total"] += 1
    reads = parse_page(ASK, answer(content))
    assert len(reads.weeks) == 4
    assert [(row["first_day"], row["last_day"]) for row in reads.reads] == [
        (SUNDAY - 28 * DAY, SUNDAY - 15 * DAY),
        (SUNDAY - 7 * DAY, TODAY - DAY),
    ]
    assert all(row["etag"] is None for row in reads.reads)
    (aside,) = reads.quarantine
    assert aside["reason"] == "a/b, page 1, week 2026-02-08: the days add up to 3, the total is 4"


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        ({"week": epoch(SUNDAY) + 3600, "total": 0, "days": [0] * 7}, "does not begin on a Sunday"),
        ({"week": epoch(SUNDAY + DAY), "total": 0, "days": [0] * 7}, "does not begin on a Sunday"),
        ({"week": epoch(SUNDAY), "total": 1, "days": [1, 0]}, "not seven counts"),
        ({"week": epoch(SUNDAY), "total": -1, "days": [-1, 0, 0, 0, 0, 0, 0]}, "not seven counts"),
        ({"week": epoch(SUNDAY), "total": True, "days": [True, 0, 0, 0, 0, 0, 0]}, "not seven counts"),
        ({"week": epoch(SUNDAY), "total": 1.5, "days": [1.5, 0, 0, 0, 0, 0, 0]}, "not seven counts"),
        ({"week": "soon", "total": 0, "days": [0] * 7}, "no week"),
        ({"week": -(10**30), "total": 0, "days": [0] * 7}, "no week"),
        ({}, "no week"),
        (None, "no week"),
        ("x" * 100_000, "no week"),
    ],
)
def test_an_invalid_week_is_set_aside_with_its_cause(entry: Any, cause: str) -> None:
    reads = parse_page(ASK, answer([entry, *weeks(3)[1:]]))
    assert cause in reads.quarantine[0]["reason"]
    assert len(reads.quarantine[0]["row_text"]) <= 1_000
    assert len(reads.weeks) == 2
    assert max(row["last_day"] for row in reads.reads) == SUNDAY - DAY


def test_stars_on_future_days_do_not_count() -> None:
    content = weeks(2)
    content[0] = week(SUNDAY, 1, 2, 3, 4, 5, 9, 9)
    reads = parse_page(ASK, answer(content))
    assert [reads.weeks[0][day] for day in WEEKDAYS] == [1, 2, 3, 4, 5, 0, 0]
    assert reads.reads[0]["last_day"] == TODAY - DAY
    assert reads.reads[0]["etag"] is None  # a 304 would confirm what was rejected
    assert "days to come" in reads.quarantine[0]["reason"]


def test_an_empty_first_page_is_an_error_and_not_zero_stars() -> None:
    reads = parse_page(ASK, answer([]))
    assert reads.weeks == []
    assert (reads.reads[0]["status"], reads.reads[0]["last_day"]) == ("empty", None)


def test_a_page_before_the_first_week_is_covered() -> None:
    reads = parse_page(Ask(7, "a/b", 2), answer([]))
    (reading,) = reads.reads
    assert (reading["first_day"], reading["last_day"]) == (SUNDAY - 59 * 7 * DAY, SUNDAY - 29 * 7 * DAY - DAY)


@pytest.mark.parametrize(
    ("status", "content", "state"),
    [
        (404, {"message": "Not Found"}, "not_found"),
        (403, {"message": "no"}, "forbidden"),
        (403, {"block": {"reason": "tos"}}, "blocked"),
        (451, {}, "dmca"),
        (202, {}, "unreadable"),
        (422, {"message": "bad"}, "unreadable"),
        (200, {"message": "not a list"}, "unreadable"),
    ],
)
def test_a_refusal_is_a_state_and_covers_nothing(status: int, content: Any, state: str) -> None:
    reads = parse_page(ASK, answer(content, status))
    assert reads.weeks == []
    assert [(row["status"], row["last_day"]) for row in reads.reads] == [(state, None)]


@pytest.mark.parametrize(
    ("url", "links", "reason"),
    [
        ("/repositories/8/stargazers/history", {}, "the answer is about repository 8"),
        (
            "/repositories/7/stargazers/history",
            {"next": "https://api.github.com/repositories/8/stargazers/history?page=2"},
            "the answer is about repository 8",
        ),
        ("/repos/a/b/stargazers/history", {}, "the answer does not name the repository"),
    ],
)
def test_a_history_is_accepted_only_if_the_response_names_the_repository(
    url: str, links: dict[str, str], reason: str
) -> None:
    reads = parse_page(ASK, answer(weeks(3), url=url, links=links))
    assert reads.weeks == []
    assert [(row["status"], row["reason"]) for row in reads.reads] == [("wrong_id", reason)]


def test_a_name_that_another_repository_took_does_not_bring_its_history() -> None:
    taken = dt.datetime(2026, 2, 1)
    begun, given = dt.datetime(2026, 1, 1), np.full(57, 4, np.int32)
    first = Repository(1, ((ALWAYS, "own/tool"), (taken, "own/old")), begun, begun.date(), 0, given)
    second = Repository(2, ((taken, "own/tool"),), taken, taken.date(), 0, 9 * given[31:])

    async def read_all() -> list[dict[str, Any]]:
        with GitHubApi(World([first, second]), now=NOW) as api:
            async with GitHub(api.base) as github:
                return [row async for reads in read(github, [Ask(1, "own/tool", 1)]) for row in reads.weeks]

    assert {row["total"] for row in asyncio.run(read_all()) if taken.date() < row["week"] < SUNDAY} == {7 * 4}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20))
def test_any_response_becomes_rows_that_fit_the_tables(content: Any) -> None:
    reads = parse_page(ASK, answer(content if isinstance(content, list) else [content]))
    pa.Table.from_pylist(reads.weeks, STAR_HISTORY)
    pa.Table.from_pylist(reads.reads, STAR_HISTORY_READS)
    assert reads.reads or reads.quarantine


class Home:
    """A warehouse with star history in it, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(home=folder, profile=Profile.LOCAL, rankings_base="")
        settings.warehouse_dir.mkdir(parents=True)
        self.warehouse = Warehouse(settings)
        self.members = [Member(n, f"R_{n}", f"o/r{n}", "search", 100 * n, 0, dt.date(2020, 1, 1)) for n in range(1, 71)]

    def plan(self, first: dt.date, last: dt.date, *, now: dt.datetime = NOW, **more: int) -> Plan:
        with self.warehouse.connected() as connection:
            return plan(connection, self.members, first, last, now=now, **more)

    def keep(self, asks: list[Ask], at: dt.datetime, pages: dict[int, list[dict[str, Any]]] | None = None) -> int:
        """Load the responses to these requests at `at`; return how many weeks were new."""
        today = STAR_DAYS.day_of(at)
        sunday = today - DAY * (today.isoweekday() % 7)
        new = 0
        with self.warehouse.connected() as connection:
            for ask in asks:
                newest = sunday - 7 * 30 * (ask.page - 1) * DAY
                content = (pages or {}).get(ask.repo_id) or weeks(30, newest)
                url = f"/repositories/{ask.repo_id}/stargazers/history"
                reads = parse_page(ask, answer(content, url=url, at=at))
                fresh = fresh_weeks(connection, reads.weeks, at)
                new += len(fresh)
                insert(connection, "star_history", fresh)
                insert(connection, "star_history_reads", pa.Table.from_pylist(reads.reads, STAR_HISTORY_READS))
        return new


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    connection.register("rows", rows)
    connection.execute(f"insert into pipeline.star_history.{table} from rows")
    connection.unregister("rows")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


YESTERDAY = TODAY - DAY


def test_the_first_day_requests_every_repository(home: Home) -> None:
    planned = home.plan(YESTERDAY, YESTERDAY, budget=5)
    assert len(planned.asks) == 70
    assert {ask.page for ask in planned.asks} == {1}
    assert planned.in_words == "70 pages of repositories: 70 never read; 0 of 70 left out"


def test_an_interrupted_run_continues_with_the_rest(home: Home) -> None:
    first = home.plan(YESTERDAY, YESTERDAY).asks
    home.keep(first[:40], NOW)
    rest = home.plan(YESTERDAY, YESTERDAY).asks
    assert {ask.repo_id for ask in rest} == {ask.repo_id for ask in first[40:]}


def test_a_normal_day_requests_moved_repositories_and_a_seventh_of_the_quiet(home: Home) -> None:
    home.keep(home.plan(YESTERDAY, YESTERDAY).asks, NOW)
    moved = {3: 400, 9: 950}
    home.members = [Member(**{**vars(m), "stars_total": moved.get(m.repo_id, m.stars_total)}) for m in home.members]
    planned = home.plan(TODAY, TODAY, now=NOW + DAY)
    assert moved.keys() <= {ask.repo_id for ask in planned.asks}
    assert "10 due for their weekly reading" in planned.in_words
    assert planned.left_out == 70 - len(planned.asks)
    assert "left out" in planned.in_words


def test_every_repository_is_read_again_within_a_week_within_the_budget(home: Home) -> None:
    home.keep(home.plan(YESTERDAY, YESTERDAY).asks, NOW)
    read: set[int] = set()
    for n in range(1, 8):
        planned = home.plan(TODAY + (n - 1) * DAY, TODAY + (n - 1) * DAY, now=NOW + n * DAY, budget=10)
        assert len(planned.asks) <= 10
        home.keep(planned.asks, NOW + n * DAY)
        read |= {ask.repo_id for ask in planned.asks}
    assert len(read) == 70


def test_a_repeated_normal_day_requests_nothing(home: Home) -> None:
    home.keep(home.plan(YESTERDAY, YESTERDAY).asks, NOW)
    home.keep(home.plan(TODAY, TODAY, now=NOW + DAY).asks, NOW + DAY)
    assert home.plan(TODAY, TODAY, now=NOW + DAY).asks == []


def test_a_clock_set_back_hides_no_load(home: Home) -> None:
    home.keep([Ask(1, "o/r1", 1)], NOW)
    home.keep([Ask(2, "o/r2", 1)], NOW - DAY)
    with home.warehouse.connected() as connection:
        rows = connection.execute(
            "select repo_id, max(loaded_at), min(loaded_at) from pipeline.star_history.star_history"
            " group by all order by 1"
        ).fetchall()
    assert rows[1][2] > rows[0][1]


def test_the_budget_goes_to_what_moved_most_for_its_size(home: Home) -> None:
    home.keep(home.plan(YESTERDAY, YESTERDAY).asks, NOW)
    home.members = [Member(**{**vars(m), "stars_total": (m.stars_total or 0) + m.repo_id}) for m in home.members]
    planned = home.plan(TODAY, TODAY, now=NOW + DAY, budget=13)
    chosen = {ask.repo_id for ask in planned.asks}
    assert len(chosen) == 13
    assert len(chosen & {68, 69, 70}) == 3


def test_a_repeated_day_requests_nothing(home: Home) -> None:
    home.keep(home.plan(YESTERDAY, YESTERDAY).asks, NOW)
    assert home.plan(YESTERDAY, YESTERDAY).asks == []


def test_a_repository_refused_today_is_requested_again_tomorrow(home: Home) -> None:
    asks = home.plan(YESTERDAY, YESTERDAY).asks
    with home.warehouse.connected() as connection:
        for ask in asks:
            rows = parse_page(ask, answer({}, 404)).reads
            insert(connection, "star_history_reads", pa.Table.from_pylist(rows, STAR_HISTORY_READS))
    assert home.plan(YESTERDAY, YESTERDAY).asks == []
    assert len(home.plan(TODAY, TODAY, now=NOW + DAY).asks) == 70


def test_a_backfill_requests_only_missing_pages(home: Home) -> None:
    home.keep([ask for ask in home.plan(YESTERDAY, YESTERDAY).asks if ask.repo_id <= 60], NOW)
    two_years = TODAY - 730 * DAY
    planned = home.plan(two_years, YESTERDAY)
    by_page = {page: {ask.repo_id for ask in planned.asks if ask.page == page} for page in range(1, 6)}
    assert {page: len(repos) for page, repos in by_page.items()} == {1: 10, 2: 70, 3: 70, 4: 70, 5: 0}
    home.keep(planned.asks, NOW)
    assert home.plan(two_years, YESTERDAY).asks == []


def test_a_backfill_that_rereads_requests_everything_once(home: Home) -> None:
    two_years = TODAY - 730 * DAY
    home.keep(home.plan(two_years, YESTERDAY).asks, NOW)
    with home.warehouse.connected() as connection:
        later = {"now": NOW + DAY, "reread": True}
        asks = plan(connection, home.members, two_years, YESTERDAY, **later).asks
        assert len(asks) == 4 * 70
    home.keep(asks, NOW + DAY)
    with home.warehouse.connected() as connection:
        assert plan(connection, home.members, two_years, YESTERDAY, **later).asks == []


def test_a_backfill_requests_nothing_before_a_repository_existed(home: Home) -> None:
    home.members = [Member(1, "R_1", "o/r1", "search", 5, 0, TODAY - 10 * DAY)]
    assert [ask.page for ask in home.plan(TODAY - 730 * DAY, YESTERDAY).asks] == [1]


def test_a_week_is_stored_again_only_when_it_changed(home: Home) -> None:
    ask = Ask(1, "o/r1", 1)
    assert home.keep([ask], NOW) == 30
    assert home.keep([ask], NOW + dt.timedelta(hours=1)) == 0
    assert home.keep([ask], NOW + DAY) == 1  # one more of its days is final
    restated = weeks(30)
    restated[4] = week(SUNDAY - 28 * DAY, 3, 0, 0, 0, 0, 0, 1)
    assert home.keep([ask], NOW + DAY, {1: restated}) == 1
    assert home.keep([ask], NOW + DAY, {1: restated}) == 0


def test_an_etag_is_sent_only_with_the_week_that_it_confirms(home: Home) -> None:
    home.keep(home.plan(YESTERDAY, YESTERDAY).asks, NOW)
    home.members = [Member(**{**vars(m), "stars_total": 0}) for m in home.members]
    asks = home.plan(TODAY, TODAY, now=NOW + DAY).asks
    assert {ask.etag for ask in asks} == {'W/"x"'}
    for ask in asks:
        assert ask.newest
        assert ask.newest["week"] == SUNDAY
        assert [ask.newest[day] for day in WEEKDAYS] == [1, 2, 3, 4, 5, 0, 0]


def test_a_day_is_planned_once_it_is_final(home: Home) -> None:
    """At 06:00 UTC yesterday has not ended for GitHub: a request then covers the days up to the day before."""
    early = NOW - dt.timedelta(hours=3)
    first = home.plan(YESTERDAY, YESTERDAY, now=early)
    assert len(first.asks) == 70  # never read: their past is worth it
    home.keep(first.asks, early)
    assert home.plan(YESTERDAY, YESTERDAY, now=early).asks == []
    tomorrow = {"first": TODAY, "last": TODAY}
    assert home.plan(**tomorrow, now=early + DAY).asks == []  # the run after 08:30 learns more from the same requests
    later = home.plan(YESTERDAY, YESTERDAY)
    assert later.in_words.startswith("10 pages of repositories: 10 due for their weekly reading")
    home.keep(later.asks, NOW)
    assert home.plan(YESTERDAY, YESTERDAY).asks == []


def test_what_an_earlier_version_accepted_too_early_is_read_again(home: Home) -> None:
    """Homes hold readings of 06:00 UTC that claim to cover yesterday."""
    asks = home.plan(YESTERDAY, YESTERDAY).asks
    early = NOW - dt.timedelta(hours=3)
    home.keep(asks, early)
    with home.warehouse.connected() as connection:
        connection.execute("update pipeline.star_history.star_history_reads set last_day = ?", [YESTERDAY])
    assert len(home.plan(YESTERDAY - 30 * DAY, YESTERDAY).asks) == 70
    home.members = [Member(**{**vars(m), "stars_total": 0}) for m in home.members]
    assert len(home.plan(YESTERDAY, YESTERDAY).asks) == 70
    # the same numbers, read once the day is final, are a reading of it
    assert home.keep([Ask(1, "o/r1", 1)], NOW) == 1


class Unchanged:
    """An API that responds with 304 to an ETag, and otherwise with a page that the test defines."""

    def __init__(self, at: dt.datetime, content: list[dict[str, Any]]) -> None:
        self.at, self.content = at, content
        self.etags: list[str | None] = []

    async def get(self, path: str, params: dict[str, Any], *, etag: str | None = None) -> Answer:
        self.etags.append(etag)
        return answer(self.content, 304 if etag else 200, at=self.at)


@pytest.mark.parametrize(
    ("stored_at", "asked_at", "is_asked_in_full", "known_to"),
    [
        # on a Wednesday and on the Thursday after it, only the newest week can have more final days
        (NOW - DAY, NOW, False, YESTERDAY),
        # at 08:10 UTC the new week has begun, and the Saturday before it is not final yet
        (dt.datetime(2026, 2, 22, 8, 10), dt.datetime(2026, 2, 23, 9), True, SUNDAY),
        (dt.datetime(2026, 2, 22, 8, 30), dt.datetime(2026, 2, 23, 9), False, SUNDAY),
        # at 07:00 UTC it is still Saturday for GitHub
        (dt.datetime(2026, 2, 21, 9), dt.datetime(2026, 2, 22, 7), False, SUNDAY - 2 * DAY),
    ],
)
def test_a_304_response_confirms_the_days_that_are_final_by_then(
    stored_at: dt.datetime, asked_at: dt.datetime, is_asked_in_full: bool, known_to: dt.date
) -> None:
    today = STAR_DAYS.day_of(stored_at)
    sunday = today - DAY * (today.isoweekday() % 7)
    newest = {"week": sunday, "total": 0, "fetched_at": stored_at} | dict.fromkeys(WEEKDAYS, 0)
    ask = Ask(7, "a/b", 1, etag='W/"x"', newest=newest)
    api = Unchanged(asked_at, [week(sunday - 7 * n * DAY, *[0] * 7) for n in range(30)])

    async def reads() -> list[Any]:
        return [row async for some in read(api, [ask]) for row in some.reads]  # type: ignore[arg-type]

    (reading,) = asyncio.run(reads())
    assert (len(api.etags) == 2) == is_asked_in_full
    assert reading["last_day"] == known_to
