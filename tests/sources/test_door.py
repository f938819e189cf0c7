"""Validation of raw tables: for any JSON, a malformed response costs at most the repository that it describes."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import json
from typing import Any

import pyarrow as pa
import pytest
from github_server import GitHubServer, Reply, Request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reposignal_pipeline.cli import main
from reposignal_pipeline.sources.discovery import Rule, search
from reposignal_pipeline.sources.github import Answer, GitHub
from reposignal_pipeline.sources.names import FULL_NAME
from reposignal_pipeline.sources.rankings import HEADER, parse_day, typed_rows
from reposignal_pipeline.sources.repositories import Asked as Wanted
from reposignal_pipeline.sources.repositories import Lookups, observe
from reposignal_pipeline.sources.schemas import (
    COUNT_MOST,
    REPOSITORIES,
    STAR_HISTORY,
    STAR_HISTORY_QUARANTINE,
    STAR_HISTORY_READS,
    admitted,
)
from reposignal_pipeline.sources.star_history import Ask, parse_page
from reposignal_pipeline.sources.transport import UpstreamError

NOW = dt.datetime(2026, 2, 26, 6)  # a Thursday
IMPOSSIBLE = ("owner/..", "owner/.", "../name", "./name", "owner/name/more", "owner", "/name", "owner/", "ow ner/name")

EXTREMES = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            -1,
            1,
            5,
            COUNT_MOST,
            COUNT_MOST + 1,
            2**53,
            2**63 - 1,
            2**64 - 1,
            -(2**63),
            0.5,
            1e308,
        ),
        *("", "x", "\x00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z"),
        *("owner/..", [], {}, [[]], [None], [{}], {"a": []}, "x" * 200_000),
    ]
)
JUNK = EXTREMES | st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to everything in a JSON value, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [so_far, *(path for key, one in inner for path in paths(one, (*so_far, key)))]


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """Return a JSON value in which one place is replaced or removed."""
    path = draw(st.sampled_from(paths(valid)))
    if not path:
        return draw(JUNK)
    changed = copy.deepcopy(valid)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if draw(st.integers(0, 9)) == 0:
        del place[path[-1]]
    else:
        place[path[-1]] = draw(JUNK)
    return changed


def node(number: int) -> dict[str, Any]:
    return {
        **{"id": f"R_{number}", "databaseId": number, "nameWithOwner": f"o/r{number}"},
        **{"stargazerCount": 100 + number, "forkCount": 7, "description": "d"},
        **{"createdAt": "2020-01-02T03:04:05Z", "pushedAt": "2026-01-02T03:04:05Z"},
        **{"isArchived": False, "isFork": False, "primaryLanguage": {"name": "Go"}},
        "repositoryTopics": {"nodes": [{"topic": {"name": "cli"}}]},
        **{"licenseInfo": {"spdxId": "MIT"}, "issues": {"totalCount": 3}, "pullRequests": {"totalCount": 4}},
    }


ERROR = {"type": "NOT_FOUND", "path": ["nodes", 3], "message": "Could not resolve"}
NODES = {"data": {"rateLimit": {"cost": 1}, "nodes": [node(1), node(2), node(3), None]}, "errors": [ERROR]}


def hub(server: GitHubServer) -> GitHub:
    return GitHub(
        server.base, ["token"], concurrency=1, patience_seconds=0, backoff_seconds=0, secondary_seconds=0.001,
        requests_a_minute=10**6,
    )  # fmt: skip


def observed(first_answer: Any) -> dict[int | None, dict[str, Any]]:
    """Return the rows of four repositories; the first query gets this response, later ones valid responses."""
    answers = [first_answer]

    def answer(request: Request) -> Reply:
        if request.path != "/graphql":
            return Reply(404, {"message": "Not Found"})
        if answers:
            return Reply(content=answers.pop())
        numbers = [int(one.removeprefix("R_")) for one in json.loads(request.body)["variables"]["ids"]]
        return Reply(content={"data": {"nodes": [node(number) if number < 4 else None for number in numbers]}})

    async def run() -> list[dict[str, Any]]:
        wanted = [Wanted(f"o/r{number}", number, f"R_{number}") for number in (1, 2, 3, 4)]
        async with GitHubServer(answer) as server, hub(server) as github:
            return [row async for rows in observe(github, wanted, Lookups()) for row in rows]

    return {row["repo_id"]: row for row in asyncio.run(run())}


def assert_valid(rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pa.Table.from_pylist(rows, schema)
    for row in rows:
        assert admitted(schema, row)[1] == {}


@settings(max_examples=40)
@given(mutated(NODES))
def test_a_malformed_graphql_answer_costs_at_most_its_repository(answer: Any) -> None:
    rows = observed(answer)
    assert rows.keys() == {1, 2, 3, 4}
    assert_valid(list(rows.values()), REPOSITORIES)
    assert all(row["stars_total"] is not None for row in rows.values() if row["state"] == "public")
    assert all(row["reason"] for row in rows.values() if row["state"] != "public")
    assert sum(row["state"] == "public" for row in rows.values()) >= 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"repositoryTopics": {"nodes": 5}}, "topics are 5, not a list"),
        ({"createdAt": "0001-01-01T00:00:00+14:00"}, "created_at is '0001-01-01T00:00:00+14:00', not a time"),
        ({"createdAt": "1970-01-01T00:00:00Z"}, "not between 2007-10-01 00:00:00 and"),
        ({"forkCount": COUNT_MOST + 1}, "forks_total is 2147483648, not between 0 and 2147483647"),
        ({"isFork": "no"}, "is_fork is 'no', not true or false"),
    ],
)
def test_an_invalid_attribute_is_unknown_and_the_total_stays(change: dict[str, Any], reason: str) -> None:
    row = observed({"data": {"nodes": [node(1) | change, node(2), node(3), None]}})[1]
    assert (row["state"], row["stars_total"]) == ("public", 101)
    assert row["reason"].startswith("kept as unknown: ")
    assert reason in row["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stargazerCount": COUNT_MOST + 1}, "stars_total is 2147483648, not between 0 and 2147483647"),
        ({"stargazerCount": None}, "stars_total is missing"),
        ({"nameWithOwner": "owner/.."}, "full_name is 'owner/..', not a full_name"),
        ({"databaseId": 9}, "repo_id is 9, which is another repository"),
    ],
)
def test_a_response_without_a_valid_total_is_not_an_observation(change: dict[str, Any], reason: str) -> None:
    row = observed({"data": {"nodes": [node(1) | change, node(2), node(3), None]}})[1]
    assert row.get("stars_total") is None
    assert reason in row["reason"]


@pytest.mark.parametrize("errors", [{"message": "an object"}, "text", [{"path": ["nodes", [1]]}], [5], [None]])
def test_errors_of_any_shape_lose_no_data(errors: Any) -> None:
    rows = observed({"data": {"nodes": [node(1), node(2), node(3), None]}, "errors": errors})
    assert [rows[number]["stars_total"] for number in (1, 2, 3)] == [101, 102, 103]
    assert observed({"errors": errors})[1]["stars_total"] == 101


def weeks() -> list[dict[str, Any]]:
    newest = int(dt.datetime(2026, 2, 22, tzinfo=dt.UTC).timestamp())
    return [{"week": newest - 604_800 * n, "total": 3, "days": [1, 1, 1, 0, 0, 0, 0]} for n in range(4)]


@given(mutated(weeks()))
def test_a_malformed_history_costs_at_most_its_weeks(content: Any) -> None:
    url = "/repositories/7/stargazers/history"
    answer = Answer(200, content, url, is_moved=False, etag=None, links={}, answered_at=NOW)
    reads = parse_page(Ask(7, "a/b", 1, 100, created_on=dt.date(2026, 1, 20)), answer)
    assert_valid(reads.weeks, STAR_HISTORY)
    pa.Table.from_pylist(reads.reads, STAR_HISTORY_READS)
    pa.Table.from_pylist(reads.quarantine, STAR_HISTORY_QUARANTINE)
    assert all(dt.date(2026, 1, 12) < row["week"] <= NOW.date() for row in reads.weeks)
    assert reads.reads
    sent = [repr(week) for week in content] if isinstance(content, list) else []
    assert len(reads.weeks) >= sum(repr(week) in sent for week in weeks())


@pytest.mark.parametrize(
    ("week", "reason"),
    [
        (dt.date(1970, 1, 4), "a week before GitHub began"),
        (dt.date(2019, 12, 1), "a week before the repository began"),
        (dt.date(2026, 3, 1), "a week to come"),
    ],
)
def test_a_week_outside_the_repository_s_life_is_quarantined(week: dt.date, reason: str) -> None:
    content = weeks()
    content[3]["week"] = int(dt.datetime.combine(week, dt.time(), dt.UTC).timestamp())
    url = "/repositories/7/stargazers/history"
    answer = Answer(200, content, url, is_moved=False, etag=None, links={}, answered_at=NOW)
    created_on = dt.date(2020, 1, 1) if "repository" in reason else None
    reads = parse_page(Ask(7, "a/b", 1, 100, created_on=created_on), answer)
    assert len(reads.weeks) == 3
    assert [row["reason"] for row in reads.quarantine] == [f"a/b, page 1, week {week}: {reason}"]


def found(number: int) -> dict[str, Any]:
    return {
        **{"id": number, "node_id": f"R_{number}", "full_name": f"o/r{number}", "stargazers_count": 5_000 - number},
        **{"created_at": "2020-01-02T03:04:05Z", "fork": False, "private": False},
    }


RESULTS = {"total_count": 3, "incomplete_results": False, "items": [found(1), found(2), found(3)]}
LIMITS = {"resources": {"search": {"limit": 30, "remaining": 29, "reset": 4_000_000_000}}}
HEADERS = {
    **{"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-reset": "4000000000"},
    **{
        "x-ratelimit-resource": "search",
        "date": "Thu, 26 Feb 2026 06:00:00 GMT",
        "link": '<http://a/?page=2>; rel="next"',
    },
    **{"etag": 'W/"a"', "retry-after": "0"},
}


@settings(max_examples=40)
@given(mutated(RESULTS))
@example({"total_count": 3, "incomplete_results": False, "items": []})
def test_a_malformed_search_answer_ends_in_gaps(content: Any) -> None:
    async def run() -> Any:
        async with GitHubServer(lambda request: Reply(content=content)) as server, hub(server) as github:
            return await search(github, [Rule("all", None, 1_000, 1.0, "")], 3, NOW.date())

    result = asyncio.run(run())
    for candidate in result.candidates:
        assert 0 <= candidate.stars_total <= COUNT_MOST
        assert FULL_NAME.fullmatch(candidate.full_name)
    assert len(result.candidates) >= 2 or result.gaps


HEADER_TEXT = st.sampled_from(
    [
        *(
            "",
            "-1",
            "0",
            "1e9",
            "٣",
            "9" * 19,
            "9" * 400,
            "<",
            "<>;",
            ";;,,",
            '<http://[>; rel="next"',
            "<a>; rel",
            ",",
        ),
        *(
            "Mon, 01 Jan 0001 00:00:00 +2359",
            "Thu, 26 Feb 99999999999999999999 06:00:00 GMT",
            "Thu, 99 Feb 2026 06:00:00 GMT",
        ),
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(HEADERS)), HEADER_TEXT, max_size=3), mutated(LIMITS))
def test_malformed_headers_and_limits_are_an_answer_or_one_line(headers: dict[str, str], limits: Any) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/rate_limit":
            return Reply(content=limits)
        return Reply(
            content={"stars": 1}, headers=HEADERS | {k: v.encode().decode("latin-1") for k, v in headers.items()}
        )

    async def run() -> None:
        async with GitHubServer(answer) as server, hub(server) as github:
            try:
                await github.rate_limits()
                assert (await github.get("/repos/a/b")).content == {"stars": 1}
            except UpstreamError as error:
                assert "\n" not in str(error)

    asyncio.run(run())


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_invalid_name_is_refused_everywhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not FULL_NAME.fullmatch(name)
    assert admitted(REPOSITORIES, {"full_name": name})[0] == {"full_name": None}
    owner, _, repo = name.partition("/")
    line = f"1,Go,{repo},100,5,Go,https://github.com/x,{owner},3,2026-02-25T01:00:00Z,d"
    day = parse_day(NOW.date(), f"{HEADER}\n{line}\n".encode(), "file")
    assert len(typed_rows([day])) == 0
    assert day.set_aside
    if "/" in name:  # a bare name may be one that a single owner has
        with pytest.raises(SystemExit):
            main(["explain", name])
        assert "is neither owner/name" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a/b", "owner/.github", "owner/a..b", "o-w_n/..hidden", "o/" + "x" * 100])
def test_a_valid_name_is_accepted(name: str) -> None:
    assert FULL_NAME.fullmatch(name)
    assert admitted(REPOSITORIES, {"full_name": name})[1] == {}
