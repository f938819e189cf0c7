-- A repository that is not in the table of suspect days is shown as ok, so each must have been judged.
with

shown as (

    select
        day,
        repo_key
    from {{ ref('fct_repo_signal_day') }}
    where {{ in_window() }}

),

judged as (

    select
        day,
        repo_key
    from {{ ref('int_repo_days__authenticated') }}
    where {{ in_window() }}

)

select shown.*
from shown
anti join judged on shown.day = judged.day and shown.repo_key = judged.repo_key
