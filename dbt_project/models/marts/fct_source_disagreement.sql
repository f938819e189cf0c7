{{ config(incremental_strategy='replace_compared_days') }}
-- depends_on: {{ ref('int_repo_days__touched') }}

with

gains as (

    {{ gains_of_two_sources() }}

),

final as (

    select
        day,
        repo_key,
        full_name,
        source,
        other_source,
        round(stars, 3) as stars,
        round(other_stars, 3) as other_stars,
        round(stars - other_stars, 3) as difference,
        round(tolerance, 3) as tolerance
    from gains
    where abs(stars - other_stars) > tolerance
    order by day, repo_key, source, other_source

)

select * from final
