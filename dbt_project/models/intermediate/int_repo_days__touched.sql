{{ config(materialized='table') }}

with

keyed as (

    select * from {{ ref('int_repos__keyed') }}

),

rekeyed as (

    {{ rekeyed() }}

),

rekeyed_refs as (

    select
        keyed.repo_ref,
        keyed.repo_key
    from keyed
    inner join rekeyed on keyed.repo_key = rekeyed.repo_key

),

-- reread histories
loaded as (

    select
        star_days.day,
        keyed.repo_key
    from {{ ref('int_star_days__read') }} as star_days
    inner join keyed on star_days.repo_id = keyed.repo_ref
    where {{ is_newly_loaded('star_days.loaded_at') }}

),

-- all rows of keys that lost or gained an id or a name
moved as (

    select
        repo_days.day,
        repo_days.repo_key
    from {{ ref('int_repo_days__stepped') }} as repo_days
    inner join rekeyed on repo_days.repo_key = rekeyed.repo_key

    union all

    select
        star_days.day,
        rekeyed_refs.repo_key
    from {{ ref('int_star_days__read') }} as star_days
    inner join rekeyed_refs on star_days.repo_id = rekeyed_refs.repo_ref

    union all

    select
        archive_days.day,
        rekeyed_refs.repo_key
    from {{ ref('int_gh_archive_repo_days__counted') }} as archive_days
    inner join rekeyed_refs on archive_days.repo_ref = rekeyed_refs.repo_ref

),

-- archive stars of days with revised coverage
rejudged as (

    select
        archive_days.day,
        keyed.repo_key
    from {{ ref('int_gh_archive_repo_days__counted') }} as archive_days
    inner join {{ ref('int_gh_archive_days__judged') }} as days on archive_days.day = days.day
    inner join keyed on archive_days.repo_ref = keyed.repo_ref
    where days.{{ is_changed() }} and not {{ in_built_days('days.day') }}

),

final as (

    select distinct
        day,
        repo_key
    from (
        select * from loaded
        union all
        select * from moved
        union all
        select * from rejudged
    ) as touched
    where not {{ in_built_days() }}
    order by day, repo_key

)

select * from final
