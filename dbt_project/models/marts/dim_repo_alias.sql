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

identified as (

    select * from {{ ref('int_repos__identified') }}

),

seen as (

    select
        repo_key,
        name_key,
        full_name,
        min(day) as seen_from,
        max(day) as seen_to
    from repo_days
    group by repo_key, name_key, full_name

),

links as (

    select
        repo_key,
        name_key,
        -- of the first time: a first name that is taken up again was not inferred
        arg_min(link, starts_on) as link,
        arg_min_null(evidence, starts_on) as evidence
    from names
    group by repo_key, name_key

),

final as (

    select
        seen.repo_key,
        identified.repo_id,
        seen.full_name,
        seen.seen_from,
        seen.seen_to,
        case
            when links.link <> 'first_name' then links.link
            when seen.seen_from > min(seen.seen_from) over (partition by seen.repo_key, seen.name_key) then 'case_only'
            else 'first_name'
        end as link,
        links.evidence as link_evidence
    from seen
    left join links on seen.repo_key = links.repo_key and seen.name_key = links.name_key
    left join identified on seen.repo_key = identified.repo_key
    order by seen.repo_key, seen.seen_from, seen.full_name

)

select * from final
