-- A repository leaves the universe before it enters it again.
select
    repo_key,
    entered_on
from {{ ref('dim_universe') }}
qualify
    left_on < entered_on
    or coalesce(left_on, date '9999-12-31') > lead(entered_on) over (partition by repo_key order by entered_on)
