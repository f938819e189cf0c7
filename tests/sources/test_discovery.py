"""Search finds the most-starred of each kind in few requests, despite bad responses; members keep their places."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import re
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reposignal_pipeline.config import DBT_PROJECT_DIR
from reposignal_pipeline.sample.github_api import SAMPLE_TOKENS, GitHubApi
from reposignal_pipeline.sample.github_world import generated_world
from reposignal_pipeline.sources.discovery import (
    CAP,
    GONE_DAYS,
    PAGE,
    Candidate,
    Change,
    DiscoveryError,
    Found,
    Member,
    Rule,
    changes,
    read_rules,
    read_watchlist,
    search,
)
from reposignal_pipeline.sources.github import GitHub

SEED = DBT_PROJECT_DIR / "seeds" / "discovery_rules.csv"
DAY = dt.date(2026, 2, 27)
ANY_AGE = Rule("established", None, 1_000, 1.0, "most stars")

Row = dict[str, Any]
Fault = Callable[[Row], tuple[int, Any]]


def repository(number: int, stars: int, created: dt.date, **others: Any) -> Row:
    return {
        "id": number,
        "node_id": f"R_kgDO{number}",
        "full_name": f"owner-{number % 97}/name.{number}",
        "stargazers_count": stars,
        "created_at": f"{created}T12:00:00Z",
        "fork": False,
        "private": False,
        **others,
    }


class SearchServer:
    """GitHub's repository search on the loopback: its cap, page sizes and order, with faults on demand."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []
        """query and page of every request"""
        self.faults: dict[int, Fault] = {}
        """number of the request, from 0 -> function that changes its body; -1 is every request"""
        self.quota = 10**6
        self._rows: list[Row] = []
        self._stars: list[int] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status, content = server.answer(self.path)
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-RateLimit-Limit", "30")
                self.send_header("X-RateLimit-Remaining", str(max(0, server.quota - len(server.requests))))
                self.send_header("X-RateLimit-Reset", "4102444800")
                self.send_header("X-RateLimit-Resource", "search")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.base = f"http://127.0.0.1:{self._server.server_port}"

    def hold(self, rows: Sequence[Row]) -> None:
        self._rows = sorted(rows, key=lambda row: -row["stargazers_count"])
        self._stars = [-row["stargazers_count"] for row in self._rows]

    def answer(self, path: str) -> tuple[int, Any]:
        parts = urlsplit(path)
        if parts.path == "/rate_limit":
            return 200, {"resources": {}}
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        assert parts.path == "/search/repositories"
        assert (given["sort"], given["order"], given["per_page"]) == ("stars", "desc", str(PAGE))
        page, number = int(given["page"]), len(self.requests)
        self.requests.append((given["q"], page))
        if number >= self.quota:
            return 403, {"message": "API rate limit exceeded"}
        if page * PAGE > CAP:
            return 422, {"message": "Only the first 1000 search results are available"}
        rows = self._matching(given["q"])
        body = {
            "total_count": len(rows),
            "incomplete_results": False,
            "items": rows[(page - 1) * PAGE : page * PAGE],
        }
        fault = self.faults.get(number, self.faults.get(-1))
        return fault(body) if fault else (200, body)

    def _matching(self, query: str) -> list[Row]:
        words = query.split()
        assert words[0] == "is:public"
        ranges = dict(word.split(":", 1) for word in words[1:])
        assert ranges.keys() <= {"stars", "created"}
        low, high = _bounds(ranges["stars"])
        first = bisect_left(self._stars, -int(high)) if high else 0
        rows = self._rows[first : bisect_left(self._stars, 1 - int(low or 0))]
        since, until = _bounds(ranges.get("created", ""))
        return [row for row in rows if (since or "") <= row["created_at"][:10] <= (until or "9")]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _bounds(text: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    match = re.fullmatch(r">=(?P<low>[\d-]+)|<=(?P<high>[\d-]+)|(?P<from>[\d-]+)\.\.(?P<to>[\d-]+)", text)
    assert match, text
    return match["low"] or match["from"], match["high"] or match["to"]


@pytest.fixture
def server() -> Iterator[SearchServer]:
    server = SearchServer()
    yield server
    server.stop()


def swept(server: SearchServer, size: int, rules: Sequence[Rule] = (ANY_AGE,)) -> Found:
    async def sweep() -> Found:
        # the loopback has no limits per minute
        async with GitHub(server.base, ["token"], requests_a_minute=10**6, backoff_seconds=0.001) as github:
            return await search(github, rules, size, DAY)

    found = asyncio.run(sweep())
    assert found.requests == len(server.requests)
    ids = [candidate.repo_id for candidate in found.candidates]
    assert len(ids) == len(set(ids)) <= size
    assert [gap for gap in found.gaps if "\n" in gap or not gap] == []
    return found


def most_starred(rows: Sequence[Row], places: int) -> list[int]:
    """The star counts of the leading `places`; which of equal ones are among them is arbitrary."""
    return sorted((row["stargazers_count"] for row in rows), reverse=True)[:places]


def stars_of(found: Found) -> list[int]:
    return [candidate.stars_total for candidate in found.candidates]


def any_day(number: int) -> dt.date:
    return dt.date(2008, 1, 1) + dt.timedelta(days=number * 7919 % 6000)


def test_a_result_becomes_a_candidate(server: SearchServer) -> None:
    server.hold([repository(7, 1_200, dt.date(2020, 5, 6))])
    assert swept(server, 10) == Found(
        [Candidate(7, "R_kgDO7", "owner-7/name.7", 1_200, dt.datetime(2020, 5, 6, 12), "established")], [], 1, True
    )
    assert server.requests == [("is:public stars:>=1000", 1)]


def test_an_empty_result_is_not_a_gap(server: SearchServer) -> None:
    assert swept(server, 10) == Found([], [], 1, True)


def test_results_above_the_cap_are_split_by_stars_with_no_needless_page(server: SearchServer) -> None:
    rows = [repository(number, 1_000 + number * 13 % 9_000, any_day(number)) for number in range(1, 6_001)]
    server.hold(rows)
    found = swept(server, 2_500)
    assert stars_of(found) == most_starred(rows, 2_500)
    assert found.gaps == []
    assert found.requests < 45
    whole = swept_again(server, 10_000)
    assert stars_of(whole) == most_starred(rows, 6_000)
    assert whole.requests < 90


def swept_again(server: SearchServer, size: int) -> Found:
    server.requests.clear()
    return swept(server, size)


def test_many_with_the_same_star_count_are_split_by_the_day_of_creation(server: SearchServer) -> None:
    rows = [repository(number, 1_500, any_day(number)) for number in range(1, 3_501)]
    rows += [repository(number, 1_501 + number % 5, any_day(number)) for number in range(4_001, 5_501)]
    server.hold(rows)
    found = swept(server, 9_000)
    assert {candidate.repo_id for candidate in found.candidates} == {row["id"] for row in rows}
    assert (found.gaps, found.is_swept) == ([], True)
    assert found.requests < 90


def test_the_same_stars_on_the_same_day_are_listed_as_far_as_the_cap_goes(server: SearchServer) -> None:
    server.hold([repository(number, 1_500, dt.date(2020, 5, 6)) for number in range(1, 1_251)])
    found = swept(server, 9_000)
    assert len(found.candidates) == CAP
    assert [re.sub(r".*: only", "only", gap) for gap in found.gaps] == ["only 1000 of 1250 repositories can be listed"]


def test_the_open_ends_are_searched_too(server: SearchServer) -> None:
    """Created after the requested day, before GitHub began, and all of them more than fit."""
    days = [dt.date(2001, 1, 1), DAY + dt.timedelta(days=1)]
    server.hold([repository(number, 1_500, days[number % 2]) for number in range(1, 1_801)])
    assert len(swept(server, 9_000).candidates) == 1_800


@pytest.fixture(scope="module")
def forty_thousand() -> list[Row]:
    """40,000 repositories with stars as unequal as GitHub's, a fifth of them of the last year."""
    chance = random.Random(3)
    rows = []
    for number in range(1, 40_001):
        least, oldest, newest = (
            (700, 6_500, 366) if number % 10 < 7 else (300, 365, 91) if number % 10 < 9 else (100, 90, 0)
        )
        stars = min(450_000, int(least / (1 - chance.random())))
        rows.append(repository(number, stars, DAY - dt.timedelta(days=chance.randint(newest, oldest))))
    return rows


def test_a_sweep_for_12_000_of_40_000_takes_few_requests(server: SearchServer, forty_thousand: list[Row]) -> None:
    server.hold(forty_thousand)
    rules = read_rules(SEED)
    found = swept(server, 12_000, rules)
    assert (len(found.candidates), found.gaps, found.is_swept) == (12_000, [], True)
    assert Counter(candidate.via for candidate in found.candidates) == {
        "established": 8_400,
        "last_year": 2_400,
        "last_quarter": 1_200,
    }
    by_rule = [candidate.stars_total for candidate in found.candidates if candidate.via == "established"]
    assert by_rule == most_starred(forty_thousand, 8_400)
    # a universe with only 5,000 places keeps the shares
    assert Counter(candidate.via for candidate in found.candidates[:5_000]) == {
        "established": 3_500,
        "last_year": 1_000,
        "last_quarter": 500,
    }
    assert found.requests == 160
    assert max(Counter(server.requests).values()) == 1


def test_the_embedded_api_answers_a_sweep() -> None:
    world = generated_world(1_300, DAY - dt.timedelta(days=20), DAY)
    now = dt.datetime.combine(DAY, dt.time(23, 59))

    async def sweep() -> Found:
        async with GitHub(api.base, list(SAMPLE_TOKENS)) as github:
            return await search(github, read_rules(SEED), 1_300, DAY)

    with GitHubApi(world, now) as api:
        found = asyncio.run(sweep())
    totals = sorted((world.total(one, now) for one in world.repositories), reverse=True)
    assert (sorted(stars_of(found), reverse=True), found.gaps) == ([total for total in totals if total >= 1_000], [])


def test_rules_look_back_from_the_day_and_share_the_places(server: SearchServer) -> None:
    young = DAY - dt.timedelta(days=90)
    rows = [repository(number, 5_000 + number, dt.date(2015, 1, 1)) for number in range(1, 301)]
    rows += [repository(number, 200, young) for number in range(1_001, 1_101)]
    rows += [repository(number, 250, young - dt.timedelta(days=1)) for number in range(2_001, 2_101)]
    server.hold([*rows, repository(3_001, 900, DAY + dt.timedelta(days=1))])
    rules = [replace(ANY_AGE, share=0.5), Rule("young", 90, 100, 0.5, "")]
    found = swept(server, 120, rules)
    assert Counter(candidate.via for candidate in found.candidates) == {"established": 60, "young": 60}
    assert f"created:{young}..{DAY}" in server.requests[-1][0]

    # the young leave 100 places over: the first rule continues where it was, without requesting a page twice
    server.requests.clear()
    found = swept(server, 400, rules)
    # and the two take turns while both have some
    assert [candidate.via for candidate in found.candidates] == [
        *["established", "young"] * 100,
        *["established"] * 200,
    ]
    assert len(server.requests) == 4


def test_a_repository_that_two_rules_find_takes_one_place(server: SearchServer) -> None:
    server.hold([repository(number, 5_000 - number, DAY) for number in range(1, 301)])
    found = swept(server, 200, [replace(ANY_AGE, share=0.5), Rule("young", 90, 100, 0.5, "")])
    assert sorted(candidate.repo_id for candidate in found.candidates) == list(range(1, 201))
    assert Counter(candidate.via for candidate in found.candidates) == {"established": 100, "young": 100}


def incomplete(kept: int) -> Fault:
    return lambda body: (200, body | {"incomplete_results": True, "items": body["items"][:kept]})


def test_incomplete_results_are_requested_once_more(server: SearchServer) -> None:
    server.hold([repository(number, 2_000, any_day(number)) for number in range(1, 151)])
    server.faults = {0: incomplete(10)}
    found = swept(server, 500)
    assert (len(found.candidates), found.gaps, found.requests) == (150, [], 3)


def test_results_that_stay_incomplete_are_used(server: SearchServer) -> None:
    server.hold([repository(number, 2_000, any_day(number)) for number in range(1, 151)])
    server.faults = {0: incomplete(60), 1: incomplete(10)}
    found = swept(server, 500)
    assert (len(found.candidates), found.requests, found.is_swept) == (110, 3, True)
    assert found.gaps == ["search 'is:public stars:>=1000', page 1: GitHub reports incomplete results"]


def test_a_quota_spent_in_mid_sweep_leaves_what_was_found(server: SearchServer) -> None:
    server.hold([repository(number, 1_000 + number, any_day(number)) for number in range(1, 801)])
    server.quota = 3
    found = swept(server, 700)
    assert (len(found.candidates), found.is_swept, len(found.gaps)) == (300, False, 1)
    assert found.gaps[0].startswith("the search ended at 300 of 700 repositories: ")
    assert "limit of search is spent until" in found.gaps[0]
    assert "token" not in found.gaps[0].replace("stars", "")


@pytest.mark.parametrize("status", [401, 418, 502])
def test_an_upstream_that_breaks_off_leaves_what_was_found(server: SearchServer, status: int) -> None:
    server.hold([repository(number, 1_000 + number, any_day(number)) for number in range(1, 801)])
    server.faults = {number: lambda body: (status, b"") for number in range(2, 20)}

    async def sweep() -> Found:
        async with GitHub(server.base, ["token"], backoff_seconds=0.001) as github:
            return await search(github, [ANY_AGE], 700, DAY)

    found = asyncio.run(sweep())
    assert (len(found.candidates), found.is_swept, len(found.gaps)) == (200, False, 1)
    assert found.gaps[0].startswith("the search ended at 200 of 700 repositories: ")


@pytest.mark.parametrize(
    "content",
    [[], "text", None, {}, {"total_count": "5", "items": []}, {"total_count": 5}, {"total_count": 5, "items": {}}],
    ids=repr,
)
def test_an_invalid_search_response_is_a_gap_and_not_a_full_sweep(server: SearchServer, content: Any) -> None:
    server.hold([repository(number, 1_000 + number, any_day(number)) for number in range(1, 401)])
    server.faults = {number: lambda body: (200, content) for number in (1, 2)}
    found = swept(server, 900)
    assert (len(found.candidates), found.requests, found.is_swept) == (300, 5, False)
    assert [re.sub(r".*page", "page", gap) for gap in found.gaps] == [
        "page 2: answered 200, which is not a search result"
    ]


def test_a_refused_query_is_a_gap(server: SearchServer) -> None:
    server.faults = {-1: lambda body: (422, {"message": "Validation Failed"})}
    found = swept(server, 900)
    assert (found.candidates, found.requests, found.is_swept) == ([], 2, False)
    assert "answered 422" in found.gaps[0]


def test_empty_pages_are_a_gap(server: SearchServer) -> None:
    server.hold([repository(1, 1_000, DAY)])
    server.faults = {0: lambda body: (200, body | {"total_count": 150})}
    found = swept(server, 900)
    assert (len(found.candidates), found.requests) == (1, 3)
    assert [re.sub(r".*page", "page", gap) for gap in found.gaps] == ["page 2: empty"]


def test_a_server_with_endless_results_is_abandoned(server: SearchServer) -> None:
    server.hold([repository(number, 1_000 + number, any_day(number)) for number in range(1, 41)])
    server.faults = {-1: lambda body: (200, body | {"total_count": 10**30, "items": body["items"][:40] or [None]})}
    found = swept(server, 100)
    assert found.requests <= 104
    assert found.gaps


HOSTILE = (
    "../..", "owner/..", "./name", "owner/name/more", "owner", "/name", "owner/", "own er/name", "owner/na\nme",
    "owner/name\n", "owner/'; drop table repositories; --", "<script>/alert", "owner/näme", "owner/" + "x" * 201, "",
    "owner/name?per_page=1", "owner/name#", "owner%2fname", "owner/na\x00me",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        pytest.param({"id": None}, "id is not a number", id="no id"),
        pytest.param({"id": True}, "id is not a number", id="id true"),
        pytest.param({"id": "7"}, "id is not a number", id="id text"),
        pytest.param({"id": 7.0}, "id is not a number", id="id with a point"),
        pytest.param({"id": -7}, "id is not a number", id="id negative"),
        pytest.param({"id": 2**63}, "id is not a number", id="id too large"),
        pytest.param({"node_id": None}, "node_id is not a node id", id="no node id"),
        pytest.param({"node_id": 7}, "node_id is not a node id", id="node id a number"),
        pytest.param({"node_id": ""}, "node_id is not a node id", id="node id empty"),
        pytest.param({"node_id": "R kg\n"}, "node_id is not a node id", id="node id with blanks"),
        pytest.param({"full_name": None}, "full_name is not a GitHub name", id="no name"),
        pytest.param({"full_name": ["a", "b"]}, "full_name is not a GitHub name", id="name a list"),
        *(pytest.param({"full_name": name}, "full_name is not a GitHub name", id=ascii(name)[:30]) for name in HOSTILE),
        pytest.param({"stargazers_count": None}, "stargazers_count is not a number from 0", id="no stars"),
        pytest.param({"stargazers_count": "1"}, "stargazers_count is not a number from 0", id="stars text"),
        pytest.param({"stargazers_count": -1}, "stargazers_count is not a number from 0", id="stars negative"),
        pytest.param({"stargazers_count": 10**12}, "stargazers_count is not a number from 0", id="stars too many"),
        pytest.param({"created_at": None}, "created_at is not a time", id="no time"),
        pytest.param({"created_at": "yesterday"}, "created_at is not a time", id="time in words"),
        pytest.param({"created_at": 1_600_000_000}, "created_at is not a time", id="time a number"),
        pytest.param({"created_at": "0001-01-01T00:00:00+23:00"}, "created_at is not a time", id="time too early"),
    ],
)
def test_a_malformed_result_is_set_aside_alone(server: SearchServer, changed: Row, cause: str) -> None:
    good = repository(1, 2_000, any_day(1))
    server.faults = {0: lambda body: (200, body | {"total_count": 2, "items": [good | changed, good]})}
    found = swept(server, 10)
    assert [candidate.repo_id for candidate in found.candidates] == [1]
    assert found.gaps == [f"search 'is:public stars:>=1000', page 1: 1 of 2 results skipped: {cause}"]
    assert found.is_swept


