{{ config(incremental_strategy='replace_archived_days') }}

with

stars as not materialized (

    select
        day,
        repo_ref,
        name_ref,
        event_id,
        file_hour::date <> day as is_stray
    from {{ ref('stg_gh_archive__stars') }}
    where {{ in_archived_days() }}

),

-- One load holds an event once, so of two copies one at least lies in a file of another day. Those are few.
strays as (

    select
        day,
        event_id,
        min(repo_ref) as repo_ref,
        max(name_ref) as name_ref
    from stars
    where is_stray
    group by day, event_id

),

at_home as not materialized (

    select * from stars
    where not is_stray

),

events as (

    select
        day,
        repo_ref,
        name_ref
    from at_home

    union all

    select
        strays.day,
        strays.repo_ref,
        strays.name_ref
    from strays
    anti join at_home on strays.day = at_home.day and strays.event_id = at_home.event_id

),

final as (

    select
        day,
        repo_ref,
        -- of two names on the day of a rename either is true
        max(name_ref) as name_ref,
        count(*) as stars_gained
    from events
    group by day, repo_ref
    order by day, repo_ref

)

select * from final
