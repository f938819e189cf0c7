"""Selects the repositories to track from GitHub's search, the rankings and the user's watchlist.

This module holds the discovery rules, searches GitHub within its cap of 1,000 results a query, reads the watchlist
file and computes entries and exits. Rate limits and tokens are handled in `github`; members are read in `repositories`
and `star_history`.

A sweep for 12,000 places takes 120 pages, plus some 40 requests for slicing and for repositories that two rules find.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reposignal_pipeline.sources.names import FULL_NAME, name_in
from reposignal_pipeline.sources.schemas import BOUNDS, GITHUB_BEGAN, PATTERNS
from reposignal_pipeline.sources.transport import UpstreamError, shown

if TYPE_CHECKING:
    from reposignal_pipeline.sources.github import GitHub

WATCHLIST, RANKINGS = "watchlist", "rankings"
RULE_COLUMNS = ("name", "created_within_days", "stars_min", "share", "reason")

PAGE, CAP = 100, 1_000
"""GitHub search: results per page, and results per query"""
GONE_DAYS = 28
"""A member leaves after this many days without a public answer. Owners toggle visibility, transfer names and restore
deleted repositories within days."""
LEAD_PCT = 10
"""lead in stars over the member that is displaced, so that two similar repositories do not alternate"""


class DiscoveryError(Exception):
    """The rules file cannot be used. The message is one line and names file, line and cause."""


@dataclass(frozen=True)
class Rule:
    """One kind of repository to search for, and its share of the places."""

    name: str
    created_within_days: int | None
    stars_min: int
    share: float
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A proposed repository, which was public when it was seen."""

    repo_id: int
    node_id: str
    full_name: str
    stars_total: int
    created_at: dt.datetime
    via: str
    """`watchlist`, `rankings` or the name of a rule"""
    created_since: dt.date | None = None
    """earliest creation date that the rule allows, if it has one"""


@dataclass(frozen=True)
class Found:
    """The result of a search sweep; candidates are in the order in which places are assigned."""

    candidates: list[Candidate]
    gaps: list[str]
    """messages about results that could not be listed completely"""
    requests: int
    is_swept: bool
    """the sweep is complete: a repository that is not among the candidates is no longer wanted"""


@dataclass(frozen=True)
class Member:
    """A repository that is tracked now."""

    repo_id: int
    node_id: str
    full_name: str
    via: str
    stars_total: int | None
    gone_days: int
    """consecutive days on which it was not public; 0 if it is public"""
    created_on: dt.date | None = None


@dataclass(frozen=True)
class Change:
    """An entry of a repository into the tracked repositories, or an exit from them."""

    repo_id: int
    node_id: str
    full_name: str
    change: Literal["entered", "left"]
    via: str
    reason: str


def read_rules(path: Path) -> list[Rule]:
    """Return the rules of the seed file, in order.

    Raises:
        DiscoveryError: the file cannot be read, or a line is not a valid rule.
    """
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        lines = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DiscoveryError(f"{path}: {_one_line(error)}") from None
    if not lines or tuple(lines[0][1]) != RULE_COLUMNS:
        raise DiscoveryError(f"{path}, line 1: the header is not {','.join(RULE_COLUMNS)!r}")
    rules: list[Rule] = []
    for number, row in lines[1:]:
        try:
            rule = _rule(row)
            if rule.name in {other.name for other in rules}:
                raise ValueError(f"name {rule.name!r} appears twice")
        except ValueError as error:
            raise DiscoveryError(f"{path}, line {number}: {_one_line(error)}") from None
        rules.append(rule)
    if not math.isclose(total := math.fsum(rule.share for rule in rules), 1, abs_tol=1e-6):
        raise DiscoveryError(f"{path}: the shares add up to {total:g}, not 1")
    return rules


def _rule(row: Sequence[str]) -> Rule:
    if len(row) != len(RULE_COLUMNS):
        raise ValueError(f"{len(row)} fields instead of {len(RULE_COLUMNS)}")
    name, days, stars, share, reason = (cell.strip() for cell in row)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in (WATCHLIST, RANKINGS):
        raise ValueError(f"name {name[:80]!r} must be a lower-case word other than {WATCHLIST} and {RANKINGS}")
    if days and not re.fullmatch(r"[1-9][0-9]{0,4}", days):
        raise ValueError(f"created_within_days {days[:80]!r} must be empty or a number of days, at least 1")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", stars):
        raise ValueError(f"stars_min {stars[:80]!r} must be a whole number, at least 1")
    if not re.fullmatch(r"[0-9]?\.?[0-9]{1,9}", share) or not 0 < float(share) <= 1:
        raise ValueError(f"share {share[:80]!r} must be above 0 and at most 1")
    if not reason:
        raise ValueError("reason is empty")
    return Rule(name, int(days) if days else None, int(stars), float(share), reason)


