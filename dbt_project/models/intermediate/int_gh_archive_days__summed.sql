{{ config(incremental_strategy='replace_archived_days') }}

with

repo_days as (

    select * from {{ ref('int_gh_archive_repo_days__counted') }}
    where {{ in_archived_days() }}

),

hours as (

    select * from {{ ref('stg_gh_archive__hours') }}
    where {{ in_archived_days() }}

),

counted as (

    select
        day,
        sum(stars_gained)::bigint as stars_gained
    from repo_days
    group by day

),

types as (

    select
        day,
        unnest(map_entries(event_mix::json::map (varchar, bigint))) as type -- noqa: PRS
    from hours

),

mixed as (

    select
        types.day,
        types.type.key as event_type,
        sum(types.type.value)::bigint as events
    from types
    group by types.day, types.type.key

),

mixes as (

    select
        day,
        to_json(map(
            list(event_type order by events desc, event_type asc), list(events order by events desc, event_type asc)
        ))::varchar as event_mix
    from mixed
    group by day

),

final as (

    select
        coalesce(counted.day, mixes.day) as day,
        coalesce(counted.stars_gained, 0) as stars_gained,
        mixes.event_mix
    from counted
    full join mixes on counted.day = mixes.day
    order by coalesce(counted.day, mixes.day)

)

select * from final
