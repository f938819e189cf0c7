{{ config(materialized='table') }}

with

names as (

    select * from {{ ref('int_repo_names__resolved') }}
    where repo_id is not null

),

claims as (

    select * from {{ ref('int_repo_names__claimed') }}

),

keys as (

    select
        repo_id,
        any_value(repo_key) as repo_key
    from names
    group by repo_id

),

first_claims as (

    select
        repo_id,
        min(day) as first_observed_on,
        arg_min(full_name, day) as first_full_name
    from claims
    group by repo_id

),

final as (

    select
        keys.repo_id,
        keys.repo_key,
        first_claims.first_observed_on,
        first_claims.first_full_name
    from keys
    inner join first_claims on keys.repo_id = first_claims.repo_id
    order by keys.repo_id

)

select * from final
