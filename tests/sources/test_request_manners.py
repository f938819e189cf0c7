"""How the client treats GitHub: what it spends, how long it waits, what it retries, and what counts as a response."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import itertools
import json
import logging
import time
import traceback
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from github_server import GitHubServer, Reply, Request, in_turn

from reposignal_pipeline.sources import github
from reposignal_pipeline.sources.github import (
    ATTEMPTS,
    GATEWAY_ATTEMPTS,
    Answer,
    GitHub,
    QuotaSpentError,
    ResourceLimitError,
    TokensRefusedError,
)
from reposignal_pipeline.sources.transport import UpstreamError

pytestmark = pytest.mark.anyio

TOKENS = ("ghp_hunter2", "ghp_swordfish", "ghp_sesame")
PATH = "/repos/a/b"
SECONDARY = {
    "message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
}
TIMED_OUT = (
    "Something went wrong while executing your query. This may be the result of a timeout, or it could be a bug."
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def asking(server: GitHubServer, tokens: tuple[str, ...] = TOKENS[:1], **options: Any) -> GitHub:
    options = {"backoff_seconds": 0.01, "secondary_seconds": 0.2, **options}
    return GitHub(server.base, tokens, **options)


async def get(server: GitHubServer, path: str = PATH, tokens: tuple[str, ...] = TOKENS[:1], **options: Any) -> Answer:
    async with asking(server, tokens, **options) as hub:
        return await hub.get(path)


async def error_of(server: GitHubServer, path: str = PATH, **options: Any) -> str:
    """Return the message of the error that a request raises, after checking what holds for every message."""
    with pytest.raises(UpstreamError) as raised:
        await get(server, path, **options)
    assert_fit_to_be_seen(raised.value)
    return str(raised.value)


def assert_fit_to_be_seen(error: BaseException) -> None:
    assert str(error)
    assert "\n" not in str(error)
    # including chained exceptions: what httpx raises contains the request
    assert error.__cause__ is None
    assert error.__context__ is None
    assert_no_token("".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)))


def assert_no_token(text: str) -> None:
    assert [token for token in TOKENS if token in text] == []


def many(hub: GitHub, count: int, path: str = PATH, **options: Any) -> Any:
    return asyncio.gather(*(hub.get(f"{path}{number}", **options) for number in range(count)), return_exceptions=True)


# requests and responses


async def test_a_request_has_the_headers_of_the_api() -> None:
    async with GitHubServer() as server:
        await get(server)
        (request,) = server.requests
    assert (request.method, request.target) == ("GET", PATH)
    assert request.headers["authorization"] == f"Bearer {TOKENS[0]}"
    assert request.headers["accept"] == "application/vnd.github+json"
    assert request.headers["x-github-api-version"] == "2026-03-10"
    assert request.headers["user-agent"].startswith("reposignal/")


async def test_without_a_token_no_header_is_sent() -> None:
    async with GitHubServer() as server:
        await get(server, tokens=())
        assert "authorization" not in server.requests[0].headers


async def test_a_response_has_content_etag_links_and_time() -> None:
    links = '<https://x/repositories/1/h?page=2>; rel="next", <https://x/repositories/1/h?page=9>; rel="last"'
    reply = Reply(200, [{"week": 1}], {"ETag": 'W/"one"', "Link": links})
    async with GitHubServer(lambda request: reply) as server, asking(server) as hub:
        before = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        answer = await hub.get(PATH, {"per_page": 30, "q": "stars:>1 a&b"})
        assert server.requests[0].params == {"per_page": "30", "q": "stars:>1 a&b"}
    assert (answer.status, answer.content, answer.etag, answer.is_moved) == (200, [{"week": 1}], 'W/"one"', False)
    assert answer.url == f"{PATH}?per_page=30&q=stars%3A%3E1+a%26b"
    assert answer.links == {"next": "https://x/repositories/1/h?page=2", "last": "https://x/repositories/1/h?page=9"}
    assert answer.refusal is None
    assert before - dt.timedelta(seconds=1) <= answer.answered_at <= before + dt.timedelta(seconds=5)


async def test_a_body_may_be_compressed() -> None:
    reply = Reply(body=gzip.compress(b'{"stars": 1}'), headers={"Content-Encoding": "gzip"})
    async with GitHubServer(lambda request: reply) as server:
        assert (await get(server)).content == {"stars": 1}


async def test_an_unchanged_resource_is_a_304_and_counted() -> None:
    def answer(request: Request) -> Reply:
        return Reply(304, headers={"ETag": '"one"'}) if request.headers.get("if-none-match") == '"one"' else Reply()

    async with GitHubServer(answer) as server, asking(server) as hub:
        server.open_account(TOKENS[0], "core", limit=5000)
        known = await hub.get(PATH, etag='"one"')
        await hub.get(PATH)
        assert server.accounts[TOKENS[0], "core"].remaining == 4999
    assert (known.status, known.content, known.etag) == (304, None, '"one"')
    assert (hub.spent.not_modified, hub.spent.requests["core"], hub.spent.retries) == (1, 2, 0)


@pytest.mark.parametrize(
    ("status", "content", "refusal"),
    [
        (403, {"message": "Repository access blocked", "block": {"reason": "tos"}}, "blocked"),
        (403, {"message": "Resource not accessible by personal access token"}, "forbidden"),
        (404, {"message": "Not Found"}, "not_found"),
        (410, {"message": "Gone"}, "not_found"),
        (451, {"message": "Repository access blocked", "block": {"reason": "dmca"}}, "dmca"),
        (409, {"message": "Git Repository is empty."}, None),
        (422, {"message": "Validation Failed"}, None),
    ],
)
async def test_a_refusal_is_a_response_at_once(status: int, content: Any, refusal: str | None) -> None:
    async with GitHubServer(lambda request: Reply(status, content)) as server:
        server.open_account(TOKENS[0], "core", limit=5000)
        answer = await get(server)
        assert len(server.requests) == 1
    assert (answer.status, answer.content, answer.refusal) == (status, content, refusal)


async def test_a_blocked_repository_is_not_a_limit_even_on_the_last_request() -> None:
    reply = Reply(403, {"block": {"reason": "tos"}}, {"X-RateLimit-Remaining": "0", "Retry-After": "60"})
    async with GitHubServer(lambda request: reply) as server:
        assert (await get(server)).refusal == "blocked"


async def test_a_refusal_need_not_be_json() -> None:
    async with GitHubServer(lambda request: Reply(404, body=b"<html>")) as server:
        answer = await get(server)
    assert (answer.status, answer.content, answer.refusal) == (404, None, "not_found")


async def test_a_result_still_being_computed_is_requested_again() -> None:
    async with GitHubServer(in_turn(Reply(202), Reply(202), Reply(200, [1]))) as server:
        assert (await get(server)).content == [1]
        assert len(server.requests) == 3
    async with GitHubServer(lambda request: Reply(202)) as server:
        assert (await get(server)).status == 202
        assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("status", [400, 405, 418])
async def test_any_other_status_is_an_error_at_once(status: int) -> None:
    async with GitHubServer(lambda request: Reply(status)) as server:
        assert await error_of(server) == f"{server.base}{PATH}: answered {status}"
        assert len(server.requests) == 1


async def test_graphql_gives_data_and_errors() -> None:
    content = {"data": {"nodes": [None, {"id": "x"}]}, "errors": [{"type": "NOT_FOUND", "message": "a/timeout"}]}
    async with GitHubServer(lambda request: Reply(200, content)) as server, asking(server) as hub:
        assert (await hub.graphql("query($ids:[ID!]!){x}", {"ids": ["é"]})).content == content
        (request,) = server.requests
        assert hub.spent.requests == {"graphql": 1, "rate_limit": 1}
    assert (request.method, request.target) == ("POST", "/graphql")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"query": "query($ids:[ID!]!){x}", "variables": {"ids": ["é"]}}


# transient and permanent errors


PASSING = [
    pytest.param(Reply(500), "answered 500", id="500"),
    pytest.param(Reply(502, body=b"<html>"), "answered 502", id="502"),
    pytest.param(Reply(503), "answered 503", id="503"),
    pytest.param(Reply(resets=True), "ReadError", id="reset"),
    pytest.param(Reply(200, list(range(99)), cuts=True), "RemoteProtocolError", id="cut body"),
    pytest.param(Reply(body=b'[{"week": 1'), "a body that is not JSON", id="truncated JSON"),
    pytest.param(Reply(body=b""), "a body that is not JSON", id="no body"),
    pytest.param(Reply(body=b'{"week": 1}', headers={"Content-Encoding": "gzip"}), "DecodingError", id="not gzip"),
    pytest.param(
        Reply(body=gzip.compress(b"[" + b"1, " * 99 + b"1]")[:-30], headers={"Content-Encoding": "gzip"}),
        "a body that is not JSON",
        id="truncated gzip",
    ),
]


@pytest.mark.parametrize(("reply", "cause"), PASSING)
async def test_a_transient_error_is_retried(reply: Reply, cause: str) -> None:
    logged: list[str] = []
    async with GitHubServer(in_turn(*[reply] * (ATTEMPTS - 1), Reply(200, [1]))) as server:
        async with asking(server, log=logged.append) as hub:
            assert (await hub.get(PATH)).content == [1]
        assert len(server.requests) == ATTEMPTS
        assert hub.spent.retries == ATTEMPTS - 1
    assert logged == [f"{server.base}{PATH}: {cause}; retrying, logged once"]


@pytest.mark.parametrize(("reply", "cause"), PASSING)
async def test_a_lasting_error_is_raised_after_the_last_attempt(reply: Reply, cause: str) -> None:
    async with GitHubServer(lambda request: reply) as server:
        assert await error_of(server) == f"{server.base}{PATH}: {cause} after {ATTEMPTS} attempts"
        assert len(server.requests) == ATTEMPTS


async def test_a_refused_connection_is_an_error() -> None:
    async with GitHubServer() as server:
        pass
    assert await error_of(server) == f"{server.base}{PATH}: ConnectError after {ATTEMPTS} attempts"


async def test_a_stalled_response_is_abandoned_and_requested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github, "READ_SECONDS", 0.1)
    async with GitHubServer(in_turn(Reply(after_seconds=1), Reply(200, [1]))) as server:
        assert (await get(server)).content == [1]
        assert len(server.requests) == 2


async def test_a_body_that_never_ends_is_abandoned_and_requested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github, "ANSWER_SECONDS", 0.3)
    drips = Reply(200, list(range(99)), drips_seconds=0.05)
    async with GitHubServer(in_turn(drips, drips, Reply(200, [1]))) as server:
        assert (await get(server, concurrency=1)).content == [1]
        assert len(server.requests) == 3


async def test_a_slow_body_is_a_body() -> None:
    async with GitHubServer(lambda request: Reply(200, [1, 2, 3], drips_seconds=0.02)) as server:
        assert (await get(server)).content == [1, 2, 3]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(body=b" " * 2000 + b"1"), id="said"),
        pytest.param(
            Reply(body=gzip.compress(b" " * 2000 + b"1"), headers={"Content-Encoding": "gzip"}), id="unpacked"
        ),
    ],
)
async def test_a_huge_body_is_refused_at_once(reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github, "BODY_BYTES", 1000)
    async with GitHubServer(lambda request: reply) as server:
        assert "a body of more than" in await error_of(server)
        assert len(server.requests) == 1


async def test_a_server_that_is_down_sets_the_time_of_the_retry() -> None:
    async with GitHubServer(in_turn(Reply(503, headers={"Retry-After": "1"}), Reply())) as server:
        began = time.monotonic()
        await get(server)
        assert time.monotonic() - began >= 1
    async with GitHubServer(lambda request: Reply(503, headers={"Retry-After": "3600"})) as server:
        assert await error_of(server) == f"{server.base}{PATH}: answered 503, retry after 3600 s"
        assert len(server.requests) == 1


# GraphQL queries that are too large


async def test_a_partial_response_is_a_response() -> None:
    content = {"data": {"a": {"id": 1}, "b": None}, "errors": [{"type": "RESOURCE_LIMITS_EXCEEDED", "path": ["b"]}]}
    async with GitHubServer(lambda request: Reply(200, content)) as server, asking(server) as hub:
        assert (await hub.graphql("{x}")).content == content


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(200, {"data": None, "errors": [{"type": "RESOURCE_LIMITS_EXCEEDED"}]}), id="limits"),
        pytest.param(Reply(200, {"data": None, "errors": [{"message": TIMED_OUT}]}), id="timed out"),
    ],
)
async def test_a_query_that_is_too_large_is_an_error_of_its_own_at_once(reply: Reply) -> None:
    async with GitHubServer(lambda request: reply) as server, asking(server) as hub:
        with pytest.raises(ResourceLimitError) as raised:
            await hub.graphql("{x}")
        assert len(server.requests) == 1
    assert_fit_to_be_seen(raised.value)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_repeated_gateway_timeouts_mean_that_a_query_is_too_large(status: int) -> None:
    async with GitHubServer(lambda request: Reply(status, body=b"<html>")) as server, asking(server) as hub:
        with pytest.raises(ResourceLimitError) as raised:
            await hub.graphql("{x}")
        assert len(server.requests) == GATEWAY_ATTEMPTS
    assert_fit_to_be_seen(raised.value)


async def test_a_single_gateway_timeout_is_retried() -> None:
    good = Reply(200, {"data": {}})
    async with GitHubServer(in_turn(Reply(502), Reply(200, {"message": "?"}), good)) as server, asking(server) as hub:
        assert (await hub.graphql("{x}")).content == {"data": {}}


async def test_a_refused_query_is_an_error() -> None:
    async with GitHubServer(lambda request: Reply(403, {"message": "no"})) as server, asking(server) as hub:
        with pytest.raises(UpstreamError, match=r"/graphql: answered 403$"):
            await hub.graphql("{x}")


# several tokens


async def test_the_token_with_the_most_left_is_used() -> None:
    async with GitHubServer() as server:
        for token, remaining in zip(TOKENS, (300, 4000, 1000), strict=True):
            server.open_account(token, "core", limit=5000, remaining=remaining)
            server.open_account(token, "search", limit=30, remaining=remaining // 100)
        server.accounts[TOKENS[2], "search"].remaining = 30
        async with asking(server, TOKENS) as hub:
            await many(hub, 10)
            await hub.get("/search/repositories", resource="search")
        assert [request.token for request in server.requests[:-1]] == [TOKENS[1]] * 10
        assert server.requests[-1].token in TOKENS[1:]
        assert hub.spent.requests == {"core": 10, "search": 1, "rate_limit": 3}


async def test_tokens_share_the_work_as_they_are_spent() -> None:
    async with GitHubServer() as server:
        for token in TOKENS:
            server.open_account(token, "core", limit=5000)
        async with asking(server, TOKENS) as hub:
            await many(hub, 60)
        assert [server.accounts[token, "core"].remaining for token in TOKENS] == [4980] * 3


async def test_a_duplicate_token_counts_once() -> None:
    async with GitHubServer() as server:
        server.open_account(TOKENS[0], "core", limit=5000)
        async with asking(server, (TOKENS[0], f" {TOKENS[0]} ", "")) as hub:
            assert [limits.name for limits in await hub.rate_limits()] == ["token 1 of 1"]


async def test_a_token_that_is_revoked_in_mid_run_is_dropped_and_nothing_is_lost() -> None:
    logged: list[str] = []

    def answer(request: Request) -> Reply:
        if len(server.requests) == 30:
            server.revoked.add(TOKENS[1])
        return Reply(200, request.path)

    async with GitHubServer(answer) as server:
        for token in TOKENS:
            server.open_account(token, "core", limit=5000)
        async with asking(server, TOKENS, log=logged.append) as hub:
            answers = await many(hub, 100)
            assert [answer.content for answer in answers] == [f"{PATH}{number}" for number in range(100)]
            assert hub.spent.tokens_refused == 1
            assert [limits.is_refused for limits in await hub.rate_limits()] == [False, True, False]
        assert TOKENS[1] not in {request.token for request in server.requests[60:]}
    assert logged == ["token 2 of 3 was refused"]


async def test_a_token_revoked_before_the_run_is_used_once() -> None:
    async with GitHubServer() as server:
        server.revoked.update(TOKENS[:2])
        async with asking(server, TOKENS) as hub:
            await many(hub, 5)
            assert [limits.is_refused for limits in await hub.rate_limits()] == [True, True, False]
        assert {request.token for request in server.requests} == {TOKENS[2]}
        assert [request.token for request in server.rate_limit_requests].count(TOKENS[0]) == 1


async def test_when_every_token_is_refused_no_request_is_sent_without_one() -> None:
    async with GitHubServer(lambda request: Reply(401)) as server:
        async with asking(server, TOKENS[:2]) as hub:
            for error in await many(hub, 5):
                assert isinstance(error, TokensRefusedError)
                assert str(error) == f"{server.base}: every token was refused"
                assert_fit_to_be_seen(error)
        assert {request.token for request in server.requests} == set(TOKENS[:2])
        assert await error_of(server) == f"{server.base}: the token was refused"


async def test_a_missing_token_is_reported_and_requests_without_one_continue() -> None:
    def answer(request: Request) -> Reply:
        return Reply(401) if request.resource == "graphql" else Reply()

    async with GitHubServer(answer) as server, asking(server, ()) as hub:
        with pytest.raises(TokensRefusedError, match="a token is needed"):
            await hub.graphql("{x}")
        assert (await hub.get(PATH)).status == 200
    async with GitHubServer() as server, asking(server, ()) as hub:
        server.open_account("", "graphql", limit=0)
        with pytest.raises(TokensRefusedError, match="a token is needed"):
            await hub.graphql("{x}")
        assert server.requests == []


# limits and the reserve


@pytest.mark.parametrize("concurrency", [1, 20])
async def test_the_reserve_is_never_touched(concurrency: int) -> None:
    async with GitHubServer(lambda request: Reply(after_seconds=0.005)) as server:
        accounts = [server.open_account(token, "core", limit=5000, remaining=left) for token, left in
                    zip(TOKENS, (130, 117, 100), strict=True)]  # fmt: skip
        async with asking(server, TOKENS, concurrency=concurrency) as hub:
            answers = await many(hub, 100)
        assert [account.lowest for account in accounts] == [100, 100, 100]
        assert len(server.requests) == 47
    errors = [answer for answer in answers if isinstance(answer, QuotaSpentError)]
    assert len(errors) == 100 - 47
    assert {error.resource for error in errors} == {"core"}
    until = dt.datetime.fromtimestamp(accounts[0].reset, dt.UTC).replace(tzinfo=None)
    assert all(error.until and abs(error.until - until) < dt.timedelta(seconds=3) for error in errors)
    assert_fit_to_be_seen(errors[0])


async def test_one_request_finds_the_limit_of_a_server_without_rate_limit_endpoint() -> None:
    async with GitHubServer(lambda request: Reply(after_seconds=0.005)) as server:
        account = server.open_account(TOKENS[0], "core", limit=5000, remaining=104)
        server.accounts["another", "core"] = account
        server._rate_limits = lambda request: Reply(404)  # type: ignore[method-assign]
        async with asking(server) as hub:
            answers = await many(hub, 30)
        assert account.lowest == 100
    assert sum(isinstance(answer, Answer) for answer in answers) == 4


async def test_spending_by_others_counts() -> None:
    async with GitHubServer() as server, asking(server) as hub:
        account = server.open_account(TOKENS[0], "core", limit=5000)
        await hub.get(PATH)
        account.remaining = 102
        answers = await many(hub, 1)
        answers += await many(hub, 5)
        assert account.lowest == 100
    assert [isinstance(answer, Answer) for answer in answers] == [True, True, False, False, False, False]


async def test_a_small_limit_keeps_a_tenth_and_search_keeps_nothing() -> None:
    async with GitHubServer() as server, asking(server, ()) as hub:
        core = server.open_account("", "core", limit=60)
        search = server.open_account("", "search", limit=10)
        answers = await many(hub, 70)
        assert sum(isinstance(answer, Answer) for answer in answers) == 54
        assert core.lowest == 6
        answers = await many(hub, 20, path="/search/", resource="search")
        assert sum(isinstance(answer, Answer) for answer in answers) == 10
        assert search.lowest == 0


async def test_free_responses_are_requested_down_to_the_reserve() -> None:
    async with GitHubServer(lambda request: Reply(304, after_seconds=0.002)) as server, asking(server) as hub:
        server.open_account(TOKENS[0], "core", limit=5000, remaining=103)
        answers = await many(hub, 50, etag='"one"')
    assert all(isinstance(answer, Answer) for answer in answers)


async def test_a_query_of_several_points_leaves_the_reserve_alone() -> None:
    def answer(request: Request) -> Reply:
        account.remaining -= 6
        return Reply(200, {"data": {"rateLimit": {"cost": 7}}}, after_seconds=0.005)

    async with GitHubServer(answer) as server, asking(server) as hub:
        account = server.open_account(TOKENS[0], "graphql", limit=5000, remaining=150)
        await hub.graphql("{x}")
        await asyncio.gather(*(hub.graphql("{x}") for _ in range(20)), return_exceptions=True)
        assert 100 <= account.lowest < 107


@pytest.mark.parametrize(("status", "skew_hours"), [(403, -1), (403, 0), (429, 1)])
async def test_waiting_for_a_spent_limit_uses_the_clock_of_the_server(status: int, skew_hours: int) -> None:
    """The account turns out to be spent only when a response says so; other requests in flight wait as well."""

    def answer(request: Request) -> Reply:
        if server.now() < reset:
            content = {"message": "API rate limit exceeded for user ID 1."}
            return Reply(status, content, {**headers, "X-RateLimit-Remaining": "0"}, after_seconds=0.05)
        return Reply(200, headers={**headers, "X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": str(reset + 3600)})

    logged: list[str] = []
    async with GitHubServer(answer) as server, asking(server, log=logged.append) as hub:
        server.skew_seconds = skew_hours * 3600
        reset = int(server.now()) + 2
        headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Reset": str(reset), "X-RateLimit-Resource": "core"}
        began = time.monotonic()
        answers = await many(hub, 5)
        seconds = time.monotonic() - began
        assert [answer.status for answer in answers] == [200] * 5
        # only the one that discovered it was refused, and the wait was the server's
        assert len(server.requests) == 6
        assert 0.9 <= seconds < 10
        assert 0.9 <= hub.spent.waited_seconds < 10
        local = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        behind = min(0, skew_hours) * 3600
        assert -3 <= (answers[0].answered_at - local).total_seconds() - behind <= 0
    assert [line.partition(" for ")[0] for line in logged] == ["token 1 of 1 is limited (core)"]


@pytest.mark.parametrize("skew_hours", [-1, 1])
async def test_waiting_for_a_distant_limit_ends_by_the_local_clock(skew_hours: int) -> None:
    async with GitHubServer() as server, asking(server, patience_seconds=60) as hub:
        server.skew_seconds = skew_hours * 3600
        server.open_account(TOKENS[0], "core", limit=5000, remaining=0, seconds=600)
        with pytest.raises(QuotaSpentError) as raised:
            await hub.get(PATH)
        assert server.requests == []
        until = raised.value.until
        assert until
        ahead = (until - dt.datetime.now(dt.UTC).replace(tzinfo=None)).total_seconds()
        assert 595 < ahead < 605
        assert f"the limit of core is spent until {until:%Y-%m-%d %H:%M:%S} UTC" in str(raised.value)


async def test_a_spent_resource_leaves_the_others_alone() -> None:
    async with GitHubServer(lambda request: Reply(200, {"data": {}})) as server, asking(server) as hub:
        server.open_account(TOKENS[0], "core", limit=5000, remaining=0)
        server.open_account(TOKENS[0], "graphql", limit=5000)
        with pytest.raises(QuotaSpentError):
            await hub.get(PATH)
        assert (await hub.graphql("{x}")).content == {"data": {}}


async def test_a_limit_is_used_again_after_its_reset() -> None:
    async with GitHubServer(lambda request: Reply(after_seconds=0.005)) as server, asking(server) as hub:
        account = server.open_account(TOKENS[0], "core", limit=5000, remaining=103, seconds=2)
        answers = await many(hub, 30)
        assert [answer.status for answer in answers] == [200] * 30
        assert account.lowest == 100
        assert account.remaining == 5000 - 27
        assert hub.spent.waited_seconds > 0.5


@pytest.mark.parametrize("lost", [Reply(resets=True), Reply(502)], ids=["reset", "502"])
async def test_answers_that_are_lost_may_have_been_charged(lost: Reply) -> None:
    def answer(request: Request) -> Reply:
        nonlocal remaining
        remaining -= 1
        lowest.append(remaining)
        if len(server.requests) % 3 == 0:
            return lost
        headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": reset}
        return Reply(headers=headers, after_seconds=0.005)

    remaining, lowest, reset = 150, [150], str(int(time.time()) + 900)
    async with GitHubServer(answer) as server, asking(server) as hub:
        server.open_account(TOKENS[0], "another", limit=5000)
        await many(hub, 100)
    assert min(lowest) == 100


async def test_an_outage_is_not_a_spent_limit() -> None:
    async with GitHubServer(lambda request: Reply(resets=True)) as server, asking(server, backoff_seconds=0.001) as hub:
        server.open_account(TOKENS[0], "core", limit=5000, remaining=150)
        for error in await many(hub, 30):
            assert "ReadError" in str(error)
        server.accounts[TOKENS[0], "core"].remaining = 150
        server.answer = lambda request: Reply()
        assert [answer.status for answer in await many(hub, 40)] == [200] * 40


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 15},
        {"Retry-After": "9" * 15},
        {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
    ],
)
async def test_an_endless_limit_is_not_waited_for(headers: dict[str, str]) -> None:
    async with GitHubServer(lambda request: Reply(403, headers=headers)) as server, asking(server) as hub:
        with pytest.raises(QuotaSpentError) as raised:
            await hub.get(PATH)
        assert raised.value.until
        assert raised.value.until.year == 9999
        assert len(server.requests) == 1


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "9" * 5000])
async def test_meaningless_headers_are_ignored(text: str) -> None:
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After", "Date", "Link", "ETag")
    headers = dict.fromkeys(names, text)
    async with GitHubServer(in_turn(Reply(429, headers=headers), Reply(headers=headers))) as server:
        assert (await get(server)).status == 200
        assert server.requests[1].at - server.requests[0].at >= 0.2


async def test_a_spent_graphql_limit_has_status_200() -> None:
    spent = Reply(200, {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]},
                 {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0"})  # fmt: skip

    def answer(request: Request) -> Reply:
        reset = {"X-RateLimit-Reset": str(int(time.time()) + 900)}
        return Reply(200, spent.content, {**spent.headers, **reset}) if request.token == TOKENS[0] else good

    good = Reply(200, {"data": {}})
    async with GitHubServer(answer) as server:
        async with asking(server, TOKENS[:2]) as hub:
            assert (await hub.graphql("{x}")).content == {"data": {}}
            assert (await hub.graphql("{x}")).content == {"data": {}}
        assert [request.token for request in server.requests] == [TOKENS[0], TOKENS[1], TOKENS[1]]
        async with asking(server) as hub:
            with pytest.raises(QuotaSpentError) as raised:
                await hub.graphql("{x}")
        assert raised.value.resource == "graphql"


# pauses


def retry_after_seconds(server: GitHubServer) -> str:
    return "1"


def retry_after_date(server: GitHubServer) -> str:
    return formatdate(server.now() + 2, usegmt=True)


@pytest.mark.parametrize(
    ("retry_after", "skew_hours", "status"),
    [(retry_after_seconds, -1, 403), (retry_after_date, -1, 429), (retry_after_date, 1, 403)],
)
async def test_retry_after_pauses_everything_that_the_token_does(
    retry_after: Callable[[GitHubServer], str], skew_hours: int, status: int
) -> None:
    def answer(request: Request) -> Reply:
        if len(server.requests) == 4:
            return Reply(status, SECONDARY, {"Retry-After": retry_after(server)})
        return Reply(200, {"data": {}}, after_seconds=0.1)

    async with GitHubServer(answer) as server, asking(server, concurrency=4) as hub:
        server.skew_seconds = skew_hours * 3600
        server.open_account(TOKENS[0], "core", limit=5000)
        answers = await many(hub, 8)
        assert [answer.status for answer in answers] == [200] * 8
        await hub.graphql("{x}")
        times = [request.at for request in server.requests]
        assert times[4] - times[3] >= 0.95
        assert times[-1] - times[3] < 10
        assert len(times) == 10


async def test_a_long_retry_after_is_not_waited_for() -> None:
    async with (
        GitHubServer(lambda request: Reply(429, headers={"Retry-After": "900"})) as server,
        asking(server) as hub,
    ):
        with pytest.raises(QuotaSpentError) as raised:
            await hub.get(PATH)
        with pytest.raises(QuotaSpentError):
            await hub.graphql("{x}")
        assert len(server.requests) == 1
    assert raised.value.until
    assert_fit_to_be_seen(raised.value)


async def test_another_token_is_used_while_one_is_limited() -> None:
    def answer(request: Request) -> Reply:
        return Reply(403, SECONDARY, {"Retry-After": "900"}) if request.token == TOKENS[0] else Reply()

    async with GitHubServer(answer) as server, asking(server, TOKENS[:2]) as hub:
        server.open_account(TOKENS[0], "core", limit=5000, remaining=4000)
        server.open_account(TOKENS[1], "core", limit=5000, remaining=3000)
        answers = await many(hub, 10)
        assert [answer.status for answer in answers] == [200] * 10
        assert hub.spent.waited_seconds == 0


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SECONDARY, id="message"),
        pytest.param({"message": "?", "documentation_url": SECONDARY["documentation_url"]}, id="url"),
        pytest.param({"message": "You have triggered an abuse detection mechanism."}, id="abuse"),
        pytest.param({"message": "Maximum number of login attempts exceeded. Please try again later."}, id="logins"),
    ],
)
async def test_a_secondary_limit_is_recognised_by_its_message(content: Any) -> None:
    async with GitHubServer(in_turn(Reply(403, content, {"X-RateLimit-Remaining": "3000"}), Reply())) as server:
        assert (await get(server)).status == 200
        assert server.requests[1].at - server.requests[0].at >= 0.2


async def test_the_text_of_a_repository_is_not_a_limit() -> None:
    content = {"message": "secondary rate limit"}
    async with GitHubServer(lambda request: Reply(200, content)) as server:
        assert (await get(server)).content == content
        assert len(server.requests) == 1


async def test_a_secondary_limit_of_graphql_has_status_200() -> None:
    limited = [Reply(200, {"errors": [{"message": SECONDARY["message"]}]}), Reply(200, SECONDARY)]
    async with GitHubServer(in_turn(*limited, Reply(200, {"data": {}}))) as server, asking(server) as hub:
        assert (await hub.graphql("{x}")).content == {"data": {}}
        assert server.requests[2].at - server.requests[0].at >= 0.6


async def test_a_secondary_limit_without_retry_after_doubles_its_pause() -> None:
    limited = Reply(403, SECONDARY, {"X-RateLimit-Remaining": "3000"})
    answers = in_turn(limited, limited, limited, Reply(), limited, Reply())
    logged: list[str] = []
    async with GitHubServer(answers) as server, asking(server, log=logged.append) as hub:
        await hub.get(PATH)
        await hub.get(PATH)
        times = [request.at for request in server.requests]
        pauses = [after - before for before, after in itertools.pairwise(times)]
    for pause, wanted in zip(pauses, (0.2, 0.4, 0.8, 0.0, 0.2), strict=True):
        assert pause >= wanted
    # after a good response it starts over, and does not continue with 1.6
    assert pauses[4] < 1.5
    assert len(logged) == 4


async def test_a_secondary_limit_counts_once_for_concurrent_requests() -> None:
    def answer(request: Request) -> Reply:
        return Reply(403, SECONDARY, after_seconds=0.05) if len(server.requests) <= 10 else Reply()

    logged: list[str] = []
    async with GitHubServer(answer) as server, asking(server, concurrency=10, log=logged.append) as hub:
        server.open_account(TOKENS[0], "core", limit=5000)
        answers = await many(hub, 20)
        assert [answer.status for answer in answers] == [200] * 20
    assert len(logged) == 1


async def test_a_secondary_limit_of_a_minute_or_more_ends_in_time() -> None:
    async with GitHubServer(lambda request: Reply(403, SECONDARY)) as server:
        async with asking(server, secondary_seconds=0.05, patience_seconds=0.15) as hub:
            with pytest.raises(QuotaSpentError) as raised:
                await hub.get(PATH)
        assert len(server.requests) == 3
        assert raised.value.resource == "core"


async def test_an_endless_limit_is_abandoned() -> None:
    reset = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}
    async with GitHubServer(lambda request: Reply(403, headers=reset)) as server, asking(server) as hub:
        hub._secondary = 0.001
        with pytest.raises(QuotaSpentError, match="limited 6 times") as raised:
            await hub.get(PATH)
        assert raised.value.until is None


async def test_the_limit_per_minute_allows_a_burst_and_then_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github, "MINUTE", 1.0)
    async with GitHubServer(lambda request: Reply(200, {"data": {}})) as server:
        server.open_account(TOKENS[0], "core", limit=5000)
        # the request for the limits is one of the 11
        async with asking(server, requests_a_minute=11, patience_seconds=0.1) as hub:
            await many(hub, 25)
            times = [request.at - server.requests[0].at for request in server.requests]
            await hub.graphql("{x}")
            assert server.requests[-1].at - server.requests[-2].at < 0.8
            assert 1.5 < hub.spent.waited_seconds < 10
    assert times[9] < 0.8
    assert all(last - first > 0.8 for first, last in zip(times, times[11:], strict=False))


async def test_the_number_of_requests_in_flight_is_limited() -> None:
    async with GitHubServer(lambda request: Reply(after_seconds=0.1)) as server:
        server.open_account(TOKENS[0], "core", limit=5000)
        async with asking(server, concurrency=7) as hub:
            await many(hub, 50)
        assert server.most_in_flight == 7


async def test_a_cancelled_request_frees_its_place() -> None:
    async with GitHubServer(lambda request: Reply(after_seconds=5 if request.path == "/slow" else 0)) as server:
        server.open_account(TOKENS[0], "core", limit=5000, remaining=103)
        async with asking(server, concurrency=2) as hub:
            slow = [asyncio.create_task(hub.get("/slow")) for _ in range(2)]
            await asyncio.sleep(0.1)
            waiting = asyncio.create_task(hub.get(PATH))
            for task in slow:
                task.cancel()
            assert (await waiting).status == 200
            with pytest.raises(QuotaSpentError):
                await hub.get(PATH)


# redirects


async def test_a_redirect_is_followed_and_reported() -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/api/v3/repos/a/b":
            return Reply(301, headers={"Location": f"{server.base}/api/v3/repositories/7?page=2"})
        return Reply(307, headers={"Location": "8"}) if request.path.endswith("7") else Reply(200, {"id": 7})

    async with GitHubServer(answer) as server:
        async with GitHub(f"{server.base}/api/v3/", TOKENS[:1]) as hub:
            answer_given = await hub.get(PATH, etag='"one"')
        assert [request.target for request in server.requests] == [
            "/api/v3/repos/a/b",
            "/api/v3/repositories/7?page=2",
            "/api/v3/repositories/8",
        ]
        assert {request.token for request in server.requests} == {TOKENS[0]}
        assert hub.spent.requests["core"] == 3
    assert (answer_given.content, answer_given.url, answer_given.is_moved) == ({"id": 7}, "/repositories/8", True)


async def test_graphql_is_below_the_path_of_the_base() -> None:
    async with GitHubServer(lambda request: Reply(200, {"data": {}})) as server:
        async with GitHub(f"{server.base}/api/v3", TOKENS[:1]) as hub:
            await hub.graphql("{x}")
        assert server.requests[0].path == "/api/v3/graphql"


async def test_redirects_without_end_are_an_error() -> None:
    async with GitHubServer(lambda request: Reply(302, headers={"Location": request.path})) as server:
        assert "more than 3 redirects" in await error_of(server)
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{elsewhere}/api/v3/repos/a/b",
        "//127.0.0.1:{elsewhere}/api/v3/repos/a/b",
        "http://localhost:{port}/api/v3/repos/a/b",
        "https://127.0.0.1:{port}/api/v3/repos/a/b",
        "http://alice@127.0.0.1:{port}/api/v3/repos/a/b",
        "http://127.0.0.1:{port}/admin",
        "/api/v3/../../admin",
        "/api/v33/repos",
        "http://[",
    ],
)
async def test_a_redirect_to_another_host_is_an_error_and_sends_no_token(location: str) -> None:
    async with GitHubServer() as elsewhere, GitHubServer() as server:
        where = location.format(elsewhere=elsewhere.port, port=server.port)
        server.answer = in_turn(Reply(302, headers={"Location": where}), Reply())
        with pytest.raises(UpstreamError, match="redirected elsewhere") as raised:
            async with GitHub(f"{server.base}/api/v3", TOKENS[:1]) as hub:
                await hub.get(PATH)
        assert_fit_to_be_seen(raised.value)
        assert len(server.requests) == 1
        assert elsewhere.requests == []


# limit headers


async def test_rate_limits_show_what_each_token_has_left_at_no_cost() -> None:
    async with GitHubServer() as server:
        accounts = [server.open_account(token, "core", limit=5000, remaining=left) for token, left in
                    zip(TOKENS, (4000, 0), strict=False)]  # fmt: skip
        async with asking(server, TOKENS[:2]) as hub:
            found = await hub.rate_limits()
    assert [(limits.name, limits.is_refused) for limits in found] == [("token 1 of 2", False), ("token 2 of 2", False)]
    assert [limits.limits["core"].remaining for limits in found] == [4000, 0]
    resets_at = found[0].limits["core"].resets_at
    assert resets_at.tzinfo is None
    assert resets_at.replace(tzinfo=dt.UTC).timestamp() == accounts[0].reset
    assert server.requests == []


async def test_a_server_without_limits_is_queried_without_counting() -> None:
    async with GitHubServer(lambda request: Reply(after_seconds=0.3)) as server, asking(server, ()) as hub:
        (found,) = await hub.rate_limits()
        assert (found.name, found.limits) == ("no token", {})
        await many(hub, 40)
        assert server.most_in_flight == 20


# tokens are secrets


async def test_no_token_is_in_a_repr_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    logged: list[str] = []
    limited = Reply(403, SECONDARY)
    answers = in_turn(
        Reply(401), limited, Reply(502), Reply(resets=True), Reply(301, headers={"Location": "/x"}), Reply()
    )
    with caplog.at_level(logging.DEBUG):
        async with GitHubServer(answers) as server, asking(server, TOKENS, log=logged.append) as hub:
            await hub.get(PATH)
            found = await hub.rate_limits()
            seen = [hub, found, hub.spent, *hub._tokens, *hub._idle, vars(hub)]
    assert len(logged) >= 4
    assert caplog.records
    assert_no_token("\n".join(logged) + caplog.text + "".join(map(repr, seen)))


async def test_the_password_file_of_the_user_replaces_no_token(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login alice password other\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with GitHubServer() as server:
        await get(server)
        await get(server, tokens=())
        assert [request.token for request in server.requests] == [TOKENS[0], ""]


@pytest.mark.parametrize("token", ["ghp_hunter2\nX-Evil: 1", "ghp_hunter2 x", "ghp_hunter2é"])
async def test_an_invalid_token_is_an_error_that_does_not_show_it(token: str) -> None:
    with pytest.raises(UpstreamError) as raised:
        GitHub("http://127.0.0.1", (TOKENS[1], token))
    assert str(raised.value) == "token 2 of 2 contains characters that a token cannot have"
    assert_fit_to_be_seen(raised.value)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("ftp://alice:ghp_hunter2@host/a", "ftp://host/a: unknown scheme 'ftp'; use http or https"),
        ("api.github.com", "api.github.com: unknown scheme ''; use http or https"),
        ("http://", "http://: no host"),
        ("http://[ghp_hunter2@host", "http://host: not a valid address"),
        ("https://host:99999", "https://host:99999: not a valid address"),
        ("https://alice:ghp_hunter2@host", "https://host: the address must not contain a user"),
        ("https://host/a?token=ghp_hunter2", "https://host/a: the address must not contain a user"),
    ],
)
async def test_an_invalid_base_is_an_error_without_its_secrets(base: str, message: str) -> None:
    with pytest.raises(UpstreamError) as raised:
        GitHub(base, TOKENS)
    assert str(raised.value).startswith(message)
    assert_no_token("".join(traceback.format_exception(raised.value)))


async def test_a_path_that_leads_elsewhere_is_not_requested() -> None:
    async with GitHubServer() as server, asking(server) as hub:
        with pytest.raises(ValueError, match="slash"):
            await hub.get("@elsewhere/")
        assert server.requests == []
