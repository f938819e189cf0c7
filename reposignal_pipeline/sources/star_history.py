"""Star histories: stars gained by repository and day, one row a week, as GitHub counts the stars still held.

This module plans which pages to request, validates pages and selects the weeks to store. Rate limits and tokens are
handled in `github`, the revisions of a week in dbt.

A page has 30 weeks, newest first; a week begins on Sunday. The count of a day can fall later, because GitHub removes an
unstar from the day of the star. A week is stored again whenever its numbers change, and nothing is overwritten. Days
that were not final when they were read (`star_days`) are stored as read, because a 304 response confirms them later;
until then they count as unknown.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from reposignal_pipeline.sources.discovery import Member
from reposignal_pipeline.sources.github import REFUSED_STATES, QuotaSpentError, TokensRefusedError
from reposignal_pipeline.sources.schemas import GITHUB_BEGAN, STAR_HISTORY, WEEKDAYS, admitted, utc_now
from reposignal_pipeline.sources.star_days import FIRST_ZONE, STAR_DAYS
from reposignal_pipeline.sources.transport import UpstreamError, sort_out

if TYPE_CHECKING:
    from reposignal_pipeline.sources.github import Answer, GitHub

WEEKS_A_PAGE = 30
PAGES = 100
READS_AT_ONCE = 1_000
"""requested concurrently and loaded together: the most that a killed run loses"""
FAILURES_IN_A_ROW = 40
"""A single failure concerns one repository; this many in a row mean that GitHub itself has a problem."""
DAILY_REQUESTS = 2_500
"""request budget of a normal day; repositories that were never read come on top, as far as the quota allows"""
REREAD_DAYS = 7
"""Every repository is read again within a week, even a quiet one: a star and an unstar leave the total unchanged."""

BUSY_STARS = 10_000
"""A repository with this many stars always gains some in 30 weeks: of 1,997 such repositories in the rankings of
2023-01 to 2026-03 none gained fewer than 3; of 801 with 5,000 to 10,000 stars, 2 gained none."""
FEW_STARS = 2
"""stars that may be taken back between the reading of a total and the reading of its history"""

DAY = dt.timedelta(days=1)
Row = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One page to request."""

    repo_id: int
    full_name: str
    page: int
    stars_total: int | None = None
    """last observed total, stored with the reading; if a later total differs, the history is read again"""
    etag: str | None = None
    newest: Row | None = None
    """newest week in the warehouse, from the page with that ETag"""
    is_public: bool = True
    """public at its last observation, so GitHub has no reason to refuse its history"""
    created_on: dt.date | None = None
    held: int = 0
    """stars in the weeks of this page that the warehouse holds"""
    stars_at_read: int | None = None
    """total stored with the last valid reading"""


@dataclass(frozen=True)
class Plan:
    """The pages that a run requests, in order, and the number of repositories left for another day."""

    asks: list[Ask]
    tracked: int
    left_out: int
    in_words: str


@dataclass
class Reads:
    """Rows of three tables, without run and load columns."""

    weeks: list[Row] = field(default_factory=list)
    reads: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)

    def add(self, other: Reads) -> None:
        self.weeks += other.weeks
        self.reads += other.reads
        self.quarantine += other.quarantine


# Readings by earlier versions claim days that had not ended, so the time of a reading also limits what it covers.
# `least` skips NULLs, and a reading that covers nothing has no last day.
_READ_TO = f"case when last_day is not null then least(last_day, {STAR_DAYS.last_known_sql('fetched_at')}) end"

# A repository with a final response today is not requested again today.
_STATE = f"""
    create or replace temp table members as
    select
        given.*,
        state.* exclude (repo_id),
        coalesce(
            asked_on > $today - 1 and last_status not in ('read', 'unchanged', 'unreadable', 'empty', 'wrong_id'), false
        ) as is_settled
    from given left join (
        select
            repo_id,
            max({_READ_TO}) as read_to,
            max(fetched_at)::date as asked_on,
            arg_max(status, fetched_at) as last_status,
            arg_max(etag, fetched_at) filter (page = 1 and last_day is not null) as etag,
            max_by({{'v': stars_total}}, fetched_at).v as stars_at_read,
            max_by({{'v': stars_total}}, fetched_at) filter (status in ('read', 'unchanged')).v as stars_believed
        from pipeline.star_history.star_history_reads semi join given using (repo_id)
        group by repo_id
    ) as state using (repo_id)
"""

