"""Cycles and readings against the embedded GitHub API, with every fault it has, over real sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.sample import github_faults as faults
from reposignal_pipeline.sample.github_api import GitHubApi
from reposignal_pipeline.sample.github_faults import Fault
from reposignal_pipeline.sample.github_world import World
from reposignal_pipeline.sources.discovery import Rule
from reposignal_pipeline.sources.github import GitHub
from reposignal_pipeline.sources.schemas import TABLES, WEEKDAYS
from reposignal_pipeline.sources.star_history import Ask, Reads, read
from reposignal_pipeline.sources.transport import UpstreamError
from reposignal_pipeline.sources.universe import Outcome, cycle, members, state
from reposignal_pipeline.warehouse import Warehouse

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 3, 3, 6)  # a Tuesday
TODAY, YESTERDAY = NOW.date(), NOW.date() - DAY
TOKEN = "token"
RULES = [Rule("established", None, 1_000, 1.0, "")]
COUNT = 250


def new_world() -> World:
    rng = np.random.default_rng(5)
    gains = rng.negative_binomial(2, 0.2, (COUNT, 250)).astype(np.int32)
    return World.from_gains(gains, dt.date(2025, 7, 1), [1000 + 10 * n for n in range(COUNT)])


@pytest.fixture
def api() -> Iterator[GitHubApi]:
    with GitHubApi(new_world(), NOW, {TOKEN: 5_000}) as running:
        yield running


class Home:
    """A warehouse that cycles fill, without an orchestrator."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(home=folder, profile=Profile.LOCAL, rankings_base="")
        settings.warehouse_dir.mkdir(parents=True)
        self.warehouse = Warehouse(settings)

    def cycle(
        self, api: GitHubApi, day: dt.date = YESTERDAY, *, size: int = COUNT, watchlist: list[str] | None = None
    ) -> Outcome:
        """Run a cycle and keep its rows."""
        api.now = dt.datetime.combine(day + DAY, NOW.time())
        with self.warehouse.connected() as connection:
            known = state(connection, day)
        outcome = Outcome()

        async def run() -> list[dict[str, list[dict[str, Any]]]]:
            async with client(api) as github:
                batches = cycle(github, known, outcome, rules=RULES, watchlist=watchlist or [], size=size)
                return [tables async for tables in batches]

        for tables in asyncio.run(run()):
            for table, rows in tables.items():
                self.insert(table, [{**row, "day": day} for row in rows])
        ledger = {"day": day, "status": outcome.status, "is_swept": outcome.is_swept}
        self.insert("repositories_days", [ledger])
        return outcome

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        with self.warehouse.connected() as connection:
            connection.register("rows", pa.Table.from_pylist(rows, TABLES["repositories"][table]))
            connection.execute(f"insert into pipeline.repositories.{table} from rows")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.connected() as connection:
            return connection.execute(sql.replace("FROM ", "from pipeline.repositories.")).fetchall()


