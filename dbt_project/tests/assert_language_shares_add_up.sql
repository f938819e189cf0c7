-- Shares add up to 1, and counts to the repositories with a total.
with

languages as (

    select
        day,
        universe,
        sum(share) as shares,
        sum(repos) as repos
    from {{ ref('fct_language_day') }}
    where {{ in_window() }}
    group by day, universe

),

repo_days as (

    select
        day,
        count(*) as repos
    from {{ ref('fct_repo_day') }}
    -- A doubtful total does not count among languages.
    where
        {{ in_window() }}
        and stars_total is not null
        and not coalesce(list_contains(dq_flags, 'total_doubtful'), false)
    group by day

)

select languages.*
from languages
left join repo_days on languages.day = repo_days.day
where
    abs(languages.shares - 1) > 1e-9
    or (languages.universe = 'all' and languages.repos is distinct from repo_days.repos)
    or (languages.universe = 'top50' and languages.repos > 50)
