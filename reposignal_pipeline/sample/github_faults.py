"""Faults of the embedded GitHub API, by name: each changes responses in a defined way.

`NAME(matches, times, after, **settings)` creates a fault. It matches requests whose "METHOD /path?query" (for GraphQL
"POST /graphql") contains the pattern `matches`, skips the first `after` of them, then affects `times` (None: all). The
correct responses are in `github_api`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from reposignal_pipeline.sources.star_days import STAR_DAYS

DOCUMENTATION = "https://docs.github.com/rest"
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
BROKEN_QUERY = "Something went wrong while executing your query. This may be the result of a timeout, or a GitHub bug."
EVERYWHERE = ""
GRAPHQL = "^POST /graphql"
HISTORY = "/stargazers/history"
SEARCH = "/search/repositories"
FIRST_PAGE = r"/stargazers/history(?!.*\bpage=(?!1\b))"
LATER_PAGE = r"/stargazers/history.*\bpage=([2-9]|[1-9]\d)"


@dataclass
class Answer:
    """A response to send: the payload as JSON, or `text` instead."""

    status: int
    payload: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    weekday: int = 0
    """weekday of the server's clock; Sunday is 0"""
    shown_id: int | None = None
    """repository id in the Link header of a history"""
    pages: int = 0
    """number of pages of a history, for the Link header"""
    is_truncated: bool = False
    is_cut_short: bool = False
    is_reset: bool = False
    pause_seconds: float = 0.0
    date_off_seconds: float = 0.0


Effect = Callable[[Answer], None]


class Scope(StrEnum):
    """The stage at which a kind of fault acts."""

    INSTEAD = "instead"
    """replaces the response; the request is neither evaluated nor counted against a limit"""
    WIRE = "wire"
    """changes how any response is sent"""
    GRAPHQL = "graphql"
    HISTORY = "history"
    SEARCH = "search"


class _Kind(NamedTuple):
    effect: Callable[..., Effect]
    scope: Scope
    matches: str


KINDS: dict[str, _Kind] = {}


@dataclass(eq=False)
class Fault:
    """One scripted fault; `kind` is a name in `KINDS`, `settings` are the arguments of its effect."""

    matches: str
    kind: str
    times: int | None = None
    after: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    seen: int = field(default=0, init=False)
    """number of requests that matched the pattern"""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; use one of {', '.join(sorted(KINDS))}")
        self._pattern = re.compile(self.matches)
        self.apply: Effect = KINDS[self.kind].effect(**self.settings)

    @property
    def scope(self) -> Scope:
        return KINDS[self.kind].scope

    def strikes(self, request: str) -> bool:
        """Count a matching request and return whether the fault affects it."""
        if not self._pattern.search(request):
            return False
        self.seen += 1
        return self.seen > self.after and (self.times is None or self.seen <= self.after + self.times)


def _kind(scope: Scope, default: str = EVERYWHERE) -> Callable[[Callable[..., Effect]], Callable[..., Fault]]:
    def register(effect: Callable[..., Effect]) -> Callable[..., Fault]:
        name = effect.__name__
        KINDS[name] = _Kind(effect, scope, default)

        def construct(matches: str = default, times: int | None = None, after: int = 0, **settings: Any) -> Fault:
            return Fault(matches, name, times, after, settings)

        construct.__name__, construct.__doc__ = name, effect.__doc__
        return construct

    return register


def _message(code: int, message: str, retry_after: int | None) -> Effect:
    def effect(answer: Answer) -> None:
        answer.status = code
        answer.payload = {"message": message, "documentation_url": DOCUMENTATION, "status": str(code)}
        if retry_after is not None:
            answer.headers["retry-after"] = str(retry_after)

    return effect


@_kind(Scope.INSTEAD)
def status(code: int, message: str = "Server Error", retry_after: int | None = None) -> Effect:
    """Any status."""
    return _message(code, message, retry_after)


