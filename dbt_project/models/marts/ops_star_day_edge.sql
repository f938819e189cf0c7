{{ config(materialized='table') }}

-- The stars between two totals are those of the star days that these hours belong to. If the end of a star day is set
-- to a wrong hour, the two differ more: totals, whose instants are known, therefore show when star days end.

with

repo_days as (

    select
        day,
        repo_key,
        observed_at,
        gap_hours,
        net_delta_24h * gap_hours / 24 as net_change,
        case when source = 'repositories' and net_delta_24h is not null then day end as read_on,
        case when stars_gained_source = 'star_history' then stars_gained end as stars_gained
    from {{ ref('fct_repo_day') }}
    where day > (select max(newest.day) from {{ ref('fct_repo_day') }} as newest) - {{ constant('star_edge_days') }} - 3

),

-- Wherever a star day ends, the hours between these totals are in the day, the one before it or the two after it.
framed as (

    select
        *,
        max(stars_gained) over (
            partition by repo_key order by day
            range between interval 1 day preceding and interval 1 day preceding
        ) as stars_before,
        max(stars_gained) over (
            partition by repo_key order by day
            range between interval 1 day following and interval 1 day following
        ) as stars_after,
        max(stars_gained) over (
            partition by repo_key order by day
            range between interval 2 days following and interval 2 days following
        ) as stars_after_next
    from repo_days

),

readings as (

    select
        day,
        net_change,
        -- hours after the day began (UTC)
        epoch(observed_at - day::timestamp) / 3600 as read_until,
        epoch(observed_at - day::timestamp) / 3600 - gap_hours as read_from,
        stars_before,
        stars_gained,
        stars_after,
        stars_after_next
    from framed
    -- quiet repositories give the same result for every hour
    where
        read_on is not null
        and stars_before + stars_gained + stars_after + stars_after_next >= {{ constant('agreement_stars') }}

),

-- offsets of zones range from 12 hours behind UTC to 14 ahead of it
edges as (

    select unnest(range(-14, 13))::integer as edge_hour

),

compared as (

    select
        readings.day,
        edges.edge_hour,
        abs(
            readings.net_change - (
                {% for counts in ['stars_before', 'stars_gained', 'stars_after', 'stars_after_next'] -%}
                    {%- set begins = 'edges.edge_hour + ' ~ 24 * (loop.index0 - 1) -%}
                    {% if not loop.first %} + {% endif %}readings.{{ counts }} * greatest(
                        least(readings.read_until, {{ begins }} + 24) - greatest(readings.read_from, {{ begins }}), 0
                    ) / 24
                {%- endfor %}
            )
        ) as stars_off
    from readings
    cross join edges

),

final as (

    select
        day,
        edge_hour,
        edge_hour = round(
            epoch({{ star_day_begins_at('day + 1') }} - (day + 1)::timestamp) / 3600
        ) as is_configured,
        count(*) as readings,
        round({{ exact_sum('stars_off') }}, 3)::double as stars_off
    from compared
    group by day, edge_hour
    order by day, edge_hour

)

select * from final
