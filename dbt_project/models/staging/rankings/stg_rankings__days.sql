with

days as (

    select * from {{ source('rankings', 'rankings_days') }}

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
