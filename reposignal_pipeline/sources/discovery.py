"""Whom to track: repositories that search, the rankings and the user's watchlist put forward, and who gets a place.

Here: the rules of discovery, GitHub's search under its cap of 1,000 results a query, the watchlist file, and the
entries and exits that follow.
Not here: when to wait and which token to spend (`github`), what is read of a member (`repositories`, `star_history`).

A sweep for 12,000 places is 120 pages, and some 40 requests for slicing and for what two rules both find.
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
"""results a page, and a query, of GitHub's search"""
GONE_DAYS = 28
"""not public for that long is gone: visibility is toggled, names are transferred, and wipes are restored within days"""
LEAD_PCT = 10
"""more stars than the member it displaces: two repositories side by side do not take turns"""


class DiscoveryError(Exception):
    """Rules that cannot be used; the message is one line and names file, line and cause."""


@dataclass(frozen=True)
class Rule:
    """One kind of repository to search for, and its part of the places."""

    name: str
    created_within_days: int | None
    stars_min: int
    share: float
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A repository put forward, public when it was seen."""

    repo_id: int
    node_id: str
    full_name: str
    stars_total: int
    created_at: dt.datetime
    via: str
    """`watchlist`, `rankings` or the name of a rule"""
    created_since: dt.date | None = None
    """what the rule looks back to, if it does"""


@dataclass(frozen=True)
class Found:
    """What a sweep of the search found, in the order in which places are given."""

    candidates: list[Candidate]
    gaps: list[str]
    """what could not be listed whole, in words"""
    requests: int
    is_swept: bool
    """the sweep went to its end: who is not among the candidates is not wanted"""


@dataclass(frozen=True)
class Member:
    """A repository of the universe as it stands."""

    repo_id: int
    node_id: str
    full_name: str
    via: str
    stars_total: int | None
    gone_days: int
    """consecutive days that it has not been public; 0 if it was"""
    created_on: dt.date | None = None


@dataclass(frozen=True)
class Change:
    """An entry to the universe, or an exit from it."""

    repo_id: int
    node_id: str
    full_name: str
    change: Literal["entered", "left"]
    via: str
    reason: str


def read_rules(path: Path) -> list[Rule]:
    """Return the rules of the seed, in order.

    Raises:
        DiscoveryError: the file cannot be read, or a line is not a rule.
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
                raise ValueError(f"name {rule.name!r} stands twice")
        except ValueError as error:
            raise DiscoveryError(f"{path}, line {number}: {_one_line(error)}") from None
        rules.append(rule)
    if not math.isclose(total := math.fsum(rule.share for rule in rules), 1, abs_tol=1e-6):
        raise DiscoveryError(f"{path}: the shares add up to {total:g}, not 1")
    return rules


def _rule(row: Sequence[str]) -> Rule:
    if len(row) != len(RULE_COLUMNS):
        raise ValueError(f"not {len(RULE_COLUMNS)} fields but {len(row)}")
    name, days, stars, share, reason = (cell.strip() for cell in row)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in (WATCHLIST, RANKINGS):
        raise ValueError(f"name {name[:80]!r} is not a lower-case word of its own")
    if days and not re.fullmatch(r"[1-9][0-9]{0,4}", days):
        raise ValueError(f"created_within_days {days[:80]!r} is neither empty nor a number of days from 1")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", stars):
        raise ValueError(f"stars_min {stars[:80]!r} is not a number from 1")
    if not re.fullmatch(r"[0-9]?\.?[0-9]{1,9}", share) or not 0 < float(share) <= 1:
        raise ValueError(f"share {share[:80]!r} is not above 0 and up to 1")
    if not reason:
        raise ValueError("reason is empty")
    return Rule(name, int(days) if days else None, int(stars), float(share), reason)


