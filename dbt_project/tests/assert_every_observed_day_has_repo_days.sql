-- whatever was rebuilt: a day that was observed stands in the facts
with

observed as (

    select day
    from {{ ref('ops_source_coverage') }}
    where source = 'rankings' and status = 'observed'

),

present as (

    select distinct day
    from {{ ref('fct_repo_day') }}

),

final as (

    select observed.day
    from observed
    anti join present on observed.day = present.day

)

select * from final
