{{ config(incremental_strategy='replace_cells', unique_key=['repo_id', 'day']) }}

with

star_days as (

    select * from {{ ref('int_star_days__read') }}

),

identified as (

    select * from {{ ref('int_repos__identified') }}

),

{% if is_incremental() %}
    rekeyed as (

        select distinct shown.repo_id
        from {{ this }} as shown
        inner join identified on shown.repo_id = identified.repo_id
        where shown.repo_key <> identified.repo_key

    ),
{% endif %}

final as (

    select
        star_days.day,
        identified.repo_key,
        star_days.repo_id,
        star_days.fetched_at,
        star_days.stars_gained
    from star_days
    inner join identified on star_days.repo_id = identified.repo_id
    {% if is_incremental() %}
        where
            {{ is_newly_loaded('star_days.loaded_at') }}
            or star_days.repo_id in (select rekeyed.repo_id from rekeyed)
    {% endif %}
    order by star_days.day, identified.repo_key, star_days.fetched_at

)

select * from final
