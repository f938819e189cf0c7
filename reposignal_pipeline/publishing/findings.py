"""Selects the facts of the weekly article, with the query behind each number.

The selection rules are constants with their reasons, and queries on the published tables. The wording is in
`templates/article.j2`; `publishing.article` builds the document.

Every number is the result of the query that readers get; nothing is computed outside of it. Queries use only days up to
the last day of the week and outcomes settled by then. They contain literals instead of parameters, so readers can run
them unchanged.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import duckdb

from reposignal_pipeline.analysis.clusters import COHERENT
from reposignal_pipeline.analysis.forecast import CALL, EVENT, SHIPPED
from reposignal_pipeline.publishing import article, numbers
from reposignal_pipeline.publishing.article import Cluster, Language, Number, ProseError, Quote, Repo, Term

Facts = dict[str, Any]
Form = Callable[[float], str]

MOST_ITEMS = 3
"""items of a kind in the article; the tables have all"""

LEAST_REPOS = 2
"""repositories in the top 50 that a language needs for its own line: with one of 50, the share may be up to a tenth"""
MOST_LINES = 6
"""languages with their own line"""
NAMED = 8
"""repositories of a language that are named: two lines of print"""
MOVED = 2
"""least change of a language's number of repositories in the top 50 that is reported; 1 is a single repository"""
LEAST_IN_VERTICALS = 3
"""least number of repositories in verticals for which the reach of a language is reported"""
MOST_BY_NAME = 6
"""up to this many repositories in verticals are named, because a share of so few means little"""

STEADY = 0.4
"""least share of days above the expected change; noise around a steady pace gives slightly less than half"""
BEST_DAY = 0.12
"""largest share of the stars of 28 days on the best day: an even flow has 0.04, with noise about 0.07, a burst more"""
EVEN = 1.5
"""largest ratio, either way, of the growth of this month to that of the year"""
LEAST_READINGS = 20
"""least number of readings in 28 days; with fewer, a burst could be missed"""
SIZES = (
    ("above fifty thousand stars", 50_000, 1_000_000_000),
    ("from ten to fifty thousand stars", 10_000, 50_000),
    ("below ten thousand stars", 0, 10_000),
)
"""one list per size, because stars a day increase with size and the largest would crowd out the rest"""

CLOSE = 0.03
"""least missing share of a threshold; closer than that, or almost certain, a forecast is no news"""
CERTAIN = 0.99

GAINERS = 10
"""top repositories of the week by stars gained, as in a list of trending repositories"""
BURST = 0.25
"""least share of the stars of 28 days on the best day of a burst: the stars of seven days in one"""
FADING = 0.5
"""largest share of the mean pace of the week that remains on its last day, at the end of a burst"""
LARGEST = 10
"""repositories with the highest totals, which are generally known"""
APART = 0.1
"""least difference between a language's shares of the stars gained and of the top 50 that is reported"""

UNSEEN = 0.1
"""a crossing with a lower forecast probability counts as not foreseen"""

IS_COHERENT = f"coalesce(coherence >= {COHERENT}, true)"
"""of a row of fct_cluster_week; a cluster that cannot be judged is not left out"""
STATUSES = ("forming", "growing", "consolidating", "shrinking")
SOURCES = {
    "rankings": "the ranking files",
    "repositories": "GitHub's own totals",
}
"""sources of totals, on which the article is based; histories and the archive still gain data of a day later"""
STATES = {
    "partial": "read in part",
    "not_observed": "not observed",
    "missing": "never published",
    "refused": "refused",
    "not_loaded": "not loaded",
}


def findings(connection: duckdb.DuckDBPyConnection, week: dt.date) -> tuple[dt.date | None, Facts]:
    """Return (day of the last reading of a week or None, the variables of the article template)."""
    desk = Desk(connection, week)
    facts: Facts = {"week": week, "as_of": desk.as_of, "gaps": _gaps(desk)}
    if desk.as_of is None:
        return None, facts
    return desk.as_of, facts | {
        "weekday": Term(f"{desk.as_of:%A}"),
        "is_whole": desk.as_of == desk.last,
        "read": desk.number("repos", article.count, f"select count(*) {desk.trends}"),
        "languages": _languages(desk),
        "clusters": _clusters(desk),
        "growers": _growers(desk),
        "calls": _calls(desk),
        "contrary": {"fading": _fading(desk), "largest": _largest(desk), "language": _language_apart(desk)},
        "grades": _grades(desk),
        "coverage": _coverage(desk),
    }


def first_week(connection: duckdb.DuckDBPyConnection) -> dt.date | None:
    """Return the first week with a reading; None if there is none."""
    row = connection.execute("select min(week) from weekly_repo_trends").fetchone()
    return row[0] if row else None


