with

names_read as (

    select
        day,
        repo_id,
        name_key,
        full_name,
        observed_at
    from {{ ref('int_repo_readings__united') }}
    where
        {{ in_window(lookback=constant('memory_days') | int) }}
        and source = 'repositories'
        and state = 'public'

),

entries as (

    select
        day,
        repo_id,
        name_key,
        full_name,
        (day + 1)::timestamp as observed_at
    from {{ ref('stg_repositories__universe_changes') }}
    where
        {{ in_window(lookback=constant('memory_days') | int) }}
        and change = 'entered'
    qualify row_number() over (partition by day, repo_id order by full_name) = 1

),

known as (

    select
        day,
        repo_id
    from names_read

    union all

    select
        day,
        repo_id
    from entries

),

renames as (

    select * from {{ ref('int_rankings_renames__linked') }}
    where {{ in_window(lookback=constant('memory_days') | int) }}

),

names as (

    select * from names_read

    union all

    -- An entry names an id that was unknown before, since the totals of its first day may have failed. For other ids
    -- the next reading decides.
    select entries.*
    from entries
    anti join names_read on entries.day = names_read.day and entries.repo_id = names_read.repo_id
    anti join known
        on
            entries.repo_id = known.repo_id
            and entries.day > known.day
            and entries.day <= known.day + {{ constant('memory_days') }}

),

followed as (

    select
        *,
        lag(day) over by_repo as previous_day,
        lag(full_name) over by_repo as previous_full_name,
        lag(name_key) over by_repo as previous_name_key,
        lag(repo_id) over by_name as previous_holder_id,
        lag(day) over by_name as previous_held_on
    from names
    window
        by_repo as (partition by repo_id order by day),
        by_name as (partition by name_key order by day, observed_at, repo_id)
    qualify {{ in_window() }}

),

-- the rankings showed a rename away from this name since the last reading, but GitHub still returns it
contradicted as (

    select distinct
        followed.day,
        followed.repo_id
    from followed
    inner join renames
        on
            followed.name_key = renames.old_name_key
            and followed.previous_day < renames.day
            and followed.day > renames.day

),

judged as (

    select
        followed.*,
        followed.previous_day is null
        or followed.day - followed.previous_day > {{ constant('memory_days') }}
        or followed.name_key <> followed.previous_name_key
        or (
            followed.previous_holder_id <> followed.repo_id
            and followed.day - followed.previous_held_on <= {{ constant('memory_days') }}
        )
        or contradicted.repo_id is not null as is_claim
    from followed
    left join contradicted on followed.day = contradicted.day and followed.repo_id = contradicted.repo_id

),

final as (

    select
        day,
        repo_id,
        name_key,
        full_name,
        observed_at,
        not coalesce(is_claim, false) as is_spelling_only
    from judged
    where is_claim or full_name <> previous_full_name
    order by day, repo_id

)

select * from final
