{{ config(incremental_strategy='replace_touched_days') }}
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
        stars,
        other_stars,
        stars - other_stars as difference,
        tolerance
    from gains
    where abs(stars - other_stars) > tolerance
    order by day, repo_key, source, other_source

)

select * from final