# The total that moved most relative to the size of the repository comes first. The oldest readings get a seventh of the
# places, so that repositories that were all read on one day do not all fall due on one day.
_DAILY = """
    with behind as (
        select *, abs(stars_total - stars_at_read) as moved_by
        from members where gone_days = 0 and not is_settled and coalesce(read_to < $last, true)
    ),
    placed as (
        select
            *,
            row_number() over (partition by read_to is null order by read_to, hash(repo_id)) as age_place
        from behind
    ),
    due as (
        select *, read_to is not null and (age_place <= $share or read_to < $last - $reread) as is_due
        from placed
    ),
    ordered as (
        select
            *,
            read_to is null as is_new,
            row_number() over (
                partition by read_to is null
                order by is_due desc, coalesce(moved_by, 0) / sqrt(coalesce(stars_total, 0) + 100) desc, age_place
            ) as place
        from due where read_to is null or is_due or moved_by > 0
    )
    select
        repo_id, full_name,
        -- after a long absence the first page does not reach back far enough
        unnest(range(1, case when is_new then 2 else 2 + ($sunday - read_to) // (7 * $weeks) end)) as page,
        stars_total,
        case when read_to >= $sunday - 7 then etag end as etag,
        case when is_new then 'never read' when is_due then 'due for their weekly reading' else 'whose total moved' end
            as kind
    from ordered where is_new or place <= $budget
    order by page, is_new, place
"""

_BACKFILL = f"""
    with weeks as (
        select week::date as week, ($sunday - week::date) // 7 // $weeks + 1 as page
        from generate_series(
            date_trunc('week', $first + 1)::date - 1, date_trunc('week', $last + 1)::date - 1, interval 7 days
        ) as series (week)
    ),
    wanted as (
        select
            repo_id, full_name, stars_total, read_to, week, page,
            greatest(week, $first, coalesce(created_on, $first)) as want_from,
            least(week + 6, $last) as want_to
        from members, weeks
        where not is_settled and page <= $pages
    ),
    lacking as (
        select * from wanted
        where want_from <= want_to and not exists (
            select 1 from pipeline.star_history.star_history_reads as reads
            where
                reads.repo_id = wanted.repo_id and first_day <= want_from and {_READ_TO} >= want_to
                and reads.fetched_at >= $read_since
        )
    )
    select distinct
        repo_id, full_name, page, stars_total, null as etag, 'with days not read' as kind
    from lacking order by page, repo_id
"""

_NUMBERS = ", ".join(f"'{day}': {day}" for day in WEEKDAYS)
_NEWEST = f"""
    select repo_id, arg_max(
        {{'week': week, 'total': total, 'fetched_at': fetched_at, {_NUMBERS}}}, {{'week': week, 'loaded_at': loaded_at}}
    ) as newest
    from pipeline.star_history.star_history semi join asked using (repo_id) group by repo_id
"""

_HELD = """
    with newest as (
        select repo_id, page, arg_max(total, star_history.loaded_at) as total
        from pipeline.star_history.star_history
        join asked using (repo_id)
        where ($sunday - week) // 7 // $weeks + 1 = page
        group by repo_id, page, week
    ),
    held as (select repo_id, page, sum(total)::bigint as held from newest group by repo_id, page)
    select asked.repo_id, asked.page, coalesce(held.held, 0), members.stars_believed, created_on, gone_days = 0
    from asked join members using (repo_id) left join held using (repo_id, page)
"""

