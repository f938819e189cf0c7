with

weeks as (

    select * from {{ source('star_history', 'star_history') }}
    -- stg_star_history__quarantine has the rest
    where {{ is_star_week() }}

),

final as (

    select
        repo_id,
        week,
        total,
        sunday,
        monday,
        tuesday,
        wednesday,
        thursday,
        friday,
        saturday,
        fetched_at,
        loaded_at
    from weeks

)

select * from final
