{{ config(materialized='table') }}

with

changes as (

    select
        *,
        lag(row(full_name, language, description)) over (partition by repo_key order by day) as previous
    from {{ ref('int_repo_attributes__changed') }}

),

-- a repository that comes back after a longer absence than is remembered may come back unchanged
versions as (

    select * from changes
    where previous is distinct from row(full_name, language, description)

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
        null::bigint as repo_id,
        full_name,
        split_part(full_name, '/', 1) as owner,
        split_part(full_name, '/', 2) as name,
        language,
        null::varchar[] as topics,
        description,
        null::boolean as is_archived,
        null::boolean as is_fork,
        null::timestamp as created_at,
        'unknown' as state,
        day as valid_from,
        next_day as valid_to,
        next_day is null as is_current
    from dated
    order by repo_key, valid_from

)

select * from final
