with

repo_days as (

    select
        day,
        repo_key,
        full_name,
        case when source = 'rankings' then attributes end as ranked_attributes
    from {{ ref('int_repo_days__stepped') }}
    where {{ in_window(lookback=constant('memory_days') | int) }}

),

identified as (

    select * from {{ ref('int_repos__identified') }}

),

observations as (

    select
        readings.day,
        identified.repo_key,
        readings.full_name,
        readings.state,
        case when readings.state = 'public' then readings.attributes end as observed_attributes
    from {{ ref('int_repo_readings__united') }} as readings
    inner join identified on readings.repo_id = identified.repo_id
    where {{ in_window('readings.day', lookback=constant('memory_days') | int) }} and readings.source = 'repositories'

),

-- Of the past, only the last reading of each source matters: one row per repository instead of 400.
last_repo_days as (

    select
        repo_key,
        max(day) as day,
        arg_max(full_name, day) as full_name,
        arg_max(ranked_attributes, day) as ranked_attributes,
        max(case when ranked_attributes is not null then day end) as ranked_on
    from repo_days
    where not {{ in_window() }}
    group by repo_key

),

last_observations as (

    select
        repo_key,
        max(day) as day,
        arg_max(full_name, day) as full_name,
        arg_max(state, day) as state,
        arg_max(observed_attributes, day) as observed_attributes,
        max(case when observed_attributes is not null then day end) as observed_on
    from observations
    where not {{ in_window() }}
    group by repo_key

),

repo_days_of_window as (

    select * from repo_days
    where {{ in_window() }}

),

observations_of_window as (

    select * from observations
    where {{ in_window() }}

),

readings as (

    select
        coalesce(repo_days.day, observations.day) as day,
        coalesce(repo_days.repo_key, observations.repo_key) as repo_key,
        coalesce(repo_days.full_name, observations.full_name) as full_name,
        repo_days.ranked_attributes,
        observations.state,
        observations.observed_attributes,
        case when repo_days.ranked_attributes is not null then repo_days.day end as ranked_on,
        case when observations.state is not null then observations.day end as state_on,
        case when observations.observed_attributes is not null then observations.day end as observed_on
    from repo_days_of_window as repo_days
    full join observations_of_window as observations
        on repo_days.day = observations.day and repo_days.repo_key = observations.repo_key

    union all

    select
        greatest(repo_days.day, observations.day) as day,
        coalesce(repo_days.repo_key, observations.repo_key) as repo_key,
        case
            when observations.day > repo_days.day or repo_days.day is null then observations.full_name
            else repo_days.full_name
        end as full_name,
        repo_days.ranked_attributes,
        observations.state,
        observations.observed_attributes,
        repo_days.ranked_on,
        observations.day as state_on,
        observations.observed_on
    from last_repo_days as repo_days
    full join last_observations as observations on repo_days.repo_key = observations.repo_key

),

-- Carry the last GitHub values over rankings days: the rankings have no topics, flags or states.
carried as (

    select
        day,
        repo_key,
        full_name,
        last_value(ranked_attributes ignore nulls) over so_far as ranked_attributes,
        last_value(observed_attributes ignore nulls) over so_far as observed_attributes,
        last_value(state ignore nulls) over so_far as state,
        last_value(ranked_on ignore nulls) over so_far as ranked_on,
        last_value(observed_on ignore nulls) over so_far as observed_on,
        last_value(state_on ignore nulls) over so_far as state_on
    from readings
    window so_far as (partition by repo_key order by day rows between unbounded preceding and current row)

),

remembered as (

    select
        carried.day,
        carried.repo_key,
        carried.full_name,
        identified.repo_id,
        case
            when carried.day - carried.state_on <= {{ constant('memory_days') }} then carried.state else 'unknown'
        end as state,
        carried.day - carried.observed_on <= {{ constant('memory_days') }} as is_observed,
        carried.observed_on,
        carried.ranked_on,
        carried.observed_attributes,
        carried.ranked_attributes
    from carried
    left join identified
        on carried.repo_key = identified.repo_key and carried.day >= identified.first_observed_on

),

summed as (

    select
        *,
        md5_number_lower(
            concat_ws(
                chr(31), full_name, state, repo_id,
                coalesce(case when is_observed then observed_attributes else ranked_attributes end::varchar, chr(30))
            )
        ) as attributes
    from remembered

),

changed as (

    select * from summed
    qualify
        {{ in_window() }}
        and attributes is distinct from lag(attributes) over (partition by repo_key order by day)

),

github_attributes as (

    select * from {{ ref('int_repo_readings__united') }}
    where
        {{ in_window(lookback=constant('memory_days') | int) }}
        and source = 'repositories'
        and state = 'public'

),

rankings_attributes as (

    select
        repo_days.day,
        repo_days.repo_key,
        readings.language,
        readings.description
    from {{ ref('int_repo_days__stepped') }} as repo_days
    inner join {{ ref('int_repo_readings__united') }} as readings
        on repo_days.day = readings.day and repo_days.name_key = readings.name_key and readings.source = 'rankings'
    where
        {{ in_window('repo_days.day', lookback=constant('memory_days') | int) }}
        and {{ in_window('readings.day', lookback=constant('memory_days') | int) }}
        and repo_days.source = 'rankings'

),

final as (

    select
        changed.day,
        changed.repo_key,
        changed.repo_id,
        changed.full_name,
        case when changed.is_observed then github_attributes.language else rankings_attributes.language end as language,
        github_attributes.topics,
        case
            when changed.is_observed then github_attributes.description else rankings_attributes.description
        end as description,
        github_attributes.is_archived,
        github_attributes.is_fork,
        github_attributes.created_at,
        changed.state
    from changed
    left join github_attributes
        on
            changed.is_observed
            and changed.repo_id = github_attributes.repo_id
            and changed.observed_on = github_attributes.day
    left join rankings_attributes
        on changed.repo_key = rankings_attributes.repo_key and changed.ranked_on = rankings_attributes.day
    order by changed.day, changed.repo_key

)

select * from final
