"""Client for GitHub's REST and GraphQL API that respects GitHub's rate limits.

This module handles tokens, rate limits and the reserve that is never spent, pauses, retries, redirects, time-outs and
refusals. It does not interpret the responses, choose the requests or store ETags.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import random
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import orjson

from reposignal_pipeline.sources.transport import UpstreamError, shown

CONNECT_SECONDS, READ_SECONDS, ANSWER_SECONDS = 10.0, 30.0, 60.0
BODY_BYTES = 64 * 2**20
ATTEMPTS = 5
GATEWAY_ATTEMPTS = 3
"""for a GraphQL query: 502-504 mostly mean that the query is too large, and GitHub charges each attempt"""
COST_MOST = 100
"""highest cost in points that is believed: a batch of 100 repositories costs 1, and an absurd cost would end the day"""
REDIRECTS = 3
MINUTE = 60.0

API_VERSION = b"2026-03-10"
"""the version that documents star histories; a later one may change what the answers mean"""

ANSWERS = frozenset({200, 202, 304, 403, 404, 409, 410, 422, 451})
REFUSALS = {404: "not_found", 410: "not_found", 451: "dmca"}
REFUSED_STATES = frozenset({*REFUSALS.values(), "blocked", "forbidden"})
"""states of a repository that GitHub refuses to return"""
TOO_LARGE = frozenset({"RESOURCE_LIMITS_EXCEEDED", "MAX_NODE_LIMIT_EXCEEDED"})
# Time-outs are errors without a type. Messages of errors with a type may quote names, so they are not searched.
TIMED_OUT = re.compile(r"time-?out|timed ?out|respond to your request in time", re.IGNORECASE)
# Older Enterprise servers say "abuse"; "login attempts" appears after many responses of 401.
SECONDARY = re.compile(r"secondary.rate.limit|abuse.(?:detection|rate.limit)|login attempts", re.IGNORECASE)

_TOO_LONG = f"a body of more than {BODY_BYTES // 2**20} MB"
_GATEWAY = frozenset({"answered 502", "answered 503", "answered 504"})
_NOT_JSON = object()
_LAST = dt.datetime(9999, 12, 31, tzinfo=dt.UTC).timestamp()
_AS_IT_IS = httpx.Auth()


class QuotaSpentError(UpstreamError):
    """Every token is down to its reserve, or limited, for longer than the patience of the caller."""

    def __init__(self, message: str, until: dt.datetime | None, resource: str) -> None:
        super().__init__(message)
        self.until = until
        """naive UTC by the local clock; None if unknown"""
        self.resource = resource


class TokensRefusedError(UpstreamError):
    """Every token was refused, or a request needs a token and there is none."""


class ResourceLimitError(UpstreamError):
    """A GraphQL query is too large for GitHub: request less at once."""


@dataclass(frozen=True)
class Answer:
    """GitHub's final response to one request."""

    status: int
    content: Any
    """parsed JSON; None for 304 and for a body that is not JSON"""
    url: str
    """path and query of the final response, without the base"""
    is_moved: bool
    """a redirect was followed"""
    etag: str | None
    links: Mapping[str, str]
    """rel -> url, from the Link header"""
    answered_at: dt.datetime
    """naive UTC: the earlier of the local clock and the server's"""

    @property
    def refusal(self) -> str | None:
        """Return 'blocked', 'forbidden', 'not_found' or 'dmca'; None if the response is not a refusal."""
        if self.status == 403:
            return "blocked" if _mapping(self.content).get("block") else "forbidden"
        return REFUSALS.get(self.status)


@dataclass(frozen=True)
class Limit:
    limit: int
    remaining: int
    resets_at: dt.datetime
    """naive UTC by the server's clock"""


@dataclass(frozen=True)
class TokenLimits:
    name: str
    """'token 1 of 3', or 'no token'"""
    is_refused: bool
    limits: Mapping[str, Limit]
    """by resource; empty if the server has no limits"""


