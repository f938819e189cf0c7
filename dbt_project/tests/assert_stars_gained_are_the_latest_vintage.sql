-- For every built cell, the facts show the reading fetched last, with its time.
with

built as (

    select distinct
        identified.repo_key,
        star_days.day
    from {{ ref('int_star_days__read') }} as star_days
    inner join {{ ref('int_repos__identified') }} as identified on star_days.repo_id = identified.repo_id
    where {{ in_built_days('star_days.day') }} or {{ is_newly_loaded('star_days.loaded_at') }}

),

latest as (

    select
        vintages.repo_key,
        vintages.day,
        max(vintages.fetched_at) as fetched_at,
        arg_max(vintages.stars_gained, vintages.fetched_at) as stars_gained
    from {{ ref('fct_star_vintage') }} as vintages
    semi join built on vintages.repo_key = built.repo_key and vintages.day = built.day
    group by vintages.repo_key, vintages.day

),

facts as (

    select *
    from {{ ref('fct_repo_day') }}
    where {{ in_built_days() }} and stars_gained is not null and stars_gained_source is distinct from 'gh_archive'

    union all

    select repo_days.*
    from {{ ref('fct_repo_day') }} as repo_days
    semi join built on repo_days.repo_key = built.repo_key and repo_days.day = built.day
    where
        not {{ in_built_days('repo_days.day') }}
        or repo_days.stars_gained is null
        or repo_days.stars_gained_source = 'gh_archive'

),

final as (

    select
        coalesce(latest.repo_key, facts.repo_key, built.repo_key) as repo_key,
        coalesce(latest.day, facts.day, built.day) as day,
        latest.stars_gained as read_last,
        facts.stars_gained as shown
    from built
    full join latest on built.repo_key = latest.repo_key and built.day = latest.day
    full join facts on built.repo_key = facts.repo_key and built.day = facts.day
    where
        latest.stars_gained is distinct from facts.stars_gained
        or latest.fetched_at is distinct from facts.stars_gained_fetched_at
        or latest.stars_gained is null

)

select * from final
