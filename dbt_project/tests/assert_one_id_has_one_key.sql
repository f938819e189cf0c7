-- An id has one key everywhere, and a key has one id; facts are checked for the built days.
with

shown as (

    select
        repo_id,
        repo_key
    from {{ ref('fct_repo_day') }}
    where {{ in_built_days() }} and repo_id is not null

    union

    select
        repo_id,
        repo_key
    from {{ ref('int_repos__keyed') }}
    where repo_id is not null

    union

    select
        repo_id,
        repo_key
    from {{ ref('fct_star_vintage') }}

    union

    select
        repo_id,
        repo_key
    from {{ ref('dim_repo') }}
    where repo_id is not null

    union

    select
        repo_id,
        repo_key
    from {{ ref('dim_repo_alias') }}
    where repo_id is not null

    union

    select
        repo_id,
        repo_key
    from {{ ref('dim_universe') }}

)

select
    repo_id,
    repo_key
from shown
qualify count(*) over (partition by repo_id) > 1 or count(*) over (partition by repo_key) > 1
