with

days as (

    select * from {{ source('rankings', 'rankings_days') }}
    qualify row_number() over (partition by snapshot_date order by fetched_at desc) = 1

),

final as (

    select
        snapshot_date as day,
        status,
        reason,
        file,
        sha256,
        rows_read,
        rows_quarantined,
        lists,
        longest_list,
        distinct_places,
        run_id,
        fetched_at
    from days

)

select * from final