def test_forks_and_private_repositories_are_not_candidates(server: SearchServer) -> None:
    rows = [repository(1, 2_000, DAY, private=True), repository(2, 2_000, DAY, fork=True), repository(3, 2_000, DAY)]
    server.hold(rows)
    found = swept(server, 10)
    assert [candidate.repo_id for candidate in found.candidates] == [3]
    assert found.gaps == []


def test_times_are_utc(server: SearchServer) -> None:
    server.hold([repository(1, 2_000, DAY, created_at="2020-05-06T01:00:00+02:00")])
    server.hold([*server._rows, repository(2, 1_000, DAY, created_at="2020-05-06T01:00:00")])
    assert [candidate.created_at for candidate in swept(server, 10).candidates] == [
        dt.datetime(2020, 5, 5, 23),
        dt.datetime(2020, 5, 6, 1),
    ]


def test_the_rules_of_the_seed() -> None:
    assert [
        (rule.name, rule.created_within_days, rule.stars_min, rule.share, bool(rule.reason))
        for rule in read_rules(SEED)
    ] == [
        ("established", None, 1_000, 0.70, True),
        ("last_year", 365, 300, 0.20, True),
        ("last_quarter", 90, 100, 0.10, True),
    ]


HEADER = "name,created_within_days,stars_min,share,reason"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "line 1: the header is not"),
        ("name,share\n", "line 1: the header is not"),
        (HEADER, "the shares add up to 0, not 1"),
        (f"{HEADER}\na,,1,0.5,x", "the shares add up to 0.5, not 1"),
        (f"{HEADER}\na,,1,0.5,x\na,,1,0.5,x", "line 3: name 'a' appears twice"),
        (f"{HEADER}\n\na,,1,0.5,x\n\nb,,1,-0.5,x", "line 5: share '-0.5' must be above 0 and at most 1"),
        (f"{HEADER}\na,,1,0,x", "line 2: share '0' must be above 0 and at most 1"),
        (f"{HEADER}\na,,1,nan,x", "line 2: share 'nan' must be above 0 and at most 1"),
        (f"{HEADER}\na,,1,1.5,x", "line 2: share '1.5' must be above 0 and at most 1"),
        (f"{HEADER}\na,,1,,x", "line 2: share '' must be above 0 and at most 1"),
        (f"{HEADER}\na,,1,.,x", "line 2: share '.' must be above 0 and at most 1"),
        (f"{HEADER}\na,0,1,1,x", "line 2: created_within_days '0' must be empty or a number"),
        (f"{HEADER}\na,1.5,1,1,x", "line 2: created_within_days '1.5' must be empty or a number"),
        (f"{HEADER}\na,,0,1,x", "line 2: stars_min '0' must be a whole number, at least 1"),
        (f"{HEADER}\na,,many,1,x", "line 2: stars_min 'many' must be a whole number, at least 1"),
        (f"{HEADER}\nA b,,1,1,x", "line 2: name 'A b' must be a lower-case word"),
        (
            f"{HEADER}\nwatchlist,,1,1,x",
            "line 2: name 'watchlist' must be a lower-case word other than watchlist and rankings",
        ),
        (f"{HEADER}\na,,1,1", "line 2: 4 fields instead of 5"),
        (f"{HEADER}\na,,1,1,", "line 2: reason is empty"),
        (f'{HEADER}\na,,1,1,"x', "unexpected end of data"),
        (b"\xff", "codec can't decode"),
    ],
)
def test_unusable_rules_are_reported_in_one_line(tmp_path: Path, content: str | bytes, cause: str) -> None:
    path = tmp_path / "rules.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DiscoveryError) as raised:
        read_rules(path)
    assert str(raised.value).startswith(str(path))
    assert cause in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_rules_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiscoveryError, match="No such file"):
        read_rules(tmp_path / "rules.csv")


