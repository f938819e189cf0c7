with

quarantine as (

    select * from {{ source('rankings', 'rankings_quarantine') }}

),

days as (

    select * from {{ ref('stg_rankings__days') }}

),

-- older versions loaded them
out_of_bounds as (

    select
        places.snapshot_date as day,
        days.file,
        places.file_row,
        format('row {}: stars is not a number from 0 to {{ constant("count_most") }}', places.file_row) as reason,
        concat_ws(',', places.rank, places.item, places.repo_name, places.stars, places.forks) as row_text,
        false as is_whole_file
    from {{ source('rankings', 'rankings') }} as places
    inner join days on places.snapshot_date = days.day
    where not {{ is_count("places.stars") }}

),

final as (

    -- rows of the file in use for the day, and refused files
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

    union all

    select * from out_of_bounds

)

select * from final
