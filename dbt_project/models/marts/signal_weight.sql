{{ config(materialized='table') }}

with

final as (

    select
        component,
        weight,
        reason
    from {{ ref('signal_weights') }}
    order by weight desc, component asc

)

select * from final