def test_rules_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "rules.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\na,,1,.7,x\r\nb,30,1,0.3,y\r\n".encode())
    assert read_rules(path) == [Rule("a", None, 1, 0.7, "x"), Rule("b", 30, 1, 0.3, "y")]


@pytest.fixture
def watchlist(tmp_path: Path) -> Path:
    return tmp_path / "watchlist.txt"


@pytest.mark.parametrize(
    "line",
    [
        "fatedier/frp",
        "  fatedier/frp\t",
        "fatedier/frp # tunnels",
        "https://github.com/fatedier/frp",
        "http://www.github.com/fatedier/frp/",
        "HTTPS://GitHub.com/fatedier/frp.git",
        "https://github.com/fatedier/frp/tree/dev/pkg?tab=readme#top",
        "https://github.com/fatedier/frp#readme",
        "https://name:secret@github.com/fatedier/frp",
        "github.com/fatedier/frp",
        "git@github.com:fatedier/frp.git",
        "ssh://git@github.com/fatedier/frp.git",
        "git+https://github.com/fatedier/frp.git",
    ],
)
def test_a_line_names_a_repository_in_many_ways(watchlist: Path, line: str) -> None:
    watchlist.write_text(line)
    assert read_watchlist(watchlist) == (["fatedier/frp"], [])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_watchlist_has_comments_blank_lines_and_names_twice(watchlist: Path, end: str) -> None:
    lines = ["\ufeff# ours", "", "  ", "nervosnetwork/ckb", "#fatedier/frp", "NervosNetwork/CKB", "thu-pacman/chitu"]
    watchlist.write_bytes(end.join(lines).encode())
    assert read_watchlist(watchlist) == (["nervosnetwork/ckb", "thu-pacman/chitu"], [])


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        *((name.encode(), None) for name in HOSTILE if name.split("#")[0].strip() and not set(name) & {"\n", "\x00"}),
        (b"owner/na\xffme", r"'owner/na\ufffdme'"),
        (b"owner/\x1b[31mname", r"'owner/\x1b[31mname'"),
        (b"owner\x00/name", r"'owner\x00/name'"),
        (b"https://gitlab.com/owner/name", "'https://gitlab.com/owner/name'"),
        (b"https://gist.github.com/owner/name", None),
        (b"https://github.com.example.org/owner/name", None),
        (b"https://github.com/owner", "'https://github.com/owner'"),
        (b"https://user:secret@github.com/owner", "'https://github.com/owner'"),
        (b"owner/name, owner/other", None),
        (b"x" * 10_000, f"'{'x' * 80}'"),
    ],
)
def test_a_line_without_a_name_is_reported_and_the_others_count(
    watchlist: Path, line: bytes, shown: str | None
) -> None:
    watchlist.write_bytes(b"fatedier/frp\n" + line + b"\nnervosnetwork/ckb\n")
    names, complaints = read_watchlist(watchlist)
    assert names == ["fatedier/frp", "nervosnetwork/ckb"]
    (complaint,) = complaints
    assert complaint.startswith(f"{watchlist}, line 2: {shown or ''}")
    assert complaint.endswith(" is neither owner/name nor a GitHub URL")
    assert complaint.isascii()
    assert complaint.isprintable()
    assert "secret" not in complaint


