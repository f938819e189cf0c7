with

places as (

    select * from {{ source('rankings', 'rankings') }}
    -- stg_rankings__quarantine has the rest
    where {{ is_count("stars") }}

),

days as (

    select * from {{ ref('stg_rankings__days') }}

),

spellings as (

    select * from {{ ref('language_spellings') }}

),

final as (

    select
        places.snapshot_date as day,
        places.item as list,
        places.rank,
        places.username || '/' || places.repo_name as full_name,
        lower(places.username || '/' || places.repo_name) as name_key,
        places.stars as stars_total,
        {{ count_or_null("places.forks") }} as forks_total,
        -- the column included pull requests until this day
        case when places.snapshot_date > date '2021-08-19' then {{ count_or_null("places.issues") }} end as issues_open,
        coalesce(spellings.language, nullif(trim(places.language), '')) as language,
        nullif(trim(places.description), '') as description,
        places.last_commit_at
    from places
    inner join days on places.snapshot_date = days.day
    left join spellings on places.language = spellings.spelling
    where days.status = 'observed'

)

select * from final
