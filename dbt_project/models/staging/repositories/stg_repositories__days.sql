with

days as (

    select * from {{ source('repositories', 'repositories_days') }}

),

final as (

    select
        day,
        status,
        reason,
        expected,
        observed,
        answered,
        graphql_queries,
        rest_requests,
        run_id,
        fetched_at
    from days

)

select * from final
