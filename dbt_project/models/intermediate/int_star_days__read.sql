{{ config(incremental_strategy='replace_cells', unique_key=['repo_id', 'day']) }}

with

weeks as (

    select * from {{ ref('stg_star_history__weeks') }}

),

{% if is_incremental() %}
    loaded as (

        select distinct
            repo_id,
            week
        from weeks
        where {{ is_newly_loaded() }}

    ),
{% endif %}

-- every reading of a week that was loaded again
readings as (

    select
        weeks.*,
        max(weeks.loaded_at) over (partition by weeks.repo_id, weeks.week) as week_loaded_at
    from weeks
    {% if is_incremental() %}
        semi join loaded on weeks.repo_id = loaded.repo_id and weeks.week = loaded.week
    {% endif %}
    qualify
        row_number() over (
            partition by weeks.repo_id, weeks.week, weeks.fetched_at order by weeks.loaded_at desc, weeks.total asc
        ) = 1

),

days as (

    select
        repo_id,
        week + unnest(range(7))::integer as day,
        unnest([sunday, monday, tuesday, wednesday, thursday, friday, saturday]) as stars_gained,
        fetched_at,
        week_loaded_at
    from readings

),

-- a day counts once it has ended, and a reading that confirms the former one tells nothing
told as (

    select * from days
    where day < fetched_at::date and stars_gained is not null
    qualify stars_gained is distinct from lag(stars_gained) over (partition by repo_id, day order by fetched_at)

),

final as (

    select
        repo_id,
        day,
        row_number() over by_day as reading,
        count(*) over (partition by repo_id, day) as readings,
        fetched_at,
        stars_gained,
        week_loaded_at as loaded_at
    from told
    window by_day as (partition by repo_id, day order by fetched_at)
    order by day, repo_id, fetched_at

)

select * from final