_SAME = " and ".join(f"stored.{day} = read.{day}" for day in WEEKDAYS)
_FRESH = f"""
    with read as (
        select * from weeks_read
        qualify row_number() over (partition by repo_id, week order by fetched_at desc) = 1
    ),
    stored as (
        select * from pipeline.star_history.star_history semi join read using (repo_id, week)
        qualify row_number() over (partition by repo_id, week order by loaded_at desc) = 1
    )
    select read.* replace ($loaded_at as loaded_at) from read anti join stored
        on stored.repo_id = read.repo_id and stored.week = read.week and stored.total = read.total and {_SAME}
        -- the same numbers say more once more of the week's days are known
        and least({STAR_DAYS.last_known_sql("stored.fetched_at")}, stored.week + 6)
        >= least({STAR_DAYS.last_known_sql("read.fetched_at")}, read.week + 6)
    order by week, repo_id
"""


def plan(
    connection: duckdb.DuckDBPyConnection,
    members: Sequence[Member],
    first: dt.date,
    last: dt.date,
    *,
    now: dt.datetime,
    budget: int = DAILY_REQUESTS,
    reread: bool = False,
) -> Plan:
    """Return the plan that reads the days from `first` to `last`, as far as they are known by now.

    For yesterday alone this is a normal day's plan within the budget: repositories that were never read, those that are
    due, then those whose total moved most. For any other range it is a backfill of every missing page.

    Args:
        connection: connection with the raw tables attached as `pipeline`.
        members: the tracked repositories.
        first: first day to read.
        last: last day to read.
        now: instant of the run; its UTC date is the day of the run.
        budget: number of requests for repositories that were read before.
        reread: request every page of the range that was not read today, to detect revisions.
    """
    today = now.date()
    is_normal_day = first == last == today - DAY and not reread
    last = min(last, STAR_DAYS.last_known(now))
    rows = [(m.repo_id, m.full_name, m.stars_total, m.gone_days, m.created_on) for m in members]
    names = {"repo_id": pa.int64(), "full_name": pa.string(), "stars_total": pa.int64(), "gone_days": pa.int64()}
    schema = pa.schema({**names, "created_on": pa.date32()})
    given = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    connection.register("given", given)
    connection.execute(_STATE, {"today": today})
    (made, done) = connection.execute(
        """
        select
            (select count(*) from pipeline.star_history.star_history_reads where fetched_at >= $1),
            (select count(*) from members where read_to >= $2)
        """,
        [today, last],
    ).fetchone() or (0, 0)
    sunday = _sunday_of(STAR_DAYS.day_of(now))
    common = {"last": last, "sunday": sunday, "weeks": WEEKS_A_PAGE}
    if is_normal_day:
        if last < today - DAY:
            # a later run today learns more from the same requests; now only repositories never read are worth one
            budget = 0
        share = max(-(-len(members) // REREAD_DAYS) - done, 0)
        parameters = {"share": share, "reread": REREAD_DAYS - 1, "budget": max(budget - made, 0)} | common
        asked = connection.execute(_DAILY, parameters).to_arrow_table()
    else:
        parameters = {"first": first, "pages": PAGES, "read_since": today if reread else dt.date.min} | common
        asked = connection.execute(_BACKFILL, parameters).to_arrow_table()
    connection.register("asked", asked)
    newest = dict(connection.execute(_NEWEST).fetchall()) if is_normal_day else {}
    known = {
        (repo_id, page): dict(zip(("held", "stars_at_read", "created_on", "is_public"), rest, strict=True))
        for repo_id, page, *rest in connection.execute(_HELD, {"sunday": sunday, "weeks": WEEKS_A_PAGE}).fetchall()
    }
    (left_out,) = connection.execute(
        "select count(*) from members anti join asked using (repo_id) where coalesce(read_to < $1, true)", [last]
    ).fetchone() or (0,)
    pages = asked.to_pylist()
    for name in ("given", "asked"):
        connection.unregister(name)
    asks = []
    for page in pages:
        ask = Ask(page["repo_id"], page["full_name"], page["page"], page["stars_total"])
        ask = replace(ask, **known[ask.repo_id, ask.page])
        if ask.page == 1 and page["etag"] and (week := newest.get(ask.repo_id)):
            ask = replace(ask, etag=page["etag"], newest=week)
        asks.append(ask)
    kinds = Counter({page["repo_id"]: page["kind"] for page in pages}.values())
    by_kind = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    in_words = f"{len(asks):,} pages of repositories: {by_kind or 'none'}; {left_out:,} of {len(members):,} left out"
    return Plan(asks, len(members), left_out, in_words)


def fresh_weeks(connection: duckdb.DuckDBPyConnection, weeks: Sequence[Row], now: dt.datetime) -> pa.Table:
    """Return the weeks that differ from the warehouse, as rows of `star_history`.

    The caller must hold the writer's lock: `loaded_at` increases with each load, even if the clock was set back.
    """
    (before,) = connection.execute(
        "select coalesce(max(loaded_at), timestamp '1970-01-01') from pipeline.star_history.star_history"
    ).fetchone() or (now,)
    loaded_at = max(now, before + dt.timedelta(microseconds=1))
    connection.register("weeks_read", pa.Table.from_pylist(list(weeks), STAR_HISTORY))
    fresh = connection.execute(_FRESH, {"loaded_at": loaded_at}).to_arrow_table().cast(STAR_HISTORY)
    connection.unregister("weeks_read")
    return fresh


async def read(github: GitHub, asks: Sequence[Ask]) -> AsyncIterator[Reads]:
    """Yield the readings of up to `READS_AT_ONCE` pages at a time, in the order of `asks`.

    Raises:
        UpstreamError: the upstream does not respond, its quota is spent, no token is left, or most histories lost their
            stars or were refused. All pages read so far have been yielded by then.
    """
    trouble = _Trouble()
    tally: Counter[str] = Counter()
    for start in range(0, len(asks), READS_AT_ONCE):
        some = asks[start : start + READS_AT_ONCE]
        answers = await asyncio.gather(*(_attempt(github, ask, trouble) for ask in some), return_exceptions=True)
        good, failure = sort_out(answers)
        verdict = _turned_to_zeros(good) or _refused_by_the_endpoint(good, tally, is_given_up=trouble.is_refused)
        together = Reads()
        for _, reads in good:
            together.add(reads)
        yield together
        if verdict:
            raise UpstreamError(verdict)
        if failure:
            raise failure


def _turned_to_zeros(answers: list[tuple[Ask, Reads]]) -> str | None:
    """Quarantine histories that lost their stars while their totals did not; return a message if all are rejected.

    A source can return zeros for all repositories with status 200. Then all histories of the run are rejected.
    """
    judged = [place for place, (ask, reads) in enumerate(answers) if reads.weeks and _is_telling(ask, reads)]
    lost = [place for place in judged if _is_lost(*answers[place])]
    is_run_refused = 2 * len(lost) > len(judged)
    for place in range(len(answers)) if is_run_refused else lost:
        ask, reads = answers[place]
        if not reads.weeks:
            continue
        at = reads.weeks[0]["fetched_at"]
        total, stars = sum(week["total"] for week in reads.weeks), f"{ask.stars_total or 0:,}"
        cause = f"{total:,} stars in {len(reads.weeks)} weeks, {ask.held:,} when last read, while the total is {stars}"
        if place not in lost:
            cause = "most histories of this run lost their stars, so none of them is believed"
        reason = f"{ask.full_name}, page {ask.page}: {cause}"
        aside = {"repo_id": ask.repo_id, "full_name": ask.full_name, "week": None, "reason": reason, "fetched_at": at}
        answers[place] = (ask, Reads(reads=[_reading(ask, "unreadable", at, reason=reason)], quarantine=[aside]))
    if not is_run_refused:
        return None
    return (
        f"star histories turned to zeros: {len(lost):,} of {len(judged):,} lost their stars although their"
        " totals did not; none of these histories is kept"
    )


def _is_telling(ask: Ask, reads: Reads) -> bool:
    """Return whether zeros on this page would contradict the totals or the stored weeks."""
    total = ask.stars_total or 0
    is_whole_life = ask.created_on is not None and ask.created_on >= min(week["week"] for week in reads.weeks)
    is_busy = ask.page == 1 and (is_whole_life or total >= BUSY_STARS)
    return total > FEW_STARS and (ask.held > FEW_STARS or is_busy)


def _is_lost(ask: Ask, reads: Reads) -> bool:
    """Return whether a page lost most of its stars, and the change of the total does not explain it."""
    now, total = sum(week["total"] for week in reads.weeks), ask.stars_total or 0
    if any(reading["status"] == "unchanged" for reading in reads.reads):
        return False
    if ask.held <= FEW_STARS:
        return now == 0 and not reads.quarantine
    explained = max((ask.stars_at_read or total) - total, 0) + FEW_STARS
    return 2 * now < ask.held and ask.held - now > explained and not reads.quarantine


def _refused_by_the_endpoint(answers: list[tuple[Ask, Reads]], tally: Counter[str], *, is_given_up: bool) -> str | None:
    """Return a message if the endpoint refuses most of the public repositories, and mark those as unreadable.

    Such refusals are not about single repositories. Marked as unreadable, they are requested again today.
    """
    refused = []
    for place, (ask, reads) in enumerate(answers):
        if ask.is_public:
            (status, *_) = {reading["status"] for reading in reads.reads} or {"unreadable"}
            tally["refused" if status in REFUSED_STATES else "answered"] += 1
            refused += [place] if status in REFUSED_STATES else []
    if not refused or not (is_given_up or tally["refused"] > tally["answered"]):
        return None
    ask, reads = answers[refused[0]]
    first = f"{ask.full_name} {reads.reads[0]['reason']}"
    for place in refused:
        ask, reads = answers[place]
        at, reason = reads.reads[0]["fetched_at"], f"{reads.reads[0]['reason']}, as most repositories were"
        answers[place] = (ask, Reads(reads=[_reading(ask, "unreadable", at, reason=reason)]))
    return (
        f"star histories are refused for {tally['refused']:,} of {tally.total():,} repositories that are public"
        f" ({first}): the cause is the endpoint, not the repositories"
    )


@dataclass
class _Trouble:
    """Counts consecutive pages that could not be read."""

    in_a_row: int = 0
    last: UpstreamError | None = None
    refused: int = 0
    """pages of these that GitHub refused"""
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FAILURES_IN_A_ROW))
    """limits concurrent pages, so that few requests are wasted once the upstream is given up"""

    @property
    def is_refused(self) -> bool:
        """Return whether the upstream is given up because most pages in a row were refused."""
        return self.in_a_row >= FAILURES_IN_A_ROW and 2 * self.refused > self.in_a_row


