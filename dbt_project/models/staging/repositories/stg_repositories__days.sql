with

days as (

    select * from {{ source('repositories', 'repositories_days') }}
    qualify row_number() over (partition by day order by fetched_at desc) = 1

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
