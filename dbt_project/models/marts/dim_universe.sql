{{ config(materialized='table') }}

with

changes as (

    select * from {{ ref('stg_repositories__universe_changes') }}

),

identified as (

    select * from {{ ref('int_repos__identified') }}

),

-- a change recorded twice happened once
turns as (

    select * from changes
    qualify change is distinct from lag(change) over (partition by repo_id order by day, change)

),

stays as (

    select
        *,
        lead(day) over (partition by repo_id order by day, change) as left_on,
        lead(reason) over (partition by repo_id order by day, change) as exit_reason
    from turns

),

final as (

    select
        identified.repo_key,
        stays.repo_id,
        stays.full_name,
        stays.via,
        stays.day as entered_on,
        stays.left_on,
        stays.reason as entry_reason,
        stays.exit_reason
    from stays
    inner join identified on stays.repo_id = identified.repo_id
    where stays.change = 'entered'
    order by identified.repo_key, stays.day

)

select * from final
