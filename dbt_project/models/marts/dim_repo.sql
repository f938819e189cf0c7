{{ config(materialized='table') }}

with

changes as (

    select
        *,
        row(repo_id, full_name, language, topics, description, is_archived, is_fork, created_at, state) as attributes
    from {{ ref('int_repo_attributes__changed') }}

),

-- for all others the archive gives the names
archive_names as (

    select
        keyed.repo_key,
        keyed.repo_id,
        seen.full_name,
        seen.first_day,
        seen.last_day
    from {{ ref('int_gh_archive_names__seen') }} as seen
    inner join {{ ref('int_repos__keyed') }} as keyed on seen.repo_ref = keyed.repo_ref
    anti join changes on keyed.repo_key = changes.repo_key

),

archive_versions as (

    select
        repo_key,
        max(repo_id) over (partition by repo_key) as repo_id,
        full_name,
        first_day as day
    from archive_names
    -- one name a day: of names that begin on the same day, the one seen last
    qualify row_number() over (partition by repo_key, first_day order by last_day desc, full_name asc) = 1

),

-- a repository that returns after a longer absence than memory_days may return unchanged
versions as (

    select * from changes
    qualify attributes is distinct from lag(attributes) over (partition by repo_key order by day)

),

all_versions as (

    select * exclude (attributes)
    from versions

    union all by name

    select
        *,
        'unknown' as state
    from archive_versions

),

dated as (

    select
        *,
        lead(day) over (partition by repo_key order by day) as next_day
    from all_versions

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
