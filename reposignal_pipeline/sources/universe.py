"""One cycle of the tracked universe: who enters and leaves, and an observation of every member.

Here: what the warehouse knows of the members, and the order in which a cycle asks. Not here: how a batch is asked for
(`repositories`), by which rules places are given (`discovery`).
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
"""resolved by name, 25 queries: a full set of rankings lists in two days"""
RANKINGS_DAYS = 14
"""how old a list may be to put a repository forward"""
ASK_AGAIN_DAYS = 7
"""after a name did not answer"""
LOOK_BACK_DAYS = GONE_DAYS
"""how far back an observation is looked for: as long as a member may be gone before it leaves"""

Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class State:
    """What the warehouse knows before a cycle."""

    day: dt.date
    members: list[Member]
    answered: dict[int, str]
    """repositories that have an answer for the day already, and its state: a run cut short goes on with the others"""
    names: dict[str, Candidate | None]
    """lower-case name -> who answered to it last; None if nobody did of late"""
    watched: dict[str, Candidate]
    """lower-case name -> who it meant when it was last asked for, however long ago, and under whatever name now"""
    asked_today: frozenset[str]
    """lower-case names that were asked for in a run of the same day"""
    ranked: list[str]
    """names on the newest rankings lists, most stars first"""
    is_sweep_due: bool


@dataclass
class Outcome:
    """What a cycle did; complete once it has ended, be it by an error."""

    tracked: set[int] = field(default_factory=set)
    answers: dict[int, str] = field(default_factory=dict)
    """repository -> state of its answer for the day, of this run or of one before it"""
    entered: int = 0
    left: int = 0
    gaps: list[str] = field(default_factory=list)
    """what was not found out, in words"""
    is_swept: bool = False
    failure: str | None = None
    """why the cycle ended before it had asked for every member"""

    @property
    def states(self) -> Counter[str]:
        """Return how many members are in which state."""
        return Counter(self.answers[repo_id] for repo_id in self.tracked & self.answers.keys())

    @property
    def answered(self) -> int:
        """Return how many members have an answer that could be read."""
        return sum(self.states.values()) - self.states["unreadable"]

    @property
    def status(self) -> str:
        """Return 'observed', 'partial' or 'not_observed'."""
        if self.failure is None and self.answered == len(self.tracked):
            return "observed"
        return "partial" if self.answered else "not_observed"

    @property
    def reason(self) -> str | None:
        """Return why not every member has an answer, in words."""
        if self.status == "observed":
            return None
        told = [self.failure] if self.failure else []
        unreadable = self.states["unreadable"]
        if missed := len(self.tracked) - self.answered - unreadable:
            told.append(f"{missed:,} of {len(self.tracked):,} not reached")
        if unreadable:
            told.append(f"{unreadable:,} answers could not be read")
        return "; ".join(told)


def state(connection: duckdb.DuckDBPyConnection, day: dt.date) -> State:
    """Return what the warehouse knows before the cycle of `day`; `connection` has the raw tables as `pipeline`."""
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
    """Return the members as of `day`, by id."""
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
        -- a repository that moved away answers to its old name only for as long as nobody else may have taken it
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
    """Return who each name meant when it was last asked for, unless that repository is gone and has left.

    The watchlist names a repository, not a name: one that moves keeps its place, whoever takes its name.
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
    """Yield rows by table, without their day, run and load, as they come in; `outcome` grows with them.

    An upstream that answers no more ends the cycle and is told in `outcome`; what was yielded stands.
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
    # without a token there are 60 requests an hour: they go to whom the user names
    room = max(size - len(known.members) - len(unknown), 0) if github.has_tokens else 0
    unknown += [name for name in known.ranked if name.lower() not in names][: min(room, NAMES_A_DAY)]
    async for rows in observe(github, [Asked(name) for name in dict.fromkeys(unknown)], lookups):
        for row in rows:
            if row["state"] == "public":
                candidate = Candidate(
                    row["repo_id"], row["node_id"], row["full_name"], row["stars_total"], row["created_at"], WATCHLIST
                )
                # asked for under a name that it had before
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

    # A watched repository that is gone may have been made anew under its name. The total of a day cannot be read later,
    # so the name is asked for at once.
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
