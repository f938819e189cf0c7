{{ config(materialized='table') }}

with

repo_days as (

    select
        day,
        repo_key,
        name_key,
        full_name
    from {{ ref('int_repo_days__stepped') }}

),

names as (

    select * from {{ ref('int_repo_names__resolved') }}

),

keyed as (

    select * from {{ ref('int_repos__keyed') }}

),

seen as (

    select
        repo_key,
        name_key,
        full_name,
        min(seen_from) as seen_from,
        max(seen_to) as seen_to
    from (
        select
            repo_days.repo_key,
            repo_days.name_key,
            repo_days.full_name,
            min(repo_days.day) as seen_from,
            max(repo_days.day) as seen_to
        from repo_days
        group by repo_days.repo_key, repo_days.name_key, repo_days.full_name

        union all

        select
            keyed.repo_key,
            archive_names.name_key,
            archive_names.full_name,
            archive_names.first_day as seen_from,
            archive_names.last_day as seen_to
        from {{ ref('int_gh_archive_names__seen') }} as archive_names
        inner join keyed on archive_names.repo_ref = keyed.repo_ref
    ) as sightings
    group by repo_key, name_key, full_name

),

ids as (

    select
        repo_key,
        repo_id
    from keyed
    where repo_id is not null

),

links as (

    select
        repo_key,
        name_key,
        -- decided by the first time: a first name that is taken up again was not inferred
        arg_min(link, starts_on) as link,
        arg_min_null(evidence, starts_on) as evidence
    from names
    group by repo_key, name_key

),

final as (

    select
        seen.repo_key,
        ids.repo_id,
        seen.full_name,
        seen.seen_from,
        seen.seen_to,
        case
            when links.link is null then 'gh_archive'
            when links.link <> 'first_name' then links.link
            when seen.seen_from > min(seen.seen_from) over (partition by seen.repo_key, seen.name_key) then 'case_only'
            else 'first_name'
        end as link,
        links.evidence as link_evidence
    from seen
    left join links on seen.repo_key = links.repo_key and seen.name_key = links.name_key
    left join ids on seen.repo_key = ids.repo_key
    order by seen.repo_key, seen.seen_from, seen.full_name

)

select * from final
