{{ config(materialized='table') }}

with

rankings as (

    select
        'rankings' as source,
        day,
        file,
        file_row::bigint as file_row,
        reason,
        row_text,
        is_whole_file
    from {{ ref('stg_rankings__quarantine') }}

),

star_history as (

    select
        'star_history' as source,
        coalesce(week, fetched_at::date) as day,
        full_name as file,
        null::bigint as file_row,
        reason,
        row_text,
        false as is_whole_file
    from {{ ref('stg_star_history__quarantine') }}

),

gh_archive as (

    select
        'gh_archive' as source,
        file_hour::date as day,
        strftime(file_hour, '%Y-%m-%d-%-H') as file,
        line as file_row,
        reason,
        null::varchar as row_text,
        is_whole_file
    from {{ ref('stg_gh_archive__quarantine') }}

),

final as (

    select * from rankings
    union all
    select * from star_history
    union all
    select * from gh_archive
    order by source, day, file, file_row, row_text

)

select * from final
