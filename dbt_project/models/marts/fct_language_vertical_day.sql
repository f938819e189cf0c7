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

-- What was known of a repository from a day on; topics seen later do not apply to earlier days.
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

-- A repository counts in every vertical of its topics; for additive numbers it is split evenly among them.
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

clusters as (

    select * from {{ ref('stg_clusters__clusters') }}

),

members as (

    select * from {{ ref('stg_clusters__members') }}

),

cluster_weeks as (

    select distinct
        week,
        week + 7 as known_from
    from clusters

),

-- The clusters known at the start of a day: those of the last week that had any, if recent enough.
cluster_days as (

    select
        days.day,
        cluster_weeks.week
    from (select distinct day from repos) as days
    asof inner join cluster_weeks on days.day >= cluster_weeks.known_from
    where days.day < cluster_weeks.known_from + 7 * {{ clusters_hold_weeks() }}

),

based as (

    select
        repos.day,
        repos.language,
        'curated' as vertical_basis,
        placed.vertical,
        null::integer as cluster,
        placed.part
    from repos
    inner join placed
        on
            repos.repo_key = placed.repo_key
            and repos.day >= placed.valid_from
            and repos.day < placed.valid_to

    union all

    select
        repos.day,
        repos.language,
        'cluster' as vertical_basis,
        clusters.label as vertical,
        clusters.cluster,
        1::decimal(18, 15) as part
    from repos
    inner join cluster_days on repos.day = cluster_days.day
    inner join members on cluster_days.week = members.week and repos.repo_key = members.repo_key
    inner join clusters on members.week = clusters.week and members.cluster = clusters.cluster

),

counted as (

    select
        day,
        language,
        vertical_basis,
        vertical,
        any_value(cluster) as cluster,
        count(*) as repos,
        sum(part)::double as parts
    from based
    group by day, language, vertical_basis, vertical

),

totalled as (

    select
        *,
        sum(repos) over (partition by day, vertical_basis, vertical) as vertical_repos,
        round(sum(parts) over (partition by day, vertical_basis, language)) as language_repos,
        round(sum(parts) over (partition by day, vertical_basis)) as all_repos
    from counted

),

final as (

    select
        day,
        language,
        vertical_basis,
        vertical,
        cluster,
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
    order by day, language, vertical_basis, vertical

)

select * from final
