with

repos as (

    select
        signal.day,
        signal.repo_key,
        signal.language,
        signal.signal_rank,
        signal.velocity_24h,
        repo_days.source,
        repo_days.net_delta_24h
    from {{ ref('fct_repo_signal_day') }} as signal
    inner join {{ ref('fct_repo_day') }} as repo_days
        on signal.day = repo_days.day and signal.repo_key = repo_days.repo_key
    where signal.{{ in_window() }} and repo_days.{{ in_window() }}

),

tracked_days as (

    select distinct day
    from repos
    where source = 'repositories'

),

-- The top 50 of the tracked repositories, because lists change from day to day. On days without any, of all with a
-- rank.
highest as (

    select * from repos
    where source = 'repositories'
    qualify
        row_number() over (
            partition by day
            order by signal_rank asc nulls last, velocity_24h desc nulls last, repo_key asc
        ) <= 50

    union all

    select repos.*
    from repos
    anti join tracked_days on repos.day = tracked_days.day
    where repos.signal_rank <= 50

),

universes as (

    select
        'all' as universe,
        *
    from repos

    union all

    select
        'top50' as universe,
        *
    from highest

),

counted as (

    select
        day,
        universe,
        coalesce(language, 'none') as language,
        count(*) as repos,
        -- NULL if no total of the language was read on two successive days
        round({{ exact_sum('net_delta_24h') }})::double as stars_gained,
        count(net_delta_24h) as repos_with_gain
    from universes
    group by day, universe, coalesce(language, 'none')

),

totalled as (

    select
        *,
        sum(repos) over of_day as all_repos,
        sum(stars_gained) over of_day as all_stars_gained
    from counted
    window of_day as (partition by day, universe)

),

final as (

    select
        day,
        universe,
        language,
        repos,
        repos / all_repos as share,
        round({{ wilson_bound('repos', 'all_repos', '-') }}, 6) as share_low,
        round({{ wilson_bound('repos', 'all_repos', '+') }}, 6) as share_high,
        stars_gained::bigint as stars_gained,
        case when stars_gained is not null then 'net_change' end as stars_gained_basis,
        repos_with_gain,
        case when all_stars_gained > 0 then stars_gained / all_stars_gained end as stars_gained_share
    from totalled
    order by day, universe, language

)

select * from final
