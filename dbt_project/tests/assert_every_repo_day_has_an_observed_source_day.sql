with

repo_days as (

    select distinct
        day,
        source
    from {{ ref('fct_repo_day') }}
    where {{ in_built_days() }}

),

coverage as (

    select * from {{ ref('ops_source_coverage') }}

)

select
    repo_days.day,
    repo_days.source
from repo_days
left join coverage
    on repo_days.day = coverage.day and repo_days.source = coverage.source
where
    -- A stored history may belong to a repository that is no longer expected.
    coverage.status is null
    or (coverage.status not in ('observed', 'partial') and repo_days.source <> 'star_history')
