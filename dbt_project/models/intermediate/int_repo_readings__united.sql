with

rankings as (

    select * from {{ ref('int_rankings_repo_days__merged') }}
    where {{ in_window() }}

),

observations as (

    select * from {{ ref('stg_repositories__observations') }}
    where {{ in_window() }} and state <> 'unreadable'

),

united as (

    select
        day,
        'rankings' as source,
        name_key,
        null::bigint as repo_id,
        full_name,
        -- no file records when it was taken
        day + interval {{ constant('rankings_hour') }} hours as observed_at,
        null::varchar as state,
        stars_total,
        stars_spread,
        forks_total,
        language,
        description,
        null::varchar[] as topics,
        null::boolean as is_archived,
        null::boolean as is_fork,
        null::timestamp as created_at
    from rankings

    union all

    select
        day,
        'repositories' as source,
        name_key,
        repo_id,
        full_name,
        observed_at,
        state,
        stars_total,
        case when stars_total is not null then 0 end as stars_spread,
        forks_total,
        language,
        description,
        topics,
        is_archived,
        is_fork,
        created_at
    from observations

),

final as (

    select
        *,
        -- detects a change without reading the text of 400 days
        md5_number_lower(
            concat_ws(
                chr(31), coalesce(language, chr(30)), coalesce(description, chr(30)),
                coalesce(topics::varchar, chr(30)), coalesce(is_archived::varchar, chr(30)),
                coalesce(is_fork::varchar, chr(30)), coalesce(created_at::varchar, chr(30))
            )
        ) as attributes
    from united
    order by day, name_key

)

select * from final
