{{ config(materialized='table') }}

with

changes as (

    select
        *,
        row(repo_id, full_name, language, topics, description, is_archived, is_fork, created_at, state) as attributes
    from {{ ref('int_repo_attributes__changed') }}

),

-- a repository that comes back after a longer absence than is remembered may come back unchanged
versions as (

    select * from changes
    qualify attributes is distinct from lag(attributes) over (partition by repo_key order by day)

),

dated as (

    select
        *,
        lead(day) over (partition by repo_key order by day) as next_day
    from versions

),

final as (

    select
        repo_key,
        repo_id,
        full_name,
        split_part(full_name, '/', 1) as owner,
        split_part(full_name, '/', 2) as name,
        language,
        topics,
        description,
        is_archived,
        is_fork,
        created_at,
        state,
        day as valid_from,
        next_day as valid_to,
        next_day is null as is_current
    from dated
    order by repo_key, valid_from

)

select * from final
