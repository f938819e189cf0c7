with

quarantine as (

    select * from {{ source('gh_archive', 'gh_archive_quarantine') }}

),

final as (

    select
        file_hour,
        line,
        reason,
        is_whole_file,
        run_id
    from quarantine

)

select * from final