async def _attempt(github: GitHub, ask: Ask, trouble: _Trouble) -> tuple[Ask, Reads]:
    """Return the readings of a page; a page that cannot be read gives the status 'unreadable'.

    Raises:
        UpstreamError: a limit is reached, no token is left, or too many pages in a row failed.
    """
    async with trouble.gate:
        if trouble.last and trouble.in_a_row >= FAILURES_IN_A_ROW:
            raise trouble.last
        try:
            reads = await _read(github, ask)
        except (QuotaSpentError, TokensRefusedError):
            raise
        except UpstreamError as error:
            trouble.in_a_row, trouble.last = trouble.in_a_row + 1, error
            return ask, Reads(reads=[_reading(ask, "unreadable", utc_now(), reason=str(error))])
        if reads.weeks or any(reading["status"] == "read" for reading in reads.reads):
            trouble.in_a_row = trouble.refused = 0
        elif ask.is_public:
            trouble.in_a_row += 1
            trouble.refused += reads.reads[0]["status"] in REFUSED_STATES
            trouble.last = UpstreamError(f"{FAILURES_IN_A_ROW} pages in a row {reads.reads[0]['reason']}")
        return ask, reads


async def _read(github: GitHub, ask: Ask) -> Reads:
    # By id, never by name: a history of one page has no Link header, so nothing in the response would reveal that the
    # name now belongs to another repository.
    path = f"/repositories/{ask.repo_id}/stargazers/history"
    params = {"per_page": WEEKS_A_PAGE, "page": ask.page}
    answer = await github.get(path, params, etag=ask.etag)
    if answer.status == 304 and ask.newest:
        confirmed = _confirmed(ask, ask.newest, answer.answered_at)
        if confirmed:
            return confirmed
        answer = await github.get(path, params)
    if answer.status == 200 and _holders(answer) != {ask.repo_id}:
        answer = await github.get(path, params)
    return parse_page(ask, answer)


