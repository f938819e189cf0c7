with

weeks as (

    select * from {{ source('star_history', 'star_history') }}

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
