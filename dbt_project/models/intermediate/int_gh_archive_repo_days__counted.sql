{{ config(incremental_strategy='replace_archived_days') }}

with

-- Files of two days, or two readings of one day, can contain the same event.
events as (

    select
        day,
        event_id,
        min(repo_ref) as repo_ref,
        -- on the day of a rename, either of the two names is true
        max(name_ref) as name_ref
    from {{ ref('stg_gh_archive__stars') }}
    where {{ in_archived_days() }}
    group by day, event_id

),

final as (

    select
        day,
        repo_ref,
        max(name_ref) as name_ref,
        count(*) as stars_gained
    from events
    group by day, repo_ref
    order by day, repo_ref

)

select * from final