@_kind(Scope.INSTEAD)
def refused(retry_after: int | None = None) -> Effect:
    """403 of a secondary limit; without `retry_after` the header is left out."""
    return _message(403, SECONDARY, retry_after)


@_kind(Scope.INSTEAD)
def too_many(retry_after: int | None = 1) -> Effect:
    """429 with `retry-after`."""
    return _message(429, SECONDARY, retry_after)


@_kind(Scope.INSTEAD)
def unavailable(retry_after: int | None = None) -> Effect:
    """503."""
    return _message(503, "Service unavailable", retry_after)


@_kind(Scope.INSTEAD)
def bad_gateway() -> Effect:
    """502 with an HTML page, as GitHub's front end sends it."""

    def effect(answer: Answer) -> None:
        answer.status, answer.text = 502, "<html><body><h1>502 Bad Gateway</h1></body></html>"
        answer.headers["content-type"] = "text/html"

    return effect


@_kind(Scope.INSTEAD)
def reset() -> Effect:
    """The connection is reset before any response."""

    def effect(answer: Answer) -> None:
        answer.is_reset = True

    return effect


@_kind(Scope.INSTEAD, HISTORY)
def accepted() -> Effect:
    """202 with `{}`: still computing."""

    def effect(answer: Answer) -> None:
        answer.status, answer.payload = 202, {}

    return effect


@_kind(Scope.WIRE)
def cut_short() -> Effect:
    """Half of the body that Content-Length promises, then the end of the connection."""

    def effect(answer: Answer) -> None:
        answer.is_cut_short = True

    return effect


@_kind(Scope.WIRE)
def truncated() -> Effect:
    """JSON cut off in the middle, with a matching Content-Length."""

    def effect(answer: Answer) -> None:
        answer.is_truncated = True

    return effect


@_kind(Scope.WIRE)
def slow(seconds: float = 1.0) -> Effect:
    """A pause between the halves of the body."""

    def effect(answer: Answer) -> None:
        answer.pause_seconds = seconds

    return effect


@_kind(Scope.WIRE)
def clock_skew(seconds: float = 3600.0) -> Effect:
    """A Date header that is wrong by `seconds`."""

    def effect(answer: Answer) -> None:
        answer.date_off_seconds = seconds

    return effect


def _nulled(payload: dict[str, Any], every: int) -> list[list[str | int]]:
    """Set each `every`th repository of a batch to null; return their paths."""
    data = payload.get("data") or {}
    paths: list[list[str | int]] = []
    for name, found in data.items():
        if isinstance(found, list):
            paths += [[name, n] for n in range(len(found))]
        elif name != "rateLimit":
            paths.append([name])
    struck = paths[::every]
    for name, *place in struck:
        if place:
            data[name][place[0]] = None
        else:
            data[name] = None
    return struck


@_kind(Scope.GRAPHQL, GRAPHQL)
def null_nodes(every: int = 2) -> Effect:
    """Each `every`th repository is null, without an error."""

    def effect(answer: Answer) -> None:
        _nulled(answer.payload, every)

    return effect


@_kind(Scope.GRAPHQL, GRAPHQL)
def totals_turned_to_zeros(every: int = 1) -> Effect:
    """Each `every`th repository has no stars, with status 200 and no error."""

    def effect(answer: Answer) -> None:
        for found in (answer.payload.get("data") or {}).values():
            for node in (found if isinstance(found, list) else [found])[::every]:
                if isinstance(node, dict) and "stargazerCount" in node:
                    node["stargazerCount"] = 0

    return effect


@_kind(Scope.GRAPHQL, GRAPHQL)
def partly_null(every: int = 2) -> Effect:
    """Each `every`th repository is null, with an error that does not concern the repository."""

    def effect(answer: Answer) -> None:
        struck = _nulled(answer.payload, every)
        errors = [{"path": path, "message": BROKEN_QUERY} for path in struck]
        answer.payload["errors"] = [*answer.payload.get("errors", ()), *errors]

    return effect


