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
        {{ last_known_star_day('weeks.fetched_at') }} as last_known,
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
        last_known,
        week_loaded_at
    from readings

),

-- A day counts once its count is final: it has ended in GitHub's zone, and the slack has passed. Earlier versions used
-- the end of the UTC day, so a home can hold readings of a day that was still growing; they do not count for that day.
-- A reading that confirms the previous one is left out.
readings_of_day as (

    select * from days
    where day <= last_known and stars_gained is not null
    qualify stars_gained is distinct from lag(stars_gained) over (partition by repo_id, day order by fetched_at)

),

compared as (

    select
        *,
        coalesce(stars_gained > lag(stars_gained) over by_day, false) as is_rise
    from readings_of_day
    window by_day as (partition by repo_id, day order by fetched_at)

),

final as (

    select
        repo_id,
        day,
        row_number() over by_day as reading,
        count(*) over (partition by repo_id, day) as readings,
        bool_or(is_rise) over (partition by repo_id, day) as has_risen,
        fetched_at,
        stars_gained,
        week_loaded_at as loaded_at
    from compared
    window by_day as (partition by repo_id, day order by fetched_at)
    order by day, repo_id, fetched_at

)

select * from final
