with

days as (

    select * from {{ source('star_history', 'star_history_days') }}
    qualify row_number() over (partition by day order by fetched_at desc) = 1

),

final as (

    select
        day,
        status,
        reason,
        expected,
        asked,
        answered,
        left_out,
        rest_requests,
        run_id,
        fetched_at
    from days

)

select * from final