def _holders(answer: Answer) -> set[int]:
    """Return the repository ids in the URL of the response and in its links to other pages."""
    found = (re.search(r"/repositories/(\d{1,18})/", address) for address in (answer.url, *answer.links.values()))
    return {int(match.group(1)) for match in found if match}


def _confirmed(ask: Ask, newest: Row, at: dt.datetime) -> Reads | None:
    """Return the newest week as confirmed by a 304 response; None if other weeks have days that are known only now."""
    last = STAR_DAYS.last_known(at)
    has_begun_since = last > newest["week"] + 6 * DAY
    # the page was read after the end of a week, but before the slack had passed
    was_unknown_before = STAR_DAYS.last_known(newest["fetched_at"]) < newest["week"] - DAY
    if has_begun_since or was_unknown_before:
        return None
    week = {**newest, "repo_id": ask.repo_id, "fetched_at": at}
    return Reads([week], [_reading(ask, "unchanged", at, newest["week"], last, etag=ask.etag)])


def _sunday_of(day: dt.date) -> dt.date:
    """Return the day itself or the last Sunday before it."""
    return day - DAY * (day.isoweekday() % 7)


def parse_page(ask: Ask, answer: Answer) -> Reads:
    """Return the good weeks of a page, its quarantined weeks, and a reading for each span of days that it covers."""
    at = answer.answered_at
    if answer.refusal:
        return Reads(reads=[_reading(ask, answer.refusal, at, reason=f"answered {answer.status}")])
    if answer.status != 200 or not isinstance(answer.content, list):
        reason = "still computing" if answer.status == 202 else f"answered {answer.status}, not a list of weeks"
        return Reads(reads=[_reading(ask, "unreadable", at, reason=reason)])
    holders = _holders(answer)
    if holders != {ask.repo_id}:
        named = ", ".join(map(str, sorted(holders - {ask.repo_id})))
        reason = f"the answer is about repository {named}" if named else "the answer does not name the repository"
        return Reads(reads=[_reading(ask, "wrong_id", at, reason=reason)])
    # A day counts as begun if it has begun in the first time zone. So if GitHub counted by another zone than the
    # configured one, its weeks would still be read, and `ops_star_day_edge` would show the difference.
    begun = (at + FIRST_ZONE).date()
    if not answer.content:
        if ask.page == 1:
            return Reads(reads=[_reading(ask, "empty", at, reason="an empty first page: no weeks, not no stars")])
        newest = _sunday_of(STAR_DAYS.day_of(at)) - 7 * DAY * WEEKS_A_PAGE * (ask.page - 1)
        return Reads(
            reads=[
                _reading(ask, "read", at, newest - 7 * DAY * (WEEKS_A_PAGE - 1), newest + 6 * DAY, reason="no weeks")
            ]
        )
    result = Reads()
    good: list[dt.date] = []
    for entry in answer.content:
        week, days, wrong = _week(entry, begun, ask.created_on)
        if wrong:
            result.quarantine.append(
                {
                    "repo_id": ask.repo_id,
                    "full_name": ask.full_name,
                    "week": week,
                    "reason": f"{ask.full_name}, page {ask.page}, week {week or '?'}: {wrong}",
                    "row_text": str(entry)[:1_000],
                    "fetched_at": at,
                }
            )
        if week and days:
            row = {"repo_id": ask.repo_id, "week": week, "total": sum(days), "fetched_at": at}
            result.weeks.append(row | dict(zip(WEEKDAYS, days, strict=True)))
            good.append(week)
    # quarantined weeks are not covered, so they are requested again
    etag = answer.etag if not result.quarantine else None
    spans = _spans(sorted(set(good)))
    for begin, end in spans:
        last = min(end + 6 * DAY, STAR_DAYS.last_known(at))
        result.reads.append(_reading(ask, "read", at, begin, last, etag=etag if end == max(good) else None))
    if not spans:
        result.reads.append(_reading(ask, "unreadable", at, reason=result.quarantine[0]["reason"]))
    return result