def literal(value: object) -> str:
    """Return a value as an SQL literal."""
    if isinstance(value, dt.date):
        return f"date '{value}'"
    if isinstance(value, int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


class Desk:
    """Queries on the tables of one week."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, week: dt.date) -> None:
        self.connection = connection
        self.week = week
        self.last = week + dt.timedelta(days=6)
        self.of_week = f"week = {literal(week)}"
        self.in_week = f"between {literal(week)} and {literal(self.last)}"
        self.trends = f"from weekly_repo_trends where {self.of_week}"
        self.known: dict[str, float] = {}
        self.as_of: dt.date | None = self.rows(f"select max(as_of_date) as day {self.trends}")[0]["day"]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        cursor = self.connection.execute(sql)
        names = [name for name, *_ in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def number(self, name: str, form: Form, sql: str) -> Number:
        """Return a number with the query that gave it.

        Raises:
            ProseError: the query returns no finite number; unknown values must not be reported.
        """
        if sql not in self.known:
            rows = self.connection.execute(sql).fetchall()
            if len(rows) != 1 or rows[0][0] is None or not math.isfinite(rows[0][0]):
                raise ProseError(f"no number: {sql}")
            self.known[sql] = float(rows[0][0])
        return Number(name, sql, self.known[sql], form(self.known[sql]))

    def count_of(self, name: str, source: str) -> Number | None:
        """Return the number of rows of `source`; None if there is none."""
        number = self.number(name, article.count, f"select count(*) {source}")
        return number if number.value else None

    @cached_property
    def descriptions(self) -> dict[int, str]:
        """Repository -> its description on the last day of the week, where it has one."""
        rows = self.connection.execute(
            f"select repo_key, description from dim_repo where {_valid(self)} and trim(description) <> ''"
        ).fetchall()
        return dict(rows)

    def subject(self, row: dict[str, Any]) -> Facts:
        """Return a repository and, where its description is known, what it says it is."""
        description = self.descriptions.get(row["repo_key"])
        return {"repo": _repo(row), "what": Quote(description) if description else None}

    def trend(self, repo_key: int, column: str, form: Form) -> Number:
        """Return a weekly number of a repository."""
        return self.number(column, form, f"select {column} {self.trends} and repo_key = {repo_key}")

    def signal(self, repo_key: int, day: dt.date, column: str, form: Form) -> Number:
        """Return a daily number of a repository."""
        of = f"from fct_repo_signal_day where day = {literal(day)} and repo_key = {repo_key}"
        return self.number(column, form, f"select {column} {of}")

    def forecast(self, repo_key: int) -> Facts | None:
        """Return the forecasts for a repository of the Monday after the week: the next threshold and further ones."""
        found = self.rows(
            f"""
            select repo_key, issued_on, due_on, threshold, full_name from fct_forecast
            where {self.of_week} and repo_key = {repo_key}
            order by threshold
            """
        )
        if not found:
            return None
        further = [self.forecast_numbers(row) for row in found[1:]]
        return self.forecast_numbers(found[0]) | {"due_on": found[0]["due_on"], "further": further}

    def forecast_numbers(self, row: dict[str, Any]) -> Facts:
        """Return the numbers of a row of `fct_forecast`."""
        of = (
            f"from fct_forecast where issued_on = {literal(row['issued_on'])}"
            f" and repo_key = {row['repo_key']} and threshold = {row['threshold']}"
        )
        return {
            "repo": _repo(row),
            "threshold": self.number("threshold", article.count, f"select threshold {of}"),
            "probability": self.number("probability", numbers.probability, f"select probability {of}"),
            "days": self.number("horizon_days", article.count, f"select horizon_days {of}"),
            "total": self.number("stars_total", article.count, f"select stars_total {of}"),
        }


def _repo(row: dict[str, Any]) -> Repo:
    return Repo(row["repo_key"], row["full_name"])


def _language(language: str) -> Language | Term:
    return Term("no language") if language == "none" else Language(language)


# --- languages


def _languages(desk: Desk) -> Facts:
    top = f"from weekly_language_trends where {desk.of_week}"
    found = desk.rows(
        f"select language, top50_repos, top50_share_low, top50_share_high {top} and top50_repos > 0"
        " order by top50_repos desc, language"
    )
    several = [row["language"] for row in found if row["top50_repos"] >= LEAST_REPOS][:MOST_LINES]
    others = [row for row in found if row["language"] not in several]
    names = _names_by_language(desk)
    of_others = f"{top} and language in ({', '.join(literal(row['language']) for row in others)})"
    is_even = len({row["top50_repos"] for row in others}) == 1
    lines = [_language_line(desk, language, names[language]) for language in several]
    return {
        "total": desk.number("total", article.count, f"select sum(top50_repos) {top}") if found else None,
        "tracked": desk.count_of("tracked", f"{desk.trends} and is_tracked"),
        "lines": lines,
        "is_clear": bool(lines)
        and lines[0]["is_known"]
        and numbers.is_clear_lead(found[0]["top50_share_low"], (row["top50_share_high"] for row in found[1:])),
        "others": [_language(row["language"]) for row in others] if len(others) <= NAMED else [],
        "many": desk.number("languages", article.count, f"select count(*) {of_others} and top50_repos > 0")
        if len(others) > NAMED
        else None,
        "is_even": is_even,
        "of_others": desk.number(
            "repos", article.count, f"select {'max' if is_even else 'sum'}(top50_repos) {of_others}"
        )
        if others
        else None,
        "movers": _movers(desk),
        "gains": _gains(desk),
        "reach": _reach(desk, "curated"),
        "reach_of_clusters": _reach(desk, "cluster"),
    }


def _language_line(desk: Desk, language: str, names: list[Repo]) -> Facts:
    of = f"from weekly_language_trends where {desk.of_week} and language = {literal(language)}"
    repos = desk.number("repos", article.count, f"select top50_repos {of}")
    named = names[:NAMED]
    return {
        "language": _language(language),
        "is_known": language != "none",
        "repos": repos,
        "share": desk.number("share", article.percent, f"select top50_share {of}"),
        "low": desk.number("share_low", article.bare_percent, f"select top50_share_low {of}"),
        "high": desk.number("share_high", article.whole_percent, f"select top50_share_high {of}"),
        "named": named,
        "more": desk.number("others", article.count, f"select top50_repos - {len(named)} {of}")
        if repos.value > len(named)
        else None,
    }


def _names_by_language(desk: Desk) -> dict[str, list[Repo]]:
    """Return the top 50 repositories by language, highest score first."""
    names: dict[str, list[Repo]] = {}
    for row in desk.rows(
        f"""
        select coalesce(language, 'none') as language, repo_key, full_name
        {desk.trends} and is_top50
        order by rank nulls last, repo_key
        """
    ):
        names.setdefault(row["language"], []).append(_repo(row))
    return names


def _movers(desk: Desk) -> Facts:
    """Return the languages whose number in the 50 highest scores changed since one and four weeks before."""
    weeks = {"week": desk.week - dt.timedelta(weeks=1), "month": desk.week - dt.timedelta(weeks=4)}
    among = "from weekly_repo_trends where rank <= 50 and week"
    all_weeks = ", ".join(map(literal, (desk.week, *weeks.values())))
    ranked = {row["week"] for row in desk.rows(f"select distinct week {among} in ({all_weeks})")}
    compared = {name: day for name, day in weeks.items() if desk.week in ranked and day in ranked}
    if not compared:
        return {"is_known": False, "lines": []}
    changes = ", ".join(
        f"count(*) filter ({desk.of_week}) - count(*) filter (week = {literal(day)}) as in_a_{name}"
        for name, day in compared.items()
    )
    largest = f"greatest({', '.join(f'abs(in_a_{name})' for name in compared)})"
    moved = desk.rows(
        f"""
        select * from (
            select language, {changes}, count(*) filter ({desk.of_week}) as now
            {among} in ({all_weeks}) and language is not null
            group by language
        )
        where {largest} >= {MOVED}
        order by {largest} desc, now desc, language
        limit {MOST_ITEMS}
        """
    )

    def step(row: dict[str, Any], name: str) -> Facts:
        change = f"count(*) filter ({desk.of_week}) - count(*) filter (week = {literal(compared[name])})"
        of = f"{among} in ({literal(desk.week)}, {literal(compared[name])}) and language = {literal(row['language'])}"
        difference = row[f"in_a_{name}"]
        return {
            "repos": desk.number(f"change_in_a_{name}", article.count, f"select abs({change})\n{of}")
            if difference
            else None,
            "is_up": difference > 0,
        }

    def now(language: str) -> Number:
        of = f"{among} = {literal(desk.week)} and language = {literal(language)}"
        return desk.number("repos", article.count_or_none, f"select count(*) {of}")

    return {
        "is_known": True,
        "lines": [
            {
                "language": Language(row["language"]),
                "repos": now(row["language"]),
                "steps": {name: step(row, name) for name in compared},
            }
            for row in moved
        ],
    }


def _gains(desk: Desk) -> Facts | None:
    """Return the language that gained most stars, with its share of all stars gained."""
    of = f"from weekly_language_trends where {desk.of_week}"
    # if other languages lost more than they gained, there is no meaningful share
    found = desk.rows(
        f"select language {of} and rank = 1 and stars_gained between 1 and (select sum(stars_gained) {of})"
    )
    if not found:
        return None
    language = literal(found[0]["language"])
    share = f"sum(stars_gained) filter (language = {language}) / sum(stars_gained)"
    return {
        "language": _language(found[0]["language"]),
        "stars": desk.number("stars_gained", article.count, f"select stars_gained {of} and language = {language}"),
        "total": desk.number("all_stars_gained", article.count, f"select sum(stars_gained) {of}"),
        "share": desk.number("stars_gained_share", article.percent, f"select {share}\n{of}"),
    }


def _reach(desk: Desk, basis: str) -> list[Facts]:
    """Return the verticals in which languages are over-represented; for few repositories, also their names."""
    day = f"day = {literal(desk.as_of)} and vertical_basis = '{basis}'"
    found = desk.rows(
        f"""
        select language, repos_in_verticals, verticals_colonised, verticals_colonised_28d_before
        from fct_language_reach_day
        where {day} and repos_in_verticals >= {LEAST_IN_VERTICALS} and language <> 'none'
            and (verticals_colonised > 0 or (repos_in_verticals <= {MOST_BY_NAME} and vertical_basis = 'curated'))
        order by verticals_colonised desc, repos_in_verticals desc, language
        limit {MOST_ITEMS + 1}
        """
    )

    def line(row: dict[str, Any]) -> Facts:
        language = f"{day} and language = {literal(row['language'])}"
        of = f"from fct_language_reach_day where {language}"
        colonised = desk.rows(
            f"""
            select vertical, cluster from fct_language_vertical_day
            where {language} and rca > 1 and repos >= 3 and vertical <> 'other'
            order by rca desc, vertical
            """
        )
        before = row["verticals_colonised_28d_before"]
        return {
            "language": Language(row["language"]),
            "repos": desk.number("repos_in_verticals", article.count, f"select repos_in_verticals {of}"),
            "verticals": desk.number("verticals", article.count, f"select verticals {of}"),
            "colonised": desk.number("verticals_colonised", article.count_or_none, f"select verticals_colonised {of}"),
            "before": desk.number(
                "verticals_colonised_before", article.count_or_none, f"select verticals_colonised_28d_before {of}"
            )
            if before is not None and before != row["verticals_colonised"]
            else None,
            "where": [_vertical(vertical) for vertical in colonised],
            "by_name": _verticals_by_name(desk, row["language"])
            if basis == "curated" and row["repos_in_verticals"] <= MOST_BY_NAME
            else [],
        }

    return [line(row) for row in found]


def _verticals_by_name(desk: Desk, language: str) -> list[Facts]:
    rows = desk.rows(
        f"""
        select distinct dim_topic_vertical.vertical, trends.repo_key, trends.full_name, trends.rank
        from weekly_repo_trends as trends
        inner join dim_repo on trends.repo_key = dim_repo.repo_key and {_valid(desk)}
        inner join dim_topic_vertical on list_contains(dim_repo.topics, dim_topic_vertical.topic)
        where trends.{desk.of_week} and trends.language = {literal(language)}
        order by dim_topic_vertical.vertical, trends.rank nulls last, trends.repo_key
        """
    )
    verticals: dict[str, list[Repo]] = {}
    for row in rows:
        verticals.setdefault(row["vertical"], []).append(_repo(row))
    return [{"vertical": _field(vertical), "repos": repos[:MOST_ITEMS]} for vertical, repos in verticals.items()]


def _valid(desk: Desk) -> str:
    """Return the condition that a row of dim_repo is valid on the last day of the week."""
    day = literal(desk.as_of)
    return f"dim_repo.valid_from <= {day} and coalesce(dim_repo.valid_to > {day}, true)"


def _vertical(row: dict[str, Any]) -> Term | Cluster:
    return _field(row["vertical"]) if row["cluster"] is None else Cluster(row["cluster"], row["vertical"])


def _field(vertical: str) -> Term:
    return Term(vertical.replace("_", " "))


# --- clusters


def _clusters(desk: Desk) -> Facts:
    of = f"from fct_clustering_week where {desk.of_week}"
    found = desk.rows(f"select is_stable, clusters, seeds {of}")
    if not found:
        return {"state": "unknown"}
    facts: Facts = {
        "state": "unstable",
        "repos": desk.number("repos", article.count, f"select repos {of}"),
        "is_tried": found[0]["seeds"] is not None,
    }
    if facts["is_tried"]:
        facts |= {
            "stability": desk.number("stability", article.decimal, f"select stability {of}"),
            "seeds": desk.number("seeds", article.count, f"select seeds {of}"),
        }
    if not found[0]["is_stable"] or not found[0]["clusters"]:
        return facts
    rows = desk.rows(
        f"""
        select facts.cluster, facts.label, facts.status, facts.growth, facts.entrants
        from fct_cluster_week as facts
        inner join weekly_cluster_trends as trends using (week, cluster)
        where facts.{desk.of_week} and {IS_COHERENT}
        order by trends.momentum_rank nulls last, facts.size desc, facts.cluster
        """
    )
    of_clusters = f"from fct_cluster_week where {desk.of_week} and {IS_COHERENT}"
    of_status = {status: [row for row in rows if row["status"] == status] for status in STATUSES}
    groups = [
        {
            "status": status,
            "count": desk.count_of("clusters", f"{of_clusters} and status = '{status}'"),
            "clusters": [_cluster(desk, row) for row in found[:MOST_ITEMS]],
        }
        for status, found in of_status.items()
        if found
    ]
    others = [row for row in rows if row["status"] not in STATUSES]
    return facts | {
        "state": "stable",
        "clusters": desk.number("clusters", article.count, f"select clusters {of}"),
        "clustered": desk.number("clustered", article.count, f"select clustered {of}"),
        "groups": groups,
        "is_first": bool(rows) and all(row["status"] is None for row in rows),
        "loose": desk.count_of("loose", f"from fct_cluster_week where {desk.of_week} and not {IS_COHERENT}"),
        "universe_growth": desk.number(
            "universe_growth",
            article.percent,
            f"select any_value(universe_growth) from fct_cluster_week where {desk.of_week}",
        )
        if any(row["growth"] is not None for row in rows)
        else None,
        "others": [_cluster(desk, row) for row in others[: MOST_ITEMS if groups else 2 * MOST_ITEMS]],
    }


def _cluster(desk: Desk, row: dict[str, Any]) -> Facts:
    of = f"from fct_cluster_week where {desk.of_week} and cluster = {row['cluster']}"
    members = desk.rows(
        f"""
        select trends.repo_key, trends.full_name
        from fct_cluster_member_week as members
        inner join weekly_repo_trends as trends using (week, repo_key)
        where members.{desk.of_week} and members.cluster = {row["cluster"]}
        order by trends.rank nulls last, trends.repo_key
        limit {MOST_ITEMS}
        """
    )
    growth: Facts = {"stars": None}
    if row["growth"] is not None:
        growth = {
            "stars": desk.number("stars_gained", article.count, f"select stars_gained {of}"),
            "growth": desk.number("growth", article.percent, f"select growth {of}"),
            "universe_growth": desk.number("universe_growth", article.percent, f"select universe_growth {of}"),
        }
    return growth | {
        "cluster": Cluster(row["cluster"], row["label"]),
        "size": desk.number("size", article.count, f"select size {of}"),
        "entrants": desk.number("entrants", article.count, f"select entrants {of}") if row["entrants"] else None,
        "members": [_repo(member) for member in members],
    }


# --- quiet growers


def _growers(desk: Desk) -> list[Facts]:
    """Return, by size, repositories that grew as evenly in the last four weeks as over the year."""
    lists = [(size, _growers_of_size(desk, low, high)) for size, low, high in SIZES]
    return [{"size": Term(size), "repos": repos} for size, repos in lists if repos]


def _growers_of_size(desk: Desk, low: int, high: int) -> list[Facts]:
    assert desk.as_of
    day = desk.as_of
    rows = desk.rows(
        f"""
        with days as (
            select
                repo_key,
                max(velocity_24h) / nullif(sum(velocity_24h), 0) as best_day,
                count(velocity_24h) as readings,
                bool_or(is_breakout) as has_burst
            from fct_repo_signal_day
            where day between {literal(day)} - 27 and {literal(day)}
            group by repo_key
        )
        select signal.repo_key, signal.full_name
        from fct_repo_signal_day as signal
        inner join days on signal.repo_key = days.repo_key
        inner join weekly_repo_trends as trends on signal.repo_key = trends.repo_key
        where
            signal.day = {literal(day)} and trends.{desk.of_week} and trends.as_of_date = {literal(day)}
            and (trends.is_tracked or not exists (select 1 {desk.trends} and is_tracked))
            and signal.signal_score is not null
            and signal.stars_total >= {low} and signal.stars_total < {high}
            and signal.persistence >= {STEADY} and signal.velocity_28d >= 1
            and days.best_day between 0 and {BEST_DAY} and days.readings >= {LEAST_READINGS}
            and not coalesce(days.has_burst, false)
            and signal.authenticity is distinct from 'review'
            and signal.growth_28d between signal.growth_year / {EVEN} and signal.growth_year * {EVEN}
        order by signal.velocity_28d desc, signal.repo_key
        limit {MOST_ITEMS}
        """
    )
    return [
        desk.subject(row)
        | {
            "velocity": desk.signal(row["repo_key"], day, "velocity_28d", article.decimal),
            "growth": desk.signal(row["repo_key"], day, "growth_28d", article.percent),
            "total": desk.trend(row["repo_key"], "stars_total", article.count),
        }
        for row in rows
    ]


# --- breakout calls


def _calls(desk: Desk) -> Facts:
    of_breakouts = f"from weekly_breakouts where {desk.of_week}"
    rows = desk.rows(
        f"""
        select breakouts.repo_key, breakouts.full_name, breakouts.first_flagged_on, days.best_on
        from weekly_breakouts as breakouts
        inner join (
            select repo_key, arg_max(day, velocity_24h) as best_on, max(velocity_24h) as stars
            from fct_repo_signal_day
            where day {desk.in_week} and repo_key in (select repo_key {of_breakouts})
            group by repo_key
        ) as days using (repo_key)
        where breakouts.{desk.of_week}
        order by breakouts.first_flagged_on < {literal(desk.week)}, days.stars desc, breakouts.repo_key
        """
    )
    issued = f"from fct_forecast where {desk.of_week} and event = '{EVENT}'"
    likely = desk.rows(
        f"""
        select repo_key, full_name, issued_on, due_on, threshold
        from fct_forecast
        where {desk.of_week} and probability between {CALL} and {CERTAIN}
            and stars_total < threshold * (1 - {CLOSE})
            and repo_key not in (select repo_key {of_breakouts})
        qualify row_number() over (partition by repo_key order by threshold desc) = 1
        order by threshold desc, probability desc, repo_key
        limit {MOST_ITEMS + 2}
        """
    )
    count = desk.count_of("forecasts", issued)
    return {
        "count": desk.count_of("breakouts", of_breakouts),
        "breakouts": [_breakout(desk, row) for row in rows[: MOST_ITEMS + 2]],
        "stakes": _stakes(desk, of_breakouts) if rows else None,
        "leaps": _leaps(desk),
        "issued": count,
        "issued_on": desk.week + dt.timedelta(weeks=1),
        "sure": desk.number("calls", article.count_or_none, f"select count(*) {issued} and probability >= {CALL}")
        if count
        else None,
        "likely": [desk.forecast_numbers(row) | {"due_on": row["due_on"]} for row in likely],
    }


def _stakes(desk: Desk, of_breakouts: str) -> Facts | None:
    """Return the stars that the week's breakouts gained, out of all; None where the share would mean nothing."""
    total = f"select sum(stars_gained) from weekly_language_trends where {desk.of_week}"
    part = f"select sum(stars_gained) {desk.trends}\nand repo_key in (select repo_key {of_breakouts})"
    if not desk.rows(f"select 1 where ({part}) between 1 and ({total})"):
        return None
    return {
        "stars": desk.number("stars_gained", article.count, part),
        "total": desk.number("all_stars_gained", article.count, total),
    }


def _breakout(desk: Desk, row: dict[str, Any]) -> Facts:
    key = row["repo_key"]
    of = f"from weekly_breakouts where {desk.of_week} and repo_key = {key}"
    return desk.subject(row) | {
        "is_new": row["first_flagged_on"] >= desk.week,
        "first": row["first_flagged_on"],
        "days": desk.number("days_flagged", article.count, f"select days_flagged {of}"),
        "best": row["best_on"],
        "stars": desk.signal(key, row["best_on"], "velocity_24h", article.count),
        "expected": desk.signal(key, row["best_on"], "expected_change", article.decimal),
        "total": desk.trend(key, "stars_total", article.count),
        "is_under_review": _is_under_review(desk, key),
        "forecast": desk.forecast(key),
        "cluster": _cluster_of(desk, key),
    }


def _cluster_of(desk: Desk, repo_key: int) -> Facts | None:
    """Return the cluster of a repository with its growth, where the week's clusters are stable and both are known."""
    found = desk.rows(
        f"""
        select facts.cluster, facts.label, facts.growth, facts.entrants
        from fct_cluster_member_week as members
        inner join fct_cluster_week as facts using (week, cluster)
        inner join fct_clustering_week as weeks using (week)
        where members.{desk.of_week} and members.repo_key = {repo_key} and weeks.is_stable and facts.growth is not null
            and {IS_COHERENT}
        """
    )
    return _cluster(desk, found[0]) if found else None


def _leaps(desk: Desk) -> list[Facts]:
    """Return days that a second such day would have made a breakout, of repositories without a breakout this week."""
    rows = desk.rows(
        f"""
        select day, repo_key, full_name, velocity_7d, velocity_7d_days, is_breakout is not null as is_judged
        from fct_repo_signal_day
        where
            day {desk.in_week} and signal_score is not null
            and surprise >= {numbers.LEAP_SURPRISE} and velocity_24h >= {numbers.LEAP} * expected_change
            and repo_key not in (select repo_key from weekly_breakouts where {desk.of_week})
        qualify row_number() over (partition by repo_key order by velocity_24h desc, day) = 1
        order by velocity_24h desc, repo_key
        limit {MOST_ITEMS}
        """
    )
    return [
        desk.subject(row)
        | {
            "day": row["day"],
            "is_judged": row["is_judged"],
            "stars": desk.signal(row["repo_key"], row["day"], "velocity_24h", article.count),
            "expected": desk.signal(row["repo_key"], row["day"], "expected_change", article.decimal),
            "pace": desk.signal(row["repo_key"], row["day"], "velocity_7d", article.decimal)
            if row["velocity_7d"] is not None
            else None,
            "pace_days": desk.signal(row["repo_key"], row["day"], "velocity_7d_days", article.decimal)
            if row["velocity_7d_days"] is not None
            else None,
            "total": desk.trend(row["repo_key"], "stars_total", article.count),
            "is_under_review": _is_under_review(desk, row["repo_key"]),
            "forecast": desk.forecast(row["repo_key"]),
            "cluster": _cluster_of(desk, row["repo_key"]),
        }
        for row in rows
    ]


def _is_under_review(desk: Desk, repo_key: int) -> bool:
    """Return whether a repository is under review at its last reading of the week."""
    found = desk.rows(
        f"""
        select authenticity from fct_repo_signal_day
        where day {desk.in_week} and repo_key = {repo_key}
        order by day desc
        limit 1
        """
    )
    return bool(found) and found[0]["authenticity"] == "review"


# --- the contrarian take


def _fading(desk: Desk) -> list[Facts]:
    """Return the top gainers of the week that are under review, or whose burst is ending."""
    rows = desk.rows(
        f"""
        with gainers as (
            select * {desk.trends} and stars_gained > 0
            order by stars_gained desc, repo_key
            limit {GAINERS}
        ),
        bursts as (
            select
                repo_key,
                max(velocity_24h) / nullif(sum(velocity_24h), 0) as best_day,
                arg_max(day, velocity_24h) as burst_on
            from fct_repo_signal_day
            where day between {literal(desk.as_of)} - 27 and {literal(desk.as_of)}
                and repo_key in (select repo_key from gainers)
            group by repo_key
        )
        select
            gainers.repo_key, gainers.full_name, gainers.rank, gainers.as_of_date, bursts.burst_on,
            coalesce(signal.authenticity = 'review', false) as is_under_review
        from gainers
        inner join bursts on gainers.repo_key = bursts.repo_key
        inner join fct_repo_signal_day as signal
            on gainers.repo_key = signal.repo_key and gainers.as_of_date = signal.day and signal.day {desk.in_week}
        where
            signal.authenticity = 'review'
            or (bursts.best_day >= {BURST} and signal.velocity_24h < {FADING} * signal.velocity_7d)
        order by is_under_review desc, gainers.stars_gained desc, gainers.repo_key
        limit {MOST_ITEMS}
        """
    )

    def gainer(row: dict[str, Any]) -> Facts:
        key, day = row["repo_key"], row["as_of_date"]
        facts: Facts = {
            "repo": _repo(row),
            "is_under_review": row["is_under_review"],
            "stars": desk.trend(key, "stars_gained", article.count),
            "place": desk.number(
                "place",
                article.count,
                f"select 1 + count(*) {desk.trends}\n"
                f"and stars_gained > (select stars_gained {desk.trends} and repo_key = {key})",
            ),
            "rank": desk.trend(key, "rank", article.count) if row["rank"] else None,
        }
        if not row["is_under_review"]:
            facts |= {
                "burst_on": row["burst_on"],
                "burst": desk.signal(key, row["burst_on"], "velocity_24h", article.count),
                "last_on": day,
                "last": desk.signal(key, day, "velocity_24h", article.count),
            }
        return facts

    return [gainer(row) for row in rows]


def _largest(desk: Desk) -> Facts | None:
    """Return how the largest repositories rank by score; None if there are too few."""
    largest = f"(select * {desk.trends} order by stars_total desc, repo_key limit {LARGEST})"
    rows = desk.rows(f"select repo_key, full_name, rank from {largest} order by stars_total desc, repo_key")
    ranked = [row for row in rows if row["rank"]]
    if len(rows) < LARGEST or not ranked:
        return None
    first, best = ranked[0], min(ranked, key=lambda row: int(row["rank"]))
    return {
        "count": desk.number("largest", article.count, f"select count(*) from {largest}"),
        "high": desk.number("among_fifty", article.count_or_none, f"select count(*) from {largest} where rank <= 50"),
        "ranked": desk.number("ranked", article.count, f"select count(rank) {desk.trends}"),
        "repo": _repo(first),
        "total": desk.trend(first["repo_key"], "stars_total", article.count),
        "rank": desk.trend(first["repo_key"], "rank", article.count),
        "best": _repo(best) if best is not first else None,
        "best_rank": desk.trend(best["repo_key"], "rank", article.count),
    }


def _language_apart(desk: Desk) -> Facts | None:
    """Return the language whose shares of the stars gained and of the 50 highest scores differ most, or None."""
    rows = desk.rows(
        f"""
        select
            language,
            sum(stars_gained) filter (stars_gained > 0)
            / sum(sum(stars_gained) filter (stars_gained > 0)) over () as gain_share,
            count(*) filter (rank <= 50) / nullif(sum(count(*) filter (rank <= 50)) over (), 0) as high_share
        {desk.trends}
        group by language
        qualify language is not null and abs(high_share - gain_share) >= {APART}
        order by abs(high_share - gain_share) desc, language
        limit 1
        """
    )
    if not rows:
        return None
    of = f"filter (language = {literal(rows[0]['language'])})"
    gain = f"select sum(stars_gained) {of} / sum(stars_gained)\n{desk.trends} and stars_gained > 0"
    return {
        "language": Language(rows[0]["language"]),
        "gain": desk.number("stars_gained_share", article.percent, gain),
        "share": desk.number(
            "share", article.percent, f"select count(*) {of} / count(*)\n{desk.trends} and rank <= 50"
        ),
    }


# --- last calls, graded


def _grades(desk: Desk) -> Facts:
    due = f"event = '{EVENT}' and due_on {desk.in_week}"
    joined = "from fct_forecast join fct_forecast_outcome using (forecast_id)"
    # outcomes settled after the week were not known yet
    graded = f"{joined}\nwhere {due} and is_scored and resolved_on {desk.in_week}"
    year = (
        f"{joined}\nwhere event = '{EVENT}' and is_scored and resolved_on <= {literal(desk.last)}"
        f" and due_on between {literal(desk.week - dt.timedelta(weeks=51))} and {literal(desk.last)}"
    )
    facts: Facts = {
        "due": desk.count_of("due", f"from fct_forecast where {due}"),
        "graded": desk.count_of("graded", graded),
    }
    if not facts["graded"]:
        return facts
    is_call = f"probability >= {CALL}"
    (rate,) = desk.rows(f"select avg(happened::integer) as happened {year}")
    skill = "round(1 - avg(brier) / (avg(happened::integer) * (1 - avg(happened::integer))), 6)"
    return facts | {
        "issued_on": desk.rows(f"select min(issued_on) as day {graded}")[0]["day"],
        "happened": desk.number("happened", article.count_or_none, f"select count(*) {graded} and happened"),
        "expected": desk.number("expected", article.decimal, f"select round(sum(probability), 3) {graded}"),
        "calls": desk.count_of("calls", f"{graded} and {is_call}"),
        "hits": desk.number("hits", article.count_or_none, f"select count(*) {graded} and {is_call} and happened"),
        "brier": desk.number("brier", _three_places, f"select round(avg(brier), 6) {graded}"),
        "skill": desk.number("brier_skill", article.decimal, f"select {skill} {year}")
        if 0 < rate["happened"] < 1
        else None,
        # a call from farther away is worth more
        "hit": _graded(desk, f"{graded} and {is_call} and happened", "threshold / stars_total desc"),
        "missed": _graded(desk, f"{graded} and {is_call} and not happened", "probability desc"),
        "unseen": _graded(desk, f"{graded} and probability < {UNSEEN} and happened", "probability"),
        "breakouts": _breakouts_graded(desk),
    }


def _graded(desk: Desk, graded: str, order: str) -> list[Facts]:
    rows = desk.rows(
        f"select repo_key, full_name, crossed_on, issued_on, threshold {graded}"
        f" order by {order}, repo_key limit {MOST_ITEMS}"
    )
    return [desk.forecast_numbers(row) | {"crossed_on": row["crossed_on"]} for row in rows]


def _breakouts_graded(desk: Desk) -> list[Facts]:
    """Return the breakouts whose forecasts were due in this week, with their stars then and now."""
    rows = desk.rows(
        f"""
        select forecasts.repo_key, breakouts.week, trends.full_name, outcomes.happened, forecasts.issued_on,
            forecasts.threshold
        from weekly_breakouts as breakouts
        inner join fct_forecast as forecasts using (forecast_id)
        inner join fct_forecast_outcome as outcomes using (forecast_id)
        inner join weekly_repo_trends as trends on forecasts.repo_key = trends.repo_key and trends.{desk.of_week}
        where forecasts.due_on {desk.in_week} and outcomes.is_scored and outcomes.resolved_on {desk.in_week}
        order by breakouts.rank
        limit {MOST_ITEMS}
        """
    )

    def breakout(row: dict[str, Any]) -> Facts:
        then = f"from weekly_repo_trends where week = {literal(row['week'])} and repo_key = {row['repo_key']}"
        return desk.forecast_numbers(row) | {
            "week": row["week"],
            "happened": row["happened"],
            "then": desk.number("stars_then", article.count, f"select stars_total {then}"),
            "now": desk.trend(row["repo_key"], "stars_total", article.count),
        }

    return [breakout(row) for row in rows]


def _three_places(value: float) -> str:
    return f"{value:.3f}"


# --- what is stale or badly covered


def _gaps(desk: Desk) -> list[Facts]:
    """Return, by source and state, the days of the week that were not fully read."""
    rows = desk.rows(
        f"""
        select source, status, list(day order by day) as days
        from ops_source_coverage
        where day {desk.in_week} and status <> 'observed' and source in ({", ".join(map(literal, SOURCES))})
        group by source, status
        order by source, status
        """
    )
    return [
        {
            "source": Term(SOURCES[row["source"]]),
            "state": Term(STATES[row["status"]]),
            "spans": _spans(row["days"]),
        }
        for row in rows
    ]


def _spans(days: list[dt.date]) -> list[tuple[dt.date, dt.date]]:
    """Return (first, last) of each run of consecutive days."""
    spans: list[tuple[dt.date, dt.date]] = []
    for day in days:
        if spans and (day - spans[-1][1]).days == 1:
            spans[-1] = spans[-1][0], day
        else:
            spans.append((day, day))
    return spans


def _coverage(desk: Desk) -> Facts:
    issued = f"from fct_forecast where {desk.of_week} and event = '{EVENT}'"
    topics = (
        f"select count(*) from weekly_repo_trends as trends\n"
        f"join dim_repo on trends.repo_key = dim_repo.repo_key and {_valid(desk)}\n"
        f"where trends.{desk.of_week} and len(dim_repo.topics) > 0"
    )
    models = desk.rows(f"select distinct model_version {issued} order by 1")
    return {
        "scored": desk.number("scored", article.count_or_none, f"select count(signal_score) {desk.trends}"),
        "gained": desk.number("with_gain", article.count_or_none, f"select count(stars_gained) {desk.trends}"),
        "with_topics": desk.number("with_topics", article.count_or_none, topics),
        "models": [Term(row["model_version"]) for row in models],
        "is_shipped": any(row["model_version"] == SHIPPED.stem for row in models),
        "late": desk.count_of("backtested", f"{issued} and is_backtest"),
    }
