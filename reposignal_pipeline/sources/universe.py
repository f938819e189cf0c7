"""One daily cycle of the tracked repositories: entries, exits, and an observation of every member.

This module reads the known state from the warehouse and sets the order of requests. Batches are requested in
`repositories`; the rules that assign places are in `discovery`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import duckdb

from reposignal_pipeline.sources.discovery import (
    GONE_DAYS,
    RANKINGS,
    WATCHLIST,
    Candidate,
    Change,
    Member,
    Rule,
    changes,
    search,
)
from reposignal_pipeline.sources.names import FULL_NAME
from reposignal_pipeline.sources.repositories import Asked, Lookups, Row, observe
from reposignal_pipeline.sources.transport import UpstreamError

if TYPE_CHECKING:
    from reposignal_pipeline.sources.github import GitHub

SWEEP_DAYS = 7
NAMES_A_DAY = 2_500
"""names resolved per day, in 25 queries: enough for a full set of rankings lists in two days"""
RANKINGS_DAYS = 14
"""maximum age of a rankings list that proposes repositories"""
ASK_AGAIN_DAYS = 7
"""days before a name that did not resolve is requested again"""
LOOK_BACK_DAYS = GONE_DAYS
"""look-back for observations: as long as a member may be gone before it leaves"""

Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class State:
    """The state of the warehouse before a cycle."""

    day: dt.date
    members: list[Member]
    answered: dict[int, str]
    """repo_id -> state, for repositories already observed on the day; an interrupted run continues with the others"""
    names: dict[str, Candidate | None]
    """lower-case name -> the repository that last resolved from it; None if it recently resolved to none"""
    watched: dict[str, Candidate]
    """lower-case name -> the repository it referred to when last requested; that may have a new name by now"""
    asked_today: frozenset[str]
    """lower-case names that a run of the same day has requested"""
    ranked: list[str]
    """names on the newest rankings lists, most stars first"""
    is_sweep_due: bool


@dataclass
class Outcome:
    """The result of a cycle; complete once the cycle has ended, also when it ended with an error."""

    tracked: set[int] = field(default_factory=set)
    answers: dict[int, str] = field(default_factory=dict)
    """repo_id -> state observed on the day, by this run or an earlier one"""
    entered: int = 0
    left: int = 0
    gaps: list[str] = field(default_factory=list)
    """messages about what could not be determined"""
    is_swept: bool = False
    failure: str | None = None
    """why the cycle ended before every member was requested"""

    @property
    def states(self) -> Counter[str]:
        """Return the number of members by state."""
        return Counter(self.answers[repo_id] for repo_id in self.tracked & self.answers.keys())

    @property
    def answered(self) -> int:
        """Return how many members have a readable observation."""
        return sum(self.states.values()) - self.states["unreadable"]

    @property
    def status(self) -> str:
        """Return 'observed', 'partial' or 'not_observed'."""
        if self.failure is None and self.answered == len(self.tracked):
            return "observed"
        return "partial" if self.answered else "not_observed"

    @property
    def reason(self) -> str | None:
        """Return why some members have no readable observation; None if all have one."""
        if self.status == "observed":
            return None
        causes = [self.failure] if self.failure else []
        unreadable = self.states["unreadable"]
        if missed := len(self.tracked) - self.answered - unreadable:
            causes.append(f"{missed:,} of {len(self.tracked):,} not reached")
        if unreadable:
            causes.append(f"{unreadable:,} answers could not be read")
        return "; ".join(causes)


def state(connection: duckdb.DuckDBPyConnection, day: dt.date) -> State:
    """Return the state before the cycle of `day`; `connection` must have the raw tables attached as `pipeline`."""
    answered = connection.execute(
        "select repo_id, max_by(state, observed_at) from pipeline.repositories.repositories"
        " where day = ? and state <> 'unreadable' and repo_id is not null group by repo_id",
        [day],
    ).fetchall()
    asked_today = connection.execute(
        "select distinct lower(asked_name) from pipeline.repositories.repositories"
        " where day = ? and asked_name is not null and state <> 'unreadable'",
        [day],
    ).fetchall()
    (swept_on,) = connection.execute(
        "select max(day) from pipeline.repositories.repositories_days where is_swept and day <= ?", [day]
    ).fetchone() or (None,)
    return State(
        day=day,
        members=members(connection, day),
        answered=dict(answered),
        names=_names(connection, day),
        watched=_watched(connection, day),
        asked_today=frozenset(name for (name,) in asked_today),
        ranked=_ranked(connection, day),
        is_sweep_due=swept_on is None or (day - swept_on).days >= SWEEP_DAYS,
    )


def members(connection: duckdb.DuckDBPyConnection, day: dt.date) -> list[Member]:
    """Return the members as of `day`, ordered by repo_id."""
    rows = connection.execute(
        """
        with newest as (
            select * from pipeline.repositories.universe_changes where day <= $day
            qualify row_number() over (partition by repo_id order by day desc, change = 'left' desc) = 1
        ),
        members as (select * exclude (day) from newest where change = 'entered'),
        seen as (
            select
                repo_id,
                max_by(full_name, observed_at) filter (state = 'public') as full_name,
                max_by(node_id, observed_at) filter (state = 'public') as node_id,
                max_by(stars_total, observed_at) filter (state = 'public') as stars_total,
                max_by(created_at, observed_at) filter (state = 'public')::date as created_on,
                count(distinct day) filter (state not in ('public', 'unreadable')) as days_gone,
                max(day) filter (state = 'public') as last_public
            from pipeline.repositories.repositories semi join members using (repo_id)
            where day between $day - $look_back::integer and $day
            group by repo_id
        ),
        gone as (
            select repo_id, count(distinct day) as days
            from pipeline.repositories.repositories join seen using (repo_id)
            where
                repositories.day between $day - $look_back::integer and $day
                and repositories.state not in ('public', 'unreadable')
                and repositories.day > coalesce(last_public, date '1970-01-01')
                and days_gone > 0
            group by repo_id
        )
        select
            repo_id, coalesce(seen.node_id, members.node_id), coalesce(seen.full_name, members.full_name),
            via, stars_total, coalesce(gone.days, 0), created_on
        from members left join seen using (repo_id) left join gone using (repo_id)
        order by repo_id
        """,
        {"day": day, "look_back": LOOK_BACK_DAYS},
    ).fetchall()
    return [Member(*row) for row in rows]


def _names(connection: duckdb.DuckDBPyConnection, day: dt.date) -> dict[str, Candidate | None]:
    silent = connection.execute(
        """
        select distinct lower(asked_name) from pipeline.repositories.repositories
        where state <> 'public' and repo_id is null and day > $day::date - $days::integer and day <= $day
        """,
        {"day": day, "days": ASK_AGAIN_DAYS},
    ).fetchall()
    answered = connection.execute(
        """
        with answers as (
            select * from pipeline.repositories.repositories
            where state = 'public' and day between $day::date - $look_back::integer and $day
        ),
        newest as (
            select * from answers qualify row_number() over (partition by repo_id order by observed_at desc) = 1
        ),
        -- the old name of a moved repository is trusted only until another repository may have taken it
        names as (
            select lower(full_name) as name, repo_id, observed_at from newest
            union all
            select lower(asked_name), repo_id, observed_at from answers
            where asked_name is not null and day > $day::date - $days::integer
        )
        select names.name, repo_id, newest.node_id, newest.full_name, newest.stars_total, newest.created_at
        from names join newest using (repo_id) order by names.observed_at
        """,
        {"day": day, "look_back": LOOK_BACK_DAYS, "days": ASK_AGAIN_DAYS},
    ).fetchall()
    names: dict[str, Candidate | None] = dict.fromkeys(name for (name,) in silent)
    for name, repo_id, node_id, full_name, stars_total, created_at in answered:
        names[name] = Candidate(repo_id, node_id, full_name, stars_total, created_at, WATCHLIST)
    return names


def _watched(connection: duckdb.DuckDBPyConnection, day: dt.date) -> dict[str, Candidate]:
    """Return the repository that each name referred to when last requested, unless that repository is gone.

    The watchlist refers to repositories, not names: a repository that is renamed keeps its place, even if another
    repository takes its old name.
    """
    rows = connection.execute(
        """
        with seen as (
            select * from pipeline.repositories.repositories where day <= $day and repo_id is not null
        ),
        bound as (
            select lower(asked_name) as name, max_by(repo_id, observed_at) as repo_id
            from seen where asked_name is not null and state = 'public' group by 1
        ),
        newest as (
            select
                repo_id,
                max_by(node_id, observed_at) filter (state = 'public') as node_id,
                max_by(full_name, observed_at) filter (state = 'public') as full_name,
                max_by(stars_total, observed_at) filter (state = 'public') as stars_total,
                max_by(created_at, observed_at) filter (state = 'public') as created_at,
                count(distinct day) filter (
                    state not in ('public', 'unreadable') and day > last_public
                ) as days_gone
            from (
                select
                    seen.*, max(day) filter (state = 'public') over (partition by repo_id) as last_public
                from seen semi join bound using (repo_id)
            )
            group by repo_id
        )
        select name, repo_id, node_id, full_name, stars_total, created_at
        from bound join newest using (repo_id) where days_gone < $most
        """,
        {"day": day, "most": GONE_DAYS},
    ).fetchall()
    return {
        name: Candidate(repo_id, node_id, full_name, stars_total, created_at, WATCHLIST)
        for name, repo_id, node_id, full_name, stars_total, created_at in rows
    }


def _ranked(connection: duckdb.DuckDBPyConnection, day: dt.date) -> list[str]:
    rows = connection.execute(
        """
        select any_value(username || '/' || repo_name) as full_name
        from pipeline.rankings.rankings
        where snapshot_date = (
            select max(snapshot_date) from pipeline.rankings.rankings_days
            where status = 'observed' and snapshot_date between $day::date - $days::integer and $day
        )
        group by lower(username || '/' || repo_name)
        order by max(stars) desc, full_name
        """,
        {"day": day, "days": RANKINGS_DAYS},
    ).fetchall()
    return [name for (name,) in rows if FULL_NAME.fullmatch(name)]


async def cycle(
    github: GitHub, known: State, outcome: Outcome, *, rules: Sequence[Rule], watchlist: Sequence[str], size: int
) -> AsyncIterator[Tables]:
    """Yield rows by table as they arrive, without day, run and load columns, and update `outcome`.

    An upstream failure ends the cycle and is recorded in `outcome`; rows that were already yielded remain valid.
    """
    try:
        async for tables in _cycle(github, known, outcome, rules=rules, watchlist=watchlist, size=size):
            yield tables
    except UpstreamError as error:
        outcome.failure = str(error)


async def _cycle(
    github: GitHub, known: State, outcome: Outcome, *, rules: Sequence[Rule], watchlist: Sequence[str], size: int
) -> AsyncIterator[Tables]:
    outcome.tracked = {member.repo_id for member in known.members}
    outcome.answers = dict(known.answered)
    lookups = Lookups()
    names, watched = dict(known.names), dict(known.watched)
    silent = {name for name, candidate in names.items() if candidate is None}
    unknown = [name for name in watchlist if name.lower() not in watched and name.lower() not in silent]
    # without a token there are 60 requests an hour: they are reserved for the watchlist
    room = max(size - len(known.members) - len(unknown), 0) if github.has_tokens else 0
    unknown += [name for name in known.ranked if name.lower() not in names][: min(room, NAMES_A_DAY)]
    async for rows in observe(github, [Asked(name) for name in dict.fromkeys(unknown)], lookups):
        for row in rows:
            if row["state"] == "public":
                candidate = Candidate(
                    row["repo_id"], row["node_id"], row["full_name"], row["stars_total"], row["created_at"], WATCHLIST
                )
                # the requested name may be a former name of the repository
                names[row["full_name"].lower()] = names[row["asked_name"].lower()] = candidate
                watched[row["asked_name"].lower()] = candidate
                outcome.answers[row["repo_id"]] = "public"
        yield {"repositories": rows}

    wanted = [
        replace(known_as, via=via)
        for via, put_forward, candidates in ((WATCHLIST, watchlist, watched), (RANKINGS, known.ranked, names))
        for name in put_forward
        if (known_as := candidates.get(name.lower()))
    ]
    if known.is_sweep_due and github.has_tokens:
        found = await search(github, rules, size, known.day)
        outcome.gaps += found.gaps
        outcome.is_swept = found.is_swept
        wanted += found.candidates
    changed = changes(known.members, wanted, size, is_swept=outcome.is_swept)
    outcome.entered = sum(change.change == "entered" for change in changed)
    outcome.left = len(changed) - outcome.entered
    if changed:
        yield {"universe_changes": [vars(change).copy() for change in changed]}

    gone = {change.repo_id for change in changed if change.change == "left"}
    tracked = [
        Asked(one.full_name, one.repo_id, one.node_id, None if one.gone_days else one.stars_total)
        for one in known.members
        if one.repo_id not in gone
    ]
    tracked += [
        Asked(change.full_name, change.repo_id, change.node_id) for change in changed if change.change == "entered"
    ]
    outcome.tracked = {one.repo_id for one in tracked if one.repo_id}
    async for rows in observe(github, [one for one in tracked if one.repo_id not in outcome.answers], lookups):
        outcome.answers.update((row["repo_id"], row["state"]) for row in rows)
        yield {"repositories": rows}

    # A watched repository that is gone may have been recreated under its name. The total of a day cannot be read later,
    # so the name is requested at once.
    left_behind = [
        name
        for name in dict.fromkeys(watchlist)
        if (was := watched.get(name.lower()))
        and outcome.answers.get(was.repo_id, "public") not in ("public", "unreadable")
        and name.lower() not in known.asked_today
    ]
    async for rows in observe(github, [Asked(name) for name in left_behind], lookups):
        entered = [
            Change(row["repo_id"], row["node_id"], row["full_name"], "entered", WATCHLIST, "named in the watchlist")
            for row in rows
            if row["state"] == "public" and row["repo_id"] not in outcome.tracked
        ]
        outcome.entered += len(entered)
        outcome.tracked |= {change.repo_id for change in entered}
        outcome.answers.update((row["repo_id"], "public") for row in rows if row["state"] == "public")
        yield {"universe_changes": [vars(change).copy() for change in entered], "repositories": rows}
