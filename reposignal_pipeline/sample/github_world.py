"""The data that the embedded GitHub API serves: repositories with their names, states and stars.

A world gives the state of GitHub at an instant: totals, and the stars still held by the day they were given. Worlds are
built from the sample, from arrays of a test, or by a generator. HTTP, GraphQL and faults are in other modules.

Times are naive UTC. Star days are days of the world's zone, by default the zone by which GitHub is assumed to count.
"""

from __future__ import annotations

import base64
import csv
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from reposignal_pipeline.sources.star_days import STAR_DAYS, StarDays

Counts = npt.NDArray[np.int32]
Wide = npt.NDArray[np.int64]
T = TypeVar("T")
Dated = tuple[tuple[datetime, T], ...]
"""(start, value) pairs in ascending order; each value holds from its start on"""

SAMPLE_DIR = Path(__file__).parents[2] / "data" / "sample" / "github"
PUBLIC = "public"
STATES = (PUBLIC, "not_found", "forbidden", "blocked", "dmca")
ALWAYS = datetime(1970, 1, 1)
KEPT_HISTORIES = 256
_NEVER_LOWER = np.iinfo(np.int64).max


class Weeks(NamedTuple):
    """Stars still held: row n is the week that begins on Sunday `first` + 7 n, with columns Sunday to Saturday."""

    first: date
    cells: Wide


class Holder(NamedTuple):
    """The repository behind a name; `is_current` is false if the name only redirects to it."""

    repository: Repository
    is_current: bool


def node_id(repo_id: int) -> str:
    """Return the opaque id that GraphQL and REST use for a repository."""
    packed = b"\x92\x00\xce" + repo_id.to_bytes(4, "big")
    return "R_" + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def sunday_of(day: date) -> date:
    """Return the day itself if it is a Sunday, else the last Sunday before it."""
    return day - timedelta(day.isoweekday() % 7)


def at(dated: Dated[T], instant: datetime) -> T:
    """Return the value at `instant`: that of the last entry that has begun, else of the first entry."""
    return dated[max(0, bisect_right(dated, instant, key=lambda entry: entry[0]) - 1)][1]


@cache
def _unevenness() -> Wide:
    """Return cumulative weights of 8,192 days, by which the stars before `first_day` are spread."""
    weights = np.random.Generator(np.random.PCG64(7)).negative_binomial(2, 0.2, 8192) + 1
    return np.concatenate(([0], weights.cumsum()))


@dataclass(eq=False)
class Repository:
    """One repository. `base` is the number of stars held when `first_day` began; the arrays continue day by day.

    `unstarred[e]` stars are taken back on day e, each from the latest earlier day that still holds one. This revises
    the counts of earlier days.
    """

    repo_id: int
    names: Dated[str]
    created_at: datetime
    first_day: date
    base: int
    given: Counts
    unstarred: Counts | None = None
    forks: Counts | int = 0
    """a constant, or one number for the end of each day"""
    issues: int = 0
    pull_requests: int = 0
    language: str | None = None
    topics: tuple[str, ...] = ()
    descriptions: Dated[str | None] = ((ALWAYS, None),)
    license: str | None = None
    pushed_at: datetime | None = None
    push_days: int = 0
    """days between pushes after `pushed_at`; 0 for none"""
    is_archived: bool = False
    is_fork: bool = False
    states: Dated[str] = ((ALWAYS, PUBLIC),)
    node_id: str = field(init=False)
    totals: Counts = field(init=False)
    """at the end of each day"""

    def __post_init__(self) -> None:
        self.node_id = node_id(self.repo_id)
        if self.unstarred is not None and not self.unstarred.any():
            self.unstarred = None
        net = self.given if self.unstarred is None else self.given - self.unstarred
        self.totals = (self.base + net.cumsum(dtype=np.int64)).astype(np.int32)
        if self.unstarred is not None and (self.totals - self.given < 0).any():
            raise ValueError(f"repository {self.repo_id}: more stars are taken back than it holds")
        if self.base and self.days_before <= 0:
            raise ValueError(f"repository {self.repo_id}: has stars from before its creation")
        if self.days_before < 0 and self.given[: -self.days_before].any():
            raise ValueError(f"repository {self.repo_id}: starred before its creation")

    @property
    def days_before(self) -> int:
        """Return the days between the creation and `first_day`."""
        return (self.first_day - self.created_at.date()).days

    def spread_base(self) -> Wide:
        """Return the stars of `base` held at the beginning of each day from the creation to `first_day`."""
        days = max(self.days_before, 0)
        weights = _unevenness()
        start = self.repo_id % 97
        if start + days >= len(weights):
            return self.base * np.arange(days + 1) // max(days, 1)
        window = weights[start : start + days + 1] - weights[start]
        spread: Wide = self.base * window // max(int(window[-1]), 1)
        return spread

    def name(self, instant: datetime) -> str:
        return at(self.names, instant)

    def description(self, instant: datetime) -> str | None:
        return at(self.descriptions, instant)

    def state(self, instant: datetime) -> str:
        return at(self.states, instant) if self.created_at <= instant else "not_found"

    def pushed(self, instant: datetime) -> datetime:
        """Return the time of the last push up to `instant`; the creation counts as a push."""
        last = self.pushed_at or self.created_at
        if last > instant:
            return self.created_at
        if self.push_days:
            last += (instant - last) // timedelta(self.push_days) * timedelta(self.push_days)
        return last

    def forked(self, instant: datetime) -> int:
        if isinstance(self.forks, int):
            return self.forks
        day = (instant.date() - self.first_day).days
        return int(self.forks[min(max(day, 0), len(self.forks) - 1)])


