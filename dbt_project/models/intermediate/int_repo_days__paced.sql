with

repo_days as (

    select
        *,
        -- what was given or taken star by star over one night; unknown over a gap or a break of the level
        case
            when
                {{ is_one_night('gap_hours') }}
                and not (is_dropped or is_restored or is_purged)
                then step * 24.0 / gap_hours
        end as daily_change
    from {{ ref('int_repo_days__stepped') }}
    where {{ in_window(lookback=constant('usual_days') | int) }}

),

framed as (

    select
        *,
        last_value(stars_total) over week_ago as total_week_ago,
        last_value(observed_at) over week_ago as observed_week_ago,
        last_value(stars_total) over month_ago as total_month_ago,
        last_value(forks_total) over month_ago as forks_month_ago,
        last_value(observed_at) over month_ago as observed_month_ago,
        sum(excluded_step) over this_week as excluded_week,
        sum(excluded_step) over this_month as excluded_month,
        max(case when is_dropped or is_restored then day end) over this_month as last_break,
        avg(daily_change) over usual as usual_change,
        count(daily_change) over usual as usual_readings
    from repo_days
    window
        -- the latest reading that is a whole span old, at most two (four) days older: a gap longer than that is a gap
        week_ago as (
            partition by repo_key order by day
            range between interval 9 days preceding and interval 7 days preceding
        ),
        month_ago as (
            partition by repo_key order by day
            range between interval 32 days preceding and interval 28 days preceding
        ),
        this_week as (
            partition by repo_key order by day
            range between interval 6 days preceding and current row
        ),
        this_month as (
            partition by repo_key order by day
            range between interval 27 days preceding and current row
        ),
        usual as (
            partition by repo_key order by day
            range between interval {{ constant('usual_days') }} days preceding and interval 1 day preceding
        )
    qualify {{ in_window() }}

),

-- A base reading is the latest of its span, so the steps since then all lie within the sums above.
based as (

    select
        *,
        date_diff('second', observed_week_ago, observed_at) / 86400.0 as days_since_week_ago,
        date_diff('second', observed_month_ago, observed_at) / 86400.0 as days_since_month_ago
    from framed

),

paced as (

    select
        *,
        round((stars_total - total_week_ago - excluded_week)::double / days_since_week_ago, 3) as velocity_7d,
        round((stars_total - total_month_ago - excluded_month)::double / days_since_month_ago, 3) as velocity_28d,
        -- over a break neither level is a base: stars that come back would be many beside the few that were left
        case
            when last_break is null or last_break < day - 6
                then round(
                    7.0 * (stars_total - total_week_ago - excluded_week)
                    / days_since_week_ago / nullif(total_week_ago, 0), 6
                )
        end as growth_7d,
        case
            when last_break is null
                then round(
                    28.0 * (stars_total - total_month_ago - excluded_month)
                    / days_since_month_ago / nullif(total_month_ago, 0), 6
                )
        end as growth_28d,
        round((forks_total - forks_month_ago)::double / nullif(forks_month_ago, 0), 6) as fork_growth_28d,
        median(case when usual_readings >= {{ constant('usual_days_min') }} then usual_change end)
            over (partition by day) as median_usual_change
    from based

),

shrunk as (

    select
        *,
        case
            when usual_readings >= {{ constant('usual_days_min') }}
                then
                    (usual_change * usual_readings + median_usual_change * {{ constant('prior_days') }})
                    / (usual_readings + {{ constant('prior_days') }})
        end as expected_change
    from paced

),

surprised as (

    select
        *,
        round(
            case
                when expected_change is not null and daily_change is not null
                    then {{ negative_binomial_z('daily_change', 'expected_change', constant('dispersion')) }}
            end, 3
        ) as surprise
    from shrunk

),

tailed as (

    select
        *,
        {{ normal_upper_tail('surprise') }} as p_value,
        case
            when surprise is not null
                then row_number() over (partition by day, surprise is null order by surprise desc)
        end as surprise_rank,
        count(surprise) over (partition by day) as tests
    from surprised

),

