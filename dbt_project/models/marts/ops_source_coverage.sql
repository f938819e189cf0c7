{{ config(materialized='table') }}

with

ranking_days as (

    select * from {{ ref('stg_rankings__days') }}

),

ranking_calendar as (

    select unnest(generate_series(min(day), max(day), interval 1 day))::date as day
    from ranking_days

),

expected_places as (

    -- lists change slowly: a file with fewer lists than the week before has lost some
    select
        day,
        greatest(lists, max(lists) over (
            order by day range between interval 7 days preceding and interval 1 day preceding
        )) * longest_list as places
    from ranking_days
    where status = 'observed'

),

-- places of repositories that no list had a reason to drop, and that strangers take
replaced_places as (

    select
        day,
        case when replaced >= {{ constant('replaced_places') }} then replaced else 0 end as places,
        median(replaced) over (
            order by day
            range between interval {{ constant('usual_days') }} days preceding and interval 1 day preceding
        ) as usual
    from {{ ref('int_rankings_days__compared') }}

),

rankings as (

    select
        'rankings' as source,
        ranking_calendar.day,
        expected_places.places as expected,
        ranking_days.distinct_places - coalesce(replaced_places.places, 0) as observed,
        coalesce(ranking_days.status, 'not_loaded') as status,
        case
            when ranking_days.status is null then 'never asked for'
            when ranking_days.status <> 'observed' then ranking_days.reason
            else nullif(concat_ws(
                '; ',
                case
                    when ranking_days.distinct_places < expected_places.places
                        then
                            'places of lists without a good row: '
                            || (expected_places.places - ranking_days.distinct_places)
                end,
                case
                    when replaced_places.places > 0
                        then format(
                            '{:,} places are held by newcomers, while repositories far above the floors of their lists '
                            || 'are not returned; usual: {}',
                            replaced_places.places, coalesce(round(replaced_places.usual)::bigint::varchar, 'not known')
                        )
                end
            ), '')
        end as reason
    from ranking_calendar
    left join ranking_days on ranking_calendar.day = ranking_days.day
    left join expected_places on ranking_calendar.day = expected_places.day
    left join replaced_places on ranking_calendar.day = replaced_places.day and ranking_days.status = 'observed'

),

repository_days as (

    select * from {{ ref('stg_repositories__days') }}

),

observed_repositories as (

    select
        day,
        count(*) as repos
    from {{ ref('int_repo_readings__united') }}
    where source = 'repositories' and state = 'public'
    group by day

),

repository_calendar as (

    select unnest(generate_series(min(day), max(day), interval 1 day))::date as day
    from (
        select repository_days.day from repository_days
        union all
        select observed_repositories.day from observed_repositories
    ) as known_days

),

repositories as (

    select
        'repositories' as source,
        calendar.day,
        -- a day can be requested more than once; what was read is kept
        greatest(days.expected, observed.repos) as expected,
        case when days.day is not null or observed.repos is not null then coalesce(observed.repos, 0) end as observed,
        case
            when observed.repos is null then 'not_observed'
            when days.status is null or days.status = 'not_observed' then 'partial'
            else days.status
        end as status,
        case
            when days.day is null and observed.repos is null then 'totals cannot be read after the fact'
            when days.day is null then 'the run did not end'
            else days.reason
        end as reason
    from repository_calendar as calendar
    left join repository_days as days on calendar.day = days.day
    left join observed_repositories as observed on calendar.day = observed.day

),

created as (

    select
        repo_id,
        {{ star_day_of('min(created_at)') }} as created_on
    from {{ ref('int_repo_attributes__changed') }}
    where repo_id is not null
    group by repo_id

),

-- a repository is expected from its first day until it left; its history goes back to the first day
members as (

    select
        stays.repo_id,
        coalesce(min(created.created_on), min(stays.entered_on)) as first_day,
        case when bool_and(stays.left_on is not null) then max(stays.left_on) end as left_on
    from {{ ref('dim_universe') }} as stays
    left join created on stays.repo_id = created.repo_id
    group by stays.repo_id

),

cells as (

    select
        star_days.day,
        count(*) as repos
    from {{ ref('int_star_days__read') }} as star_days
    inner join members
        on
            star_days.repo_id = members.repo_id
            and star_days.day >= members.first_day
            and (members.left_on is null or star_days.day < members.left_on)
    where star_days.reading = 1
    group by star_days.day

),

