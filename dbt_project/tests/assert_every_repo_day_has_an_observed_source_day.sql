select repo_days.day
from (select distinct day, source from {{ ref('fct_repo_day') }} where {{ in_window() }}) as repo_days
left join {{ ref('ops_source_coverage') }} as coverage
    on repo_days.day = coverage.day and repo_days.source = coverage.source
where coverage.status is distinct from 'observed'
