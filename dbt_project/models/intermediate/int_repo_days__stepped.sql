with

-- all that is told of a reading goes along: joined on its name afterwards, years of readings would not fit into memory
readings as (

    select
        day,
        source,
        name_key,
        repo_id,
        full_name,
        language,
        attributes,
        observed_at,
        stars_total,
        forks_total,
        stars_spread,
        created_at
    from {{ ref('int_repo_readings__united') }}
    where {{ in_window(lookback=constant('memory_days') | int) }} and stars_total is not null

),

names as (

    select * from {{ ref('int_repo_names__resolved') }}

),

identified as (

    select * from {{ ref('int_repos__identified') }}

),

observed as (

    select
        readings.*,
        identified.repo_key
    from readings
    inner join identified on readings.repo_id = identified.repo_id

),

ranked as (

    select
        readings.*,
        names.repo_key
    from readings
    inner join names
        on
            readings.name_key = names.name_key
            and readings.day >= names.starts_on
            and (names.ends_before is null or readings.day < names.ends_before)
    where readings.source = 'rankings'

),

-- one reading a day: GitHub's own where there is one, which is later, too
keyed as (

    select * from observed

    union all

    select ranked.*
    from ranked
    anti join observed on ranked.day = observed.day and ranked.repo_key = observed.repo_key

),

remembered as (

    select
        *,
        lag(day) over by_day as previous_day,
        lag(observed_at) over by_day as previous_observed_at,
        lag(stars_total) over by_day as previous_total,
        lag(name_key) over by_day as previous_name_key,
        max(stars_total) over (
            partition by repo_key order by day
            range between interval {{ constant('memory_days') }} days preceding and interval 1 day preceding
        ) as peak_total
    from keyed
    window by_day as (partition by repo_key order by day)
    qualify {{ in_window() }}

),

stepped as (

    select
        * exclude (previous_day, previous_observed_at, previous_total, previous_name_key),
        case when is_remembered then previous_day end as previous_day,
        -- a ranking file can have been read before the observation of the day before
        case when is_remembered and observed_at > previous_observed_at then previous_observed_at end
            as previous_observed_at,
        case when is_remembered and observed_at > previous_observed_at then previous_total end as previous_total,
        case when is_remembered then previous_name_key end as previous_name_key
    from (
        select
            *,
            day - previous_day <= {{ constant('memory_days') }} as is_remembered
        from remembered
    )

),

judged as (

    select
        *,
        stars_total - previous_total as step,
        date_diff('second', previous_observed_at, observed_at) / 3600.0 as gap_hours,
        previous_day is not null and previous_observed_at is null as is_read_before_previous,
        coalesce(
            previous_total - stars_total
            >= greatest({{ constant('break_stars') }}, {{ constant('break_share') }} * previous_total),
            false
        ) as is_dropped,
        -- a leap while below the former level is a way back to it
        coalesce(
            previous_total < (1 - {{ constant('break_share') }}) * peak_total
            and stars_total - previous_total
            >= greatest({{ constant('break_stars') }}, {{ constant('break_share') }} * peak_total),
            false
        ) as is_restored,
        coalesce(stars_total < (1 - {{ constant('break_share') }}) * peak_total, false) as is_below_peak
    from stepped

),

purges as (

    select
        day,
        count(*) >= {{ constant('purge_repos') }} and avg((step < 0)::int) >= {{ constant('purge_share') }} as is_purge
    from judged
    where {{ is_one_night('gap_hours') }}
    group by day

),

final as (

    select
        judged.day,
        judged.repo_key,
        judged.source,
        judged.name_key,
        judged.full_name,
        judged.language,
        judged.attributes,
        judged.observed_at,
        judged.stars_total,
        judged.forks_total,
        judged.stars_spread,
        judged.created_at,
        judged.previous_day,
        judged.step,
        judged.gap_hours,
        judged.is_read_before_previous,
        judged.is_dropped,
        judged.is_restored,
        judged.is_below_peak,
        coalesce(purges.is_purge and judged.step < 0, false) as is_purged,
        coalesce(judged.previous_name_key <> judged.name_key, false) as is_renamed,
        -- the part of the step that nobody gave or took star by star
        case
            when judged.is_dropped or judged.is_restored or (purges.is_purge and judged.step < 0) then judged.step
            else 0
        end as excluded_step
    from judged
    left join purges on judged.day = purges.day
    order by judged.day, judged.repo_key

)

select * from final