def test_an_unreadable_watchlist_is_reported(watchlist: Path, tmp_path: Path) -> None:
    for path in (watchlist, tmp_path):
        names, (complaint,) = read_watchlist(path)
        assert names == []
        assert complaint.startswith(f"{path}: ")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_a_watchlist(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    names, complaints = read_watchlist(path)
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) for name in names)
    assert all(complaint.isprintable() for complaint in complaints)


def member(number: int, stars: int | None = 1_000, via: str = "established", gone_days: int = 0) -> Member:
    created_on = DAY - dt.timedelta(days=30 * number) if number % 3 else None
    return Member(number, f"R_{number}", f"owner/name{number}", via, stars, gone_days, created_on)


def candidate(number: int, stars: int = 1_000, via: str = "established") -> Candidate:
    created_since = DAY - dt.timedelta(days=365) if via == "last_year" else None
    return Candidate(number, f"R_{number}", f"owner/name{number}", stars, dt.datetime(2020, 1, 1), via, created_since)


def named(made: Sequence[Change]) -> list[tuple[str, int]]:
    assert all(change.reason and "\n" not in change.reason for change in made)
    return [(change.change, change.repo_id) for change in made]


def test_an_empty_universe_takes_the_first_that_are_wanted() -> None:
    wanted = [candidate(1), candidate(2), candidate(3, via="rankings"), candidate(4, via="watchlist"), candidate(5)]
    made = changes([], wanted, 4, is_swept=True)
    assert named(made) == [("entered", 1), ("entered", 2), ("entered", 3), ("entered", 4)]
    assert {change.repo_id: (change.via, change.reason) for change in made} == {
        1: ("established", "found by rule established with 1000 stars"),
        2: ("established", "found by rule established with 1000 stars"),
        3: ("rankings", "listed in the rankings"),
        4: ("watchlist", "named in the watchlist"),
    }


