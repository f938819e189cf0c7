{{ config(incremental_strategy='replace_all') }}

{#- the share's logarithm may fall by so much a day -#}
{%- set fall = "(-ln(1 - " ~ constant('share_fall_a_year') ~ ") / 365.25)" -%}

with

hours as (

    select * from {{ ref('int_gh_archive_hours__judged') }}

),

summed as (

    select * from {{ ref('int_gh_archive_days__summed') }}

),

calendar as (

    select unnest(generate_series(min(day), max(day), interval 1 day))::date as day
    from (
        select hours.day from hours
        union all
        select summed.day from summed
    ) as known_days

),

days as (

    select
        day,
        count(distinct utc_hour) as hours_known,
        count(distinct utc_hour) filter (where state = 'observed') as hours_observed,
        {% for state in ['hollow', 'partial', 'missing', 'refused', 'not_reached'] %}
            count(*) filter (where state = '{{ state }}') as hours_{{ state }},
        {% endfor %}
        sum(expected_events) as expected_events,
        max(usual_events) as usual_events,
        case
            when count(*) filter (where state = 'observed') >= {{ constant('share_hours_min') }}
                then sum(stars) filter (where state = 'observed') / sum(events) filter (where state = 'observed')
        end as star_share
    from hours
    group by day

),

framed as (

    select
        calendar.day,
        days.* exclude (day, usual_events, expected_events), -- noqa: RF02
        coalesce(summed.stars_gained, 0) as observed,
        summed.event_mix,
        last_value(days.usual_events ignore nulls) over (
            order by calendar.day rows between unbounded preceding and current row
        ) as usual_events,
        days.expected_events,
        median(days.star_share) over past as usual_share,
        count(days.star_share) over past as shares
    from calendar
    left join days on calendar.day = days.day
    left join summed on calendar.day = summed.day
    window past as (
        order by calendar.day
        range between interval {{ constant('usual_days') | int - 1 }} days preceding and current row
    )

),

-- A running maximum that leaks: what the share has been before it may have fallen from, but not faster than so.
based as (

    select
        *,
        exp(
            max(
                case
                    when shares >= {{ constant('usual_days_min') }} and usual_share > 0
                        then ln(usual_share) + {{ fall }} * (day - date '2011-01-01')
                end
            ) over (order by day rows between unbounded preceding and 1 preceding)
            - {{ fall }} * (day - date '2011-01-01')
        ) as expected_share
    from framed

),

expected as (

    select
        * exclude (expected_events, shares, usual_share, usual_events),
        coalesce(expected_events, 0)
        + greatest(24 - coalesce(hours_known, 0), 0) * usual_events as expected_events
    from based

),

covered as (

    select
        *,
        round(expected_share * expected_events)::bigint as expected,
        case
            when expected_share * expected_events > 0
                then round(least(observed / (expected_share * expected_events), 1), 4)
        end as coverage
    from expected

),

final as (

    select
        covered.*,
        {% if is_incremental() %}
            case
                when (covered.coverage is distinct from former.coverage) then {{ var('build_number') }}
                else former.changed_in
            end::bigint as changed_in
        {% else %}
            null::bigint as changed_in
        {% endif %}
    from covered
    {% if is_incremental() %}
        left join {{ this }} as former on covered.day = former.day
    {% endif %}
    order by covered.day

)

select * from final
