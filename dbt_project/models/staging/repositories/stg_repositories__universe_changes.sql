with

changes as (

    select * from {{ source('repositories', 'universe_changes') }}

),

final as (

    select
        day,
        repo_id,
        full_name,
        lower(full_name) as name_key,
        change,
        via,
        reason,
        run_id
    from changes
    where repo_id is not null

)

select * from final