def read_watchlist(path: Path) -> tuple[list[str], list[str]]:
    """Return (names in their first spelling, one-line messages about lines that name no repository).

    A file that cannot be read also gives a message; the run continues without the watchlist.
    """
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        return [], [f"{path}: {_one_line(error)}"]
    names: dict[str, str] = {}
    complaints = []
    for number, line in enumerate(content.splitlines(), start=1):
        text = re.sub(r"(?:^|\s)#.*", "", line.decode(errors="replace")).strip()
        if not text:
            continue
        name = name_in(text)
        if name:
            names.setdefault(name.lower(), name)
        else:
            complaints.append(f"{path}, line {number}: {shown(text)[:80]!a} is neither owner/name nor a GitHub URL")
    return list(names.values()), complaints


async def search(github: GitHub, rules: Sequence[Rule], size: int, day: dt.date) -> Found:
    """Return public repositories for `size` places: the share of each rule, most-starred first, without duplicates.

    The rules alternate in the returned order, so that a caller with fewer places keeps the shares. Places that a rule
    cannot fill go to the first rule. An upstream failure or a spent quota ends the sweep early; the result then holds
    the repositories found so far, and the gaps name the cause.
    """
    pages = _Pages(github, most=4 * math.ceil(size / PAGE) + 100)
    listings = [_Listing(pages, rule, day) for rule in rules]
    places = [round(rule.share * size) for rule in rules[1:]]
    places.insert(0, max(0, size - sum(places)))
    found: dict[int, Candidate] = {}
    is_cut_off = False
    try:
        for listing, share in zip(listings, places, strict=True):
            await listing.fill(found, min(share, size - len(found)))
        await listings[0].fill(found, size - len(found))
    except UpstreamError as error:
        pages.gaps.append(f"the search ended at {len(found)} of {size} repositories: {_one_line(error)}")
        is_cut_off = True
    turns = {rule.name: itertools.count(1) for rule in rules}
    shares = {rule.name: rule.share for rule in rules}
    candidates = sorted(found.values(), key=lambda candidate: next(turns[candidate.via]) / shares[candidate.via])
    return Found(candidates, pages.gaps, pages.requests, is_swept=not is_cut_off and not pages.is_refused)


@dataclass(frozen=True)
class _Slice:
    """A range of star counts and of creation days, both ends included; None is open-ended."""

    stars_from: int
    stars_to: int | None
    created_from: dt.date | None
    created_to: dt.date | None
    page: int = 1
    total: int | None = None
    """number of results, if earlier responses determine it"""

    @property
    def query(self) -> str:
        # GitHub excludes forks by default; `is:public` excludes private repositories
        words = ["is:public", f"stars:{_range(self.stars_from, self.stars_to)}"]
        if self.created_from or self.created_to:
            words.append(f"created:{_range(self.created_from, self.created_to)}")
        return " ".join(words)

    def halves(self, most_stars: int, last_day: dt.date) -> tuple[_Slice, _Slice] | None:
        """Return two halves, split at the geometric middle of stars, else by day; None for a single day."""
        most_stars = most_stars if self.stars_to is None else self.stars_to
        if self.stars_from < most_stars:
            middle = math.isqrt((self.stars_from + 1) * (most_stars + 1))
            upper = replace(self, stars_from=middle, page=1, total=None)
            return upper, replace(self, stars_to=middle - 1, page=1, total=None)
        first, last = self.created_from or GITHUB_BEGAN, self.created_to or last_day
        if first >= last:
            return None
        noon = first + (last - first) // 2
        older = replace(self, created_to=noon, page=1, total=None)
        return older, replace(self, created_from=noon + dt.timedelta(days=1), page=1, total=None)


def _range(low: int | dt.date | None, high: int | dt.date | None) -> str:
    if high is None:
        return f">={low}"
    return f"<={high}" if low is None else f"{low}..{high}"


@dataclass(frozen=True)
class _Page:
    total: int
    rows: list[Any]
    trouble: str | None = None
    is_refused: bool = False