@dataclass
class Spent:
    """The cost of all requests so far."""

    requests: Counter[str] = field(default_factory=Counter)
    """by resource; each attempt and each redirect counts as one"""
    not_modified: int = 0
    retries: int = 0
    waited_seconds: float = 0.0
    """waits for limits and for the pace, not for retries"""
    tokens_refused: int = 0


@dataclass
class _Reply:
    """One response before it is interpreted."""

    status: int
    headers: httpx.Headers
    content: Any
    links: Mapping[str, str]
    server_at: float
    """epoch seconds by the server's clock"""
    answered_at: dt.datetime


class _Quota:
    """The remaining quota of one token for one resource.

    GitHub's data centres may count separately, and responses may arrive out of order, so the lowest of all open windows
    counts. While no window is known, such as after all have closed, one request at a time is sent to find out.
    """

    def __init__(self, reserve: int) -> None:
        self.limit: int | None = None
        self.is_metered = True
        self.paused_until = 0.0
        self.in_flight = 0
        self.price = 1
        self._reserve = reserve
        self._lost, self._lost_at = 0, -math.inf
        """points of requests whose responses had no quota headers; GitHub also charges requests that time out"""
        self._windows: list[tuple[int, int]] = []
        """(reset, remaining) of each open window, by the server's clock"""

    def observe(self, limit: int, remaining: int, reset: int, sent_at: float) -> None:
        self.limit, self.is_metered = limit, True
        if sent_at > self._lost_at:
            self._lost = 0
        if not any(at >= reset and left <= remaining for at, left in self._windows):
            kept = [(at, left) for at, left in self._windows if at > reset or left < remaining]
            self._windows = [*kept, (reset, remaining)]

    def lose(self) -> None:
        """Count a request as spent until a later request reports the quota."""
        self._lost += self.price
        self._lost_at = time.monotonic()

    def left(self, server_now: float) -> float:
        """Return the points left, with requests in flight counted as spent; inf if unmetered or unknown."""
        if not self.is_metered:
            return math.inf
        self._windows = [window for window in self._windows if window[0] > server_now]
        if not self._windows:
            return math.inf if not self.in_flight else 0
        return min(left for _, left in self._windows) - self._floor - self._lost - self.in_flight * self.price

    def wait(self, server_now: float) -> float:
        """Return the seconds until a request is allowed; inf if that depends on requests in flight."""
        if self.left(server_now) >= self.price:
            return 0.0
        if self.in_flight:
            return math.inf
        # if only lost requests block the quota, send one: its response reports the quota
        return max((at - server_now for at, left in self._windows if left - self._floor < self.price), default=0.0)

    @property
    def _floor(self) -> int:
        return min(self._reserve, (self.limit or 0) // 10)


class _Token:
    """A token and its quotas; only `name` may appear in logs."""

    def __init__(self, name: str, secret: str | None, agent: str, reserve: int) -> None:
        self.name = name
        self.is_secret = secret is not None
        self.is_refused = False
        self.is_known = False
        self.paused_until = 0.0
        self.struck_at = -math.inf
        self.strikes = 0
        self.quotas: dict[str, _Quota] = {}
        self.sent: dict[bool, deque[float]] = {False: deque(), True: deque()}
        """times of the requests in the last minute, GraphQL (True) separate from REST (False)"""
        self._reserve = reserve
        self.headers = [
            (b"Accept", b"application/vnd.github+json"),
            (b"Accept-Encoding", b"gzip"),
            (b"User-Agent", agent.encode()),
            (b"X-GitHub-Api-Version", API_VERSION),
        ]
        if secret is not None:
            self.headers.append((b"Authorization", f"Bearer {secret}".encode()))

    def quota(self, resource: str) -> _Quota:
        found = self.quotas.get(resource)
        if found is None:
            # the search quota of 30 a minute needs no reserve: it is restored within a minute
            found = self.quotas[resource] = _Quota(0 if resource == "search" else self._reserve)
            found.is_metered = resource != "rate_limit"
        return found

    def limited(self, resource: str, now: float, server_now: float) -> float:
        """Return the seconds until GitHub's limits allow a request; inf if that depends on requests in flight."""
        quota = self.quota(resource)
        return max(self.paused_until - now, quota.paused_until - now, quota.wait(server_now), 0.0)

    def paced(self, resource: str, now: float, requests_a_minute: int) -> float:
        """Return the seconds until the requests per minute allow another request."""
        sent = self.sent[resource == "graphql"]
        while sent and sent[0] <= now - MINUTE:
            sent.popleft()
        return 0.0 if len(sent) < requests_a_minute else sent[0] + MINUTE - now


class GitHub:
    """A client for GitHub's REST and GraphQL API with any number of tokens; use it as an asynchronous context manager.

    Args:
        base: `http://` or `https://`, with a path for an Enterprise server; GraphQL is at `/graphql` below it.
        tokens: access tokens; without any, requests are anonymous.
        requests_a_minute: limit per token, counted separately for GraphQL and REST; short bursts are allowed.
        concurrency: maximum number of requests in flight.
        reserve: points of each token's limit that are never spent, at most a tenth of the limit.
        patience_seconds: longest wait for a limit; a longer wait raises `QuotaSpentError`.
        log: receives a line for each limit reached, each refused token, and the first failure of each kind.
        backoff_seconds: upper bound of the first wait after a temporary failure; it doubles.
        secondary_seconds: first pause after a secondary limit without a given duration; it doubles.

    Raises:
        UpstreamError: the base or a token is malformed.
    """

    def __init__(
        self,
        base: str,
        tokens: Sequence[str] = (),
        *,
        requests_a_minute: int = 900,
        concurrency: int = 20,
        reserve: int = 100,
        patience_seconds: float = 120.0,
        log: Callable[[str], None] | None = None,
        backoff_seconds: float = 0.5,
        secondary_seconds: float = 60.0,
    ) -> None:
        self._base = _checked(base)
        self._origin = httpx.URL(self._base)
        secrets: list[str | None] = list(dict.fromkeys(token.strip() for token in tokens if token.strip()))
        names = [f"token {number} of {len(secrets)}" for number in range(1, len(secrets) + 1)]
        for name, secret in zip(names, secrets, strict=True):
            if not re.fullmatch(r"[!-~]+", secret or ""):
                raise UpstreamError(f"{name} contains characters that a token cannot have")
        agent = f"reposignal/{version('reposignal')}"
        self._tokens = [
            _Token(name, secret, agent, reserve)
            for name, secret in zip(names or ["no token"], secrets or [None], strict=True)
        ]
        self._requests_a_minute = requests_a_minute
        self._concurrency = concurrency
        self._patience = patience_seconds
        self._log = log or (lambda line: None)
        self._backoff = backoff_seconds
        self._secondary = secondary_seconds
        self.spent = Spent()
        self._logged_kinds: set[str] = set()
        self._idle: list[httpx.AsyncClient] = []
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._learning = asyncio.Lock()
        self._settled = asyncio.Event()
        self._in_flight = 0
        self._date = ""
        self._server_said = time.time()
        self._server_offset = self._server_said - time.monotonic()

    @property
    def has_tokens(self) -> bool:
        """Return whether any token was given."""
        return any(token.is_secret for token in self._tokens)

    def __repr__(self) -> str:
        return f"GitHub({shown(self._base)!r}, tokens={sum(token.is_secret for token in self._tokens)})"

    async def __aenter__(self) -> GitHub:
        # One client with one connection per request in flight: a pool of 20 checks all its connections on every
        # request, which took half of the CPU time (1.2 ms a request, compared with 0.6).
        context = httpx.create_ssl_context()
        self._idle = [
            httpx.AsyncClient(
                verify=context,
                timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
                limits=httpx.Limits(max_connections=1),
            )
            for _ in range(self._concurrency)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._idle:
            await client.aclose()

    async def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        etag: str | None = None,
        resource: str = "core",
    ) -> Answer:
        """Return GitHub's response for a path; a refusal is a response too.

        Args:
            path: path below the base; it begins with a slash.
            params: query parameters.
            etag: ETag of an earlier response; if nothing has changed since, the response is 304 and free.
            resource: the limit that the request counts against.

        Raises:
            QuotaSpentError: no token may send a request within the patience.
            TokensRefusedError: no token is left.
            UpstreamError: no valid response after the retries.
        """
        target = f"{path}?{urlencode(params)}" if params else path
        conditions = [(b"If-None-Match", etag.encode("latin-1", "replace"))] if etag else []
        reply, url = await self._ask("GET", target, resource, self._tokens, headers=conditions)
        if reply.status == 304:
            self.spent.not_modified += 1
        return self._answer(reply, url, is_moved=url != target)

    async def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> Answer:
        """Return the response to a query; its content has `data`, and `errors` if there are any.

        Raises:
            ResourceLimitError: the query is too large and returned no data; partial data counts as a response.
            QuotaSpentError, TokensRefusedError, UpstreamError: as in `get`.
        """
        body = orjson.dumps({"query": query, "variables": dict(variables or {})})
        kind = [(b"Content-Type", b"application/json")]
        reply, url = await self._ask("POST", "/graphql", "graphql", self._tokens, headers=kind, body=body)
        if reply.status != 200:
            raise UpstreamError(f"{self._shown('/graphql')}: answered {reply.status}")
        if not isinstance(reply.content, dict) or reply.content.get("data") is None:
            for error in _errors(reply):
                said = str(error.get("type") or "")
                if said in TOO_LARGE or (not said and TIMED_OUT.search(str(error.get("message")))):
                    raise ResourceLimitError(f"{self._shown('/graphql')}: {said or 'the query timed out'}")
        return self._answer(reply, url, is_moved=False)

    @staticmethod
    def _answer(reply: _Reply, url: str, *, is_moved: bool) -> Answer:
        return Answer(
            status=reply.status,
            content=None if reply.content is _NOT_JSON else reply.content,
            url=url,
            is_moved=is_moved,
            etag=reply.headers.get("etag"),
            links=reply.links,
            answered_at=reply.answered_at,
        )

    async def rate_limits(self) -> list[TokenLimits]:
        """Return the remaining limits of each token; this request is free.

        Raises:
            QuotaSpentError, UpstreamError: as in `get`.
        """
        return [await self._limits_of(token) for token in self._tokens]

    async def _limits_of(self, token: _Token) -> TokenLimits:
        sent_at = time.monotonic()
        try:
            reply, _ = await self._ask("GET", "/rate_limit", "rate_limit", [token])
        except TokensRefusedError:
            return TokenLimits(token.name, is_refused=True, limits={})
        limits = {}
        for resource, values in _mapping(_mapping(reply.content).get("resources")).items():
            limit, remaining, reset = (_mapping(values).get(name) for name in ("limit", "remaining", "reset"))
            if isinstance(limit, int) and isinstance(remaining, int) and isinstance(reset, int):
                token.quota(resource).observe(limit, remaining, reset, sent_at)
                limits[resource] = Limit(limit, remaining, _naive(reset))
        return TokenLimits(token.name, is_refused=False, limits=limits)

    async def _learn(self, token: _Token) -> None:
        """Read the limits of a token before its first request, if the server reports them."""
        async with self._learning:
            if not token.is_known:
                with suppress(UpstreamError):
                    await self._limits_of(token)
                token.is_known = True

    async def _ask(
        self,
        method: str,
        target: str,
        resource: str,
        tokens: list[_Token],
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes | None = None,
    ) -> tuple[_Reply, str]:
        """Return the final response, and the path and query that gave it."""
        if not target.startswith("/"):
            raise ValueError(f"{target!r} does not begin with a slash")
        failures: list[str] = []
        limited = moves = 0
        while True:
            token = await self._turn(resource, tokens)
            sent_at = time.monotonic()
            reply: _Reply | str = ""
            try:
                reply = await self._exchange(method, target, token, headers, body)
            finally:
                self._settle(token, resource, reply, sent_at)
            if isinstance(reply, str):
                failures.append(reply)
            elif reply.status == 401:
                self._refuse(token, target)
                continue
            elif reply.status in (301, 302, 307, 308):
                moves += 1
                target = self._moved(target, reply, moves)
                continue
            elif _is_limit(reply, resource):
                limited += 1
                self._pause(token, resource, reply, sent_at)
                if limited >= ATTEMPTS + len(tokens):
                    raise QuotaSpentError(f"{self._shown(target)}: limited {limited} times", None, resource)
                self.spent.retries += 1
                continue
            else:
                token.strikes = 0 if sent_at > token.struck_at else token.strikes
                failure = _failure(reply, resource)
                if failure is None:
                    return reply, target
                failures.append(failure)
            if len(failures) == ATTEMPTS and isinstance(reply, _Reply) and reply.status == 202:
                return reply, target
            self._give_up(target, resource, failures, reply)
            self._log_once(failures[-1], f"{self._shown(target)}: {failures[-1]}; retrying, logged once")
            self.spent.retries += 1
            jitter = random.uniform(0, self._backoff * 2 ** (len(failures) - 1))
            await asyncio.sleep(max(jitter, self._asked_to_wait(reply)))

    def _give_up(self, target: str, resource: str, failures: list[str], reply: _Reply | str) -> None:
        """Raise unless a retry may help."""
        where, last = self._shown(target), failures[-1]
        if isinstance(reply, _Reply) and reply.status not in ANSWERS and reply.status < 500:
            raise UpstreamError(f"{where}: {last}")
        if last == _TOO_LONG:
            raise UpstreamError(f"{where}: {last}")
        gateway = [failure for failure in failures if failure in _GATEWAY]
        if resource == "graphql" and len(gateway) == GATEWAY_ATTEMPTS:
            raise ResourceLimitError(f"{where}: {last} {GATEWAY_ATTEMPTS} times")
        if len(failures) == ATTEMPTS:
            raise UpstreamError(f"{where}: {last} after {ATTEMPTS} attempts")
        if (wait := self._asked_to_wait(reply)) > self._patience:
            raise UpstreamError(f"{where}: {last}, retry after {wait:.0f} s")

    @staticmethod
    def _asked_to_wait(reply: _Reply | str) -> float:
        return (_retry_after(reply) or 0.0) if isinstance(reply, _Reply) else 0.0

    async def _turn(self, resource: str, tokens: list[_Token]) -> _Token:
        """Return the token for the next request, counted as in flight; callers are served in order."""
        async with self._turns[resource]:
            for token in tokens:
                if not token.is_known and resource != "rate_limit":
                    await self._learn(token)
            while True:
                now = time.monotonic()
                usable = [token for token in tokens if not token.is_refused and token.quota(resource).limit != 0]
                if not usable:
                    raise TokensRefusedError(self._without_tokens(tokens))
                free, wait, is_full = self._choice(resource, usable, now)
                if free:
                    break
                self._settled.clear()
                try:
                    async with asyncio.timeout(wait if wait < math.inf else None):
                        await self._settled.wait()
                except TimeoutError:
                    pass
                if not is_full and wait < math.inf:
                    self.spent.waited_seconds += time.monotonic() - now
            free.quota(resource).in_flight += 1
            free.sent[resource == "graphql"].append(now)
            self._in_flight += 1
            self.spent.requests[resource] += 1
            return free

    def _choice(self, resource: str, tokens: list[_Token], now: float) -> tuple[_Token | None, float, bool]:
        """Return (token with the most left or None, seconds to wait, whether the concurrency is used up).

        The wait is inf if it lasts until a response arrives.
        """
        if self._in_flight >= self._concurrency:
            return None, math.inf, True
        server_now = now + self._server_offset
        limited = {token: token.limited(resource, now, server_now) for token in tokens}
        if all(self._patience < wait < math.inf for wait in limited.values()):
            wait = min(limited.values())
            until = _naive(time.time() + wait)
            raise QuotaSpentError(
                f"{shown(self._base)}: the limit of {resource} is spent until {until:%Y-%m-%d %H:%M:%S} UTC",
                until,
                resource,
            )
        waits = {token: max(limited[token], token.paced(resource, now, self._requests_a_minute)) for token in tokens}
        free = [token for token, wait in waits.items() if wait <= 0]
        if free:
            return max(free, key=lambda token: token.quota(resource).left(server_now)), 0.0, False
        return None, min(waits.values()), False

    def _settle(self, token: _Token, resource: str, reply: _Reply | str, sent_at: float) -> None:
        """Take a request out of flight and update the quota from its response."""
        quota = token.quota(resource)
        quota.in_flight -= 1
        self._in_flight -= 1
        self._settled.set()
        if isinstance(reply, str):
            quota.lose()
            return
        limit, remaining, reset = (_number(reply, f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset"))
        if limit is not None and remaining is not None and reset is not None:
            named = token.quota(reply.headers.get("x-ratelimit-resource", resource))
            named.observe(limit, remaining, reset, sent_at)
            quota.is_metered &= quota.limit is not None
        elif reply.status >= 500:
            quota.lose()
        elif quota.limit is None:
            quota.is_metered = False
        if resource == "graphql":
            cost = _mapping(_mapping(_mapping(reply.content).get("data")).get("rateLimit")).get("cost")
            if isinstance(cost, int) and cost <= COST_MOST:
                quota.price = max(quota.price, cost)

    def _refuse(self, token: _Token, target: str) -> None:
        if not token.is_secret:
            raise TokensRefusedError(f"{self._shown(target)}: a token is needed")
        if not token.is_refused:
            token.is_refused = True
            self.spent.tokens_refused += 1
            self._log(f"{token.name} was refused")

    def _without_tokens(self, tokens: list[_Token]) -> str:
        if not all(token.is_refused for token in tokens):
            return f"{shown(self._base)}: a token is needed"
        return f"{shown(self._base)}: {'the token was' if len(self._tokens) == 1 else 'every token was'} refused"

    def _pause(self, token: _Token, resource: str, reply: _Reply, sent_at: float) -> None:
        """Pause the token, or one of its quotas, for as long as the response requests."""
        now = time.monotonic()
        is_spent = _number(reply, "x-ratelimit-remaining") == 0
        reset = _number(reply, "x-ratelimit-reset") or 0
        wait = _retry_after(reply)
        if is_spent and reset > reply.server_at:
            wait = max(wait or 0.0, reset - reply.server_at)
        elif wait is None:
            # requests that were in flight together meet the same limit: count it once
            if sent_at <= token.struck_at:
                return
            wait = self._secondary * 2**token.strikes
            token.strikes += 1
            token.struck_at = now
        paused: _Quota | _Token = token.quota(resource) if is_spent else token
        if now >= paused.paused_until:
            what = resource if is_spent else "all"
            self._log(f"{token.name} is limited ({what}) for {wait:.0f} s")
        paused.paused_until = max(paused.paused_until, now + wait)

    def _moved(self, target: str, reply: _Reply, moves: int) -> str:
        """Return the path and query of a redirect's target.

        Raises:
            UpstreamError: too many redirects, or the target is not below the base.
        """
        where = self._shown(target)
        if moves > REDIRECTS:
            raise UpstreamError(f"{where}: more than {REDIRECTS} redirects")
        try:
            goal = httpx.URL(self._base + target).join(reply.headers.get("location", ""))
        except httpx.InvalidURL:
            goal = httpx.URL()
        prefix = self._origin.raw_path.rstrip(b"/")
        is_near = (goal.scheme, goal.host, goal.port) == (self._origin.scheme, self._origin.host, self._origin.port)
        if not is_near or goal.userinfo or not goal.raw_path.startswith(prefix + b"/"):
            raise UpstreamError(f"{where}: redirected elsewhere")
        return goal.raw_path[len(prefix) :].decode("ascii")

    async def _exchange(
        self, method: str, target: str, token: _Token, headers: Sequence[tuple[bytes, bytes]], body: bytes | None
    ) -> _Reply | str:
        """Return the response to one request, or a failure as text; httpx's errors hold tokens, so they end here."""
        client = self._idle.pop()
        try:
            request = httpx.Request(method, self._base + target, headers=[*token.headers, *headers], content=body)
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await client.send(request, auth=_AS_IT_IS, stream=True, follow_redirects=False)
                try:
                    chunks, size = [], int(response.headers.get("content-length", 0))
                    if size <= BODY_BYTES:
                        size = 0
                        async for chunk in response.aiter_bytes():
                            size += len(chunk)
                            if size > BODY_BYTES:
                                break
                            chunks.append(chunk)
                finally:
                    await response.aclose()
        except TimeoutError:
            return f"no whole answer within {ANSWER_SECONDS:.0f} s"
        except (httpx.RequestError, httpx.InvalidURL) as error:
            return type(error).__name__
        finally:
            self._idle.append(client)
        if size > BODY_BYTES:
            return _TOO_LONG
        return self._reply(response, b"".join(chunks))

    def _reply(self, response: httpx.Response, body: bytes) -> _Reply:
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            content = _NOT_JSON
        now, date = time.time(), response.headers.get("date", "")
        if date != self._date:
            self._date = date
            self._server_said = _epoch(date) or now
            self._server_offset = self._server_said - time.monotonic()
        server_at = time.monotonic() + self._server_offset
        links = {
            rel: link["url"] for rel, link in (response.links.items() if "link" in response.headers else ()) if rel
        }
        answered_at = _naive(min(now, self._server_said))
        return _Reply(response.status_code, response.headers, content, links, server_at, answered_at)

    def _log_once(self, kind: str, line: str) -> None:
        if kind not in self._logged_kinds:
            self._logged_kinds.add(kind)
            self._log(line)

    def _shown(self, target: str) -> str:
        return shown(self._base) + target[:200]


def _checked(base: str) -> str:
    """Return the base address without a trailing slash.

    Raises:
        UpstreamError: it is not a valid address, or has a user, password, query or fragment.
    """
    try:
        parts = urlsplit(base)
        port_is_one = parts.port is None or parts.port > 0
        httpx.URL(base)
    except (ValueError, httpx.InvalidURL):
        raise UpstreamError(f"{shown(base)}: not a valid address") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise UpstreamError(f"{shown(base)}: unknown scheme {parts.scheme!r}; use http or https")
    if not parts.hostname or not port_is_one:
        raise UpstreamError(f"{shown(base)}: no host")
    if "@" in parts.netloc or "?" in base or "#" in base:
        raise UpstreamError(f"{shown(base)}: the address must not contain a user, password, query or fragment")
    return base.rstrip("/")


def _is_limit(reply: _Reply, resource: str) -> bool:
    if reply.status == 429:
        return True
    if reply.status == 200 and resource == "graphql":
        return _says_secondary(reply) or any(
            error.get("type") == "RATE_LIMITED"
            or (not error.get("type") and SECONDARY.search(str(error.get("message"))))
            for error in _errors(reply)
        )
    if reply.status != 403 or _mapping(reply.content).get("block"):
        return False
    return "retry-after" in reply.headers or _number(reply, "x-ratelimit-remaining") == 0 or _says_secondary(reply)


def _says_secondary(reply: _Reply) -> bool:
    said = _mapping(reply.content)
    return any(SECONDARY.search(str(said.get(name))) for name in ("message", "documentation_url"))


def _errors(reply: _Reply) -> list[dict[str, Any]]:
    errors = _mapping(reply.content).get("errors")
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _failure(reply: _Reply, resource: str) -> str | None:
    """Return why the response is not final; None if it is."""
    if reply.status == 202 or reply.status not in ANSWERS:
        return f"answered {reply.status}"
    if reply.status == 200 and reply.content is _NOT_JSON:
        return "a body that is not JSON"
    if reply.status == 200 and resource == "graphql" and not _mapping(reply.content).keys() & {"data", "errors"}:
        return "neither data nor errors"
    return None


def _retry_after(reply: _Reply) -> float | None:
    """Return the seconds given by `retry-after`; None without that header."""
    seconds, at = _number(reply, "retry-after"), _epoch(reply.headers.get("retry-after", ""))
    if seconds is not None:
        return float(seconds)
    return None if at is None else max(0.0, at - reply.server_at)


def _number(reply: _Reply, name: str) -> int | None:
    text = reply.headers.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 20 else None


def _epoch(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _naive(epoch: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(min(max(epoch, 0), _LAST), dt.UTC).replace(tzinfo=None)
