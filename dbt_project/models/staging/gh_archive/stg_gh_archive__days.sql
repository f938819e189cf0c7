with

days as (

    select * from {{ source('gh_archive', 'gh_archive_days') }}
    qualify row_number() over (partition by day order by fetched_at desc) = 1

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