@dataclass
class _Pages:
    """Pages of search results, with a limit on the requests of a sweep."""

    github: GitHub
    most: int
    requests: int = 0
    gaps: list[str] = field(default_factory=list)
    is_refused: bool = False
    """GitHub refused a page, so the sweep is incomplete"""

    async def read(self, part: _Slice) -> _Page:
        """Return a page; an incomplete page is requested once more."""
        page = await self._ask(part)
        if page.trouble:
            again = await self._ask(part)
            if not again.trouble or len(again.rows) >= len(page.rows):
                page = again
        if page.trouble:
            self.note(part, page.trouble)
            self.is_refused |= page.is_refused
        return page

    async def _ask(self, part: _Slice) -> _Page:
        if self.requests >= self.most:
            raise UpstreamError(f"the sweep reached its limit of {self.most} requests")
        params: dict[str, str | int] = {
            "q": part.query,
            "sort": "stars",
            "order": "desc",
            "per_page": PAGE,
            "page": part.page,
        }
        answer = await self.github.get("/search/repositories", params, resource="search")
        self.requests += 1
        match answer.content:
            case {"total_count": int(total), "items": list(rows)} if answer.status == 200:
                if answer.content.get("incomplete_results"):
                    return _Page(total, rows, "GitHub reports incomplete results")
                return _Page(total, rows, None if rows or (part.page == 1 and total == 0) else "empty")
        return _Page(0, [], f"answered {answer.status}, which is not a search result", is_refused=True)

    def note(self, part: _Slice, gap: str) -> None:
        """Add a message about results that could not be listed to the gaps."""
        self.gaps.append(f"search {part.query!r}, page {part.page}: {gap}")


class _Listing:
    """The repositories of one rule, most-starred first, requested as they are needed."""

    def __init__(self, pages: _Pages, rule: Rule, day: dt.date) -> None:
        self._pages, self._rule, self._day = pages, rule, day
        days = rule.created_within_days
        self._created_since = None if days is None else max(GITHUB_BEGAN, day - dt.timedelta(days=days))
        self._slices = [_Slice(rule.stars_min, None, self._created_since, None if days is None else day)]
        """slices not requested yet; the last one is next"""
        self._ready: deque[Candidate] = deque()

    async def fill(self, found: dict[int, Candidate], places: int) -> None:
        """Add up to `places` repositories that `found` lacks; a later call continues where this one ended."""
        while places > 0 and (self._ready or self._slices):
            if not self._ready:
                await self._ask_next()
            elif (candidate := self._ready.popleft()).repo_id not in found:
                found[candidate.repo_id] = candidate
                places -= 1

    async def _ask_next(self) -> None:
        part = self._slices.pop()
        if part.total is not None and part.total > CAP and self._divide(part, part.total, part.stars_from):
            return
        page = await self._pages.read(part)
        rows = self._candidates(part, page)
        if part.page > 1:
            self._ready.extend(rows)
            return
        if part.total is None and self._slices:
            # after the first half, the size of the second half follows without a request
            rest = self._slices[-1]
            self._slices[-1] = replace(rest, total=max(0, (rest.total or 0) - page.total))
        most_stars = max((row.stars_total for row in rows), default=part.stars_from)
        if rows and page.total > CAP and self._divide(part, page.total, most_stars):
            return
        if page.total > CAP:
            self._pages.note(part, f"only {CAP} of {page.total} repositories can be listed")
        self._ready.extend(rows)
        last = math.ceil(min(page.total, CAP) / PAGE) if rows else 1
        self._slices += [replace(part, page=number) for number in range(last, 1, -1)]

    def _divide(self, part: _Slice, total: int, most_stars: int) -> bool:
        halves = part.halves(most_stars, self._day)
        if halves:
            first, rest = halves
            self._slices += [replace(rest, total=total), first]
        return halves is not None

    def _candidates(self, part: _Slice, page: _Page) -> list[Candidate]:
        candidates = []
        causes = []
        for row in page.rows:
            try:
                candidate = _candidate(row, self._rule.name, self._created_since)
            except ValueError as error:
                causes.append(str(error))
            else:
                candidates += [candidate] if candidate else []
        if causes:
            self._pages.note(part, f"{len(causes)} of {len(page.rows)} results skipped: {causes[0]}")
        return candidates


