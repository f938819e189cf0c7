with

days as (

    select * from {{ source('gh_archive', 'gh_archive_days') }}

),

final as (

    select
        day,
        status,
        reason,
        hours_observed,
        events,
        stars,
        first_day,
        last_day,
        run_id,
        fetched_at
    from days

)

select * from final
