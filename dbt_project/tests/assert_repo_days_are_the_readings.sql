-- every reading has its row with its total, and no other row exists
with

readings as (

    select
        day,
        name_key,
        max(stars_total) as stars_total
    from {{ ref('stg_rankings__places') }}
    where {{ in_window() }}
    group by day, name_key

),

facts as (

    select
        day,
        lower(full_name) as name_key,
        stars_total
    from {{ ref('fct_repo_day') }}
    where {{ in_window() }} and source = 'rankings'

)

(
    select
        day,
        name_key,
        stars_total
    from readings
    except all
    select
        day,
        name_key,
        stars_total
    from facts
)
union all
(
    select
        day,
        name_key,
        stars_total
    from facts
    except all
    select
        day,
        name_key,
        stars_total
    from readings
)
