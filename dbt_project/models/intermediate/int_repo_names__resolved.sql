{{ config(materialized='table') }}

with recursive

repo_days as (

    select
        day,
        name_key
    from {{ ref('int_rankings_repo_days__merged') }}

),

renames as (

    select * from {{ ref('int_rankings_renames__linked') }}

),

first_seen as (

    select
        name_key,
        min(day) as starts_on
    from repo_days
    group by name_key

),

-- A name given up and seen again, with no rename back to it, is another repository's.
taken_again as (

    select
        renames.old_name_key as name_key,
        min(repo_days.day) as starts_on
    from renames
    inner join repo_days
        on renames.old_name_key = repo_days.name_key and renames.day < repo_days.day
    group by renames.old_name_key, renames.day

),

seen as (

    select * from first_seen
    union
    select * from taken_again

),

starts as (

    select
        new_name_key as name_key,
        day as starts_on,
        old_name_key,
        evidence
    from renames

    union all

    select
        seen.name_key,
        seen.starts_on,
        null as old_name_key,
        null as evidence
    from seen
    anti join renames
        on seen.name_key = renames.new_name_key and seen.starts_on = renames.day

),

tenures as (

    select
        *,
        lead(starts_on) over (partition by name_key order by starts_on) as ends_before,
        row_number() over (partition by name_key order by starts_on) as tenure
    from starts

),

resolved as (

    select
        name_key,
        starts_on,
        ends_before,
        -- 63 bits: fits a signed BIGINT in every client
        (md5_number_lower(name_key || case when tenure > 1 then '@' || starts_on else '' end) >> 1)::bigint as repo_key,
        evidence
    from tenures
    where old_name_key is null

    union all

    select
        tenures.name_key,
        tenures.starts_on,
        tenures.ends_before,
        resolved.repo_key,
        tenures.evidence
    from tenures
    inner join resolved
        on
            tenures.old_name_key = resolved.name_key
            and tenures.starts_on > resolved.starts_on
            and (resolved.ends_before is null or tenures.starts_on <= resolved.ends_before)

),

final as (

    select * from resolved
    order by name_key, starts_on

)

select * from final
