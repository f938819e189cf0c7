{{ config(post_hook="{{ create_language_functions(this) }}") }}

with

repos as (

    select
        day,
        repo_key,
        coalesce(language, 'none') as language
    from {{ ref('fct_repo_signal_day') }}
    where {{ in_window() }}

),

-- What was known of a repository from a day on; topics seen later do not reach back.
versions as (

    select
        repo_key,
        valid_from,
        coalesce(valid_to, date '9999-12-31') as valid_to,
        unnest(topics) as topic
    from {{ ref('dim_repo') }}

),

verticals as (

    select * from {{ ref('verticals') }}

),

named as (

    select distinct
        versions.repo_key,
        versions.valid_from,
        versions.valid_to,
        verticals.vertical
    from versions
    left join verticals on lower(versions.topic) = verticals.topic

),

-- A repository is in every vertical of its topics; for what must add up it is divided evenly among them.
placed as (

    select
        repo_key,
        valid_from,
        valid_to,
        coalesce(vertical, {{ no_vertical() }}) as vertical,
        -- decimal: sums do not depend on the order of rows
        (1 / greatest(count(vertical) over of_version, 1))::decimal(18, 15) as part
    from named
    window of_version as (partition by repo_key, valid_from)
    qualify vertical is not null or count(vertical) over of_version = 0

),

counted as (

    select
        repos.day,
        repos.language,
        placed.vertical,
        count(*) as repos,
        sum(placed.part)::double as parts
    from repos
    inner join placed
        on
            repos.repo_key = placed.repo_key
            and repos.day >= placed.valid_from
            and repos.day < placed.valid_to
    group by repos.day, repos.language, placed.vertical

),

totalled as (

    select
        *,
        sum(repos) over (partition by day, vertical) as vertical_repos,
        round(sum(parts) over (partition by day, language)) as language_repos,
        round(sum(parts) over (partition by day)) as all_repos
    from counted

),

final as (

    select
        day,
        language,
        vertical,
        repos,
        repos / vertical_repos as share,
        round({{ wilson_bound('repos', 'vertical_repos', '-') }}, 6) as share_low,
        round({{ wilson_bound('repos', 'vertical_repos', '+') }}, 6) as share_high,
        round((repos / vertical_repos) / (language_repos / all_repos), 6) as rca,
        round(parts, 12) as repos_split,
        vertical_repos::bigint as vertical_repos,
        language_repos::bigint as language_repos,
        all_repos::bigint as all_repos
    from totalled
    order by day, language, vertical

)

select * from final
