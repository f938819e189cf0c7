"""Queries the contents of all pages from a release: weeks, repositories, clusters, languages, track record, tables.

This module also selects the repositories that get a page. `pages` and `charts` handle the presentation. A home with few
days lacks some tables; queries on missing tables return no rows.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb

from reposignal_pipeline.publishing.site.numerals import day

Row = dict[str, Any]

LEADERS = 25
"""repositories in the ranking of a week, each with a page"""
DAILY_WEEKS = 52
"""newest weeks of a repository with their days: with more, the days are less than a pixel apart"""
PACE_DAYS = 28
"""days of the line next to a repository in the ranking"""
MEMBERS = 60
"""repositories in the table of a cluster"""
REPOSITORIES = 500
"""pages of repositories; each has 40 kB, so that a release stays below 100 MB"""
CLUSTERS = 200
OTHER_GROUND = 1.5
"""ratio of the numbers of repositories read in two weeks from which on shares of their top 50 are not comparable"""
WEEKS_SHOWN = 52
"""weeks of languages, clusters and the track record, and look-back for repositories"""
FORECASTS = 26
"""forecasts in the table of a repository: half a year of Mondays"""
SURPRISES = 15


@dataclass(frozen=True)
class Week:
    """A week: its article, if there is one, and its tables."""

    week: dt.date
    as_of_date: dt.date | None
    """last day with a reading; None if nothing was read"""
    title: str
    summary: str
    document: Row | None
    markdown: str | None
    claims: list[Row]
    leaders: list[Row]
    """the ranking; `stars_a_day` has PACE_DAYS numbers up to as_of_date, None for a day without a number"""
    languages: list[Row]
    clusters: list[Row]
    breakouts: list[Row]


@dataclass(frozen=True)
class Repository:
    """A repository that has a page."""

    repo_key: int
    facts: Row
    """its newest version in dim_repo"""
    former_names: list[str]
    readings: list[Row]
    """last reading of each week, oldest first"""
    days: Row
    """columns day, stars_total, velocity_7d and velocity_28d as lists: all readings of the newest DAILY_WEEKS weeks"""
    forecasts: list[Row]
    """newest first"""
    forecasts_made: int
    clusters: list[Row]


@dataclass(frozen=True)
class Cluster:
    """A cluster: its weeks, newest first, and its members in the newest week."""

    cluster: int
    weeks: list[Row]
    members: list[Row]


@dataclass(frozen=True)
class Language:
    """A language: its newest week, and its shares of the top 50, oldest first."""

    language: str
    now: Row
    shares: list[Row]


@dataclass(frozen=True)
class TrackRecord:
    """The track record: weeks, newest first; reliability bins of a year; and the worst misses either way."""

    weeks: list[Row]
    bins: list[Row]
    misses: list[Row]
    unforeseen: list[Row]


@dataclass(frozen=True)
class Table:
    """A published table."""

    name: str
    comment: str
    rows: int
    columns: list[Row]


@dataclass(frozen=True)
class Contents:
    """The contents of the whole site."""

    weeks: list[Week]
    """newest first"""
    repositories: list[Repository]
    """by the week in which they were last notable, newest first"""
    clusters: list[Cluster]
    languages: list[Language]
    track_record: TrackRecord
    tables: list[Table]
    components: list[Row] = field(default_factory=list)
    """components of the score: component, weight, reason"""


class Source:
    """Queries on a release; a query on a missing table returns no rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}

    def has(self, *tables: str) -> bool:
        return self.tables.issuperset(tables)

    def rows(self, sql: str, needs: tuple[str, ...], **parameters: Any) -> list[Row]:
        """Return the rows of a query; none if a table that it needs does not exist."""
        if not self.has(*needs):
            return []
        found = self.connection.execute(sql, parameters)
        names = [name for name, *_ in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def read(connection: duckdb.DuckDBPyConnection) -> Contents:
    """Return the contents of the site for a release."""
    source = Source(connection)
    weeks = _weeks(source)
    return Contents(
        weeks,
        _repositories(source, weeks),
        _clusters(source),
        _languages(source),
        _track_record(source),
        _tables(source),
        source.rows(
            "select component, weight, reason from signal_weight order by weight desc, component desc",
            ("signal_weight",),
        ),
    )


def _weeks(source: Source) -> list[Week]:
    """Return the weeks that have an article; if there is none, the newest week."""
    written = source.rows(
        "select week, as_of_date, title, summary, document::varchar as document, markdown"
        " from weekly_article order by week desc",
        ("weekly_article",),
    ) or source.rows(
        """
        select week, max(as_of_date) as as_of_date from weekly_repo_trends
        group by week order by week desc limit 1
        """,
        ("weekly_repo_trends",),
    )
    mondays = [row["week"] for row in written]
    tables = {name: _by_week(source, sql, mondays, needs) for name, (sql, needs) in _OF_A_WEEK.items()}
    _describe(source, mondays, tables["leaders"])
    for row in written:
        row["document"] = json.loads(row["document"]) if row.get("document") else None
        places = {claim: place for place, claim in enumerate(_parts(row["document"], "number"))}
        tables["claims"][row["week"]].sort(key=lambda one: (one["sentence"], places.get(one["claim"], 0), one["claim"]))
    return [
        Week(
            week=row["week"],
            as_of_date=row["as_of_date"],
            title=row.get("title") or f"The week of {day(row['week'])}",
            summary=row.get("summary") or "There is no article for this week; its tables are below.",
            document=row["document"],
            markdown=row.get("markdown"),
            **{name: found[row["week"]] for name, found in tables.items()},
        )
        for row in written
    ]


_OF_A_WEEK: dict[str, tuple[str, tuple[str, ...]]] = {
    "claims": (
        """
        select week, claim, section, sentence, text, sql_text, value, shown, as_of from fct_article_claim
        where week in (select unnest($weeks)) order by week, sentence, claim
        """,
        ("fct_article_claim",),
    ),
    "leaders": (
        f"""
        select
            week, repo_key, full_name, language, stars_total, stars_gained, growth_pct, signal_score, rank, rank_change,
            -- NULL if nothing was ranked in the week before, so that nothing can be new
            case
                when week - 7 in (select week from weekly_repo_trends where rank is not null) then rank_change is null
            end as is_new,
            is_breakout
        from weekly_repo_trends where week in (select unnest($weeks)) and rank <= {LEADERS} order by week, rank
        """,
        ("weekly_repo_trends",),
    ),
    "languages": (
        """
        select trends.week, trends.language, top.repos, top.share, top.share_low, top.share_high
        from weekly_language_trends as trends
        inner join fct_language_day as top
            on top.day = trends.as_of_date and top.language = trends.language and top.universe = 'top50'
        where trends.week in (select unnest($weeks))
        order by trends.week, top.repos desc, trends.language
        """,
        ("weekly_language_trends", "fct_language_day"),
    ),
    "clusters": (
        """
        select week, cluster, label, repos, stars_gained, growth, momentum, momentum_rank, status
        from weekly_cluster_trends where week in (select unnest($weeks)) order by week, momentum_rank, cluster
        """,
        ("weekly_cluster_trends",),
    ),
    "breakouts": (
        """
        select week, repo_key, full_name, first_flagged_on, stars_total, probability, threshold
        from weekly_breakouts where week in (select unnest($weeks)) order by week, rank, repo_key
        """,
        ("weekly_breakouts",),
    ),
}


def _by_week(source: Source, sql: str, weeks: list[dt.date], needs: tuple[str, ...]) -> dict[dt.date, list[Row]]:
    found: dict[dt.date, list[Row]] = defaultdict(list)
    for row in source.rows(sql, needs, weeks=weeks):
        found[row["week"]].append(row)
    return found


def _describe(source: Source, weeks: list[dt.date], leaders: dict[dt.date, list[Row]]) -> None:
    """Add to the ranking of each week what a repository was on its last day, and its stars a day until then."""
    ranked = f"""
        with ranked as (
            select week, as_of_date, repo_key from weekly_repo_trends
            where week in (select unnest($weeks)) and rank <= {LEADERS}
        )
    """
    # a version of a later day describes the repository if it has none of that day, which is so after a backfill
    described = source.rows(
        f"""
        {ranked}

        select ranked.week, ranked.repo_key, repos.description
        from ranked inner join dim_repo as repos using (repo_key)
        qualify row_number() over (
            partition by ranked.week, ranked.repo_key
            order by repos.valid_from <= ranked.as_of_date desc, abs(repos.valid_from - ranked.as_of_date)
        ) = 1
        """,
        ("weekly_repo_trends", "dim_repo"),
        weeks=weeks,
    )
    paced = source.rows(
        f"""
        {ranked}

        select ranked.week, ranked.repo_key, list(round(signals.velocity_24h, 1) order by back desc) as stars_a_day
        from ranked cross join range({PACE_DAYS}) as days(back)
        left join fct_repo_signal_day as signals
            on signals.repo_key = ranked.repo_key and signals.day = ranked.as_of_date - back::integer
        group by ranked.week, ranked.repo_key
        """,
        ("weekly_repo_trends", "fct_repo_signal_day"),
        weeks=weeks,
    )
    descriptions = {(row["week"], row["repo_key"]): row["description"] for row in described}
    paces = {(row["week"], row["repo_key"]): row["stars_a_day"] for row in paced}
    for week, rows in leaders.items():
        for row in rows:
            key = (week, row["repo_key"])
            row |= {"description": descriptions.get(key), "stars_a_day": paces.get(key, [None] * PACE_DAYS)}


def _repositories(source: Source, weeks: list[Week]) -> list[Repository]:
    keys = _notable(source, weeks)
    if not keys:
        return []
    needs = ("weekly_repo_trends", "fct_repo_signal_day", "fct_repo_day")
    readings = _by_key(
        source.rows(
            """
            -- filtering the two large tables before the join takes 1.4 s instead of 5 s on 6.5 million rows
            with signals as (
                select *, max(day) filter (where is_breakout) over (partition by repo_key order by day) as last_breakout
                from fct_repo_signal_day where repo_key in (select unnest($keys))
            ),

            facts as (
                select repo_key, day, dq_flags from fct_repo_day where repo_key in (select unnest($keys))
            )

            select
                trends.week, trends.repo_key, trends.stars_gained, trends.rank, facts.dq_flags, signals.day,
                signals.full_name, signals.language, signals.stars_total, signals.velocity_7d, signals.velocity_7d_days,
                signals.velocity_28d,
                columns('_points$'), signals.authenticity, signals.authenticity_reasons, signals.signal_score,
                signals.signal_rank, signals.is_breakout, signals.breakout_held_back, signals.last_breakout,
                signals.velocity_24h, signals.expected_change, signals.surprise, signals.model_version
            from weekly_repo_trends as trends
            inner join signals on signals.repo_key = trends.repo_key and signals.day = trends.as_of_date
            left join facts on facts.repo_key = trends.repo_key and facts.day = trends.as_of_date
            order by trends.repo_key, trends.week
            """,
            needs,
            keys=keys,
        )
    )
    days = {
        row.pop("repo_key"): row
        for row in source.rows(
            # lists, because half a million rows would be that many dictionaries
            f"""
            select
                repo_key, list(day order by day) as day, list(stars_total order by day) as stars_total,
                list(velocity_7d order by day) as velocity_7d, list(velocity_28d order by day) as velocity_28d
            from fct_repo_signal_day
            where repo_key in (select unnest($keys))
                and day >= (select max(week) from weekly_repo_trends) - 7 * {DAILY_WEEKS - 1}
            group by repo_key
            """,
            needs,
            keys=keys,
        )
    }
    facts = _by_key(
        source.rows(
            """
            select repo_key, full_name, language, topics, description, is_archived, created_at, state
            from dim_repo where repo_key in (select unnest($keys))
            order by repo_key, is_current desc, valid_from desc
            """,
            ("dim_repo",),
            keys=keys,
        )
    )
    names = _by_key(
        source.rows(
            "select repo_key, full_name from dim_repo_alias"
            " where repo_key in (select unnest($keys)) order by repo_key, seen_to desc, full_name",
            ("dim_repo_alias",),
            keys=keys,
        )
    )
    forecasts = _by_key(
        source.rows(
            """
            select
                made.repo_key, made.issued_on, made.threshold, made.horizon_days, made.due_on, made.probability,
                made.stars_total, made.model_version, made.is_backtest, graded.happened, graded.crossed_on,
                graded.brier, graded.reason, graded.forecast_id is not null as is_due,
                (
                    select min(days.day) from fct_repo_signal_day as days
                    where days.repo_key = made.repo_key and days.day >= made.issued_on
                        and days.stars_total >= made.threshold
                ) as reached_on
            from fct_forecast as made left join fct_forecast_outcome as graded using (forecast_id)
            where made.repo_key in (select unnest($keys))
            order by made.repo_key, made.issued_on desc, made.threshold
            """,
            ("fct_forecast", "fct_forecast_outcome", "fct_repo_signal_day"),
            keys=keys,
        )
    )
    clusters = _by_key(
        source.rows(
            """
            select repo_key, cluster, arg_max(label, members.week) as label, max(members.week) as week
            from fct_cluster_member_week as members inner join fct_cluster_week using (week, cluster)
            where repo_key in (select unnest($keys)) group by all order by repo_key, week desc, cluster
            """,
            ("fct_cluster_member_week", "fct_cluster_week"),
            keys=keys,
        )
    )
    return [
        Repository(
            repo_key=key,
            facts=(facts[key] or [{}])[0] | {"full_name": readings[key][-1]["full_name"]},
            former_names=[row["full_name"] for row in names[key] if row["full_name"] != readings[key][-1]["full_name"]],
            readings=readings[key],
            days=days.get(key, {"day": [], "stars_total": [], "velocity_7d": [], "velocity_28d": []}),
            forecasts=forecasts[key][:FORECASTS],
            forecasts_made=len(forecasts[key]),
            clusters=clusters[key],
        )
        for key in keys
        if readings[key]
    ]


def _notable(source: Source, weeks: list[Week]) -> list[int]:
    """Return the repo_key of each repository that gets a page, newest first.

    These are repositories named in articles, breakouts, and the top of the score.
    """
    noted = [(week.week, 0, place, key) for week in weeks for place, key in enumerate(_parts(week.document, "repo"))]
    noted += [
        (row["week"], 1, row["place"], row["repo_key"])
        for row in source.rows(
            "select week, rank as place, repo_key from weekly_breakouts order by week desc limit $most",
            ("weekly_breakouts",),
            most=REPOSITORIES,
        )
    ]
    noted += [
        (row["week"], 2, row["place"], row["repo_key"])
        for row in source.rows(
            f"""
            select week, rank as place, repo_key from weekly_repo_trends
            where rank <= {LEADERS} and week > (select max(week) from weekly_repo_trends) - 7 * {WEEKS_SHOWN}
            """,
            ("weekly_repo_trends",),
        )
    ]
    noted.sort(key=lambda note: (-note[0].toordinal(), note[1], note[2] or 0, note[3]))
    return list(dict.fromkeys(key for *_, key in noted))[:REPOSITORIES]


def _parts(document: Row | None, kind: str) -> Iterator[Any]:
    """Yield the values of an article's parts of a kind, in order."""
    for section in (document or {}).get("sections", ()):
        for block in section["blocks"]:
            for sentence in block["sentences"]:
                yield from (part[kind] for part in sentence["parts"] if kind in part)


def _by_key(rows: list[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["repo_key"]].append(row)
    return found


def _clusters(source: Source) -> list[Cluster]:
    needs = ("fct_cluster_week", "weekly_cluster_trends", "fct_cluster_member_week")
    rows = source.rows(
        f"""
        select
            facts.week, facts.cluster, facts.label, facts.as_of_date, facts.size, facts.stars_gained, facts.growth,
            facts.universe_growth, facts.entrants, facts.leavers, facts.stability, facts.status, facts.born_on,
            facts.split_from, facts.merged_from, trends.momentum, trends.momentum_rank
        from fct_cluster_week as facts left join weekly_cluster_trends as trends using (week, cluster)
        where facts.week > (select max(week) from fct_cluster_week) - 7 * {WEEKS_SHOWN}
        order by facts.week desc, trends.momentum_rank, facts.cluster
        """,
        needs,
    )
    weeks: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        weeks[row["cluster"]].append(row)
    shown = list(weeks)[:CLUSTERS]
    members: dict[int, list[Row]] = defaultdict(list)
    for row in source.rows(
        f"""
        with newest as (
            select cluster, max(week) as week from fct_cluster_week
            where cluster in (select unnest($clusters)) group by cluster
        )

        select
            members.cluster, members.repo_key, members.full_name, members.is_entrant, trends.stars_total,
            trends.stars_gained, trends.signal_score
        from fct_cluster_member_week as members
        inner join newest using (cluster, week)
        left join weekly_repo_trends as trends on trends.repo_key = members.repo_key and trends.week = members.week
        qualify row_number() over (
            partition by members.cluster
            order by trends.signal_score desc nulls last, trends.stars_total desc nulls last, members.repo_key
        ) <= {MEMBERS}
        order by members.cluster, trends.signal_score desc nulls last, trends.stars_total desc nulls last, 2
        """,
        (*needs, "weekly_repo_trends"),
        clusters=shown,
    ):
        members[row["cluster"]].append(row)
    return [Cluster(cluster, weeks[cluster], members[cluster]) for cluster in shown]


def _languages(source: Source) -> list[Language]:
    rows = source.rows(
        f"""
        with top as (
            select day, language, repos, share, share_low, share_high from fct_language_day where universe = 'top50'
        ),

        whole as (
            select day, sum(repos) as repos from top group by day
        ),

        -- the top 50 are chosen among other repositories when tracking begins or ends, or a source is added
        grounds as (
            select
                week,
                count(*) filter (
                    is_tracked <> was_tracked
                    or greatest(repos, repos_before) >= {OTHER_GROUND} * least(repos, repos_before)
                ) over (order by week)::integer as ground
            from (
                select
                    week,
                    coalesce(bool_or(is_tracked), false) as is_tracked,
                    count(*) as repos,
                    lag(coalesce(bool_or(is_tracked), false)) over (order by week) as was_tracked,
                    lag(count(*)) over (order by week) as repos_before
                from weekly_repo_trends
                group by week
            )
        )

        -- a language without a repository in the top 50 has a share of 0, with the Wilson interval of 0 of that number
        select
            trends.week, trends.language, trends.as_of_date, trends.repos, trends.stars_gained,
            case when whole.repos > 0 then coalesce(top.repos, 0) end as top_repos,
            case when whole.repos > 0 then coalesce(top.share, 0) end as top_share,
            case when whole.repos > 0 then coalesce(top.share_low, 0) end as share_low,
            case when whole.repos > 0 then coalesce(top.share_high, 3.8415 / (whole.repos + 3.8415)) end as share_high,
            grounds.ground,
            trends.week = max(trends.week) over () as is_newest
        from weekly_language_trends as trends
        left join grounds on grounds.week = trends.week
        left join whole on whole.day = trends.as_of_date
        left join top on top.day = trends.as_of_date and top.language = trends.language
        where trends.week > (select max(week) from weekly_language_trends) - 7 * {WEEKS_SHOWN}
        order by trends.week, trends.language
        """,
        ("weekly_language_trends", "weekly_repo_trends", "fct_language_day"),
    )
    by_language: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_language[row["language"]].append(row)
    found = [
        Language(language, shares[-1], shares) for language, shares in by_language.items() if shares[-1]["is_newest"]
    ]
    return sorted(found, key=lambda one: (-(one.now["top_repos"] or 0), -(one.now["stars_gained"] or 0), one.language))


def _track_record(source: Source) -> TrackRecord:
    weeks = source.rows("from weekly_track_record order by week desc, model_version", ("weekly_track_record",))
    due = """
        select
            made.repo_key, made.full_name, made.issued_on, made.due_on, made.threshold, made.stars_total,
            made.probability, graded.crossed_on, made.is_backtest
        from fct_forecast_outcome as graded inner join fct_forecast as made using (forecast_id)
        where graded.is_scored and made.due_on > (select max(due_on) from fct_forecast_outcome
            inner join fct_forecast using (forecast_id)) - 7 * 26
    """
    needs = ("fct_forecast", "fct_forecast_outcome")
    # the same threshold is forecast on six successive Mondays: show it once
    once = "qualify row_number() over (partition by made.repo_key, made.threshold order by made.probability"
    misses = f"{due} and not graded.happened {once} desc, made.issued_on desc) = 1 order by made.probability desc"
    unforeseen = f"{due} and graded.happened {once}, made.issued_on desc) = 1 order by made.probability"
    last = f"made.issued_on desc, made.repo_key limit {SURPRISES}"
    return TrackRecord(
        weeks=weeks,
        bins=next((row["reliability_52w"] for row in weeks if row["reliability_52w"]), []),
        misses=source.rows(f"{misses}, {last}", needs),
        unforeseen=source.rows(f"{unforeseen}, {last}", needs),
    )


def _tables(source: Source) -> list[Table]:
    columns: dict[str, list[Row]] = defaultdict(list)
    for row in source.connection.execute(
        "select table_name, column_name, data_type, comment from duckdb_columns()"
        " where not internal order by table_name, column_index"
    ).fetchall():
        columns[row[0]].append({"name": row[1], "type": row[2], "comment": row[3]})
    found = source.connection.execute("select table_name, comment from duckdb_tables() order by table_name").fetchall()
    return [Table(name, comment or "", _count(source.connection, name), columns[name]) for name, comment in found]


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f'select count(*) from "{table}"').fetchone()
    return int(row[0]) if row else 0