tested as (

    select
        *,
        case
            when p_value <= {{ constant('false_discovery_rate') }} * surprise_rank / tests then surprise_rank
        end as surprise_rank_passed
    from tailed

),

-- Where the totals give no pace, the star history may, as far as it was known by then: as first read, and read
-- before the day after had ended.
unpaced as (

    select
        repo_key,
        min(day) as first_day,
        max(day) as last_day
    from tested
    where daily_change is null or velocity_7d is null or velocity_28d is null
    group by repo_key

),

cells as (

    select
        unpaced.repo_key,
        star_days.day,
        star_days.stars_gained,
        star_days.fetched_at
    from {{ ref('int_star_days__read') }} as star_days
    inner join {{ ref('int_repos__identified') }} as identified on star_days.repo_id = identified.repo_id
    inner join unpaced
        on
            identified.repo_key = unpaced.repo_key
            and star_days.day >= unpaced.first_day - 27
            and star_days.day <= unpaced.last_day
    where {{ in_window('star_days.day', lookback=27) }} and star_days.reading = 1

),

spans as (

    select
        *,
        sum(stars_gained) over week as gained_week,
        count(*) over week as cells_week,
        max(fetched_at) over week as known_week_at,
        sum(stars_gained) over month as gained_month,
        count(*) over month as cells_month,
        max(fetched_at) over month as known_month_at
    from cells
    window
        week as (
            partition by repo_key order by day
            range between interval 6 days preceding and current row
        ),
        month as (
            partition by repo_key order by day
            range between interval 27 days preceding and current row
        )

),

gains as (

    select
        day,
        repo_key,
        case when fetched_at < day + 2 then stars_gained end as gained_day,
        case when cells_week = 7 and known_week_at < day + 2 then gained_week end as gained_week,
        case when cells_month = 28 and known_month_at < day + 2 then gained_month end as gained_month
    from spans
    where {{ in_window() }}

),

final as (

    select
        tested.day,
        tested.repo_key,
        tested.full_name,
        tested.language,
        tested.stars_total,
        tested.is_below_peak,
        coalesce(
            round(tested.daily_change, 3),
            case when not (tested.is_dropped or tested.is_restored or tested.is_purged) then gains.gained_day end
        )::double as velocity_24h,
        coalesce(tested.velocity_7d, round(gains.gained_week / 7.0, 3))::double as velocity_7d,
        coalesce(tested.velocity_28d, round(gains.gained_month / 28.0, 3))::double as velocity_28d,
        case
            when tested.daily_change is not null then 'net_change'
            when not (tested.is_dropped or tested.is_restored or tested.is_purged) and gains.gained_day is not null
                then 'star_history'
        end as velocity_24h_basis,
        case
            when tested.velocity_7d is not null then 'net_change'
            when gains.gained_week is not null then 'star_history'
        end as velocity_7d_basis,
        case
            when tested.velocity_28d is not null then 'net_change'
            when gains.gained_month is not null then 'star_history'
        end as velocity_28d_basis,
        case
            when tested.velocity_7d is not null then tested.growth_7d
            when
                tested.stars_total > gains.gained_week
                and (tested.last_break is null or tested.last_break < tested.day - 6)
                then round(gains.gained_week::double / (tested.stars_total - gains.gained_week), 6)
        end as growth_7d,
        case
            when tested.velocity_28d is not null then tested.growth_28d
            when tested.stars_total > gains.gained_month and tested.last_break is null
                then round(gains.gained_month::double / (tested.stars_total - gains.gained_month), 6)
        end as growth_28d,
        tested.fork_growth_28d,
        round(tested.expected_change, 3) as expected_change,
        tested.surprise,
        tested.daily_change > tested.expected_change as is_above_usual,
        -- Benjamini-Hochberg (1995): all up to the largest rank k with p <= q k / m
        case
            when tested.surprise is not null
                then coalesce(
                    tested.surprise_rank <= max(tested.surprise_rank_passed) over (partition by tested.day), false
                )
        end as is_surprising
    from tested
    left join gains on tested.day = gains.day and tested.repo_key = gains.repo_key
    order by tested.day, tested.repo_key

)

select * from final
