{{ config(severity='warn') }}
-- Checks the built days; fct_source_disagreement names the repositories.
select
    day,
    source,
    other_source,
    repos,
    repos_disagreeing
from {{ ref('ops_source_agreement') }}
where
    {{ in_built_days() }}
    and repos >= {{ constant('disagreeing_repos_min') }}
    and repos_disagreeing > {{ constant('disagreeing_share') }} * repos
