with

quarantine as (

    select * from {{ source('star_history', 'star_history_quarantine') }}

),

final as (

    select
        repo_id,
        full_name,
        week,
        reason,
        row_text,
        fetched_at,
        run_id
    from quarantine

)

select * from final
