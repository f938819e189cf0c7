-- every reading has its row with its total, and no other row with a total exists; where GitHub was asked about a
-- repository, the rankings are not heard
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

readings as (

    select
        'rankings' as source,
        ranked.day,
        ranked.name_key,
        ranked.stars_total
    from ranked
    anti join asked on ranked.day = asked.day and ranked.name_key = asked.name_key

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
