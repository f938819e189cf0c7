with

hours as (

    select
        file_hour,
        {{ archive_utc_hour("file_hour") }} as utc_hour,
        {{ archive_utc_hour("file_hour", later=1) }} as next_utc_hour,
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
    from {{ source('gh_archive', 'gh_archive_hours') }}
    qualify row_number() over (partition by file_hour order by fetched_at desc) = 1

),

final as (

    select
        file_hour,
        utc_hour,
        date_diff('hour', utc_hour, next_utc_hour) as utc_hours,
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
    -- Pacific clocks skip an hour in spring, so no file of that hour is missing
    where next_utc_hour > utc_hour

)

select * from final