history_days as (

    select * from {{ ref('stg_star_history__days') }}

),

history_calendar as (

    select unnest(generate_series(min(day), max(day), interval 1 day))::date as day
    from (
        select cells.day from cells
        union all
        select history_days.day from history_days
    ) as known_days

),

turns as (

    select
        first_day as day,
        1 as change
    from members
    where left_on is null or left_on > first_day

    union all

    select
        left_on as day,
        -1 as change
    from members
    where left_on > first_day

),

expected_repositories as (

    select
        day,
        sum(sum(change)) over (order by day) as repos
    from turns
    group by day

),

star_history as (

    select
        'star_history' as source,
        calendar.day,
        coalesce(expected.repos, 0)::bigint as expected,
        coalesce(cells.repos, 0) as observed,
        case
            when coalesce(cells.repos, 0) = 0 then 'not_observed'
            when cells.repos < expected.repos then 'partial'
            else 'observed'
        end as status,
        case
            when coalesce(cells.repos, 0) < coalesce(expected.repos, 0) or days.status <> 'observed'
                then concat_ws(
                    '; ',
                    format('{:,} of {:,} read', coalesce(cells.repos, 0), coalesce(expected.repos, 0)::bigint),
                    coalesce(days.reason, 'quiet repositories are re-read weekly, what was left out is not observed')
                )
        end as reason
    from history_calendar as calendar
    asof left join expected_repositories as expected on calendar.day >= expected.day
    left join cells on calendar.day = cells.day
    left join history_days as days on calendar.day = days.day

),

archive_days as (

    select * from {{ ref('int_gh_archive_days__judged') }}

),

archive_asked as (

    select * from {{ ref('stg_gh_archive__days') }}

),

gh_archive as (

    select
        'gh_archive' as source,
        days.day,
        days.expected,
        case when days.hours_known > 0 or days.observed > 0 then days.observed end as observed,
        days.coverage,
        case
            when days.hours_observed = 24 and coalesce(days.coverage, 1) >= {{ constant('low_coverage') }}
                then 'observed'
            when days.hours_observed > 0 or days.observed > 0 or days.hours_partial > 0 then 'partial'
            when days.hours_missing = days.hours_known then 'missing'
            when days.hours_known > 0 then 'not_observed'
            else coalesce(asked.status, 'not_loaded')
        end as status,
        nullif(concat_ws(
            '; ',
            {% for state, words in {
                'hollow': 'with next to no events', 'partial': 'cut off', 'missing': 'missing', 'refused': 'refused',
                'not_reached': 'not reached',
            }.items() %}
                case
                    when days.hours_{{ state }} > 0 then format('{} of 24 hours {{ words }}', days.hours_{{ state }})
                end,
            {% endfor %}
            case
                when coalesce(days.hours_known, 0) < 24
                    then format('{} of 24 hours not loaded', 24 - coalesce(days.hours_known, 0))
            end,
            case
                when days.star_share < {{ constant('low_coverage') }} * days.expected_share
                    then format(
                        '{:.2f} % of the events are stars, {:.2f} % were to be expected',
                        100 * days.star_share, 100 * days.expected_share
                    )
            end,
            case
                when days.is_thinned
                    then format(
                        '{:,} events an hour, {:,} were to be expected of this weekday',
                        round(days.events_an_hour)::bigint, round(days.expected_events_an_hour)::bigint
                    )
            end,
            case when days.coverage is null and days.hours_known > 0 then 'no past to judge by' end
        ), '') as reason,
        24 as hours_expected,
        coalesce(days.hours_observed, 0) as hours_observed,
        days.event_mix
    from archive_days as days
    left join archive_asked as asked on days.day = asked.day

),

united as (

    select
        *,
        case when expected > 0 then round(observed / expected, 4) end as coverage
    from (
        select * from rankings
        union all
        select * from repositories
        union all
        select * from star_history
    ) as counted

    union all by name

    select * from gh_archive

),

final as (

    select
        source,
        day,
        expected,
        observed,
        coverage,
        status,
        reason,
        hours_expected,
        hours_observed,
        event_mix
    from united
    order by source, day

)

select * from final
