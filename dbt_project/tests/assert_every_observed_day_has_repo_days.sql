-- a day that was built and of which totals were observed stands in the facts
with

observed as (

    select
        source,
        day
    from {{ ref('ops_source_coverage') }}
    where {{ in_window() }} and source in ('rankings', 'repositories') and status in ('observed', 'partial')

),

-- a ranking file whose every repository was asked for at GitHub shows in none of its own rows
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