def test_a_repository_proposed_twice_enters_once_by_its_best_rule() -> None:
    wanted = [candidate(1), candidate(1, via="rankings"), candidate(1, via="watchlist")]
    (change,) = changes([], wanted, 4, is_swept=True)
    assert change.via == "watchlist"


@pytest.mark.parametrize("is_swept", [True, False])
def test_a_repository_is_gone_after_28_days_and_not_before(is_swept: bool) -> None:
    members = [member(1, None, gone_days=GONE_DAYS), member(2, None, gone_days=GONE_DAYS - 1)]
    made = changes(members, [], 10, is_swept=is_swept)
    assert named(made) == [("left", 1)]
    assert made[0].reason == "not public for 28 days"


def test_a_public_repository_is_not_gone() -> None:
    assert changes([member(1, gone_days=40)], [candidate(1)], 10, is_swept=True) == []


def test_a_member_not_wanted_stays_while_there_is_room() -> None:
    assert named(changes([member(1)], [candidate(2)], 2, is_swept=True)) == [("entered", 2)]


def test_the_least_unwanted_member_is_replaced_by_a_clear_lead() -> None:
    members = [member(1, 100), member(2, 200), member(3, 5_000)]
    made = changes(members, [candidate(1, 100), candidate(4, 220)], 3, is_swept=True)
    assert named(made) == [("left", 2), ("entered", 4)]
    assert made[0].reason == "no longer wanted with 200 stars; its place goes to repository 4 with 220"
    for wanted, is_swept in (([candidate(4, 219)], True), ([candidate(4, 10_000)], False)):
        assert changes(members[1:], wanted, 2, is_swept=is_swept) == []


