with

reads as (

    select * from {{ source('star_history', 'star_history_reads') }}

),

final as (

    select
        repo_id,
        full_name,
        page,
        status,
        first_day,
        last_day,
        stars_total,
        reason,
        fetched_at,
        run_id
    from reads

)

select * from final
