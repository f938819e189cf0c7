with

hours as (

    select * from {{ source('gh_archive', 'gh_archive_hours') }}

),

final as (

    select
        file_hour,
        utc_hour,
        -- files were named in Pacific time until 2015: an hour is of the day of its events
        utc_hour::date as day,
        status,
        reason,
        events,
        stars,
        lines_set_aside,
        duplicates,
        event_mix,
        file_bytes,
        json_bytes,
        run_id,
        fetched_at
    from hours

)

select * from final
