with

repo_days as (

    select * from {{ ref('int_rankings_repo_days__merged') }}
    where {{ in_window(lookback=constant('memory_days') | int) }}

),

days as (

    select
        day,
        lag(day) over (order by day) as previous_day
    from (select distinct day from repo_days)

),

pairs_of_days as (

    select * from days
    where
        {{ in_window() }}
        and day - previous_day <= {{ constant('rename_gap_days') }}

),

leavers as (

    select
        pairs_of_days.day,
        repo_days.*
    from pairs_of_days
    inner join repo_days on pairs_of_days.previous_day = repo_days.day
    anti join repo_days as still
        on pairs_of_days.day = still.day and repo_days.name_key = still.name_key

),

entrants as (

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
        leavers.stars_total as old_stars_total,
        entrants.stars_total as new_stars_total,
        split_part(leavers.name_key, '/', 2) = split_part(entrants.name_key, '/', 2) as is_same_name,
        split_part(leavers.name_key, '/', 1) = split_part(entrants.name_key, '/', 1) as is_same_owner,
        coalesce(leavers.description = entrants.description, false) as is_same_description
    from leavers
    inner join entrants
        on
            leavers.day = entrants.day
            and leavers.language is not distinct from entrants.language
            and abs(leavers.stars_total - entrants.stars_total) <= greatest(20, 0.005 * leavers.stars_total)
            and abs(leavers.forks_total - entrants.forks_total) <= greatest(10, 0.01 * leavers.forks_total)

),

strong as (

    -- the counts agree already; two of three words must too, or the name where there is no description
    select * from alike
    where is_same_name::int + is_same_owner::int + is_same_description::int >= 2 or is_same_name

),

unambiguous as (

    select * from strong
    qualify
        count(*) over (partition by day, old_name_key) = 1
        and count(*) over (partition by day, new_name_key) = 1

),

never_together as (

    -- two names seen on one day are two repositories
    select * from unambiguous
    where not exists (
        select 1
        from repo_days as one
        inner join repo_days as other on one.day = other.day
        where
            one.name_key = unambiguous.old_name_key
            and other.name_key = unambiguous.new_name_key
            and one.day < unambiguous.day
    )

),

final as (

    select
        day,
        old_name_key,
        new_name_key,
        concat_ws(
            ', ',
            'same language, stars and forks',
            case when is_same_name then 'same name' end,
            case when is_same_owner then 'same owner' end,
            case when is_same_description then 'same description' end
        ) as evidence
    from never_together
    order by day, old_name_key

)

select * from final
