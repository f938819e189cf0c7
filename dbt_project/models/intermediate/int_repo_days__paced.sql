with

repo_days as (

    select
        *,
        -- what was given or taken star by star over one night; unknown over a gap or a break of the level
        case
            when
                gap_hours <= {{ constant('longest_gap_hours') }}
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
        last_value(day) over week_ago as day_week_ago,
        last_value(stars_total) over month_ago as total_month_ago,
        last_value(forks_total) over month_ago as forks_month_ago,
        last_value(day) over month_ago as day_month_ago,
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
        day - day_week_ago as days_since_week_ago,
        day - day_month_ago as days_since_month_ago
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

final as (

    select
        day,
        repo_key,
        full_name,
        language,
        stars_total,
        is_below_peak,
        round(daily_change, 3) as velocity_24h,
        velocity_7d,
        velocity_28d,
        growth_7d,
        growth_28d,
        fork_growth_28d,
        round(expected_change, 3) as expected_change,
        surprise,
        daily_change > expected_change as is_above_usual,
        -- Benjamini-Hochberg (1995): all up to the largest rank k with p <= q k / m
        case
            when surprise is not null
                then coalesce(surprise_rank <= max(surprise_rank_passed) over (partition by day), false)
        end as is_surprising
    from tested
    order by day, repo_key

)

select * from final
