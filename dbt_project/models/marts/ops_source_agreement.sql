{{ config(incremental_strategy='replace_compared_days') }}
-- depends_on: {{ ref('int_repo_days__touched') }}

with

gains as (

    {{ gains_of_two_sources() }}

),

final as (

    select
        day,
        source,
        other_source,
        count(*) as repos,
        round({{ exact_sum('stars') }}, 3)::double as stars,
        round({{ exact_sum('other_stars') }}, 3)::double as other_stars,
        case
            when {{ exact_sum('other_stars') }} > 0
                then round(({{ exact_sum('stars') }} / {{ exact_sum('other_stars') }})::double, 4)
        end as ratio,
        count(*) filter (where abs(stars - other_stars) > tolerance) as repos_disagreeing,
        {{ constant('agreement_share') }}::double as tolerance_share,
        {{ constant('agreement_stars') }}::bigint as tolerance_stars
    from gains
    group by day, source, other_source
    order by day, source, other_source

)

select * from final
