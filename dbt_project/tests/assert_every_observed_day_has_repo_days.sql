-- The facts contain every built day with observed totals.
with

observed as (

    select
        source,
        day
    from {{ ref('ops_source_coverage') }}
    where {{ in_window() }} and source in ('rankings', 'repositories') and status in ('observed', 'partial')

),

-- If GitHub was queried for every repository of a ranking file, none of its rows appears.
present as (

    select distinct
        day,
        source
    from {{ ref('fct_repo_day') }}
    where {{ in_window() }} and stars_total is not null

),

final as (

    select
        observed.source,
        observed.day
    from observed
    anti join present
        on
            observed.day = present.day
            and (observed.source = present.source or present.source = 'repositories')

)

select * from final