def _week(
    entry: Any, begun_by: dt.date, created_on: dt.date | None
) -> tuple[dt.date | None, list[int] | None, str | None]:
    """Return (week, stars by day, error); both stars and error are given if only days to come are wrong."""
    at = entry.get("week") if isinstance(entry, dict) else None
    if type(at) is not int or not 0 <= at < 2**53:
        return None, None, "no week"
    moment = dt.datetime.fromtimestamp(min(at, 4_000_000_000), dt.UTC).replace(tzinfo=None)
    if moment.time() != dt.time():  # GitHub's week stamps are UTC instants, its days are those of the zone
        moment = STAR_DAYS.local(moment)
    week, days = moment.date(), entry.get("days")
    if wrong := _misplaced(moment, begun_by, created_on) or _miscounted(days, entry.get("total")):
        return week, None, wrong
    begun = (begun_by - week).days + 1
    if begun < 7 and any(days[begun:]):
        return week, days[:begun] + [0] * (7 - begun), "stars on days to come"
    return week, days, None


def _misplaced(moment: dt.datetime, begun_by: dt.date, created_on: dt.date | None) -> str | None:
    week = moment.date()
    if moment.time() != dt.time() or week.isoweekday() != 7:
        return f"a week that does not begin on a Sunday at 00:00, neither in UTC nor in {STAR_DAYS.zone.key}"
    if week > begun_by:
        return "a week to come"
    # GitHub's days may differ from UTC days by up to a day
    if week + 7 * DAY < max(created_on or GITHUB_BEGAN, GITHUB_BEGAN):
        return f"a week before {'the repository' if created_on else 'GitHub'} began"
    return None