def _candidate(row: Any, via: str, created_since: dt.date | None) -> Candidate | None:
    """Return a search result as a candidate; None for a fork or a private repository, which the query excludes.

    Raises:
        ValueError: a field is invalid; the message names it.
    """
    if not isinstance(row, dict):
        raise ValueError("not an object")
    if row.get("fork") or row.get("private"):
        return None
    # `type`, not `isinstance`: bool is a subclass of int
    repo_id, node_id, full_name, stars, created = (
        row.get(name) for name in ("id", "node_id", "full_name", "stargazers_count", "created_at")
    )
    if type(repo_id) is not int or not _is_within("repo_id", repo_id):
        raise ValueError("id is not a number")
    if type(node_id) is not str or not PATTERNS["node_id"].fullmatch(node_id):
        raise ValueError("node_id is not a node id")
    if type(full_name) is not str or not FULL_NAME.fullmatch(full_name):
        raise ValueError("full_name is not a GitHub name")
    if type(stars) is not int or not _is_within("stars_total", stars):
        raise ValueError("stargazers_count is not a number from 0")
    try:
        created_at = dt.datetime.fromisoformat(created if type(created) is str else "")
        if created_at.tzinfo:
            created_at = created_at.astimezone(dt.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise ValueError("created_at is not a time") from None
    return Candidate(repo_id, node_id, full_name, stars, created_at, via, created_since)


def _is_within(column: str, value: Any) -> bool:
    low, high = BOUNDS[column]
    return bool(low <= value <= high)


def changes(members: Sequence[Member], wanted: Sequence[Candidate], size: int, *, is_swept: bool) -> list[Change]:
    """Return the entries and exits; calling it again after they are applied returns none.

    Places go first to the watchlist, then to members that are still wanted, then to the rankings, then to search
    results in their order. A wanted repository was seen public, so it is not gone.

    Args:
        members: the tracked repositories, each once.
        wanted: all candidates; a repository may appear several times.
        size: number of places; only the watchlist may exceed it.
        is_swept: whether `wanted` contains a complete search sweep. Without one, a member that is not in `wanted` may
            still be wanted.
    """
    ranks = {WATCHLIST: 0, RANKINGS: 1}
    wishes: dict[int, Candidate] = {}
    for candidate in sorted(wanted, key=lambda candidate: ranks.get(candidate.via, 2)):
        wishes.setdefault(candidate.repo_id, candidate)
    present = {member.repo_id for member in members}
    newcomers = [candidate for candidate in wishes.values() if candidate.repo_id not in present]
    made: list[Change] = []

    def leave(member: Member, reason: str) -> None:
        made.append(Change(member.repo_id, member.node_id, member.full_name, "left", member.via, reason))

    def enter(candidate: Candidate) -> None:
        reason = {
            WATCHLIST: "named in the watchlist",
            RANKINGS: "listed in the rankings",
        }.get(candidate.via, f"found by rule {candidate.via} with {candidate.stars_total} stars")
        made.append(Change(candidate.repo_id, candidate.node_id, candidate.full_name, "entered", candidate.via, reason))

    displaceable = []
    for member in members:
        wish = wishes.get(member.repo_id)
        if not wish and member.gone_days >= GONE_DAYS:
            leave(member, f"not public for {member.gone_days} days")
        elif not wish or wish.via != WATCHLIST:
            displaceable.append(member)
    free = size - (len(members) - len(made))
    # wanted members leave last; an unknown total does not count as a small one
    displaceable.sort(
        key=lambda member: (
            member.repo_id in wishes, member.stars_total is None, member.stars_total or 0, member.repo_id,
        )
    )  # fmt: skip
    for candidate in newcomers:
        if candidate.via == WATCHLIST:
            enter(candidate)
            free -= 1
    surplus = min(max(0, -free), len(displaceable))
    for member in displaceable[:surplus]:
        leave(member, f"more members than the {size} places; it has the fewest stars of the members that can leave")
    free += surplus

    unwanted = [member for member in displaceable[surplus:] if is_swept and member.repo_id not in wishes]
    for candidate in newcomers:
        if candidate.via == WATCHLIST:
            continue
        if free > 0:
            enter(candidate)
            free -= 1
        elif least := _displaced(candidate, unwanted):
            unwanted.remove(least)
            leave(
                least,
                f"no longer wanted with {least.stars_total} stars; its place goes to repository {candidate.repo_id}"
                f" with {candidate.stars_total}",
            )
            enter(candidate)
    return sorted(made, key=lambda change: (change.change == "entered", change.repo_id))


def _displaced(candidate: Candidate, unwanted: Sequence[Member]) -> Member | None:
    """Return the first of the ordered members that the candidate may displace; None if there is none.

    The candidate needs a lead in stars, except over a member that is too old for the candidate's rule: two such
    repositories never alternate, and otherwise old repositories would keep the places meant for young ones.
    """
    for member in unwanted:
        stars = member.stars_total
        if stars is None:
            break
        if candidate.stars_total > stars and 100 * candidate.stars_total >= (100 + LEAD_PCT) * stars:
            return member
        if candidate.created_since is None:
            break  # the following members have more stars
        if member.created_on and member.created_on < candidate.created_since:
            return member
    return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