def read_watchlist(path: Path) -> tuple[list[str], list[str]]:
    """Return (the names as first spelled, one-line complaints about lines that name no repository).

    A file that cannot be read is a complaint as well: the day goes on without it.
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
            complaints.append(f"{path}, line {number}: {shown(text)[:80]!a} is neither owner/name nor a GitHub address")
    return list(names.values()), complaints


async def search(github: GitHub, rules: Sequence[Rule], size: int, day: dt.date) -> Found:
    """Return public repositories for `size` places: each rule's share, most-starred first, none twice.

    The rules take turns in the order that is returned, so that whoever has fewer places to give keeps the shares.
    Places that a rule leaves over go to the first one. An upstream that breaks off, or a quota that is spent, ends the
    sweep with what there is and says so among the gaps.
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
    """A band of star counts and of creation days, both ends included; None is open."""

    stars_from: int
    stars_to: int | None
    created_from: dt.date | None
    created_to: dt.date | None
    page: int = 1
    total: int | None = None
    """what it must hold, when that follows from what has been asked"""

    @property
    def query(self) -> str:
        # forks and private repositories are left out by GitHub: the first by default, the second by `is:public`
        words = ["is:public", f"stars:{_range(self.stars_from, self.stars_to)}"]
        if self.created_from or self.created_to:
            words.append(f"created:{_range(self.created_from, self.created_to)}")
        return " ".join(words)

    def halves(self, most_stars: int, last_day: dt.date) -> tuple[_Slice, _Slice] | None:
        """Return (what comes first, the rest): by stars at the geometric middle, else by day; None for a single day."""
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
    """Pages of search results, with a bound on how many a sweep may ask for."""

    github: GitHub
    most: int
    requests: int = 0
    gaps: list[str] = field(default_factory=list)
    is_refused: bool = False
    """a page was, so that some repositories were never looked for"""

    async def read(self, part: _Slice) -> _Page:
        """Return a page; one that is not whole is asked for once more."""
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
            raise UpstreamError(f"{self.requests} requests made, more than such a sweep may take")
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
                    return _Page(total, rows, "GitHub calls the results incomplete")
                return _Page(total, rows, None if rows or part.page == 1 else "empty")
        return _Page(0, [], f"an answer of status {answer.status} that is no search result", is_refused=True)

    def note(self, part: _Slice, gap: str) -> None:
        """Add what could not be listed to the gaps."""
        self.gaps.append(f"search {part.query!r}, page {part.page}: {gap}")


class _Listing:
    """One rule's repositories, most-starred first, asked for as they are needed."""

    def __init__(self, pages: _Pages, rule: Rule, day: dt.date) -> None:
        self._pages, self._rule, self._day = pages, rule, day
        days = rule.created_within_days
        self._created_since = None if days is None else max(GITHUB_BEGAN, day - dt.timedelta(days=days))
        self._slices = [_Slice(rule.stars_min, None, self._created_since, None if days is None else day)]
        """still to be asked for, the next one last"""
        self._ready: deque[Candidate] = deque()

    async def fill(self, found: dict[int, Candidate], places: int) -> None:
        """Add up to `places` repositories that are not found yet; a later call goes on where this one ended."""
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
            # the first of two halves: the rest of their whole is in the other, which need not be asked whether it fits
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
            self._pages.note(part, f"{len(causes)} of {len(page.rows)} results set aside: {causes[0]}")
        return candidates


def _candidate(row: Any, via: str, created_since: dt.date | None) -> Candidate | None:
    """Return a search result as a candidate; None for a fork or a private repository, which the query excludes.

    Raises:
        ValueError: names the field that is not what it should be.
    """
    if not isinstance(row, dict):
        raise ValueError("not an object")
    if row.get("fork") or row.get("private"):
        return None
    # `type`, not `isinstance`: true is no number
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
    """Return who enters and who leaves; none when asked again after they are made.

    Places go to the watchlist, then to members that are still wanted, to the rankings, to search in its order. Who is
    wanted was seen public, so it is not gone.

    Args:
        members: the universe, each repository once.
        wanted: all that is put forward; a repository may stand there several times.
        size: of the universe; only the watchlist may exceed it.
        is_swept: `wanted` holds a whole sweep of the search; without one, who is not in it may be wanted still.
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
    # who is wanted goes last; an unknown total is not a small one
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
        leave(member, f"more members than the {size} places, and the fewest stars of those that can leave")
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
    """Return the least of the members, which are in order, that the candidate may displace.

    It needs a lead in stars, but not over who is too old for its rule: such two never take turns, and the places of the
    young would silt up with those who were young once.
    """
    for member in unwanted:
        stars = member.stars_total
        if stars is None:
            break
        if candidate.stars_total > stars and 100 * candidate.stars_total >= (100 + LEAD_PCT) * stars:
            return member
        if candidate.created_since is None:
            break  # those that follow have more stars
        if member.created_on and member.created_on < candidate.created_since:
            return member
    return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