def client(api: GitHubApi, *tokens: str) -> GitHub:
    return GitHub(
        api.base,
        tokens or (TOKEN,),
        backoff_seconds=0.01,
        secondary_seconds=0.05,
        patience_seconds=2,
        requests_a_minute=10**6,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def names(api: GitHubApi, count: int) -> list[str]:
    return [repository.names[0][1] for repository in api.world.repositories[:count]]


def test_search_fills_a_universe_and_every_member_is_observed(home: Home, api: GitHubApi) -> None:
    outcome = home.cycle(api)
    assert (outcome.status, len(outcome.tracked), outcome.entered, outcome.gaps) == ("observed", COUNT, COUNT, [])
    totals = dict(home.rows("select repo_id, stars_total FROM repositories"))
    assert totals == {one.repo_id: api.world.total(one, NOW) for one in api.world.repositories}
    assert api.counts["graphql"] == 3


def test_the_next_day_neither_searches_nor_resolves(home: Home, api: GitHubApi) -> None:
    home.cycle(api, watchlist=names(api, 5))
    api.counts.clear()
    outcome = home.cycle(api, TODAY, watchlist=names(api, 5))
    assert outcome.status == "observed"
    assert (api.counts["search"], api.counts["graphql"]) == (0, 3)


def test_a_smaller_universe_keeps_the_watchlist_and_the_most_starred(home: Home, api: GitHubApi) -> None:
    home.cycle(api, size=20, watchlist=names(api, 2))
    entered = dict(home.rows("select full_name, via FROM universe_changes"))
    assert len(entered) == 20
    assert {name for name, via in entered.items() if via == "watchlist"} == set(names(api, 2))


@pytest.mark.parametrize(
    "fault",
    [
        faults.null_nodes(times=1),
        faults.null_nodes(times=4, every=40),
        faults.partly_null(every=40),
        faults.resource_limits(largest=30),
        faults.bad_gateway(matches=faults.GRAPHQL, times=2),
        faults.reset(matches=faults.GRAPHQL, times=2),
        faults.truncated(matches=faults.GRAPHQL, times=2),
        faults.cut_short(matches=faults.GRAPHQL, times=2),
        faults.slow(matches=faults.GRAPHQL, times=2, seconds=0.2),
        faults.refused(matches=faults.GRAPHQL, times=1, retry_after=1),
        faults.refused(matches=faults.GRAPHQL, times=1),
        faults.too_many(matches=faults.GRAPHQL, times=1),
        faults.errors_only(times=1),
        faults.clock_skew(seconds=3600.0),
        faults.clock_skew(seconds=-3600.0),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.times}-{dict(fault.settings)}",
)
def test_every_total_is_read_despite_the_fault(fault: Fault, home: Home, api: GitHubApi) -> None:
    api.faults.append(fault)
    outcome = home.cycle(api)
    assert (outcome.status, outcome.reason) == ("observed", None)
    totals = dict(home.rows("select repo_id, stars_total FROM repositories where state = 'public'"))
    assert totals == {one.repo_id: api.world.total(one, NOW) for one in api.world.repositories}


def test_unreadable_totals_are_reported_and_requested_again(home: Home, api: GitHubApi) -> None:
    home.cycle(api)
    api.faults = [faults.partly_null(every=100), faults.unavailable(matches="GET /repositories/")]
    outcome = home.cycle(api, TODAY)
    assert (outcome.status, outcome.states["unreadable"]) == ("partial", 3)
    assert "3 answers could not be read" in str(outcome.reason)
    assert home.rows("select count(*) FROM repositories where state = 'unreadable' and stars_total is null") == [(3,)]
    api.faults = []
    outcome = home.cycle(api, TODAY)
    assert outcome.status == "observed"
    assert home.rows(f"select count(*) FROM repositories where day = '{TODAY}'") == [(COUNT + 3,)]


def test_a_dead_api_ends_the_cycle_with_a_message(home: Home, api: GitHubApi) -> None:
    home.cycle(api)
    api.faults = [faults.reset()]
    outcome = home.cycle(api, TODAY)
    assert outcome.status == "not_observed"
    assert f"{COUNT} of {COUNT} not reached" in str(outcome.reason)


def test_a_quota_spent_in_mid_cycle_leaves_the_rest_for_the_next_run(home: Home, api: GitHubApi) -> None:
    home.cycle(api)
    api.tokens[TOKEN] = 2
    api.now = NOW + DAY
    outcome = home.cycle(api, TODAY)
    assert outcome.status in ("partial", "not_observed")
    read = len(outcome.answers)
    assert f"{COUNT - read} of {COUNT} not reached" in str(outcome.reason)
    api.tokens[TOKEN] = 5_000
    api._windows.clear()
    api.counts.clear()
    assert home.cycle(api, TODAY).status == "observed"
    assert api.counts["graphql"] == -(-(COUNT - read) // 100)


def test_a_token_revoked_in_mid_run_is_replaced_by_the_next(home: Home, api: GitHubApi) -> None:
    api.tokens["second"] = 5_000
    api.revoke(TOKEN)

    async def run() -> int:
        async with client(api, TOKEN, "second") as github:
            return (await github.get("/repos/" + names(api, 1)[0])).status

    assert asyncio.run(run()) == 200


def test_states_are_distinguished(home: Home, api: GitHubApi) -> None:
    home.cycle(api)
    kinds = ("not_found", "blocked", "dmca", "forbidden")
    for one, kind in zip(api.world.repositories, kinds, strict=False):
        one.states = (*one.states, (NOW, kind))
    home.cycle(api, TODAY)
    rows = dict(home.rows(f"select repo_id, state FROM repositories where day = '{TODAY}' and stars_total is null"))
    assert rows == {one.repo_id: kind for one, kind in zip(api.world.repositories, kinds, strict=False)}


def test_totals_that_turn_to_zeros_are_all_refused(home: Home, api: GitHubApi) -> None:
    home.cycle(api)
    api.faults = [faults.totals_turned_to_zeros()]
    outcome = home.cycle(api, TODAY)
    assert outcome.status == "not_observed"
    assert "totals fell to less than half for 250 of 250 repositories" in str(outcome.reason)
    of_today = f"FROM repositories where day = '{TODAY}'"
    assert home.rows(f"select state, count(*), count(stars_total) {of_today} group by 1") == [("unreadable", COUNT, 0)]
    api.faults = []
    assert home.cycle(api, TODAY).status == "observed"
    assert home.rows(f"select count(*) {of_today} and stars_total > 0") == [(COUNT,)]


def test_a_few_totals_of_zero_are_accepted(home: Home, api: GitHubApi) -> None:
    home.cycle(api)
    api.faults = [faults.totals_turned_to_zeros(every=25)]
    assert home.cycle(api, TODAY).status == "observed"
    assert home.rows(f"select count(*) FROM repositories where day = '{TODAY}' and stars_total = 0") == [(10,)]


def test_an_api_that_refuses_everything_changes_no_state(home: Home, api: GitHubApi) -> None:
    home.cycle(api)
    before = [one.states for one in api.world.repositories]
    for one in api.world.repositories:
        one.states = (*one.states, (NOW, "not_found"))
    outcome = home.cycle(api, TODAY)
    assert outcome.status == "not_observed"
    assert "the cause is the API, not the repositories" in str(outcome.reason)
    assert home.rows(f"select distinct state FROM repositories where day = '{TODAY}'") == [("unreadable",)]
    for one, states in zip(api.world.repositories, before, strict=True):
        one.states = states
    assert home.cycle(api, TODAY).status == "observed"


def test_a_repository_gone_for_four_weeks_leaves(home: Home, api: GitHubApi) -> None:
    home.cycle(api, size=30)
    gone = api.world.repositories[-1]
    gone.states = (*gone.states, (NOW, "not_found"))
    days = 0
    while gone.repo_id in {member.repo_id for member in _members(home, YESTERDAY + days * DAY)}:
        days += 1
        assert days < 40
        home.cycle(api, YESTERDAY + days * DAY, size=30)
    assert days in range(28, 31)
    assert home.rows("select change FROM universe_changes where repo_id = " + str(gone.repo_id)) == [
        ("entered",),
        ("left",),
    ]


def _members(home: Home, day: dt.date) -> list[Any]:
    with home.warehouse.connected() as connection:
        return members(connection, day)


def test_without_a_token_the_watchlist_is_read_over_rest(home: Home, api: GitHubApi) -> None:
    with home.warehouse.connected() as connection:
        known = state(connection, YESTERDAY)
    outcome = Outcome()

    async def run() -> list[Any]:
        async with GitHub(api.base, (), patience_seconds=0) as github:
            return [t async for t in cycle(github, known, outcome, rules=RULES, watchlist=names(api, 3), size=3)]

    tables = asyncio.run(run())
    assert outcome.status == "observed"
    assert [row["stars_total"] for row in tables[0]["repositories"]] == [
        api.world.total(one, NOW) for one in api.world.repositories[:3]
    ]


def read_all(api: GitHubApi, asks: list[Ask]) -> tuple[Reads, str | None]:
    together = Reads()

    async def run() -> str | None:
        async with client(api) as github:
            try:
                async for reads in read(github, asks):
                    together.add(reads)
            except UpstreamError as error:
                return str(error)
        return None

    return together, asyncio.run(run())


def asks_of(api: GitHubApi, *pages: int, count: int = 20) -> list[Ask]:
    return [Ask(one.repo_id, one.names[0][1], page) for page in pages for one in api.world.repositories[:count]]


def assert_true(api: GitHubApi, reads: Reads, *, less: int = 0) -> None:
    """Fail unless every week read is the world's."""
    seen = {(row["repo_id"], row["week"]): [row[day] for day in WEEKDAYS] for row in reads.weeks}
    for (repo_id, week), days in seen.items():
        weeks = api.world.held(api.world.by_id[repo_id], NOW)
        assert days == weeks.cells[(week - weeks.first).days // 7].tolist()
    assert len(seen) == 20 * 60 - less


@pytest.mark.parametrize(
    "fault",
    [
        faults.bad_gateway(matches=faults.HISTORY, times=3),
        faults.unavailable(matches=faults.HISTORY, times=3),
        faults.reset(matches=faults.HISTORY, times=3),
        faults.truncated(matches=faults.HISTORY, times=3),
        faults.cut_short(matches=faults.HISTORY, times=3),
        faults.slow(matches=faults.HISTORY, times=3, seconds=0.2),
        faults.refused(matches=faults.HISTORY, times=1, retry_after=1),
        faults.refused(matches=faults.HISTORY, times=1),
        faults.too_many(matches=faults.HISTORY, times=2),
        faults.accepted(times=2),
        faults.clock_skew(seconds=3600.0),
        faults.wrong_id(times=5),
        faults.future_days(),
    ],
    ids=lambda fault: fault.kind + str(dict(fault.settings)),
)
def test_every_week_is_read_despite_the_fault(fault: Fault, api: GitHubApi) -> None:
    api.faults.append(fault)
    reads, failure = read_all(api, asks_of(api, 1, 2))
    assert failure is None
    assert_true(api, reads)


def test_a_week_that_shifts_between_two_pages_is_one_week(api: GitHubApi) -> None:
    api.faults.append(faults.week_shifts())
    reads, _ = read_all(api, asks_of(api, 1, 2))
    assert_true(api, reads, less=20)
    assert len(reads.weeks) == 20 * 60


@pytest.mark.parametrize("fault", [faults.sum_differs(), faults.not_a_sunday()], ids=lambda fault: fault.kind)
def test_a_wrong_week_is_set_aside_and_the_others_stay(fault: Fault, api: GitHubApi) -> None:
    api.faults.append(fault)
    reads, _ = read_all(api, asks_of(api, 1, 2))
    assert_true(api, reads, less=40)
    assert len(reads.quarantine) == 40


def test_weeks_stamped_at_local_midnight_are_the_same_weeks(api: GitHubApi) -> None:
    asks = asks_of(api, 1, 2)
    expected, _ = read_all(api, asks)
    api.faults = [faults.weeks_at_local_midnight()]
    found, _ = read_all(api, asks)
    assert found.quarantine == []
    assert [week["week"] for week in found.weeks] == [week["week"] for week in expected.weeks]
    assert_true(api, found)


def test_an_empty_first_page_is_not_a_history(api: GitHubApi) -> None:
    api.faults.append(faults.empty_first_page())
    reads, _ = read_all(api, asks_of(api, 1))
    assert reads.weeks == []
    assert {row["status"] for row in reads.reads} == {"empty"}


def test_a_history_is_requested_by_id_once_the_name_is_given_up(api: GitHubApi) -> None:
    one = api.world.repositories[0]
    one.names = (*one.names, (NOW - DAY, "new-owner/new-name"))
    reads, _ = read_all(api, [Ask(one.repo_id, one.names[0][1], 1)])
    assert len(reads.weeks) == 30


def test_an_unchanged_page_costs_nothing_and_ends_the_days(api: GitHubApi) -> None:
    api.world.repositories[0].given[-40:] = 0
    first, _ = read_all(api, asks_of(api, 1, count=1))
    newest = {name: first.weeks[0][name] for name in ("week", "total", "fetched_at", *WEEKDAYS)}
    one = first.reads[0]
    api.now = NOW + DAY
    again, _ = read_all(api, [Ask(one["repo_id"], one["full_name"], 1, etag=one["etag"], newest=newest)])
    assert api.statuses[304] == 1
    # at 06:00 UTC, the day before is not over by the zone of star days
    assert [(row["status"], row["last_day"]) for row in again.reads] == [("unchanged", YESTERDAY)]
    assert again.weeks[0]["fetched_at"].date() == TODAY + DAY


def test_a_spent_quota_keeps_what_was_read(api: GitHubApi) -> None:
    api.tokens[TOKEN] = 10
    reads, failure = read_all(api, asks_of(api, 1))
    assert "limit" in str(failure) or "quota" in str(failure)
    assert 0 < len(reads.reads) < 20


def test_a_page_without_a_response_affects_no_other(api: GitHubApi) -> None:
    api.faults.append(faults.bad_gateway(matches=f"/repositories/{api.world.repositories[7].repo_id}/"))
    reads, failure = read_all(api, asks_of(api, 1))
    assert failure is None
    assert sorted(row["status"] for row in reads.reads) == ["read"] * 19 + ["unreadable"]


def test_an_api_without_responses_is_abandoned_soon(api: GitHubApi) -> None:
    api.faults.append(faults.reset(matches=faults.HISTORY))
    reads, failure = read_all(api, asks_of(api, 1, 2, 3, count=COUNT))
    assert failure
    assert len(reads.reads) < 80
    assert len(api.requests) < 500


@pytest.mark.parametrize("code", [403, 404, 410, 422, 451])
def test_an_endpoint_that_refuses_everything_is_reported(code: int, api: GitHubApi) -> None:
    api.faults.append(faults.status(faults.HISTORY, code=code, message="no"))
    reads, failure = read_all(api, asks_of(api, 1, count=8))
    assert {row["status"] for row in reads.reads} == {"unreadable"}  # so that all are requested again today
    if code != 422:  # unreadable in itself
        assert failure == (
            "star histories are refused for 8 of 8 repositories that are public"
            f" ({api.world.repositories[0].names[0][1]} answered {code}):"
            " the cause is the endpoint, not the repositories"
        )


def test_a_refusing_endpoint_is_abandoned_soon(api: GitHubApi) -> None:
    api.faults.append(faults.status(faults.HISTORY, code=404, after=60))
    reads, failure = read_all(api, asks_of(api, 1, 2, count=COUNT))
    assert "the cause is the endpoint" in str(failure)
    assert len(api.requests) < 200
    assert {row["status"] for row in reads.reads} == {"read", "unreadable"}


def test_a_repository_that_is_refused_is_settled(api: GitHubApi) -> None:
    refused = api.world.repositories[3]
    api.faults.append(faults.status(f"/repositories/{refused.repo_id}/", code=451))
    reads, failure = read_all(api, asks_of(api, 1))
    assert failure is None
    assert {row["repo_id"] for row in reads.reads if row["status"] == "dmca"} == {refused.repo_id}


def asks_with_totals(api: GitHubApi, **known: Any) -> list[Ask]:
    repositories = api.world.repositories[:20]
    return [
        replace(ask, stars_total=api.world.total(one, NOW), **known)
        for ask, one in zip(asks_of(api, 1), repositories, strict=True)
    ]


def test_histories_that_turn_to_zeros_are_all_refused(api: GitHubApi) -> None:
    api.faults.append(faults.turned_to_zeros(after=4))
    asks = asks_with_totals(api, held=900, stars_at_read=1_000)
    reads, failure = read_all(api, asks)
    assert failure == (
        "star histories turned to zeros: 16 of 20 lost their stars although their totals did not; none of"
        " these histories is kept"
    )
    assert reads.weeks == []
    assert {row["status"] for row in reads.reads} == {"unreadable"}
    assert len(reads.quarantine) == 20


@pytest.mark.parametrize(
    "known",
    [
        pytest.param({"held": 900, "stars_at_read": 1_000}, id="held before"),
        pytest.param({"stars_total": 54_321}, id="never read, and many stars"),
        pytest.param({"created_on": TODAY - 200 * DAY}, id="never read, and young"),
    ],
)
def test_one_history_of_zeros_against_an_unchanged_total_is_set_aside(known: dict[str, Any], api: GitHubApi) -> None:
    asks = asks_with_totals(api, held=900, stars_at_read=1_000)
    total = api.world.total(api.world.repositories[0], NOW)
    asks[0] = replace(Ask(asks[0].repo_id, asks[0].full_name, 1, total), **known)
    api.faults.append(faults.turned_to_zeros(f"/repositories/{asks[0].repo_id}/"))
    reads, failure = read_all(api, asks)
    assert failure is None
    assert {row["repo_id"] for row in reads.weeks} == {ask.repo_id for ask in asks[1:]}
    (aside,) = [row for row in reads.quarantine if row["week"] is None]
    assert aside["repo_id"] == asks[0].repo_id
    assert "0 stars in" in aside["reason"]


@pytest.mark.parametrize(
    "known",
    [
        pytest.param({"held": 900, "stars_at_read": 5_000, "stars_total": 300}, id="the total fell, too"),
        pytest.param({"stars_total": 4_900}, id="quiet"),
        pytest.param({"held": 900, "stars_total": 0}, id="no stars"),
    ],
)
def test_zeros_that_the_total_explains_are_accepted(known: dict[str, Any], api: GitHubApi) -> None:
    asks = asks_with_totals(api, held=900, stars_at_read=1_000)
    asks[0] = replace(Ask(asks[0].repo_id, asks[0].full_name, 1), **known)
    api.faults.append(faults.turned_to_zeros(f"/repositories/{asks[0].repo_id}/"))
    reads, failure = read_all(api, asks)
    assert (failure, reads.quarantine) == (None, [])
    assert sum(row["total"] for row in reads.weeks if row["repo_id"] == asks[0].repo_id) == 0


def test_a_watched_repository_that_moves_keeps_its_place(home: Home, api: GitHubApi) -> None:
    one, other = api.world.repositories[:2]
    old = one.names[0][1]
    one.names = (*one.names, (NOW + DAY / 2, "new-owner/name"))
    other.names = (*other.names, (NOW + DAY, old))
    home.cycle(api, size=1, watchlist=[old])
    for n in (1, 2, 27, 28, 29, 30, 60):
        home.cycle(api, YESTERDAY + n * DAY, size=1, watchlist=[old])
    day = YESTERDAY + 60 * DAY
    assert home.rows(f"select repo_id, full_name FROM repositories where day = '{day}'") == [
        (one.repo_id, "new-owner/name")
    ]
    assert home.rows("select count(*) FROM repositories where asked_name is not null") == [(1,)]


def test_a_recreated_watched_repository_is_read_in_the_same_cycle(home: Home, api: GitHubApi) -> None:
    one, other = api.world.repositories[:2]
    name = one.names[0][1]
    one.states = (*one.states, (NOW + DAY / 2, "not_found"))
    other.names = (*other.names, (NOW + 1.5 * DAY, name))
    home.cycle(api, size=1, watchlist=[name])
    home.cycle(api, TODAY, size=1, watchlist=[name])  # the name leads to no repository
    outcome = home.cycle(api, TODAY + DAY, size=1, watchlist=[name])
    assert (outcome.status, outcome.entered) == ("observed", 1)
    states = home.rows(f"select repo_id, state FROM repositories where day = '{TODAY + DAY}' order by state")
    assert states == [(one.repo_id, "not_found"), (other.repo_id, "public")]
    home.cycle(api, TODAY + 2 * DAY, size=1, watchlist=[name])
    assert home.rows(f"select repo_id, state FROM repositories where day = '{TODAY + 2 * DAY}'") == [
        (other.repo_id, "public")
    ]
