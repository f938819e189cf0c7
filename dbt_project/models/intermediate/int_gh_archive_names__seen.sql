{{ config(incremental_strategy='replace_all') }}

with

stars as not materialized (

    select
        repo_ref,
        repo_id,
        full_name,
        name_key,
        day
    from {{ ref('stg_gh_archive__stars') }}

),

fresh as (

    select
        repo_ref,
        full_name,
        min(day) as first_day,
        max(day) as last_day
    from stars
    where {{ in_archived_days() }}
    group by repo_ref, full_name

),

{% if is_incremental() %}
    held as (

        select
            repo_ref,
            full_name,
            first_day,
            last_day
        from {{ this }}

    ),

    -- a first or last day that is reloaded without the name: only the other days still show it
    lost as (

        select
            held.repo_ref,
            held.full_name
        from held
        left join fresh on held.repo_ref = fresh.repo_ref and held.full_name = fresh.full_name
        where
            ({{ in_archived_days('held.first_day') }} and coalesce(fresh.first_day > held.first_day, true))
            or ({{ in_archived_days('held.last_day') }} and coalesce(fresh.last_day < held.last_day, true))

    ),

    reread as (

        select
            stars.repo_ref,
            stars.full_name,
            min(stars.day) as first_day,
            max(stars.day) as last_day
        from stars
        inner join lost on stars.repo_ref = lost.repo_ref and stars.full_name = lost.full_name
        group by stars.repo_ref, stars.full_name

    ),

    kept as (

        select held.*
        from held
        anti join lost on held.repo_ref = lost.repo_ref and held.full_name = lost.full_name

    ),
{% endif %}

seen as (

    select * from fresh
    {% if is_incremental() %}
        union all
        select * from reread
        union all
        select * from kept
    {% endif %}

),

final as (

    select
        repo_ref,
        case when repo_ref > 0 then repo_ref end as repo_id,
        lower(full_name) as name_key,
        full_name,
        (md5_number_lower(full_name) & 4294967295)::uinteger as name_ref,
        min(first_day) as first_day,
        max(last_day) as last_day
    from seen
    group by repo_ref, full_name
    order by repo_ref, first_day, full_name

)

select * from final
