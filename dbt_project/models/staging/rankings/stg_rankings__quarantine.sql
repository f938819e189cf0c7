with

quarantine as (

    select * from {{ source('rankings', 'rankings_quarantine') }}

),

days as (

    select * from {{ ref('stg_rankings__days') }}

),

final as (

    -- rows of the file that stands, and files that were refused
    select
        quarantine.snapshot_date as day,
        quarantine.file,
        quarantine.file_row,
        quarantine.reason,
        quarantine.row_text,
        quarantine.is_whole_file
    from quarantine
    left join days
        on quarantine.snapshot_date = days.day
    where quarantine.is_whole_file or quarantine.sha256 = days.sha256

)

select * from final
