with

stars as (

    select * from {{ source('gh_archive', 'gh_archive') }}

),

final as (

    select
        file_hour,
        day,
        event_id,
        -- one number for both: a repository that the old schema identifies by name alone has a negative reference
        coalesce(repo_id, -(md5_number_lower(lower(full_name)) >> 1)::bigint) as repo_ref,
        repo_id,
        full_name,
        lower(full_name) as name_key,
        -- distinguishes the names of a repository in half the space of a key
        (md5_number_lower(full_name) & 4294967295)::uinteger as name_ref,
        actor_hash,
        created_at
    from stars

)

select * from final
