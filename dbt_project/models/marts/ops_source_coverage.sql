{{ config(materialized='table') }}

with

days as (

    select * from {{ ref('stg_rankings__days') }}

),

calendar as (

    select unnest(generate_series(min(day), max(day), interval 1 day))::date as day
    from days

),

expected as (

    -- lists come and go slowly: a file with fewer lists than the week before has lost some
    select
        day,
        greatest(lists, max(lists) over (
            order by day range between interval 7 days preceding and interval 1 day preceding
        )) * longest_list as places
    from days
    where status = 'observed'

),

final as (

    select
        'rankings' as source,
        calendar.day,
        expected.places as expected,
        days.distinct_places as observed,
        case when expected.places > 0 then round(days.distinct_places / expected.places, 4) end as coverage,
        coalesce(days.status, 'not_loaded') as status,
        case
            when days.status is null then 'never asked for'
            when days.status <> 'observed' then days.reason
            when days.distinct_places < expected.places
                then 'places of lists without a good row: ' || (expected.places - days.distinct_places)
        end as reason
    from calendar
    left join days on calendar.day = days.day
    left join expected on calendar.day = expected.day
    order by source, calendar.day

)

select * from final
