with

observations as (

    select
        * replace (
            case when state = 'public' and not {{ is_count("stars_total") }} then 'unreadable' else state end as state,
            case
                when state = 'public' and not {{ is_count("stars_total") }}
                    then format('stars_total is {}, not a number from 0 to {{ constant("count_most") }}', stars_total)
                else reason
            end as reason,
            {% for count in ["stars_total", "forks_total", "issues_open", "pull_requests_open"] %}
                {{ count_or_null(count) }} as {{ count }},
            {% endfor %}
            {{ time_or_null("created_at") }} as created_at,
            {{ time_or_null("pushed_at") }} as pushed_at
        )
    from {{ source('repositories', 'repositories') }}

),

spellings as (

    select * from {{ ref('language_spellings') }}

),

-- One row per day and repository. A day can be queried twice; an unreadable response does not replace a readable one.
latest as (

    select * from observations
    where repo_id is not null
    qualify
        row_number() over (
            partition by day, repo_id
            order by state = 'unreadable', observed_at desc, load_key desc
        ) = 1

),

final as (

    select
        latest.day,
        latest.repo_id,
        latest.full_name,
        lower(latest.full_name) as name_key,
        latest.state,
        latest.stars_total,
        latest.forks_total,
        latest.issues_open,
        latest.pull_requests_open,
        coalesce(spellings.language, nullif(trim(latest.language), '')) as language,
        from_json(latest.topics, '["VARCHAR"]') as topics,
        nullif(trim(latest.description), '') as description,
        nullif(trim(latest.license), '') as license,
        latest.created_at,
        latest.pushed_at,
        latest.is_archived,
        latest.is_fork,
        latest.observed_at,
        latest.reason,
        latest.run_id
    from latest
    left join spellings on latest.language = spellings.spelling

)

select * from final
