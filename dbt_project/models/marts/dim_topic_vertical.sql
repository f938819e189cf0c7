{{ config(materialized='table') }}

with

final as (

    select
        topic,
        vertical
    from {{ ref('verticals') }}
    order by vertical, topic

)

select * from final
