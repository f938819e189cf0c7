{{ config(materialized='table') }}

with

final as (

    select
        'rankings' as source,
        day,
        file,
        file_row,
        reason,
        row_text,
        is_whole_file
    from {{ ref('stg_rankings__quarantine') }}
    order by source, day, file_row

)

select * from final
