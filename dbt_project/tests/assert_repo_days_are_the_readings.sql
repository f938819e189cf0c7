-- Every reading has one row with its total, and no other row has a total. If GitHub was queried for a repository, the
-- rankings do not count. A repository under two names in one file has one row, under the newer name.
with

facts as (

    select
        day,
        source,
        repo_key,
        lower(full_name) as name_key,
        stars_total
    from {{ ref('fct_repo_day') }}
    where {{ in_window() }} and stars_total is not null

),

asked as (

    select
        names.name_key,
        facts.day
    from facts
    inner join {{ ref('int_repo_names__resolved') }} as names
        on
            facts.repo_key = names.repo_key
            and facts.day >= names.starts_on
            and (names.ends_before is null or facts.day < names.ends_before)
    where facts.source = 'repositories'

),

ranked as (

    select
        day,
        name_key,
        max(stars_total) as stars_total
    from {{ ref('stg_rankings__places') }}
    where {{ in_window() }}
    group by day, name_key

),

shared as (

    select
        renames.old_name_key,
        renames.day
    from {{ ref('int_rankings_renames__linked') }} as renames
    anti join {{ ref('int_repo_names__resolved') }} as names
        on
            renames.old_name_key = names.name_key
            and renames.day >= names.starts_on
            and renames.day < coalesce(names.ends_before, date '9999-12-31')
    where {{ in_window('renames.day') }} and renames.given_up_on > renames.day

),

readings as (

    select
        'rankings' as source,
        ranked.day,
        ranked.name_key,
        ranked.stars_total
    from ranked
    anti join asked on ranked.day = asked.day and ranked.name_key = asked.name_key
    anti join shared on ranked.day = shared.day and ranked.name_key = shared.old_name_key

    union all

    select
        'repositories' as source,
        day,
        name_key,
        stars_total
    from {{ ref('stg_repositories__observations') }}
    where {{ in_window() }} and state = 'public'

)

(
    select
        source,
        day,
        name_key,
        stars_total
    from readings
    except all
    select
        source,
        day,
        name_key,
        stars_total
    from facts
)
union all
(
    select
        source,
        day,
        name_key,
        stars_total
    from facts
    except all
    select
        source,
        day,
        name_key,
        stars_total
    from readings
)
