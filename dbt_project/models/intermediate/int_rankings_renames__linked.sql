with

repo_days as (

    select * from {{ ref('int_rankings_repo_days__merged') }}
    where {{ in_window(lookback=constant('memory_days') | int) }}

),

days as (

    select
        day,
        lag(day) over (order by day) as previous_day
    from (select distinct repo_days.day from repo_days) as days_read

),

pairs_of_days as (

    select * from days
    where
        {{ in_window() }}
        and day - previous_day <= {{ constant('rename_gap_days') }}

),

leavers as materialized (

    select
        repo_days.* exclude (day), -- noqa: RF02
        pairs_of_days.day
    from pairs_of_days
    inner join repo_days on pairs_of_days.previous_day = repo_days.day
    anti join repo_days as still
        on pairs_of_days.day = still.day and repo_days.name_key = still.name_key

),

entrants as materialized (

    select repo_days.*
    from pairs_of_days
    inner join repo_days on pairs_of_days.day = repo_days.day
    anti join repo_days as before
        on pairs_of_days.previous_day = before.day and repo_days.name_key = before.name_key

),

alike as (

    select
        entrants.day,
        leavers.name_key as old_name_key,
        entrants.name_key as new_name_key,
        split_part(leavers.name_key, '/', 2) = split_part(entrants.name_key, '/', 2) as is_same_name,
        split_part(leavers.name_key, '/', 1) = split_part(entrants.name_key, '/', 1) as is_same_owner,
        coalesce(leavers.description = entrants.description, false) as is_same_description
    from leavers
    inner join entrants
        on
            leavers.day = entrants.day
            and coalesce(leavers.language, '') = coalesce(entrants.language, '')
            and abs(leavers.stars_total - entrants.stars_total) <= greatest(20, 0.005 * leavers.stars_total)
            and abs(leavers.forks_total - entrants.forks_total) <= greatest(10, 0.01 * leavers.forks_total)

),

strong as (

    -- the counts agree already; words must too: an owner has many repositories, a name seldom two owners
    select * from alike
    where is_same_name or (is_same_owner and is_same_description)

),

unambiguous as materialized (

    select * from strong
    qualify
        count(*) over (partition by day, old_name_key) = 1
        and count(*) over (partition by day, new_name_key) = 1

),

-- two names seen on one day, as far back as is remembered, are two repositories
days_of_old_name as materialized (

    select
        unambiguous.day as renamed_on,
        unambiguous.old_name_key,
        unambiguous.new_name_key,
        repo_days.day
    from unambiguous
    inner join repo_days
        on
            unambiguous.old_name_key = repo_days.name_key
            and unambiguous.day > repo_days.day
            and unambiguous.day <= repo_days.day + {{ constant('memory_days') }}

),

seen_together as (

    select distinct
        days_of_old_name.renamed_on,
        days_of_old_name.old_name_key
    from days_of_old_name
    inner join repo_days
        on days_of_old_name.day = repo_days.day and days_of_old_name.new_name_key = repo_days.name_key

),

-- a name that GitHub answers to, or finds, after the file was taken has not been given up
still_public as (

    select
        day,
        name_key
    from {{ ref('int_repo_readings__united') }}
    where {{ in_window() }} and source = 'repositories' and state = 'public'

    union

    select
        day,
        name_key
    from {{ ref('stg_repositories__universe_changes') }}
    where {{ in_window() }} and change = 'entered'

),

final as (

    select
        unambiguous.day,
        unambiguous.old_name_key,
        unambiguous.new_name_key,
        concat_ws(
            ', ',
            'same language, stars and forks',
            case when unambiguous.is_same_name then 'same name' end,
            case when unambiguous.is_same_owner then 'same owner' end,
            case when unambiguous.is_same_description then 'same description' end
        ) as evidence
    from unambiguous
    anti join seen_together
        on unambiguous.day = seen_together.renamed_on and unambiguous.old_name_key = seen_together.old_name_key
    anti join still_public
        on unambiguous.day = still_public.day and unambiguous.old_name_key = still_public.name_key
    order by unambiguous.day, unambiguous.old_name_key

)

select * from final
