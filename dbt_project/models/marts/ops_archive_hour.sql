{{ config(materialized='table') }}

with

hours as (

    select * from {{ ref('int_gh_archive_hours__judged') }}

),

days as (

    select * from {{ ref('int_gh_archive_days__judged') }}

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
        round(days.expected_share * hours.expected_events)::bigint as expected,
        hours.stars as observed,
        case
            when days.expected_share * hours.expected_events > 0
                then round(least(hours.stars / (days.expected_share * hours.expected_events), 1), 4)
        end as coverage,
        hours.event_mix,
        hours.lines_set_aside,
        hours.duplicates
    from hours
    left join days on hours.day = days.day
    order by hours.file_hour

)

select * from final
