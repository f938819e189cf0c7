{{ config(materialized='table') }}

with

hours as (

    select * from {{ ref('int_gh_archive_hours__judged') }}

),

days as (

    select * from {{ ref('int_gh_archive_days__judged') }}

),

-- on a day that lost events, more are expected in every hour
hours_of_days as (

    select
        hours.* exclude (expected_events),
        hours.expected_events * coalesce(days.thinning, 1) as expected_events,
        days.expected_share
    from hours
    left join days on hours.day = days.day

),

final as (

    select
        hours.file_hour,
        hours.utc_hour,
        hours.state as status,
        hours.reason,
        hours.events,
        round(hours.expected_events)::bigint as events_expected,
        case when hours.events > 0 then round(hours.stars / hours.events, 6) end as star_share,
        round(hours.expected_share * hours.expected_events)::bigint as expected,
        hours.stars as observed,
        case
            when hours.expected_share * hours.expected_events > 0
                then round(least(hours.stars / (hours.expected_share * hours.expected_events), 1), 4)
        end as coverage,
        hours.event_mix,
        hours.lines_set_aside,
        hours.duplicates
    from hours_of_days as hours
    order by hours.file_hour

)

select * from final