def test_a_member_too_old_for_a_rule_makes_room_for_its_finds() -> None:
    """Otherwise the places of the young fill up with repositories that were young once, and have more stars by now."""
    members = [
        replace(member(1, 400, "last_quarter"), created_on=dt.date(2026, 1, 1)),
        replace(member(2, 900, "last_quarter"), created_on=dt.date(2025, 6, 1)),
        replace(member(3, 950, "last_quarter"), created_on=dt.date(2025, 6, 2)),
        member(4, 980, "last_quarter"),
    ]
    young = replace(candidate(9, 410, "last_quarter"), created_since=dt.date(2025, 12, 1))
    made = changes(members, [young], 4, is_swept=True)
    assert named(made) == [("left", 2), ("entered", 9)]
    assert changes(members, [replace(young, created_since=None)], 4, is_swept=True) == []


def test_zero_stars_do_not_displace_zero_stars_and_unknown_ones_are_not_few() -> None:
    assert changes([member(1, 0)], [candidate(2, 0)], 1, is_swept=True) == []
    assert changes([member(1, None)], [candidate(2, 10**6)], 1, is_swept=True) == []


def test_a_newcomer_with_too_few_stars_does_not_block_the_next() -> None:
    made = changes([member(1, 1_000)], [candidate(2, 50), candidate(3, 2_000)], 1, is_swept=True)
    assert named(made) == [("left", 1), ("entered", 3)]