class World:
    """All repositories. The stars of a day are given and taken back at an even rate between two hours of the day.

    Args:
        repositories: all repositories of the world.
        arrive: the two hours, counted from midnight in the zone; a day of 23 hours ends before hour 24.
        zone: time zone of the days in the arrays and in the served histories.

    Raises:
        ValueError: two repositories have the same id.
    """

    def __init__(
        self, repositories: Iterable[Repository], arrive: tuple[int, int] = (1, 23), zone: ZoneInfo = STAR_DAYS.zone
    ) -> None:
        self.repositories = tuple(repositories)
        self.arrive = arrive
        self.days = StarDays(zone, timedelta())
        self.by_id = {repository.repo_id: repository for repository in self.repositories}
        self.by_node_id = {repository.node_id: repository for repository in self.repositories}
        if len(self.by_id) < len(self.repositories):
            raise ValueError("two repositories have the same id")
        self._kept: OrderedDict[tuple[int, datetime], Weeks] = OrderedDict()

    @cached_property
    def _holders(self) -> dict[str, list[tuple[datetime, datetime, Repository]]]:
        """lower-case name -> (start, end, repository) for each repository that has or had the name"""
        holders = defaultdict(list)
        for repository in self.repositories:
            for (since, name), (until, _) in pairwise((*repository.names, (datetime.max, ""))):
                holders[name.lower()].append((since, until, repository))
        return dict(holders)

    def holder(self, full_name: str, instant: datetime) -> Holder | None:
        """Return the holder of a name at `instant`, case-insensitively, else its last holder; None if never used."""
        known = [entry for entry in self._holders.get(full_name.lower(), ()) if entry[0] <= instant]
        known = [entry for entry in known if entry[2].created_at <= instant]
        current = [entry for entry in known if instant < entry[1]]
        if current:  # a name can be reused once its holder is gone
            best = max(current, key=lambda entry: (entry[2].state(instant) != "not_found", entry[0]))
            return Holder(best[2], True)
        if known:
            return Holder(max(known, key=lambda entry: entry[1])[2], False)
        return None

    def total(self, repository: Repository, instant: datetime) -> int:
        """Return the stars held at `instant`."""
        today = (self.days.day_of(instant) - repository.first_day).days
        if today < 0:
            days = (self.days.day_of(instant) - repository.created_at.date()).days
            return int(repository.spread_base()[days]) if days > 0 else 0
        if today >= len(repository.totals):
            return int(repository.totals[-1]) if len(repository.totals) else repository.base
        before = int(repository.totals[today - 1]) if today else repository.base
        taken = 0 if repository.unstarred is None else self._so_far(int(repository.unstarred[today]), instant)
        return before + self._so_far(int(repository.given[today]), instant) - taken

    def held(self, repository: Repository, instant: datetime) -> Weeks:
        """Return the stars still held at `instant` by the day they were given, from the creation week to the current.

        They add up to `total`.
        """
        key = (repository.repo_id, instant)
        if (kept := self._kept.get(key)) is None:
            kept = self._held(repository, instant)
            self._kept[key] = kept
            if len(self._kept) > KEPT_HISTORIES:
                self._kept.popitem(last=False)
        return kept

    def _held(self, repository: Repository, instant: datetime) -> Weeks:
        created_on, today = repository.created_at.date(), self.days.day_of(instant)
        first = sunday_of(min(created_on, self.days.day_of(repository.created_at)))
        cells = np.zeros(((sunday_of(today) - first).days // 7 + 1) * 7, dtype=np.int64)
        offset = (created_on - first).days
        base = repository.spread_base()
        length = (today - repository.first_day).days + 1
        if length <= 0:
            past = np.diff(base[: max((today - created_on).days, 0) + 1])
            cells[offset : offset + len(past)] = past
            return Weeks(first, cells.reshape(-1, 7))

        given = repository.given[:length].astype(np.int64)
        taken = None if repository.unstarred is None else repository.unstarred[:length].astype(np.int64)
        if 0 < length == len(given):  # the arrays end today, and today is not over
            given[-1] = self._so_far(int(given[-1]), instant)
            if taken is not None:
                taken[-1] = self._so_far(int(taken[-1]), instant)
        if taken is not None:
            # Stars form a stack with the youngest on top. `floor` is its height before the stars of a day are added;
            # stars of the day that a later, lower height cuts off are gone.
            floor = repository.base + (given - taken).cumsum() - given
            lowest = np.minimum.accumulate(floor[::-1])[::-1]
            later = np.append(lowest[1:], _NEVER_LOWER)
            given = np.clip(np.minimum(given, later - floor), 0, None)
            base = np.minimum(base, lowest[0])
        past = np.diff(base)
        cells[offset : offset + len(past)] = past
        start = (repository.first_day - first).days
        skipped = max(-start, 0)  # days before the creation week, all zero
        cells[start + skipped : start + len(given)] = given[skipped:]
        return Weeks(first, cells.reshape(-1, 7))

    def _so_far(self, count: int, instant: datetime) -> int:
        """Return how many of a day's `count` have arrived by the hour of `instant`."""
        day = self.days.day_of(instant)
        midnight = self.days.begins_at(day)
        length = self.days.begins_at(day + timedelta(1)) - midnight
        first, last = (min(timedelta(hours=hour), length) for hour in self.arrive)
        return int(count * min(max(instant - midnight - first, timedelta()), last - first) // (last - first))

    @classmethod
    def from_gains(
        cls,
        gains: npt.NDArray[Any],
        first_day: date,
        base: Sequence[int] | int = 0,
        *,
        unstars: npt.NDArray[Any] | None = None,
        full_names: Sequence[str] | None = None,
        created_at: Sequence[datetime] | datetime | None = None,
        languages: Sequence[str | None] = ("Python", "TypeScript", "Go", "Rust", None),
        first_id: int = 1_000_001,
        arrive: tuple[int, int] = (1, 23),
        zone: ZoneInfo = STAR_DAYS.zone,
    ) -> World:
        """Return a world from arrays: `gains` (and `unstars`) of shape (repositories, days), after `base` stars.

        Without `created_at`, repositories with a base are created a year before `first_day`, the others at its start.
        """
        rows = np.asarray(gains, dtype=np.int32)
        less = None if unstars is None else np.asarray(unstars, dtype=np.int32)
        midnight = datetime.combine(first_day, time())
        repositories = []
        for n in range(len(rows)):
            held = base if isinstance(base, int) else int(base[n])
            if created_at is None:
                created = midnight - timedelta(365 if held else 0)
            else:
                created = created_at if isinstance(created_at, datetime) else created_at[n]
            repositories.append(
                Repository(
                    repo_id=first_id + n,
                    names=((ALWAYS, full_names[n] if full_names else f"synthetic-{n // 100}/repo-{n}"),),
                    created_at=created,
                    first_day=first_day,
                    base=held,
                    given=rows[n],
                    unstarred=None if less is None else less[n],
                    forks=held // 10,
                    issues=3 + n % 40,
                    pull_requests=n % 7,
                    language=languages[n % len(languages)],
                    topics=("synthetic", f"theme-{n % 20}"),
                    descriptions=((ALWAYS, f"(synthetic) repository {n}"),),
                    license=("MIT", "Apache-2.0", None)[n % 3],
                    pushed_at=created,
                    push_days=1 + n % 12,
                )
            )
        return cls(repositories, arrive, zone)


def generated_world(n: int, first_day: date, last_day: date, seed: int = 0) -> World:
    """Return a world of `n` repositories as skewed as real ones: 45 % of days without new stars, a few bursts."""
    rng = np.random.default_rng(seed)
    days = (last_day - first_day).days + 1
    rate = np.clip(rng.lognormal(0.0, 1.5, n), 0.02, 400)
    mean = np.repeat(rate[:, None], days, axis=1)
    for burst in rng.integers(0, n, n // 100):
        mean[burst, rng.integers(0, days)] = 50 + 40 * rate[burst]
    gains = rng.negative_binomial(7, 7 / (7 + mean)).astype(np.int32)
    unstars = rng.poisson(np.repeat(0.18 + 0.06 * rate[:, None], days, axis=1)).astype(np.int32)
    unstars[rng.random(n) < 0.1] = 0  # many never lose one
    age = rng.integers(200, 4000, n)
    base = (1000 + rate * age).astype(int)
    created = [datetime.combine(first_day, time(10)) - timedelta(int(days)) for days in age]
    return World.from_gains(gains, first_day, base.tolist(), unstars=unstars, created_at=created)


def sample_world(folder: Path = SAMPLE_DIR) -> World:
    """Return the world of the embedded sample; data/README.md lists which parts are real."""
    with (folder / "stars.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    first_day = date.fromisoformat(header[2])
    stars = {(int(row[0]), row[1]): np.array([int(cell or 0) for cell in row[2:]], np.int32) for row in rows}

    changes: dict[tuple[int, str], list[tuple[datetime, str]]] = defaultdict(list)
    with (folder / "changes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            changes[int(row["repo_id"]), row["what"]].append((datetime.fromisoformat(row["from"]), row["value"]))

    repositories = []
    with (folder / "repositories.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            repo_id = int(row["repo_id"])
            repository = Repository(
                repo_id=repo_id,
                names=((ALWAYS, row["full_name"]), *changes[repo_id, "name"]),
                created_at=datetime.fromisoformat(row["created_at"]),
                first_day=first_day,
                base=int(row["stars_before"]),
                given=stars[repo_id, "given"],
                unstarred=stars.get((repo_id, "unstarred")),
                issues=int(row["issues_open"]),
                pull_requests=int(row["pull_requests_open"]),
                language=row["language"] or None,
                topics=tuple(row["topics"].split()),
                descriptions=((ALWAYS, row["description"]), *changes[repo_id, "description"]),
                license=row["license"] or None,
                pushed_at=datetime.fromisoformat(row["pushed_at"]),
                push_days=int(row["push_days"]),
                is_archived=row["is_archived"] == "true",
                is_fork=row["is_fork"] == "true",
                states=((ALWAYS, PUBLIC), *changes[repo_id, "state"]),
            )
            share = int(row["forks_pct"] or 0)
            forks = np.maximum.accumulate(repository.totals) * share // 100
            repository.forks = int(row["forks"]) if row["forks"] else forks
            repositories.append(repository)
    # A ranking file of the sample includes all stars of the day in its name, as does a total read before the next day
    # begins in the zone. All stars of a day arrive in its first hours, so that both numbers are equal.
    return World(repositories, arrive=(1, 4))
