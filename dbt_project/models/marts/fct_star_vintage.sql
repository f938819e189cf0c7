{{ config(incremental_strategy='replace_cells', unique_key=['repo_id', 'day']) }}
-- depends_on: {{ ref('int_repos__keyed') }}

with

star_days as (

    select * from {{ ref('int_star_days__read') }}

),

identified as (

    select * from {{ ref('int_repos__identified') }}

),

{% if is_incremental() %}
    rekeyed as (

        {{ rekeyed() }}

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
            or identified.repo_key in (select rekeyed.repo_key from rekeyed)
    {% endif %}
    order by star_days.day, identified.repo_key, star_days.fetched_at

)

select * from final