@pytest.mark.parametrize("is_swept", [True, False])
def test_the_watchlist_enters_and_displaces_the_least(is_swept: bool) -> None:
    members = [member(1, 100), member(2, 300), member(3, 200)]
    wanted = [candidate(9, 1, "watchlist"), candidate(8, 1, "watchlist"), candidate(1, 100)]
    made = changes(members, wanted, 3, is_swept=is_swept)
    assert named(made) == [("left", 2), ("left", 3), ("entered", 8), ("entered", 9)]
    assert made[0].reason == "more members than the 3 places; it has the fewest stars of the members that can leave"


def test_the_watchlist_may_be_larger_than_the_universe() -> None:
    wanted = [candidate(number, 1, "watchlist") for number in range(1, 6)]
    made = changes([member(5, via="rankings"), member(6)], [*wanted, candidate(7)], 3, is_swept=True)
    assert named(made) == [("left", 6), ("entered", 1), ("entered", 2), ("entered", 3), ("entered", 4)]


def test_a_sweep_that_found_nothing_removes_no_member() -> None:
    assert changes([member(number) for number in range(1, 11)], [], 10, is_swept=True) == []


def test_a_smaller_size_removes_the_least_starred() -> None:
    members = [member(number, number * 100) for number in range(1, 6)]
    wanted = [candidate(1, 100), candidate(2, 200)]
    assert named(changes(members, wanted, 3, is_swept=True)) == [("left", 3), ("left", 4)]