@_kind(Scope.GRAPHQL, GRAPHQL)
def resource_limits(largest: int = 50) -> Effect:
    """Only the error RESOURCE_LIMITS_EXCEEDED for a batch of more than `largest` repositories."""

    def effect(answer: Answer) -> None:
        data = answer.payload.get("data") or {}
        asked = sum(len(found) if isinstance(found, list) else 1 for name, found in data.items() if name != "rateLimit")
        if asked > largest:
            message = "Resource limits for this query exceeded."
            answer.payload = {"errors": [{"type": "RESOURCE_LIMITS_EXCEEDED", "message": message}]}

    return effect


@_kind(Scope.GRAPHQL, GRAPHQL)
def errors_only() -> Effect:
    """200 with errors and no data."""

    def effect(answer: Answer) -> None:
        answer.payload = {"errors": [{"message": BROKEN_QUERY}]}

    return effect


@_kind(Scope.HISTORY, LATER_PAGE)
def week_shifts() -> Effect:
    """A week begins between page 1 and page 2: all weeks shift by one, so the last week of page 1 is repeated.

    The server implements this fault by slicing later pages one week earlier.
    """
    return lambda answer: None


@_kind(Scope.HISTORY, FIRST_PAGE)
def empty_first_page() -> Effect:
    """200 with `[]` although there are weeks."""

    def effect(answer: Answer) -> None:
        answer.payload = []

    return effect


@_kind(Scope.HISTORY, HISTORY)
def turned_to_zeros() -> Effect:
    """200 with all weeks, but without any star."""

    def effect(answer: Answer) -> None:
        answer.payload = [week | {"total": 0, "days": [0] * 7} for week in answer.payload]

    return effect


@_kind(Scope.HISTORY, FIRST_PAGE)
def future_days(stars: int = 9) -> Effect:
    """Days that have not begun in any zone have stars: those after tomorrow in the zone of star days."""

    def effect(answer: Answer) -> None:
        if not answer.payload:
            return
        week = answer.payload[0]
        week["days"][answer.weekday + 2 :] = [stars] * max(5 - answer.weekday, 0)
        week["total"] = sum(week["days"])

    return effect


def _changes_second_week(change: Callable[[dict[str, Any]], None]) -> Effect:
    def effect(answer: Answer) -> None:
        if answer.payload:
            change(answer.payload[min(1, len(answer.payload) - 1)])

    return effect


@_kind(Scope.HISTORY, HISTORY)
def sum_differs(by: int = 1) -> Effect:
    """The total of the second week is not the sum of its days."""
    return _changes_second_week(lambda week: week.update(total=week["total"] + by))


@_kind(Scope.HISTORY, HISTORY)
def not_a_sunday(days: int = 1) -> Effect:
    """The second week begins on a Monday."""
    return _changes_second_week(lambda week: week.update(week=week["week"] + days * 86_400))


@_kind(Scope.HISTORY, HISTORY)
def weeks_at_local_midnight() -> Effect:
    """Each week is stamped with the instant at which its Sunday begins in the zone of star days."""

    def effect(answer: Answer) -> None:
        for week in answer.payload:
            sunday = datetime.fromtimestamp(week["week"], UTC).date()
            week["week"] = int(STAR_DAYS.begins_at(sunday).replace(tzinfo=UTC).timestamp())

    return effect


@_kind(Scope.HISTORY, HISTORY)
def wrong_id(repo_id: int = 1) -> Effect:
    """The Link header, if there is one, names another repository."""

    def effect(answer: Answer) -> None:
        answer.shown_id = repo_id

    return effect


@_kind(Scope.SEARCH, SEARCH)
def incomplete_results() -> Effect:
    """A search that timed out: half of the results, with `incomplete_results` set."""

    def effect(answer: Answer) -> None:
        found = answer.payload
        found["items"] = found["items"][: len(found["items"]) // 2]
        found.update(incomplete_results=True, total_count=found["total_count"] // 2)

    return effect
