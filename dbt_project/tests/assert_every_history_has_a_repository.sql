{{ config(severity='warn') }}
-- The marts cannot show a history of an id that was neither observed nor entered the universe.
select distinct weeks.repo_id
from {{ ref('stg_star_history__weeks') }} as weeks
anti join {{ ref('int_repos__identified') }} as identified on weeks.repo_id = identified.repo_id
