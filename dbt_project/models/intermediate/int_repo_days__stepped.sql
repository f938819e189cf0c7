{%- set purge_memory = constant('purge_return_days') | int %}
{#- Returns depend on earlier purges, a night on the nights before it, and each of these on the repository's own
    past. -#}
{%- set lookback = purge_memory + 2 * constant('usual_days') | int %}
{%- set memory = constant('memory_days') | int %}
{#- Older days that every day of the window remembers; none if the window is longer than the memory. -#}
{%- set settled %}
    (
        day >= date '{{ var("window_end") }}' - {{ memory }}
        and day < date '{{ var("window_start") }}' - {{ lookback }}
    )
{%- endset %}

with

-- Carry all columns of a reading: a later join on its name would not fit years of readings into memory.
readings as (

    select
        day,
        source,
        name_key,
        repo_id,
        case when {{ in_window() }} then full_name end as full_name,
        case when {{ in_window() }} then language end as language,
        case when {{ in_window() }} then attributes end as attributes,
        observed_at,
        stars_total,
        forks_total,
        stars_spread,
        created_at
    from {{ ref('int_repo_readings__united') }}
    where {{ in_window(lookback=memory) }} and stars_total is not null

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

-- one reading a day: GitHub's if there is one, which is also later
keyed as (

    select * from observed

    union all

    select ranked.*
    from ranked
    anti join observed on ranked.day = observed.day and ranked.repo_key = observed.repo_key

),

-- of these, a repository's number, peak and last reading are all that matters: a row each instead of hundreds
settled as (

    select
        repo_key,
        max(day) as day,
        arg_max(name_key, day) as name_key,
        arg_max(observed_at, day) as observed_at,
        arg_max(stars_total, day) as stars_total,
        max(stars_total) as peak_total,
        count(*) as readings
    from keyed
    where {{ settled }}
    group by repo_key

),

shortened as (

    select
        *,
        stars_total as peak_total,
        1 as readings
    from keyed
    where not {{ settled }}

    union all by name

    select * from settled

),

remembered as (

    select
        * exclude (peak_total, readings),
        lag(day) over by_day as previous_day,
        lag(observed_at) over by_day as previous_observed_at,
        lag(stars_total) over by_day as previous_total,
        lag(name_key) over by_day as previous_name_key,
        max(peak_total) over (
            partition by repo_key order by day
            range between interval {{ memory }} days preceding and interval 1 day preceding
        ) as peak_total,
        coalesce(sum(readings) over (
            partition by repo_key order by day
            range between interval {{ memory }} days preceding and interval 1 day preceding
        ), 0) as readings_before
    from shortened
    window by_day as (partition by repo_key order by day)
    qualify {{ in_window(lookback=lookback) }}

),

stepped as (

    select
        * exclude (previous_day, previous_observed_at, previous_total, previous_name_key),
        case when is_remembered then previous_day end as previous_day,
        -- a ranking file can be older than the previous day's observation
        case when is_remembered and observed_at > previous_observed_at then previous_observed_at end
            as previous_observed_at,
        case when is_remembered and observed_at > previous_observed_at then previous_total end as previous_total,
        case when is_remembered then previous_name_key end as previous_name_key
    from (
        select
            *,
            day - previous_day <= {{ memory }} as is_remembered
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
        -- a leap from below the former level is a return to it
        coalesce(
            previous_total < (1 - {{ constant('break_share') }}) * peak_total
            and stars_total - previous_total
            >= greatest({{ constant('break_stars') }}, {{ constant('break_share') }} * peak_total),
            false
        ) as is_restored,
        coalesce(stars_total < (1 - {{ constant('break_share') }}) * peak_total, false) as is_below_peak,
        coalesce(
            readings_before < {{ constant('doubtful_readings') }}
            and stars_total >= {{ constant('doubtful_stars') }}
            and stars_total > {{ constant('doubtful_stars_per_fork') }} * greatest(forks_total, 1),
            false
        ) as is_doubtful
    from stepped

),

-- Single nights compared with the repository's own past; leaps and falls that break the level are excluded from noise.
nights as (

    select
        day,
        repo_key,
        stars_total,
        change,
        count(change) over own_past as usual_nights,
        -- a past purge is not a usual night
        greatest(coalesce(avg(greatest(change, -{{ constant('purge_loss') }})) over own_past, 0), 0) as usual_change
    from (
        select
            day,
            repo_key,
            stars_total,
            case
                when
                    {{ is_one_night('gap_hours') }}
                    and abs(step)
                    < greatest({{ constant('break_stars') }}, {{ constant('break_share') }} * previous_total)
                    then step
            end as change
        from judged
    )
    window own_past as (
        partition by repo_key order by day
        range between interval {{ constant('usual_days') }} days preceding and interval 1 day preceding
    )

),

deviating as (

    select
        *,
        (change - usual_change) / sqrt(
            1 + (1 + {{ constant('unstar_dispersion') }}) * usual_change
            + {{ constant('dispersion') }} * usual_change * usual_change
        ) as deviate
    from nights
    where change is not null and usual_nights >= {{ constant('usual_days_min') }}

),

outliers as (

    select
        *,
        change <= -{{ constant('purge_loss') }} and deviate <= -{{ constant('lockstep_deviate') }} as is_loss,
        change >= {{ constant('purge_loss') }} and deviate >= {{ constant('lockstep_deviate') }} as is_gain,
        change >= {{ constant('wave_gain') }}
        and deviate >= {{ constant('lockstep_deviate') }}
        and stars_total >= {{ constant('wave_age_days') }} * usual_change as is_gain_of_old
    from deviating

),

counted as (

    select
        day,
        count(*) as repos,
        count(*) filter (where is_loss) as losers,
        count(*) filter (where is_gain_of_old) as risers
    from outliers
    group by day

),

-- The number of outliers is compared with that of the nights before, as shares of the repositories that could be
-- judged. Those increase over the years, and by thousands at once when a source is added.
platform_nights as (

    select
        day,
        losers >= greatest(
            {{ constant('purge_repos') }},
            {{ constant('purge_ratio') }} * (coalesce(usual_losers, 0) * repos + 1)
        ) as is_purge,
        coalesce(
            nights_before >= {{ constant('wave_nights_min') }}
            and risers >= {{ constant('wave_repos') }} + {{ constant('wave_ratio') }} * usual_risers * repos, false
        ) as is_wave
    from (
        select
            *,
            count(*) over past as nights_before,
            median(losers / repos) over past as usual_losers,
            median(risers / repos) over past as usual_risers
        from counted
        window past as (
            order by day
            range between interval {{ constant('usual_days') }} days preceding and interval 1 day preceding
        )
    )

),

-- beyond the repository's usual change; the night counts as a usual one
lost as (

    select
        outliers.day,
        outliers.repo_key,
        outliers.change - round(outliers.usual_change)::bigint as excess
    from outliers
    inner join platform_nights on outliers.day = platform_nights.day
    where platform_nights.is_purge and outliers.is_loss

),

gained as (

    select
        outliers.day,
        outliers.repo_key,
        any_value(outliers.change - round(outliers.usual_change)::bigint) as excess,
        -sum(lost.excess) as lost_before,
        any_value(platform_nights.is_wave and outliers.is_gain_of_old) as is_waved
    from outliers
    inner join platform_nights on outliers.day = platform_nights.day
    left join lost
        on
            outliers.repo_key = lost.repo_key
            and lost.day between outliers.day - {{ purge_memory }} and outliers.day - 1
    where outliers.is_gain and (lost.day is not null or (platform_nights.is_wave and outliers.is_gain_of_old))
    group by outliers.day, outliers.repo_key

),

-- not given or taken back one by one
platform_steps as (

    select
        day,
        repo_key,
        true as is_purged,
        false as is_returned,
        false as is_waved,
        excess
    from lost

    union all

    select
        day,
        repo_key,
        false as is_purged,
        lost_before is not null as is_returned,
        is_waved,
        case when is_waved then excess else least(excess, lost_before) end as excess
    from gained

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
        judged.is_doubtful,
        coalesce(platform_steps.is_purged, false) as is_purged,
        coalesce(platform_steps.is_returned, false) as is_returned,
        coalesce(platform_steps.is_waved, false) as is_waved,
        coalesce(judged.previous_name_key <> judged.name_key, false) as is_renamed,
        -- the part of the step that was not given or taken back one by one
        case
            when judged.is_dropped or judged.is_restored then judged.step
            else coalesce(platform_steps.excess, 0)
        end::bigint as excluded_step
    from judged
    left join platform_steps on judged.day = platform_steps.day and judged.repo_key = platform_steps.repo_key
    where {{ in_window('judged.day') }}
    order by judged.day, judged.repo_key

)

select * from final
