with

repo_days as (

    select
        day,
        repo_key,
        full_name,
        language,
        observed_at,
        stars_total,
        forks_total,
        excluded_step,
        is_dropped,
        is_restored,
        is_below_peak,
        is_purged,
        is_returned,
        is_waved,
        {{ daily_change() }} as daily_change,
        date_trunc('month', day)::date as month
    from {{ ref('int_repo_days__stepped') }}
    where {{ in_window(lookback=32) }} and not is_doubtful

),

months as (

    select * from {{ ref('int_repo_months__based') }}
    where month between date_trunc('month', date '{{ var("window_start") }}') and date '{{ var("window_end") }}'

),

-- Few steps are excluded, and fewer are breaks, so each is expanded to the days that look back on it.
excluded as (

    select
        repo_key,
        unnest(generate_series(day, day + 30, interval 1 day))::date as day,
        day as excluded_on,
        excluded_step,
        is_dropped or is_restored as is_break,
        is_dropped,
        is_restored and not is_below_peak as is_back
    from repo_days
    where excluded_step <> 0

),

exclusions as (

    select
        day,
        repo_key,
        sum(excluded_step) filter (where excluded_on > day - 7) as excluded_week,
        sum(excluded_step) filter (where excluded_on > day - 28) as excluded_month,
        -- a wipe and the return of its stars: the totals at both ends give the stars gained
        case
            when
                arg_min(is_dropped, excluded_on) filter (where is_break and excluded_on > day - 7)
                and arg_max(is_back, excluded_on) filter (where is_break and excluded_on > day - 7)
                then sum(excluded_step) filter (where is_break and excluded_on > day - 7)
        end as undone_week,
        case
            when
                arg_min(is_dropped, excluded_on) filter (where is_break and excluded_on > day - 28)
                and arg_max(is_back, excluded_on) filter (where is_break and excluded_on > day - 28)
                then sum(excluded_step) filter (where is_break and excluded_on > day - 28)
        end as undone_month,
        sum(excluded_step) filter (
            where not is_break and excluded_on >= date_trunc('month', day)
        ) as left_out_this_month,
        max(excluded_on) filter (where is_break) as last_break
    from excluded
    group by day, repo_key

),

framed as (

    select
        *,
        -- the latest reading that is a full span old, at most two (four) days older: a longer gap is a gap
        last_value(
            struct_pack(observed_at := observed_at, stars_total := stars_total, is_below_peak := is_below_peak)
        ) over (
            partition by repo_key order by day
            range between interval 9 days preceding and interval 7 days preceding
        ) as week_ago,
        last_value(
            struct_pack(
                observed_at := observed_at,
                stars_total := stars_total,
                is_below_peak := is_below_peak,
                forks_total := forks_total
            )
        ) over (
            partition by repo_key order by day
            range between interval 32 days preceding and interval 28 days preceding
        ) as month_ago
    from repo_days
    qualify {{ in_window() }}

),

-- A base reading is the latest of its span, so the steps since then all lie within the sums above.
based as (

    select
        framed.* exclude (week_ago, month_ago), -- noqa: RF02
        framed.week_ago.stars_total as total_week_ago,
        framed.month_ago.stars_total as total_month_ago,
        framed.month_ago.forks_total as forks_month_ago,
        date_diff('second', framed.week_ago.observed_at, framed.observed_at) / 86400.0 as days_since_week_ago,
        date_diff('second', framed.month_ago.observed_at, framed.observed_at) / 86400.0 as days_since_month_ago,
        months.base_total,
        coalesce(months.base_left_out, 0) + coalesce(exclusions.left_out_this_month, 0) as left_out_since_base,
        date_diff('second', months.base_observed_at, framed.observed_at) / 86400.0 as days_since_base,
        coalesce(exclusions.excluded_week, 0)
        - case when framed.week_ago.is_below_peak then 0 else coalesce(exclusions.undone_week, 0) end
            as excluded_week,
        coalesce(exclusions.excluded_month, 0)
        - case when framed.month_ago.is_below_peak then 0 else coalesce(exclusions.undone_month, 0) end
            as excluded_month,
        exclusions.last_break
    from framed
    left join months on framed.month = months.month and framed.repo_key = months.repo_key
    left join exclusions on framed.day = exclusions.day and framed.repo_key = exclusions.repo_key

),