IDS = st.integers(1, 30)
STARS = st.integers(0, 60)
MEMBERS = st.lists(
    st.builds(member, IDS, st.none() | STARS, st.sampled_from(["established", "watchlist"]), st.sampled_from([0, 28])),
    unique_by=lambda member: member.repo_id,
)
WANTED = st.lists(
    st.builds(candidate, IDS, STARS, st.sampled_from(["watchlist", "rankings", "established", "last_year"]))
)


def applied(members: Sequence[Member], made: Sequence[Change], wanted: Sequence[Candidate]) -> list[Member]:
    left = {change.repo_id for change in made if change.change == "left"}
    stars = {candidate.repo_id: candidate.stars_total for candidate in reversed(wanted)}
    entered = [
        member(change.repo_id, stars[change.repo_id], change.via) for change in made if change.change == "entered"
    ]
    return [*(member for member in members if member.repo_id not in left), *entered]


@given(MEMBERS, WANTED, st.integers(0, 25), st.booleans(), st.randoms())
def test_changes_settle_at_once(
    members: list[Member], wanted: list[Candidate], size: int, is_swept: bool, chance: random.Random
) -> None:
    made = changes(members, wanted, size, is_swept=is_swept)
    after = applied(members, made, wanted)
    ids = {member.repo_id for member in after}
    watched = {candidate.repo_id for candidate in wanted if candidate.via == "watchlist"}

    assert changes(after, wanted, size, is_swept=is_swept) == []
    assert len(ids) == len(after)
    assert len({change.repo_id for change in made}) == len(made)
    assert watched <= ids
    assert len(ids) <= max(size, len(watched))
    assert len(ids) <= size or ids == watched

    # neither the order of the members nor that of the candidates matters
    ways = {way: [candidate for candidate in wanted if candidate.via == way] for way in ("watchlist", "rankings")}
    search_order = [candidate for candidate in wanted if candidate.via not in ways]
    mixed = [*search_order, *ways["rankings"], *ways["watchlist"]]
    assert changes(chance.sample(members, len(members)), mixed, size, is_swept=is_swept) == made


@given(MEMBERS, WANTED, st.integers(0, 25))
def test_only_the_gone_and_the_displaced_leave(members: list[Member], wanted: list[Candidate], size: int) -> None:
    wishes = {candidate.repo_id for candidate in wanted}
    watched = {candidate.repo_id for candidate in wanted if candidate.via == "watchlist"}
    present = {member.repo_id for member in members}
    made = changes(members, wanted, size, is_swept=True)
    left = {change.repo_id for change in made if change.change == "left"}
    gone = {m.repo_id for m in members if m.gone_days >= GONE_DAYS} - wishes
    entered = {change.repo_id for change in made if change.change == "entered"}
    assert gone <= left
    assert not left & watched
    # each of the others makes room for one that enters, or was one too many
    assert len(left - gone) <= len(entered) + max(0, len(present - gone) - size)
    if left & wishes:
        assert not present - left - wishes