def _miscounted(days: Any, total: Any) -> str | None:
    if not isinstance(days, list) or len(days) != 7 or None in days:
        return "not seven counts"
    counts = dict(zip(WEEKDAYS, days, strict=True))
    if refused := admitted(STAR_HISTORY, counts)[1]:
        return f"not seven counts: {'; '.join(refused.values())}"
    if type(total) is not int or sum(days) != total:
        return f"the days add up to {sum(days):,}, the total is {ascii(total)[:20]}"
    if refused := admitted(STAR_HISTORY, {"total": total})[1]:
        return refused["total"]
    return None


def _spans(weeks: Sequence[dt.date]) -> list[tuple[dt.date, dt.date]]:
    """Return (first, last) of each run of successive weeks."""
    spans: list[tuple[dt.date, dt.date]] = []
    for week in weeks:
        if spans and week - spans[-1][1] == 7 * DAY:
            spans[-1] = (spans[-1][0], week)
        else:
            spans.append((week, week))
    return spans


def _reading(
    ask: Ask,
    status: str,
    at: dt.datetime,
    first: dt.date | None = None,
    last: dt.date | None = None,
    *,
    etag: str | None = None,
    reason: str | None = None,
) -> Row:
    is_span = first is not None and last is not None and first <= last
    return {
        "repo_id": ask.repo_id,
        "full_name": ask.full_name,
        "page": ask.page,
        "status": status,
        "first_day": first if is_span else None,
        "last_day": last if is_span else None,
        "etag": etag,
        "stars_total": ask.stars_total,
        "reason": reason,
        "fetched_at": at,
    }