paced as (

    select
        *,
        round((stars_total - total_week_ago - excluded_week)::double / days_since_week_ago, 3) as velocity_7d,
        round((stars_total - total_month_ago - excluded_month)::double / days_since_month_ago, 3) as velocity_28d,
        -- over a break, neither level is a base: returning stars would be many compared with the few left
        case
            when last_break is null or last_break < day - 6
                then round(
                    7.0 * (stars_total - total_week_ago - excluded_week)
                    / days_since_week_ago / nullif(total_week_ago, 0), 6
                )
        end as growth_7d,
        case
            when last_break is null or last_break < day - 27
                then round(
                    28.0 * (stars_total - total_month_ago - excluded_month)
                    / days_since_month_ago / nullif(total_month_ago, 0), 6
                )
        end as growth_28d,
        case
            when last_break is null
                then round(
                    pow(
                        greatest(stars_total - left_out_since_base, 0) / nullif(base_total, 0), 28 / days_since_base
                    ) - 1, 6
                )
        end as growth_year,
        round((forks_total - forks_month_ago)::double / nullif(forks_month_ago, 0), 6) as fork_growth_28d
    from based

),

-- If totals give no pace, the star history does, as far as it was known by then: as first read, and read before the end
-- of the next day (UTC), because the cycle of a day runs on the next day.
unpaced as (

    select
        repo_key,
        min(day) as first_day,
        max(day) as last_day
    from paced
    where daily_change is null or velocity_7d is null or velocity_28d is null
    group by repo_key

),

lengths as (

    select
        day,
        {{ star_day_hours('day') }} / 24.0 as days_long
    from (
        select unnest(generate_series(min(first_day) - 27, max(last_day), interval 1 day))::date as day
        from unpaced
    ) as calendar

),

cells as (

    select
        unpaced.repo_key,
        star_days.day,
        star_days.stars_gained,
        star_days.fetched_at,
        lengths.days_long
    from {{ ref('int_star_days__read') }} as star_days
    inner join {{ ref('int_repos__identified') }} as identified on star_days.repo_id = identified.repo_id
    inner join unpaced
        on
            identified.repo_key = unpaced.repo_key
            and star_days.day >= unpaced.first_day - 27
            and star_days.day <= unpaced.last_day
    inner join lengths on star_days.day = lengths.day
    where {{ in_window('star_days.day', lookback=27) }} and star_days.reading = 1

),

spans as (

    select
        *,
        sum(stars_gained) over week as gained_week,
        count(*) over week as cells_week,
        max(fetched_at) over week as known_week_at,
        sum(days_long) over week as week_long,
        sum(stars_gained) over month as gained_month,
        count(*) over month as cells_month,
        max(fetched_at) over month as known_month_at,
        sum(days_long) over month as month_long
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
        days_long,
        week_long,
        month_long,
        case when fetched_at < day + 2 then stars_gained end as gained_day,
        case when cells_week = 7 and known_week_at < day + 2 then gained_week end as gained_week,
        case when cells_month = 28 and known_month_at < day + 2 then gained_month end as gained_month
    from spans
    where {{ in_window() }}

),

final as (

    select
        paced.day,
        paced.repo_key,
        paced.full_name,
        paced.language,
        paced.stars_total,
        paced.is_below_peak,
        paced.is_returned,
        paced.is_waved,
        coalesce(
            round(paced.daily_change, 3),
            case when not {{ is_left_out('paced') }} then round(gains.gained_day / gains.days_long, 3) end
        )::double as velocity_24h,
        coalesce(paced.velocity_7d, round(gains.gained_week / gains.week_long, 3))::double as velocity_7d,
        coalesce(paced.velocity_28d, round(gains.gained_month / gains.month_long, 3))::double as velocity_28d,
        case
            when paced.daily_change is not null then 'net_change'
            when not {{ is_left_out('paced') }} and gains.gained_day is not null
                then 'star_history'
        end as velocity_24h_basis,
        case
            when paced.velocity_7d is not null then 'net_change'
            when gains.gained_week is not null then 'star_history'
        end as velocity_7d_basis,
        case
            when paced.velocity_7d is not null then round(paced.days_since_week_ago, 3)
            when gains.gained_week is not null then round(gains.week_long, 3)
        end::double as velocity_7d_days,
        case
            when paced.velocity_28d is not null then 'net_change'
            when gains.gained_month is not null then 'star_history'
        end as velocity_28d_basis,
        case
            when paced.velocity_7d is not null then paced.growth_7d
            when
                paced.stars_total > gains.gained_week
                and (paced.last_break is null or paced.last_break < paced.day - 6)
                then round(gains.gained_week::double / (paced.stars_total - gains.gained_week), 6)
        end as growth_7d,
        case
            when paced.velocity_28d is not null then paced.growth_28d
            when
                paced.stars_total > gains.gained_month
                and (paced.last_break is null or paced.last_break < paced.day - 27)
                then round(gains.gained_month::double / (paced.stars_total - gains.gained_month), 6)
        end as growth_28d,
        paced.growth_year,
        paced.fork_growth_28d
    from paced
    left join gains on paced.day = gains.day and paced.repo_key = gains.repo_key

)

select * from final
