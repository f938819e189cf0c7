{{ config(incremental_strategy='replace_all') }}

{#- largest fall a day of the logarithms of share and events -#}
{%- set share_fall = "(-ln(1 - " ~ constant('share_fall_a_year') ~ ") / 365.25)" -%}
{%- set events_fall = "(-ln(1 - " ~ constant('events_fall_a_year') ~ ") / 365.25)" -%}

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

-- a file can cover two hours, and when the naming changed in 2015, two files cover the same hour
utc_hours as (

    select
        day,
        state,
        unnest(generate_series(utc_hour, utc_hour + to_hours(utc_hours - 1), interval 1 hour)) as utc_hour
    from hours

),

counted as (

    select
        day,
        count(distinct utc_hour) as hours_known,
        {% for state in ['observed', 'hollow', 'partial', 'missing', 'refused', 'not_reached'] %}
            count(distinct utc_hour) filter (where state = '{{ state }}') as hours_{{ state }}
            {%- if not loop.last %},{% endif %}
        {% endfor %}
    from utc_hours
    group by day

),

totals as (

    select
        day,
        sum(expected_events) as expected_events,
        max(usual_events / utc_hours) as usual_events,
        sum(events) filter (where state = 'observed')
        / sum(utc_hours) filter (where state = 'observed') as events_an_hour,
        case
            when count(*) filter (where state = 'observed') >= {{ constant('share_hours_min') }}
                then sum(stars) filter (where state = 'observed') / sum(events) filter (where state = 'observed')
        end as star_share
    from hours
    group by day

),

days as (

    select
        counted.*,
        totals.* exclude (day, events_an_hour), -- noqa: RF02
        case
            when counted.hours_observed >= {{ constant('events_hours_min') }} then totals.events_an_hour
        end as events_an_hour
    from counted
    inner join totals on counted.day = totals.day

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
        count(days.star_share) over past as shares,
        median(days.events_an_hour) over weekdays_past as usual_events_an_hour,
        count(days.events_an_hour) over weekdays_past as weekdays
    from calendar
    left join days on calendar.day = days.day
    left join summed on calendar.day = summed.day
    window
        past as (
            order by calendar.day
            range between interval {{ constant('usual_days') | int - 1 }} days preceding and current row
        ),
        weekdays_past as (
            partition by isodow(calendar.day) order by calendar.day
            range between interval {{ constant('usual_days') | int - 1 }} days preceding and current row
        )

),

-- Leaky running maxima: share and events may fall below their former level, but not faster than this rate.
based as (

    select
        *,
        exp(
            max(
                case
                    when shares >= {{ constant('usual_days_min') }} and usual_share > 0
                        then ln(usual_share) + {{ share_fall }} * (day - date '2011-01-01')
                end
            ) over (order by day rows between unbounded preceding and 1 preceding)
            - {{ share_fall }} * (day - date '2011-01-01')
        ) as expected_share,
        exp(
            max(
                case
                    when weekdays >= {{ constant('usual_days_min') | int // 7 }} and usual_events_an_hour > 0
                        then ln(usual_events_an_hour) + {{ events_fall }} * (day - date '2011-01-01')
                end
            )
                over (
                    partition by isodow(day) order by day rows between unbounded preceding and 1 preceding
                )
            - {{ events_fall }} * (day - date '2011-01-01')
        ) as expected_events_an_hour
    from framed

),

read_or_usual as (

    select
        * exclude (expected_events, shares, usual_share, usual_events, usual_events_an_hour, weekdays),
        coalesce(expected_events, 0)
        + greatest(24 - coalesce(hours_known, 0), 0) * usual_events as read_or_usual_events,
        coalesce(events_an_hour < {{ constant('events_least') }} * expected_events_an_hour, false) as is_thinned
    from based

),

expected as (

    select
        * exclude (read_or_usual_events),
        case
            when is_thinned then greatest(read_or_usual_events, 24 * expected_events_an_hour)
            else read_or_usual_events
        end as expected_events,
        case
            when is_thinned then greatest(24 * expected_events_an_hour / nullif(read_or_usual_events, 0), 1)
            else 1
        end as thinning
    from read_or_usual

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
