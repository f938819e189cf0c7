{{ config(materialized='table') }}

with

hours as (

    select * from {{ ref('stg_gh_archive__hours') }}

),

own_days as (

    select
        day,
        median(events) filter (where status = 'observed') as own_events,
        count(*) filter (where status = 'observed') as own_hours
    from hours
    group by day

),

usual as (

    select
        day,
        coalesce(
            median(own_events) over (
                order by day
                range between interval {{ constant('archive_days') }} days preceding and interval 1 day preceding
            ),
            case when own_hours >= {{ constant('share_hours_min') }} then own_events end
        ) as usual_events
    from own_days

),

judged as (

    select
        hours.*,
        usual.usual_events * hours.utc_hours as usual_events,
        case
            when
                hours.status = 'observed'
                and hours.events < {{ constant('hollow_share') }} * usual.usual_events * hours.utc_hours
                then 'hollow'
            else hours.status
        end as state
    from hours
    inner join usual on hours.day = usual.day

),

final as (

    select
        file_hour,
        utc_hour,
        utc_hours,
        day,
        state,
        case
            when state = 'hollow' then format('{:,} events where {:,} are usual', events, usual_events::bigint)
            else reason
        end as reason,
        coalesce(events, 0) as events,
        coalesce(stars, 0) as stars,
        usual_events,
        case
            when state = 'observed' then events
            else greatest(events, usual_events)
        end as expected_events,
        event_mix,
        lines_set_aside,
        duplicates
    from judged
    order by file_hour

)

select * from final
