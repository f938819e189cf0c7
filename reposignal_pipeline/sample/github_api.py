"""An embedded GitHub API on the loopback interface that serves a world as GitHub would.

This module implements HTTP, the REST endpoints, rate limits, the server clock and the injection of faults. The data is
in `github_world`, the GraphQL schema in `github_graphql`, and the faults in `github_faults`.

`python -m reposignal_pipeline.sample.github_api --help` serves it to other processes.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from itertools import count
from socketserver import StreamRequestHandler
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from reposignal_pipeline.sample import github_graphql
from reposignal_pipeline.sample.github_faults import DOCUMENTATION, KINDS, SECONDARY, Answer, Fault, Scope
from reposignal_pipeline.sample.github_world import (
    PUBLIC,
    Repository,
    World,
    generated_world,
    sample_world,
)

SAMPLE_TOKENS: Mapping[str, int] = {"sample-token": 5000}
WITHOUT_TOKEN = 60
SEARCHES_A_MINUTE, SEARCHES_WITHOUT_TOKEN = 30, 10
WEEKS_A_PAGE, HISTORY_PAGES = 30, 100
FOUND_A_PAGE, FOUND_AT_MOST = 100, 1000
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1)

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REPOSITORY = re.compile(r"/(?:repos/(?P<name>[^/]+/[^/]+)|repositories/(?P<id>\d+))(?P<rest>/.*)?")
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class _AnsweredError(Exception):
    """Ends a request with this response."""

    def __init__(self, status: int, message: str, **payload: Any) -> None:
        body = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status), **payload}
        self.answer = Answer(status, body)


@dataclass
class _Window:
    """One rate limit of one caller in its current window."""

    limit: int
    length: timedelta
    used: int = 0
    resets_at: datetime = EPOCH

    def renew(self, now: datetime) -> None:
        if not self.resets_at - self.length <= now < self.resets_at:
            self.used, self.resets_at = 0, now.replace(microsecond=0) + self.length

    def headers(self, resource: str) -> dict[str, str]:
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.limit - self.used),
            "x-ratelimit-used": str(self.used),
            "x-ratelimit-reset": str(epoch(self.resets_at)),
            "x-ratelimit-resource": resource,
        }

    def shown(self) -> dict[str, int]:
        return {
            "limit": self.limit,
            "remaining": self.limit - self.used,
            "reset": epoch(self.resets_at),
            "used": self.used,
        }


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    now: datetime

    @cached_property
    def parameters(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.query, keep_blank_values=True).items()}

    def number(self, name: str, default: int, most: int) -> int:
        """Return a parameter as a number, clamped to 1..`most` as GitHub does."""
        given = self.parameters.get(name, "")
        return min(max(int(given), 1), most) if given.isdecimal() else default


def epoch(instant: datetime) -> int:
    return int((instant - EPOCH).total_seconds())


def http_date(instant: datetime) -> str:
    """Return the instant in the format of a Date header; `strftime` would depend on the locale."""
    month, weekday = _MONTHS[instant.month - 1], _WEEKDAYS[instant.weekday()]
    return f"{weekday}, {instant:%d} {month} {instant:%Y %H:%M:%S} GMT"


class GitHubApi:
    """The server; it listens while the context is open.

    Args:
        world: the data to serve.
        now: the server's clock, naive UTC; None is the real time.
        tokens: token -> points an hour, for REST and for GraphQL each.
        faults: see `github_faults`; the list `faults` may be changed at any time.
        points_a_minute: the secondary limit of a caller; None for no limit.
        latency_seconds: delay before each response, to simulate a network.
        port: TCP port; 0 for a free one.
        ticks: if true, the clock runs on from `now`; otherwise it stays at `now` until that is set again.
    """

    def __init__(
        self,
        world: World,
        now: datetime | None,
        tokens: Mapping[str, int] | None = SAMPLE_TOKENS,
        faults: Iterable[Fault] = (),
        *,
        points_a_minute: int | None = None,
        latency_seconds: float = 0.0,
        port: int = 0,
        ticks: bool = False,
    ) -> None:
        self.world = world
        self.ticks = ticks
        self.now = now
        self.tokens = dict(tokens or {})
        self.faults = list(faults)
        self.points_a_minute = points_a_minute
        self.latency_seconds = latency_seconds
        self.requests: list[tuple[str, str]] = []
        """method and path with query of each request, in order of arrival"""
        self.counts: Counter[str] = Counter()
        """requests by kind: graphql, repository, history, count, stargazers, search, rate_limit, other"""
        self.statuses: Counter[int] = Counter()
        """responses by status; a reset connection counts as 0"""
        self._revoked: set[str] = set()
        self._windows: dict[tuple[str, str], _Window] = {}
        self._found: tuple[datetime, dict[int, int]] | None = None
        self._ids = count(1)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), partial(_Connection, self))
        self.base = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> GitHubApi:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()

    def revoke(self, token: str) -> None:
        """Answer this token with 401 from now on."""
        self._revoked.add(token)

    @property
    def now(self) -> datetime | None:
        """Return the time to which the clock was set, naive UTC; None is the real time."""
        return self._set_to

    @now.setter
    def now(self, instant: datetime | None) -> None:
        self._set_to, self._set_at = instant, time.monotonic()

    def clock(self) -> datetime:
        """Return the server's time, naive UTC, to the second."""
        if self._set_to is None:
            return datetime.now(UTC).replace(tzinfo=None)
        passed = int(time.monotonic() - self._set_at) if self.ticks else 0
        return self._set_to + timedelta(seconds=passed)

    # One request.

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the response to a request, including faults."""
        path, _, query = target.partition("?")
        request = _Request(method, unquote(path), query, headers, body, self.clock())
        if request.path == "/_control":
            return self._control(request)
        kind, endpoint = self._route(request)
        with self._lock:
            self.requests.append((method, target))
            self.counts[kind] += 1
            struck = [fault for fault in self.faults if fault.strikes(f"{method} {target}")]
        answer = self._served(request, kind, endpoint, struck)
        with self._lock:
            self.statuses[answer.status] += 1
        return answer

    def _served(self, request: _Request, kind: str, endpoint: _Endpoint, struck: list[Fault]) -> Answer:
        if self.latency_seconds:
            time.sleep(self.latency_seconds)
        resource = {"graphql": "graphql", "search": "search"}.get(kind, "core")
        window = self._window("", resource, request.now)
        try:
            caller = self._caller(request)
            window = self._window(caller, resource, request.now)
            if instead := _of(struck, Scope.INSTEAD):
                answer = Answer(200)
                for fault in instead:
                    fault.apply(answer)
            else:
                if kind != "rate_limit":
                    self._spend(request, caller, kind, window)
                answer = endpoint(request, struck)
        except _AnsweredError as error:
            answer = error.answer
        if kind in {"graphql", "search"} and answer.status == HTTPStatus.OK:
            for fault in _of(struck, Scope(kind)):
                fault.apply(answer)
        if answer.shown_id:  # a page of a history
            self._finish_history(request, answer, _of(struck, Scope.HISTORY))
            if answer.status == HTTPStatus.NOT_MODIFIED and caller:
                with self._lock:
                    window.used -= 1
        for fault in _of(struck, Scope.WIRE):
            fault.apply(answer)
        answer.headers = {**window.headers(resource), **answer.headers}
        return answer

    def _caller(self, request: _Request) -> str:
        """Return the caller's token, or "" without one."""
        given = request.headers.get("authorization", "")
        if not given:
            return ""
        token = given.partition(" ")[2].strip()
        if token not in self.tokens or token in self._revoked:
            raise _AnsweredError(401, "Bad credentials")
        return token

    def _window(self, caller: str, resource: str, now: datetime) -> _Window:
        with self._lock:
            window = self._windows.get((caller, resource))
            if window is None:
                window = self._windows[caller, resource] = _Window(0, MINUTE if resource == "search" else HOUR)
            if resource == "search":
                window.limit = SEARCHES_A_MINUTE if caller else SEARCHES_WITHOUT_TOKEN
            elif resource == "secondary":
                window.length, window.limit = MINUTE, self.points_a_minute or 0
            else:
                window.limit = self.tokens.get(caller, 0) if caller else WITHOUT_TOKEN
            window.renew(now)
            return window

    def _spend(self, request: _Request, caller: str, kind: str, window: _Window) -> None:
        if kind == "graphql" and not caller:
            raise _AnsweredError(401, "This endpoint requires you to be authenticated.")
        if self.points_a_minute is not None:
            minute = self._window(caller, "secondary", request.now)
            with self._lock:
                if minute.used >= minute.limit:
                    problem = _AnsweredError(403, SECONDARY)
                    problem.answer.headers["retry-after"] = str(epoch(minute.resets_at) - epoch(request.now))
                    raise problem
                minute.used += 1
        with self._lock:
            if window.used < window.limit:
                window.used += 1
                return
        whose = "user ID 1" if caller else "127.0.0.1"
        message = f"API rate limit exceeded for {whose}."
        problem = _AnsweredError(403, message)
        if kind == "graphql":  # GitHub answers 200 here
            problem.answer = Answer(200, {"errors": [{"type": "RATE_LIMITED", "message": message}]})
        raise problem

    def _route(self, request: _Request) -> tuple[str, _Endpoint]:
        if request.path == "/graphql" and request.method == "POST":
            return "graphql", self._graphql
        if request.method == "GET":
            if request.path == "/rate_limit":
                return "rate_limit", self._rate_limit
            if request.path == "/search/repositories":
                return "search", self._search
            if found := _REPOSITORY.fullmatch(request.path):
                kind, serve = self._repository_endpoints.get(found["rest"] or "", ("other", None))
                if serve:
                    return kind, partial(self._about, name=found["name"], repo_id=found["id"], serve=serve)
        return "other", self._nothing

    @property
    def _repository_endpoints(self) -> dict[str, tuple[str, _Serve | None]]:
        return {
            "": ("repository", self._repository),
            "/stargazers/history": ("history", self._history),
            "/stargazers/count": ("count", self._count),
            "/stargazers": ("stargazers", self._stargazers),
        }

    # Endpoints.

    def _nothing(self, request: _Request, struck: list[Fault]) -> Answer:
        raise _AnsweredError(404, "Not Found")

    def _rate_limit(self, request: _Request, struck: list[Fault]) -> Answer:
        caller = self._caller(request)
        names = ("core", "graphql", "search")
        resources = {name: self._window(caller, name, request.now).shown() for name in names}
        return Answer(200, {"resources": resources, "rate": resources["core"]})

    def _graphql(self, request: _Request, struck: list[Fault]) -> Answer:
        try:
            asked = json.loads(request.body)
        except ValueError:
            raise _AnsweredError(400, "Problems parsing JSON") from None
        query = asked.get("query") if isinstance(asked, dict) else None
        if not isinstance(query, str):
            raise _AnsweredError(400, "A query attribute must be specified and must be a string.")
        window = self._window(self._caller(request), "graphql", request.now)
        limit = github_graphql.Limit(window.limit, window.limit - window.used, window.resets_at)
        context = github_graphql.Context(self.world, request.now, limit)
        return Answer(200, github_graphql.answer(query, asked.get("variables"), asked.get("operationName"), context))

    def _about(
        self, request: _Request, struck: list[Fault], *, name: str | None, repo_id: str | None, serve: _Serve
    ) -> Answer:
        """Return the result of `serve` for a public repository; answer for others as GitHub does."""
        if name is None:
            repository = self.world.by_id.get(int(repo_id or 0))
        else:
            holder = self.world.holder(name, request.now)
            repository = holder.repository if holder else None
            if holder and not holder.is_current and holder.repository.state(request.now) != "not_found":
                return self._moved(request, holder.repository, name)
        if repository is None:
            raise _AnsweredError(404, "Not Found")
        match repository.state(request.now):
            case "public":
                return serve(request, repository, struck)
            case "forbidden":
                raise _AnsweredError(403, "Resource not accessible by personal access token")
            case "blocked":
                raise _AnsweredError(403, "Repository access blocked", block=_block("tos", repository, request.now))
            case "dmca":
                raise _AnsweredError(451, "Repository access blocked", block=_block("dmca", repository, request.now))
            case _:
                raise _AnsweredError(404, "Not Found")

    def _moved(self, request: _Request, repository: Repository, former_name: str) -> Answer:
        rest = request.path.removeprefix(f"/repos/{former_name}")
        url = f"{self.base}/repositories/{repository.repo_id}{rest}"
        url += f"?{request.query}" if request.query else ""
        moved = {"message": "Moved Permanently", "url": url, "documentation_url": DOCUMENTATION}
        return Answer(301, moved, {"Location": url})

    def _repository(self, request: _Request, repository: Repository, struck: list[Fault]) -> Answer:
        return Answer(200, self._shown(repository, request.now))

    def _count(self, request: _Request, repository: Repository, struck: list[Fault]) -> Answer:
        return Answer(200, {"count": self.world.total(repository, request.now)})

    def _stargazers(self, request: _Request, repository: Repository, struck: list[Fault]) -> Answer:
        raise _AnsweredError(403, "This list is limited to administrators and collaborators of the repository.")

    def _history(self, request: _Request, repository: Repository, struck: list[Fault]) -> Answer:
        per_page = request.number("per_page", WEEKS_A_PAGE, WEEKS_A_PAGE)
        page = request.number("page", 1, 10**6)
        weeks = self.world.held(repository, request.now)
        newest = len(weeks.cells) - 1
        skipped = (page - 1) * per_page
        if page > 1 and any(fault.kind == "week_shifts" for fault in struck):
            skipped -= 1
        stop = max(newest - skipped + 1, 0) if page <= HISTORY_PAGES else 0
        rows = weeks.cells[max(stop - per_page, 0) : stop]
        first = epoch(datetime.combine(weeks.first, datetime.min.time()))
        payload = [
            {"week": first + (newest - skipped - n) * 604_800, "total": sum(days), "days": days}
            for n, days in enumerate(rows[::-1].tolist())
        ]
        pages = min(-(-len(weeks.cells) // per_page), HISTORY_PAGES)
        return Answer(200, payload, shown_id=repository.repo_id, pages=pages)

    def _finish_history(self, request: _Request, answer: Answer, struck: list[Fault]) -> None:
        """Apply faults to the page, then set its Link header and ETag; a known ETag gives 304."""
        answer.weekday = self.world.days.day_of(request.now).isoweekday() % 7
        for fault in struck:
            fault.apply(answer)
        path = f"/repositories/{answer.shown_id}/stargazers/history"
        answer.headers.update(self._links(request, path, answer.pages))
        body = json.dumps(answer.payload, separators=(",", ":"))
        etag = f'W/"{zlib.crc32(body.encode()):08x}{len(body):08x}"'
        answer.headers["ETag"] = etag
        answer.headers["Cache-Control"] = "private, max-age=60, s-maxage=60"
        answer.text = body
        given = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if etag.removeprefix("W/") in given:
            answer.status, answer.text, answer.payload = HTTPStatus.NOT_MODIFIED.value, "", None

    def _links(self, request: _Request, path: str, pages: int) -> dict[str, str]:
        page = request.number("page", 1, 10**6)
        at = {}
        if page > 1:
            at["prev"] = min(page - 1, pages)
        if page < pages:
            at["next"], at["last"] = page + 1, pages
        if page > 1:
            at["first"] = 1
        kept = {name: value for name, value in request.parameters.items() if name != "page"}
        links = (
            f'<{self.base}{path}?{urlencode({**kept, "page": number})}>; rel="{rel}"' for rel, number in at.items()
        )
        return {"Link": ", ".join(links)} if at else {}

    def _shown(self, repository: Repository, now: datetime) -> dict[str, Any]:
        full_name = repository.name(now)
        owner, _, name = full_name.partition("/")
        return {
            "id": repository.repo_id,
            "node_id": repository.node_id,
            "name": name,
            "full_name": full_name,
            "private": False,
            "owner": {"login": owner},
            "html_url": f"https://github.com/{full_name}",
            "description": repository.description(now),
            "fork": repository.is_fork,
            "url": f"{self.base}/repos/{full_name}",
            "created_at": github_graphql.iso(repository.created_at),
            "pushed_at": github_graphql.iso(repository.pushed(now)),
            "stargazers_count": self.world.total(repository, now),
            "forks_count": repository.forked(now),
            "open_issues_count": repository.issues + repository.pull_requests,  # GitHub counts both
            "language": repository.language,
            "topics": list(repository.topics),
            "license": {"spdx_id": repository.license} if repository.license else None,
            "archived": repository.is_archived,
            "disabled": False,
            "visibility": "public",
        }

    # Search.

    def _search(self, request: _Request, struck: list[Fault]) -> Answer:
        query = request.parameters.get("q", "").strip()
        if not query:
            raise _AnsweredError(
                422, "Validation Failed", errors=[{"resource": "Search", "field": "q", "code": "missing"}]
            )
        per_page = request.number("per_page", 30, FOUND_A_PAGE)
        page = request.number("page", 1, FOUND_AT_MOST + 1)
        if (page - 1) * per_page >= FOUND_AT_MOST:
            raise _AnsweredError(422, "Only the first 1000 search results are available")
        totals = self._totals(request.now)
        try:
            search = _Search.read(query)
        except ValueError:
            errors = [{"resource": "Search", "field": "q", "code": "invalid"}]
            raise _AnsweredError(422, "Validation Failed", errors=errors) from None
        found = [
            repository
            for repository in self.world.repositories
            if repository.state(request.now) == PUBLIC
            and search.admits(repository, totals[repository.repo_id], request.now)
        ]
        ascending = request.parameters.get("order") == "asc"
        if request.parameters.get("sort") == "forks":
            found.sort(key=lambda one: (one.forked(request.now), one.repo_id), reverse=not ascending)
        else:
            found.sort(key=lambda one: (totals[one.repo_id], -one.repo_id), reverse=not ascending)
        reachable = found[:FOUND_AT_MOST]
        shown = reachable[(page - 1) * per_page : page * per_page]
        payload = {
            "total_count": len(found),
            "incomplete_results": False,
            "items": [{**self._shown(one, request.now), "score": 1.0} for one in shown],
        }
        pages = -(-len(reachable) // per_page)
        return Answer(200, payload, self._links(request, "/search/repositories", pages))

    def _totals(self, now: datetime) -> dict[int, int]:
        """Return stars by id as of the last full hour, because a search index lags."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        if self._found is None or self._found[0] != hour:
            self._found = hour, {one.repo_id: self.world.total(one, hour) for one in self.world.repositories}
        return self._found[1]

    # Control by another process.

    def _control(self, request: _Request) -> Answer:
        if request.method == "GET":
            with self._lock:
                counts, statuses = dict(self.counts), {str(code): n for code, n in self.statuses.items()}
                total = len(self.requests)
            now = self.now.isoformat() if self.now else "real"
            return Answer(200, {"now": now, "requests": total, "counts": counts, "statuses": statuses})
        try:
            self._steer(json.loads(request.body))
        except (ValueError, TypeError, KeyError) as error:
            return Answer(400, {"message": str(error)})
        return Answer(200, {"message": "done"})

    def _steer(self, wishes: dict[str, Any]) -> None:
        known = {"now", "revoke", "tokens", "faults", "points_a_minute", "latency_seconds", "forget"}
        if unknown := wishes.keys() - known:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        faults = [
            Fault(
                given.pop("matches", KINDS[given["kind"]].matches),
                given.pop("kind"),
                given.pop("times", None),
                given.pop("after", 0),
                given,
            )
            for given in wishes.get("faults", ())
        ]
        with self._lock:
            if "faults" in wishes:
                self.faults = faults
            if "now" in wishes:
                self.now = _instant(wishes["now"])
            if "tokens" in wishes:
                self.tokens = dict(wishes["tokens"])
            if "revoke" in wishes:
                self._revoked.add(wishes["revoke"])
            if "points_a_minute" in wishes:
                self.points_a_minute = wishes["points_a_minute"]
            if "latency_seconds" in wishes:
                self.latency_seconds = wishes["latency_seconds"]
            if wishes.get("forget"):
                self.requests.clear()
                self.counts.clear()
                self.statuses.clear()

    def headers(self, answer: Answer) -> dict[str, str]:
        """Return the common headers and those of the response."""
        now = self.clock() + timedelta(seconds=answer.date_off_seconds)
        return {
            "Date": http_date(now),
            "Content-Type": "application/json; charset=utf-8",
            "X-GitHub-Request-Id": f"{next(self._ids):04X}:5A3B",
            **{"Content-Type" if name == "content-type" else name: value for name, value in answer.headers.items()},
        }


_Endpoint = Callable[[_Request, list[Fault]], Answer]
_Serve = Callable[[_Request, Repository, list[Fault]], Answer]


def _of(struck: list[Fault], scope: Scope) -> list[Fault]:
    return [fault for fault in struck if fault.scope is scope]


def _block(reason: str, repository: Repository, now: datetime) -> dict[str, str]:
    since = max(begun for begun, _ in repository.states if begun <= now)
    return {"reason": reason, "created_at": github_graphql.iso(since), "html_url": "https://github.com/tos"}


_TERM = re.compile(r'([a-z]+):("[^"]*"|\S+)|(\S+)')
_RANGE = re.compile(r"(?P<low>.+?)\.\.(?P<high>.+)|(?P<sign>>=|<=|>|<)?(?P<value>.+)")


def _interval(text: str, parse: Callable[[str], int]) -> range:
    """Return the numbers that a qualifier such as `>=10`, `10..20`, `10..*` or `10` matches."""
    end = 2**62
    given = _RANGE.fullmatch(text)
    assert given
    if given["low"]:
        low = 0 if given["low"] == "*" else parse(given["low"])
        return range(low, end if given["high"] == "*" else parse(given["high"]) + 1)
    value = parse(given["value"])
    ranges = {">=": range(value, end), ">": range(value + 1, end), "<=": range(value + 1), "<": range(value)}
    return ranges.get(given["sign"], range(value, value + 1))


@dataclass
class _Search:
    """The qualifiers of a search query; all must match."""

    stars: list[range] = field(default_factory=list)
    created: list[range] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    archived: str = "any"
    fork: str = "false"

    @classmethod
    def read(cls, query: str) -> _Search:
        search = cls()
        for name, quoted, word in _TERM.findall(query):
            value = quoted.strip('"')
            match name:
                case "":
                    search.words.append(word.lower())
                case "stars":
                    search.stars.append(_interval(value, int))
                case "created":
                    search.created.append(_interval(value, lambda day: date.fromisoformat(day[:10]).toordinal()))
                case "language":
                    search.languages.append(value.lower())
                case "topic":
                    search.topics.append(value)
                case "archived" | "fork":
                    setattr(search, name, value)
                case "is" | "in" | "visibility":
                    pass
                case _:
                    raise ValueError(name)
        return search

    def admits(self, one: Repository, stars: int, now: datetime) -> bool:
        return (
            all(stars in admitted for admitted in self.stars)
            and all(one.created_at.toordinal() in admitted for admitted in self.created)
            and all((one.language or "").lower() == language for language in self.languages)
            and all(topic in one.topics for topic in self.topics)
            and self.archived in {"any", str(one.is_archived).lower()}
            and (self.fork == "true" or one.is_fork == (self.fork == "only"))
            and all(word in f"{one.name(now)} {one.description(now)}".lower() for word in self.words)
        )


# HTTP.


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close the connections that are kept alive, so that clients notice the end of the server."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class _Connection(StreamRequestHandler):
    """One persistent connection, with a small request parser: the one of `http.server` takes longer than a response."""

    disable_nagle_algorithm = True

    def __init__(self, api: GitHubApi, *args: Any) -> None:
        self.api = api
        super().__init__(*args)

    def handle(self) -> None:
        with suppress(ConnectionError, ValueError):
            while self._exchange():
                pass

    def _exchange(self) -> bool:
        """Serve one request; return whether the connection stays open."""
        line = self.rfile.readline(65_537)
        if not line.strip():
            return False
        method, target, _ = line.decode("latin-1").split()
        headers = {}
        while (line := self.rfile.readline(65_537)) not in {b"\r\n", b"\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length") or 0))
        try:
            answer = self.api.answer(method, target, headers, body)
        except Exception as error:  # a bug in the server or the world: show it to the client
            answer = Answer(500, {"message": repr(error)})
        return self._send(answer) and headers.get("connection") != "close"

    def _send(self, answer: Answer) -> bool:
        if answer.is_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return False
        text = json.dumps(answer.payload, separators=(",", ":")) if answer.text is None else answer.text
        body = text.encode()
        if answer.is_truncated:
            body = body[: len(body) // 2]
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in self.api.headers(answer).items()]
        if answer.status != HTTPStatus.NOT_MODIFIED:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        half = len(body) // 2
        if answer.is_cut_short:
            self.connection.sendall(head + body[:half])
            return False
        if answer.pause_seconds:
            self.connection.sendall(head + body[:half])
            time.sleep(answer.pause_seconds)
            self.connection.sendall(body[half:])
        else:
            self.connection.sendall(head + body)
        return True


# Serving other processes.


def _instant(text: str) -> datetime | None:
    """Return a time for the server's clock, naive UTC; None for `real`."""
    if text == "real":
        return None
    instant = datetime.fromisoformat(text)
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant


def _world(text: str) -> World:
    """Return the world that `sample` or `generated:N[:FIRST:LAST]` names."""
    kind, *numbers = text.split(":")
    if kind == "sample" and not numbers:
        return sample_world()
    if kind != "generated" or len(numbers) not in {1, 3}:
        raise ValueError(f"unknown world {text!r}; use sample or generated:N[:FIRST:LAST]")
    first, last = (date.fromisoformat(day) for day in numbers[1:] or ("2024-02-28", "2026-02-27"))
    return generated_world(int(numbers[0]), first, last)


def _token(text: str) -> tuple[str, int]:
    token, _, limit = text.partition("=")
    return token, int(limit)


def main() -> None:
    """Serve until killed; the first line of standard output is the base address."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=_world, default="sample", help="sample or generated:N[:FIRST:LAST]")
    parser.add_argument("--now", type=_instant, default="2026-02-28T00:30:00", help="ISO, UTC, or real")
    parser.add_argument("--token", type=_token, action="append", metavar="TOKEN=POINTS_AN_HOUR")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    tokens = dict(given.token or SAMPLE_TOKENS)
    with GitHubApi(given.world, given.now, tokens, port=given.port, ticks=True) as api:
        print(api.base, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
