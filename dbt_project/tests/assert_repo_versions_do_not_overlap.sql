-- The versions of a repository follow one another without a gap or an overlap, and the last one is current.
select
    repo_key,
    valid_from
from {{ ref('dim_repo') }}
qualify
    valid_to is distinct from lead(valid_from) over (partition by repo_key order by valid_from)
    or valid_to <= valid_from
    or is_current is distinct from (valid_to is null)
