with

quarantine as (

    select * from {{ source('star_history', 'star_history_quarantine') }}

),

-- older versions loaded them
out_of_bounds as (

    select
        repo_id,
        'repository ' || repo_id as full_name,
        week,
        'a week before GitHub began, or a count that is not a number from 0 to {{ constant("count_most") }}' as reason,
        concat_ws(
            ', ', total, sunday, monday, tuesday, wednesday, thursday, friday, saturday
        ) as row_text,
        fetched_at,
        null::varchar as run_id
    from {{ source('star_history', 'star_history') }}
    where not {{ is_star_week() }}

),

final as (

    select
        repo_id,
        full_name,
        week,
        reason,
        row_text,
        fetched_at,
        run_id
    from quarantine

    union all

    select * from out_of_bounds

)

select * from final
