"""The embedded GitHub API responds as GitHub does, over a real socket, with faults on demand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest

from reposignal_pipeline.sample import github_faults as faults
from reposignal_pipeline.sample.github_api import GitHubApi
from reposignal_pipeline.sample.github_world import ALWAYS, Repository, World

NOW = datetime(2026, 2, 26, 20)  # a Thursday, noon by the days of star histories
FIRST_DAY = date(2025, 6, 1)
MIDNIGHT = datetime(2025, 6, 1)
DAYS = 300
NODE = """... on Repository { id databaseId nameWithOwner stargazerCount forkCount primaryLanguage { name }
  repositoryTopics(first: 20) { nodes { topic { name } } } description createdAt pushedAt isArchived isFork isPrivate
  isDisabled licenseInfo { spdxId } issues(states: [OPEN]) { totalCount }
  pullRequests(states: [OPEN]) { totalCount } }"""
NODES = f"query($ids: [ID!]!) {{ rateLimit {{ limit cost remaining resetAt }} nodes(ids: $ids) {{ {NODE} }} }}"


def one(repo_id: int, name: str, **given: Any) -> Repository:
    settings = {
        "repo_id": repo_id,
        "names": ((ALWAYS, name),),
        "created_at": MIDNIGHT - timedelta(100),
        "first_day": FIRST_DAY,
        "base": 100 * repo_id,
        "given": np.arange(DAYS, dtype=np.int32) % (3 + repo_id % 4),
        "language": "Go",
        "topics": ("queue", "cli"),
        "descriptions": ((ALWAYS, f"(synthetic) {name}"),),
        "license": "MIT",
        "issues": 5,
        "pull_requests": 2,
        "forks": 9,
    }
    return Repository(**{**settings, **given})


def ended(state: str) -> tuple[tuple[datetime, str], ...]:
    return ((ALWAYS, "public"), (NOW - timedelta(3), state))


PLAIN = one(1, "acme/plain")
MOVED = one(2, "acme/old", names=((ALWAYS, "acme/old"), (NOW, "acme/new")))
WORLD = World(
    [
        PLAIN,
        MOVED,
        one(4, "acme/gone", states=ended("not_found")),
        one(5, "acme/closed", states=ended("forbidden")),
        one(6, "acme/blocked", states=ended("blocked")),
        one(7, "acme/dmca", states=ended("dmca")),
        one(8, "acme/fork", is_fork=True, language=None, license=None),
        one(9, "acme/archive", is_archived=True, language="Vim script"),
    ]
)
HISTORY = "/repos/acme/plain/stargazers/history"


@contextmanager
def serving(
    world: World = WORLD, now: datetime | None = NOW, **settings: Any
) -> Iterator[tuple[GitHubApi, httpx.Client]]:
    with (
        GitHubApi(world, now, **settings) as api,
        httpx.Client(base_url=api.base, headers={"Authorization": "Bearer sample-token"}, timeout=5) as client,
    ):
        yield api, client


@pytest.fixture
def served() -> Iterator[tuple[GitHubApi, httpx.Client]]:
    with serving() as served:
        yield served


@pytest.fixture
def api(served: tuple[GitHubApi, httpx.Client]) -> GitHubApi:
    return served[0]


@pytest.fixture
def client(served: tuple[GitHubApi, httpx.Client]) -> httpx.Client:
    return served[1]


def nodes(client: httpx.Client, *repositories: Repository, query: str = NODES, **more: Any) -> dict[str, Any]:
    ids = [repository.node_id for repository in repositories]
    answer = client.post("/graphql", json={"query": query, "variables": {"ids": ids}, **more})
    assert answer.status_code == 200
    return dict(answer.json())


# REST.


def test_every_answer_carries_the_clock_and_the_limit(client: httpx.Client, api: GitHubApi) -> None:
    answer = client.get("/repos/acme/plain")
    assert answer.headers["date"] == "Thu, 26 Feb 2026 20:00:00 GMT"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-github-request-id"]
    assert {name: answer.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "used", "resource")} == {
        "limit": "5000",
        "remaining": "4999",
        "used": "1",
        "resource": "core",
    }
    assert int(answer.headers["x-ratelimit-reset"]) == 1772139600  # 21:00
    assert api.requests == [("GET", "/repos/acme/plain")]
    assert api.counts == {"repository": 1}


def test_a_repository_is_the_same_by_name_by_case_and_by_id(client: httpx.Client) -> None:
    shown = client.get("/repos/acme/plain").json()
    assert shown == client.get("/repos/ACME/Plain").json() == client.get("/repositories/1").json()
    assert shown["stargazers_count"] == WORLD.total(PLAIN, NOW)
    assert (shown["id"], shown["node_id"], shown["owner"]["login"]) == (1, PLAIN.node_id, "acme")
    assert (shown["open_issues_count"], shown["license"]["spdx_id"], shown["topics"]) == (7, "MIT", ["queue", "cli"])
    assert client.get("/repos/acme/plain/stargazers/count").json() == {"count": shown["stargazers_count"]}
    assert client.get("/repos/acme/plain/stargazers").status_code == 403


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [("gone", 404, None), ("nobody", 404, None), ("closed", 403, None), ("blocked", 403, "tos"), ("dmca", 451, "dmca")],
)
def test_a_repository_that_is_not_public_has_a_status_and_a_null_node(
    client: httpx.Client, api: GitHubApi, name: str, status: int, reason: str | None
) -> None:
    for rest in ("", "/stargazers/history", "/stargazers/count"):
        answer = client.get(f"/repos/acme/{name}{rest}")
        assert answer.status_code == status
        assert answer.json().get("block", {}).get("reason") == reason
        assert int(answer.headers["x-ratelimit-remaining"]) > 0
    answer = client.post("/graphql", json={"query": f'{{ repository(owner: "acme", name: "{name}") {{ id }} }}'}).json()
    assert answer["data"] == {"repository": None}
    assert (answer["errors"][0]["type"], answer["errors"][0]["path"]) == ("NOT_FOUND", ["repository"])
    api.now = NOW - timedelta(4)
    assert client.get(f"/repos/acme/{name}").status_code == (404 if name == "nobody" else 200)


def test_a_moved_repository_redirects_to_its_id(client: httpx.Client, api: GitHubApi) -> None:
    answer = client.get("/repos/acme/old/stargazers/history?per_page=2")
    assert answer.status_code == 301
    assert answer.headers["location"] == f"{api.base}/repositories/2/stargazers/history?per_page=2"
    assert answer.json()["url"] == answer.headers["location"]
    assert client.get("/repos/acme/old", follow_redirects=True).json()["full_name"] == "acme/new"
    followed = '{ repository(owner: "acme", name: "old") { nameWithOwner } }'
    assert client.post("/graphql", json={"query": followed}).json()["data"]["repository"] == {
        "nameWithOwner": "acme/new"
    }
    strict = followed.replace('"old"', '"old", followRenames: false')
    assert client.post("/graphql", json={"query": strict}).json()["errors"][0]["type"] == "NOT_FOUND"
    api.now = NOW - timedelta(1)
    assert client.get("/repos/acme/old").json()["full_name"] == "acme/old"
    assert client.get("/repos/acme/new").status_code == 404


# History.


def test_the_history_is_paged_from_the_current_week_to_the_creation(client: httpx.Client) -> None:
    pages = []
    url = f"{HISTORY}?per_page=30"
    while url:
        answer = client.get(url)
        pages.append(answer.json())
        url = answer.links.get("next", {}).get("url", "")
        assert not url or "/repositories/1/stargazers/history?" in url
    assert [len(page) for page in pages] == [30, 24]
    weeks = [week for page in pages for week in page]
    starts = [week["week"] for week in weeks]
    assert starts[0] == 1771718400  # Sunday 2026-02-22
    assert all(newer - older == 604_800 for newer, older in pairwise(starts))
    assert datetime.fromtimestamp(starts[-1], UTC).date() <= PLAIN.created_at.date()
    assert all(week["total"] == sum(week["days"]) for week in weeks)
    assert sum(week["total"] for week in weeks) == WORLD.total(PLAIN, NOW)
    sunday = (date(2026, 2, 22) - FIRST_DAY).days
    assert weeks[0]["days"][:4] == PLAIN.given[sunday : sunday + 4].tolist()
    assert weeks[0]["days"][4] == PLAIN.given[sunday + 4] // 2  # at noon
    assert weeks[0]["days"][5:] == [0, 0]


def test_links_name_the_neighbours_of_a_page(client: httpx.Client) -> None:
    def rels(page: int) -> dict[str, str]:
        links = client.get(f"{HISTORY}?per_page=20&page={page}").links
        return {rel: str(httpx.URL(link["url"]).params["page"]) for rel, link in links.items()}

    assert rels(1) == {"next": "2", "last": "3"}
    assert rels(2) == {"prev": "1", "next": "3", "last": "3", "first": "1"}
    assert rels(3) == {"prev": "2", "first": "1"}
    assert client.get(f"{HISTORY}?page=9").json() == []
    assert len(client.get(f"{HISTORY}?per_page=99").json()) == 30
    assert len(client.get(f"{HISTORY}?per_page=1&page=100").json()) == 0
    assert len(client.get(f"{HISTORY}?per_page=1&page=54").json()) == 1


def test_an_unchanged_page_is_free_with_a_token(client: httpx.Client, api: GitHubApi) -> None:
    first = client.get(HISTORY)
    again = client.get(HISTORY, headers={"If-None-Match": first.headers["etag"]})
    assert first.headers["etag"].startswith('W/"')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert [answer.headers["x-ratelimit-used"] for answer in (first, again)] == ["1", "1"]
    api.now = NOW + timedelta(1)
    changed = client.get(HISTORY, headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, changed.headers["etag"] != first.headers["etag"]) == (200, True)
    anonymous = {"Authorization": "", "If-None-Match": changed.headers["etag"]}
    assert client.get(HISTORY, headers=anonymous).headers["x-ratelimit-used"] == "1"


# GraphQL.


def test_a_batch_of_ids_is_answered_in_order(client: httpx.Client) -> None:
    gone = WORLD.by_id[4]
    answer = nodes(client, WORLD.by_id[9], gone, PLAIN)
    found = answer["data"]["nodes"]
    assert [node and node["databaseId"] for node in found] == [9, None, 1]
    assert found[2] == {
        "id": PLAIN.node_id,
        "databaseId": 1,
        "nameWithOwner": "acme/plain",
        "stargazerCount": WORLD.total(PLAIN, NOW),
        "forkCount": 9,
        "primaryLanguage": {"name": "Go"},
        "repositoryTopics": {"nodes": [{"topic": {"name": "queue"}}, {"topic": {"name": "cli"}}]},
        "description": "(synthetic) acme/plain",
        "createdAt": "2025-02-21T00:00:00Z",
        "pushedAt": "2025-02-21T00:00:00Z",
        "isArchived": False,
        "isFork": False,
        "isPrivate": False,
        "isDisabled": False,
        "licenseInfo": {"spdxId": "MIT"},
        "issues": {"totalCount": 5},
        "pullRequests": {"totalCount": 2},
    }
    assert found[0]["isArchived"]
    (error,) = answer["errors"]
    assert (error["type"], error["path"]) == ("NOT_FOUND", ["nodes", 1])
    assert error["message"] == f"Could not resolve to a node with the global id of '{gone.node_id}'"
    assert answer["data"]["rateLimit"] == {
        "limit": 5000,
        "cost": 1,
        "remaining": 4999,
        "resetAt": "2026-02-26T21:00:00Z",
    }


def test_invalid_graphql_queries_are_refused(client: httpx.Client) -> None:
    too_many = nodes(client, *[PLAIN] * 101)
    assert too_many["errors"][0]["type"] == "ARGUMENT_LIMIT"
    assert too_many["data"] is None
    lists = 'query { repository(owner: "acme", name: "plain") { stargazerCount stargazers { totalCount } } }'
    answer = client.post("/graphql", json={"query": lists}).json()
    assert answer["errors"][0]["type"] == "FORBIDDEN"
    assert "data" not in client.post("/graphql", json={"query": "{ nothing }"}).json()
    assert client.post("/graphql", content=b"{").status_code == 400
    assert client.post("/graphql", json={"query": None}).status_code == 400
    anonymous = client.post("/graphql", json={"query": "{ rateLimit { cost } }"}, headers={"Authorization": ""})
    assert anonymous.status_code == 401


# Search.


def search(client: httpx.Client, q: str, **parameters: Any) -> httpx.Response:
    return client.get("/search/repositories", params={"q": q, "sort": "stars", "order": "desc", **parameters})


@pytest.mark.parametrize(
    ("q", "ids"),
    [
        ("stars:>=1", {1, 2, 9}),
        ("stars:>=1 fork:true", {1, 2, 8, 9}),
        ("fork:only", {8}),
        ("archived:false is:public", {1, 2}),
        ('language:"Vim Script"', {9}),
        ("stars:<=800", {1, 2}),
        ("stars:700..800", {2}),
        ("stars:700..*", {2, 9}),
        ("created:2025-02-21", {1, 2, 9}),
        ("created:>=2025-02-22", set()),
        ("created:2025-02-01..2025-02-21 plain", {1}),
        ("created:<=2025-02-20", set()),
    ],
)
def test_search_applies_its_qualifiers(client: httpx.Client, q: str, ids: set[int]) -> None:
    found = search(client, q).json()
    assert {item["id"] for item in found["items"]} == ids
    assert (found["total_count"], found["incomplete_results"]) == (len(ids), False)
    stars = [item["stargazers_count"] for item in found["items"]]
    assert stars == sorted(stars, reverse=True)


def test_search_shows_a_thousand_at_most_and_has_its_own_limit() -> None:
    world = World.from_gains(np.ones((1050, 3), np.int32), date(2026, 2, 20), list(range(1, 1051)))
    with serving(world, datetime(2026, 2, 21, 12)) as (api, client):
        pages = [search(client, "stars:>0", per_page=100, page=n) for n in range(1, 12)]
        assert [len(page.json()["items"]) for page in pages[:10]] == [100] * 10
        assert pages[0].json()["total_count"] == 1050
        assert {item["id"] for page in pages[:10] for item in page.json()["items"]} == set(range(1_000_051, 1_001_051))
        assert pages[0].links.keys() == {"next", "last"}
        assert "next" not in pages[9].links
        assert pages[10].status_code == 422
        assert pages[9].headers["x-ratelimit-resource"] == "search"
        statuses = [search(client, "stars:>0").status_code for _ in range(20)]
        assert statuses == [200] * 19 + [403]
        assert client.get("/repos/synthetic-0/repo-0").status_code == 200
        api.now = datetime(2026, 2, 21, 12, 1)
        assert search(client, "stars:>0").status_code == 200
        for wrong in ("", "stars:many", "created:soon", "smell:bad"):
            assert search(client, wrong).status_code == 422


# Limits.


def test_a_spent_limit_refuses_until_its_reset() -> None:
    with serving(tokens={"sample-token": 3}) as (api, client):
        assert [client.get("/repos/acme/plain").status_code for _ in range(4)] == [200, 200, 200, 403]
        refused = client.get("/repos/acme/plain")
        assert "rate limit exceeded" in refused.json()["message"]
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert "retry-after" not in refused.headers
        limits = client.get("/rate_limit").json()["resources"]
        assert (limits["core"]["remaining"], limits["graphql"]["remaining"]) == (0, 3)
        assert [len(nodes(client, PLAIN).get("errors", ())) for _ in range(4)] == [0, 0, 0, 1]
        spent = nodes(client, PLAIN)
        assert spent["errors"][0]["type"] == "RATE_LIMITED"
        api.now = datetime(2026, 2, 26, 20, 59, 59)
        assert client.get("/repos/acme/plain").status_code == 403
        api.now = datetime(2026, 2, 26, 21)
        assert client.get("/repos/acme/plain").headers["x-ratelimit-remaining"] == "2"
        assert client.get("/repos/acme/plain", headers={"Authorization": ""}).headers["x-ratelimit-limit"] == "60"


def test_unknown_and_revoked_tokens_are_refused(client: httpx.Client, api: GitHubApi) -> None:
    wrong = client.get("/repos/acme/plain", headers={"Authorization": "token stolen"})
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Bad credentials")
    assert client.get(HISTORY).status_code == 200
    api.revoke("sample-token")
    assert client.get(HISTORY).status_code == 401
    assert client.post("/graphql", json={"query": "{ rateLimit { cost } }"}).status_code == 401


def test_the_secondary_limit_counts_the_minute() -> None:
    with serving(points_a_minute=2) as (api, client):
        assert [client.get("/repos/acme/plain").status_code for _ in range(3)] == [200, 200, 403]
        refused = client.post("/graphql", json={"query": NODES})
        assert (refused.status_code, refused.headers["retry-after"]) == (403, "60")
        assert int(refused.headers["x-ratelimit-remaining"]) > 0
        api.now = NOW + timedelta(minutes=1)
        assert client.get("/repos/acme/plain").status_code == 200


def test_concurrent_connections_lose_no_request(api: GitHubApi) -> None:
    def ask(_: int) -> int:
        with httpx.Client(base_url=api.base, headers={"Authorization": "Bearer sample-token"}) as client:
            return sum(client.get(HISTORY).status_code == 200 for _ in range(10))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(16))) == 160
    assert api.counts["history"] == len(api.requests) == api.statuses[200] == 160


def test_the_server_is_gone_when_its_context_ends() -> None:
    with GitHubApi(WORLD, NOW) as api:
        client = httpx.Client(base_url=api.base)
        assert client.get("/rate_limit").status_code == 200
    with pytest.raises(httpx.TransportError):
        client.get("/rate_limit")


def test_the_real_clock_is_there() -> None:
    with serving(now=None) as (api, client):
        assert abs(api.clock() - datetime.strptime(client.get("/x").headers["date"], "%a, %d %b %Y %H:%M:%S GMT")) < (
            timedelta(seconds=5)
        )


# Faults.


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (faults.refused(), 403, None),
        (faults.refused(retry_after=7), 403, "7"),
        (faults.too_many(retry_after=2), 429, "2"),
        (faults.bad_gateway(), 502, None),
        (faults.unavailable(), 503, None),
        (faults.status(code=500), 500, None),
        (faults.accepted(), 202, None),
    ],
    ids=lambda fault: getattr(fault, "kind", str(fault)),
)
def test_a_refusal_instead_of_the_answer(
    client: httpx.Client, api: GitHubApi, fault: faults.Fault, status: int, retry_after: str | None
) -> None:
    api.faults = [fault]
    answer = client.get(HISTORY)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    assert answer.headers["x-ratelimit-used"] == "0"


def test_a_fault_occurs_where_and_as_often_as_configured(client: httpx.Client, api: GitHubApi) -> None:
    api.faults.append(faults.bad_gateway(r"GET /repos/acme/plain\b", times=2, after=1))
    assert [client.get("/repos/acme/plain").status_code for _ in range(5)] == [200, 502, 502, 200, 200]
    assert client.get("/repositories/1").status_code == 200
    api.faults[:] = [faults.Fault("^POST /graphql", "unavailable", 1)]
    assert client.get("/repos/acme/plain").status_code == 200
    assert client.post("/graphql", json={"query": NODES}).status_code == 503
    with pytest.raises(ValueError, match="unknown fault 'sulks'"):
        faults.Fault("", "sulks")


@pytest.mark.parametrize("fault", [faults.reset, faults.cut_short])
def test_a_broken_connection(client: httpx.Client, api: GitHubApi, fault: Callable[..., faults.Fault]) -> None:
    api.faults = [fault(times=1)]
    with pytest.raises(httpx.ReadError if fault is faults.reset else httpx.RemoteProtocolError):
        client.get(HISTORY)
    assert client.get(HISTORY).status_code == 200


def test_truncated_json_comes_with_a_length_that_is_right(client: httpx.Client, api: GitHubApi) -> None:
    api.faults = [faults.truncated(times=1)]
    answer = client.get(HISTORY)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert len(client.get(HISTORY).content) // 2 == len(answer.content)


def test_a_slow_body_arrives_in_the_end(client: httpx.Client, api: GitHubApi) -> None:
    api.faults = [faults.slow(seconds=0.3)]
    begun = time.monotonic()
    assert len(client.get(HISTORY).json()) == 30
    assert time.monotonic() - begun >= 0.3
    with pytest.raises(httpx.ReadTimeout):
        client.get(HISTORY, timeout=0.1)


def test_the_clock_may_be_wrong(client: httpx.Client, api: GitHubApi) -> None:
    api.faults = [faults.clock_skew(seconds=-90)]
    assert client.get(HISTORY).headers["date"] == "Thu, 26 Feb 2026 19:58:30 GMT"


def test_graphql_returns_partial_responses(client: httpx.Client, api: GitHubApi) -> None:
    batch = [PLAIN, MOVED, WORLD.by_id[8], WORLD.by_id[9]]
    api.faults = [faults.null_nodes()]
    answer = nodes(client, *batch)
    assert [node is None for node in answer["data"]["nodes"]] == [True, False, True, False]
    assert "errors" not in answer
    api.faults = [faults.partly_null(every=3)]
    answer = nodes(client, *batch)
    assert [node is None for node in answer["data"]["nodes"]] == [True, False, False, True]
    assert [error["path"] for error in answer["errors"]] == [["nodes", 0], ["nodes", 3]]
    assert not any("type" in error for error in answer["errors"])
    api.faults = [faults.resource_limits(largest=2)]
    assert nodes(client, *batch) == {
        "errors": [{"type": "RESOURCE_LIMITS_EXCEEDED", "message": "Resource limits for this query exceeded."}]
    }
    assert "errors" not in nodes(client, *batch[:2])
    api.faults = [faults.errors_only()]
    assert nodes(client, *batch).keys() == {"errors"}
    aliases = '{ a: repository(owner: "acme", name: "plain") { id } b: repository(owner: "acme", name: "new") { id } }'
    api.faults = [faults.null_nodes()]
    assert nodes(client, query=aliases)["data"] == {"a": None, "b": {"id": MOVED.node_id}}


def test_a_search_that_timed_out_reports_incomplete_results(client: httpx.Client, api: GitHubApi) -> None:
    api.faults = [faults.incomplete_results(times=1)]
    cut, whole = (search(client, "stars:>0 fork:true").json() for _ in range(2))
    assert [(len(found["items"]), found["incomplete_results"]) for found in (cut, whole)] == [(2, True), (4, False)]


def test_a_week_begins_between_two_pages(client: httpx.Client, api: GitHubApi) -> None:
    calm = [client.get(f"{HISTORY}?per_page=10&page={page}").json() for page in (1, 2)]
    api.faults = [faults.week_shifts()]
    shifted = [client.get(f"{HISTORY}?per_page=10&page={page}").json() for page in (1, 2)]
    assert shifted[0] == calm[0]
    assert shifted[1] == [calm[0][-1], *calm[1][:-1]]


@pytest.mark.parametrize("page", ["", "?page=1", "?per_page=30&page=1", "?page=1&per_page=2"])
def test_an_empty_first_page(client: httpx.Client, api: GitHubApi, page: str) -> None:
    api.faults = [faults.empty_first_page()]
    assert client.get(f"{HISTORY}{page}").json() == []
    assert client.get(f"{HISTORY}?per_page=10&page=2").json() != []


def test_impossible_weeks(client: httpx.Client, api: GitHubApi) -> None:
    right = client.get(HISTORY).json()
    api.faults = [faults.future_days(stars=4)]
    week = client.get(HISTORY).json()[0]
    assert week["days"] == [*right[0]["days"][:6], 4]
    assert week["total"] == right[0]["total"] + 4
    api.faults = [faults.sum_differs(by=2)]
    weeks = client.get(HISTORY).json()
    assert [week["total"] - sum(week["days"]) for week in weeks[:3]] == [0, 2, 0]
    api.faults = [faults.not_a_sunday()]
    weeks = client.get(HISTORY).json()
    assert weeks[1]["week"] == right[1]["week"] + 86_400
    api.faults = [faults.wrong_id(repo_id=77)]
    assert "/repositories/77/stargazers/history?" in client.get(HISTORY).links["next"]["url"]


# Another process.


@pytest.mark.slow
def test_it_serves_under_control_of_another_process() -> None:
    command = [sys.executable, "-m", "reposignal_pipeline.sample.github_api"]
    options = ["--world", "generated:20:2026-01-01:2026-02-27", "--now", "2026-02-28T00:30:00Z", "--token", "T=9"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            base = process.stdout.readline().strip()
            with httpx.Client(base_url=base, headers={"Authorization": "Bearer T"}) as client:
                path = "/repos/synthetic-0/repo-7/stargazers/history"
                assert client.get(path).headers["x-ratelimit-limit"] == "9"
                wishes = {"now": "2026-02-27T10:00:00", "faults": [{"kind": "refused", "times": 1, "retry_after": 3}]}
                assert client.post("/_control", json=wishes).status_code == 200
                answers = [client.get(path) for _ in range(2)]
                assert [answer.status_code for answer in answers] == [403, 200]
                assert answers[1].headers["date"].startswith("Fri, 27 Feb 2026 10:00:00")
                assert client.get("/_control").json() == {
                    "now": "2026-02-27T10:00:00",
                    "requests": 3,
                    "counts": {"history": 3},
                    "statuses": {"200": 2, "403": 1},
                }
                client.post("/_control", json={"revoke": "T", "faults": []})
                assert client.get(path).status_code == 401
                assert client.post("/_control", json={"tokens": {"U": 1}, "now": "real"}).status_code == 200
                assert client.get(path, headers={"Authorization": "Bearer U"}).status_code == 200
                for wrong in ({"weather": "fine"}, {"faults": [{"kind": "sulks"}]}, {"now": "soon"}):
                    assert client.post("/_control", json=wrong).status_code == 400
        finally:
            process.kill()
