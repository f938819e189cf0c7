"""Asset checks for identities between the weekly tables, and between them and the daily marts.

Each identity is a query for the rows that violate it. The asset of each table declares its checks with `specs_of`, and
runs them over the weeks of a run with `checked`.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import duckdb

SHOWN = 5
"""maximum number of violating rows that a check shows"""


@dataclass(frozen=True)
class Identity:
    """A condition on the weeks from $first to $last; `broken_by` returns the rows that violate it."""

    table: str
    name: str
    description: str
    broken_by: str
    also_reads: tuple[str, ...] = ()
    """other weekly tables that the query reads, which must be built first"""


IDENTITIES = (
    Identity(
        "weekly_repo_trends",
        "rows_are_last_readings",
        "Each row is the last reading of its repository in the week in fct_repo_signal_day, and no reading is missing.",
        """
        with last_readings as (
            select date_trunc('week', day)::date as week, repo_key, max(day) as day
            from fct_repo_signal_day
            where day between $first and $last::date + 6
            group by all
        ),
        readings as (
            select last_readings.week, signal.*
            from last_readings
            inner join fct_repo_signal_day as signal using (repo_key, day)
            where signal.day between $first and $last::date + 6
        ),
        trends as (
            select * from weekly_repo_trends where week between $first and $last
        )
        select week, repo_key
        from trends
        full join readings using (week, repo_key)
        where
            trends.as_of_date is distinct from readings.day
            or trends.full_name is distinct from readings.full_name
            or trends.language is distinct from readings.language
            or trends.stars_total is distinct from readings.stars_total
            or trends.signal_score is distinct from readings.signal_score
            or (trends.stars_gained is null) <> (readings.velocity_7d is null)
            or abs(trends.stars_gained - 7 * readings.velocity_7d) > 0.501
            or trends.velocity_7d_days is distinct from readings.velocity_7d_days
            or abs(trends.growth_pct - 100 * readings.growth_7d) > 0.0001
        """,
    ),
    Identity(
        "weekly_repo_trends",
        "ranks_follow_scores",
        "Ranks run from 1 without gaps in the order of scores; a row without a score has no rank.",
        """
        select week, repo_key
        from (
            select
                *,
                row_number() over (partition by week order by rank) as place,
                lag(signal_score) over (partition by week order by rank) as score_above
            from weekly_repo_trends
            where week between $first and $last and rank is not null
        )
        where rank <> place or signal_score is null or signal_score > score_above
        union all
        select week, repo_key
        from weekly_repo_trends
        where week between $first and $last and rank is null and signal_score is not null
        """,
    ),
    Identity(
        "weekly_repo_trends",
        "rank_changes_are_of_the_week_before",
        "rank_change is the rank of the week before minus the rank of this week.",
        """
        select week, repo_key
        from (select * from weekly_repo_trends where week between $first::date + 7 and $last) as now
        left join (
            select week + 7 as week, repo_key, rank from weekly_repo_trends where week between $first and $last
        ) as before using (week, repo_key)
        where now.rank_change is distinct from before.rank - now.rank
        """,
    ),
    Identity(
        "weekly_language_trends",
        "languages_add_up_repositories",
        "Counts and gains of a language equal those of its repositories in weekly_repo_trends; shares add up to 1.",
        """
        with summed as (
            select
                week,
                coalesce(language, 'none') as language,
                count(*) as repos,
                count(*) filter (where is_top50) as top50_repos,
                sum(stars_gained) as stars_gained
            from weekly_repo_trends
            where week between $first and $last
            group by all
        ),
        trends as (
            select * from weekly_language_trends where week between $first and $last
        )
        select week, language
        from trends
        full join summed using (week, language)
        where
            trends.repos is distinct from summed.repos
            or trends.top50_repos is distinct from summed.top50_repos
            or trends.stars_gained is distinct from summed.stars_gained
        union all
        select week, null
        from trends
        group by week
        having abs(sum(share) - 1) > 1e-9 or abs(sum(top50_share) - 1) > 1e-9
        """,
    ),
    Identity(
        "weekly_language_trends",
        "top50_is_that_of_the_day",
        "If all counted repositories were read on the week's last day, the top 50 equal those of fct_language_day.",
        """
        with counting as (
            select week, as_of_date, max(as_of_date) over of_week as day
            from weekly_repo_trends
            where week between $first and $last
            window of_week as (partition by week)
            qualify is_tracked or not bool_or(is_tracked) over of_week
        ),
        same_day as (
            select week, day from counting group by all having min(as_of_date) = day
        ),
        of_day as (
            select same_day.week, languages.language, languages.repos, languages.share_low, languages.share_high
            from same_day
            inner join fct_language_day as languages using (day)
            where languages.universe = 'top50'
        ),
        of_week as (
            select trends.*
            from weekly_language_trends as trends
            semi join same_day using (week)
            where trends.top50_repos > 0
        )
        select week, language
        from of_week
        full join of_day using (week, language)
        where
            of_week.top50_repos is distinct from of_day.repos
            or abs(of_week.top50_share_low - of_day.share_low) > 2e-6
            or abs(of_week.top50_share_high - of_day.share_high) > 2e-6
        """,
    ),
    Identity(
        "weekly_breakouts",
        "breakouts_are_those_of_the_trends",
        "There is one row for each breakout of weekly_repo_trends; probabilities equal those of fct_forecast.",
        """
        with breakouts as (
            select * from weekly_breakouts where week between $first and $last
        ),
        flagged as (
            select week, repo_key from weekly_repo_trends where week between $first and $last and is_breakout
        )
        select week, repo_key
        from breakouts
        full join flagged using (week, repo_key)
        where breakouts.as_of_date is null or flagged.week is null
        union all
        select breakouts.week, breakouts.repo_key
        from breakouts
        left join fct_forecast as forecasts using (forecast_id)
        where
            breakouts.probability is distinct from forecasts.probability
            or breakouts.threshold is distinct from forecasts.threshold
            or breakouts.first_flagged_on > breakouts.as_of_date
            or breakouts.as_of_date not between breakouts.week and breakouts.week + 6
        """,
        ("weekly_repo_trends",),
    ),
    Identity(
        "weekly_track_record",
        "the_record_counts_the_ledger",
        "Counts of due, resolved and fulfilled forecasts of next thresholds equal those of fct_forecast.",
        """
        with counted as (
            select
                date_trunc('week', forecasts.due_on)::date as week,
                forecasts.model_version,
                count(*) as forecasts,
                count(*) filter (where outcomes.is_scored) as resolved,
                count(*) filter (where outcomes.is_scored and outcomes.happened) as happened,
                avg(outcomes.brier) filter (where outcomes.is_scored) as brier
            from fct_forecast as forecasts
            left join fct_forecast_outcome as outcomes using (forecast_id)
            where forecasts.due_on between $first and $last::date + 6 and forecasts.event = 'stars_threshold'
            group by all
        ),
        record as (
            select * from weekly_track_record where week between $first and $last
        )
        select week, model_version
        from record
        full join counted using (week, model_version)
        where
            record.forecasts is distinct from counted.forecasts
            or record.resolved is distinct from counted.resolved
            or record.happened is distinct from counted.happened
            or (record.brier is null) <> (counted.brier is null)
            or abs(record.brier - counted.brier) > 1e-8
        """,
    ),
    Identity(
        "fct_cluster_member_week",
        "members_were_read_in_the_week",
        "A member is in only one cluster, in a week with stable clusters, and has a row in weekly_repo_trends.",
        """
        with members as (
            select * from fct_cluster_member_week where week between $first and $last
        )
        select week, repo_key from members group by all having count(*) > 1
        union all
        select week, repo_key
        from members
        left join weekly_repo_trends as trends using (week, repo_key)
        left join fct_clustering_week as clusterings using (week)
        where trends.full_name is distinct from members.full_name or clusterings.is_stable is distinct from true
        """,
        ("weekly_repo_trends",),
    ),
    Identity(
        "fct_cluster_week",
        "clusters_add_up_members",
        "Size, gain and entrants of clusters, and the totals of the week, equal those of the members.",
        """
        with summed as (
            select
                members.week,
                members.cluster,
                count(*) as size,
                count(*) filter (where members.is_entrant) as entrants,
                sum(trends.stars_gained) as stars_gained
            from fct_cluster_member_week as members
            left join weekly_repo_trends as trends using (week, repo_key)
            where members.week between $first and $last
            group by all
        ),
        clusters as (
            select * from fct_cluster_week where week between $first and $last
        ),
        weeks as (
            select week, count(*) as clusters, sum(size) as clustered from clusters group by week
        )
        select week, cluster
        from clusters
        full join summed using (week, cluster)
        where
            clusters.size is distinct from summed.size
            or clusters.stars_gained is distinct from summed.stars_gained
            or clusters.entrants <> summed.entrants
        union all
        select week, null
        from (select * from fct_clustering_week where week between $first and $last) as clusterings
        full join weeks using (week)
        where
            clusterings.clusters is distinct from coalesce(weeks.clusters, 0)
            or clusterings.clustered is distinct from coalesce(weeks.clustered, 0)
        """,
        ("weekly_repo_trends",),
    ),
    Identity(
        "weekly_cluster_trends",
        "trends_are_those_of_the_clusters",
        "There is one row for each cluster with its size, gain and growth; momentum is growth minus universe_growth.",
        """
        with trends as (
            select * from weekly_cluster_trends where week between $first and $last
        ),
        clusters as (
            select * from fct_cluster_week where week between $first and $last
        )
        select week, cluster
        from trends
        full join clusters using (week, cluster)
        where
            trends.repos is distinct from clusters.size
            or trends.stars_gained is distinct from clusters.stars_gained
            or trends.growth is distinct from clusters.growth
            or trends.label is distinct from clusters.label
            or (trends.momentum is null) <> (clusters.growth - clusters.universe_growth is null)
            or abs(trends.momentum - (clusters.growth - clusters.universe_growth)) > 1e-6
        """,
    ),
)


def specs_of(*tables: str) -> list[dg.AssetCheckSpec]:
    """Return the checks that the asset of these tables declares."""
    return [
        dg.AssetCheckSpec(
            identity.name,
            asset=identity.table,
            description=identity.description,
            additional_deps=[dg.AssetDep(table) for table in identity.also_reads],
        )
        for identity in IDENTITIES
        if identity.table in tables
    ]


def checked(
    connection: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date, *tables: str
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of the checks of these tables for the weeks from `first` to `last`."""
    for identity in IDENTITIES:
        if identity.table not in tables:
            continue
        query = f"select *, count(*) over () from ({identity.broken_by}) order by all limit {SHOWN}"
        try:
            found = connection.execute(query, {"first": first, "last": last}).fetchall()
        except duckdb.CatalogException as error:  # a table that it reads does not exist, so the check cannot run
            found = [(str(error).splitlines()[0], 0)]
        yield dg.AssetCheckResult(
            passed=not found,
            asset_key=identity.table,
            check_name=identity.name,
            metadata={
                "rows": found[0][-1] if found else 0,
                "for_example": [" / ".join(map(str, row[:-1])) for row in found],
            },
        )
