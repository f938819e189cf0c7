{{ config(incremental_strategy='replace_judged_days') }}

{%- set burst_days = authenticity_constant('burst_days') | int -%}
{%- set usual_readings = burst_days + authenticity_constant('usual_readings') | int -%}
{%- set held_days = authenticity_constant('held_days') | int -%}
{%- set usual_days_most = authenticity_constant('usual_days_most') | int -%}
{%- set memory_days = authenticity_constant('memory_days') | int %}

with

-- Narrow columns: years of days are in memory at once.
readings as not materialized (

    select
        day,
        repo_key,
        stars_total::integer as stars_total,
        forks_total::integer as forks_total,
        case when excluded_step = 0 then step end::integer as step,
        case when is_dropped or is_restored then day end as broken_on,
        case when is_restored then day end as restored_on,
        is_below_peak,
        case when is_dropped or is_restored then 0 else excluded_step end::integer as left_out,
        case when is_waved then excluded_step else 0 end::integer as waved
    from {{ ref('int_repo_days__stepped') }}
    where {{ in_judged_days(lookback=memory_days, after=days_after_authenticity()) }}

),

-- Sums from an arbitrary first day: only differences between two days of a repository have a meaning. Purges, their
-- returns and waves do not make a burst; a purge does count as evidence that a burst was taken back.
levelled as (

    select
        * exclude (left_out, waved),
        (sum(left_out) over by_day)::integer as left_out,
        (sum(waved) over by_day)::integer as waved
    from readings
    window by_day as (partition by repo_key order by day rows unbounded preceding)

),

-- a number of readings ago: the same number of days, or more where readings are missing; frames by date would cost
-- three times as much
lagged as (

    select
        *,
        lag(day, {{ burst_days }}) over by_day as day_before,
        lag(stars_total, {{ burst_days }}) over by_day as stars_before,
        lag(left_out, {{ burst_days }}) over by_day as left_out_before,
        lag(forks_total, {{ burst_days }}) over by_day as forks_before,
        lag(day, {{ usual_readings }}) over by_day as usual_from,
        lag(stars_total - left_out, {{ usual_readings }}) over by_day as usual_stars,
        max(step) over (by_day rows between {{ burst_days - 1 }} preceding and current row) as largest_step,
        max(broken_on) over (by_day rows unbounded preceding) as last_break,
        max(restored_on) over (by_day rows unbounded preceding) as last_restored
    from levelled
    window by_day as (partition by repo_key order by day)

),

-- days that end a span with far more stars than usual, on a level without a break
bursts as (

    select
        spanned.*,
        spanned.gained - spanned.usual_pace * (spanned.day - spanned.day_before) as excess
    from (
        select
            *,
            stars_total - stars_before - (left_out - left_out_before) as gained,
            forks_total - forks_before as forks_gained,
            forks_before::double / nullif(stars_before, 0) as forks_per_star,
            greatest((stars_before - left_out_before - usual_stars)::double / (day_before - usual_from), 0)
                as usual_pace
        from lagged
        where
            day - day_before <= {{ burst_days + 2 }}
            and day - usual_from <= {{ usual_days_most }}
            and stars_total - stars_before - (left_out - left_out_before)
            >= {{ authenticity_constant('few_stars') }}
            and not is_below_peak
    ) as spanned
    where
        (spanned.last_break is null or spanned.last_break < spanned.usual_from)
        and spanned.gained - spanned.usual_pace * (spanned.day - spanned.day_before)
        >= greatest(
            {{ authenticity_constant('few_stars') }},
            {{ authenticity_constant('burst_ratio') }} * spanned.usual_pace * (spanned.day - spanned.day_before)
        )

),

held as (

    select
        repo_key,
        unnest(generate_series(day, day + {{ held_days }}, interval 1 day))::date as day,
        bursts as burst,
        -- the largest burst and, of bursts with equal whole stars, the first, as one number
        round(excess)::bigint * 100000 + (date '2200-01-01' - day) as size
    from bursts

),

-- with all columns: if bursts were joined again, the planner would hold the days in memory instead of the bursts
largest as (

    select
        repo_key,
        day,
        arg_max(burst, size) as burst
    from held
    group by repo_key, day

),

-- the requested days are filtered last: with a smaller number of days the planner would build the wrong side
remembered as (

    select
        lagged.day,
        lagged.repo_key,
        lagged.stars_total,
        lagged.left_out,
        lagged.waved,
        lagged.is_below_peak,
        coalesce(lagged.day - lagged.day_before <= {{ burst_days + 2 }}, false) as is_span_known,
        coalesce(lagged.day - lagged.usual_from <= {{ usual_days_most }}, false) as is_usual_known,
        coalesce(lagged.day - lagged.last_break <= {{ memory_days }}, false) as is_broken,
        coalesce(lagged.day - lagged.last_restored <= {{ memory_days }}, false) as is_restored,
        largest.burst
    from lagged
    left join largest on lagged.day = largest.day and lagged.repo_key = largest.repo_key

),

archive_flags as (

    select
        accounts.day,
        keyed.repo_key,
        accounts.is_one_star,
        accounts.is_lockstep
    from {{ ref('int_gh_archive_accounts__judged') }} as accounts
    inner join {{ ref('int_repos__keyed') }} as keyed on accounts.repo_ref = keyed.repo_ref
    where
        (accounts.is_one_star or accounts.is_lockstep)
        and {{ in_judged_days('accounts.day', lookback=held_days, after=days_after_authenticity()) }}

),

archived as (

    select
        repo_key,
        day,
        bool_or(is_one_star) as has_one_star_accounts,
        bool_or(is_lockstep) as has_lockstep
    from (
        select
            repo_key,
            unnest(generate_series(day, day + {{ held_days }}, interval 1 day))::date as day,
            coalesce(is_one_star, false) as is_one_star,
            is_lockstep
        from archive_flags
    ) as remembered_flags
    group by repo_key, day

),

measured as (

    select
        remembered.day,
        remembered.repo_key,
        remembered.stars_total,
        remembered.is_below_peak,
        remembered.is_broken,
        remembered.is_restored,
        remembered.is_span_known,
        remembered.is_usual_known,
        remembered.burst.day as burst_ended_on,
        remembered.burst.stars_before,
        remembered.burst.gained as burst_stars,
        remembered.burst.excess,
        remembered.burst.usual_pace * (remembered.burst.day - remembered.burst.day_before) as burst_usual_stars,
        remembered.burst.forks_gained,
        remembered.burst.forks_per_star * remembered.burst.gained as forks_expected,
        remembered.burst.gained::double / nullif(remembered.stars_total, 0) as burst_share,
        remembered.burst.largest_step::double / remembered.burst.gained as peak_day_share,
        remembered.burst.forks_gained::double / remembered.burst.gained as forks_per_star_of_burst,
        remembered.burst.forks_per_star as usual_forks_per_star,
        remembered.day - remembered.burst.day as days_since_burst,
        case
            when remembered.day > remembered.burst.day
                then
                    (
                        remembered.stars_total - remembered.burst.stars_total
                        - (remembered.left_out - remembered.burst.left_out)
                        - remembered.burst.usual_pace * (remembered.day - remembered.burst.day)
                    )
                    / remembered.burst.excess
        end as tail_ratio,
        (
            remembered.burst.stars_total - remembered.stars_total + remembered.waved - remembered.burst.waved
        )::double / remembered.burst.excess as taken_back_share,
        coalesce(archived.has_one_star_accounts, false) as has_one_star_accounts,
        coalesce(archived.has_lockstep, false) as has_lockstep
    from remembered
    left join archived on remembered.day = archived.day and remembered.repo_key = archived.repo_key

),

judged as (

    select
        *,
        forks_expected is null
        or forks_gained is null
        or forks_gained < -greatest(
            {{ authenticity_constant('forks_lost') }}, {{ authenticity_constant('forks_lost_share') }} * forks_expected
        ) as is_forks_unknown,
        coalesce(excess >= {{ authenticity_constant('burst_stars') }}, false) as is_judged,
        -- a fall that leaves the level before the burst takes the burst back; any other fall is a break of the level
        coalesce(
            excess >= {{ authenticity_constant('burst_stars') }}
            and taken_back_share >= {{ authenticity_constant('taken_back_share') }}
            and stars_total >= (1 - {{ constant('break_share') }}) * stars_before
            and not is_restored, false
        ) as is_taken_back
    from measured

),

reasoned as (

    select
        *,
        list_filter(
            [
                case
                    when
                        is_judged
                        and days_since_burst >= {{ authenticity_constant('settled_days') }}
                        and not is_forks_unknown
                        and forks_expected >= {{ authenticity_constant('forks_expected') }}
                        and forks_gained <= {{ authenticity_constant('few_forks_share') }} * forks_expected
                        then 'few_forks'
                end,
                case when is_taken_back then 'taken_back' end,
                case when has_one_star_accounts then 'one_star_accounts' end,
                case when has_lockstep then 'lockstep' end
            ],
            lambda reason: reason is not null -- noqa: RF02
        )::varchar[] as reasons_for_review,
        list_filter(
            [
                case when not is_taken_back and (is_broken or is_below_peak) then 'level_break' end,
                case when not is_usual_known then 'short_history' end,
                case when not is_span_known then 'gap' end,
                case when excess is not null and not is_judged then 'few_stars' end,
                case
                    when is_judged and days_since_burst < {{ authenticity_constant('settled_days') }}
                        then 'burst_goes_on'
                end,
                case
                    when is_judged and is_forks_unknown then 'forks_unknown'
                    when is_judged and forks_expected < {{ authenticity_constant('forks_expected') }}
                        then 'few_forks_expected'
                end
            ],
            lambda reason: reason is not null -- noqa: RF02
        )::varchar[] as reasons_for_silence
    from judged

),

final as (

    select
        day,
        repo_key,
        case
            when list_contains(reasons_for_silence, 'level_break') then null
            when len(reasons_for_review) > 0 then 'review'
            when len(reasons_for_silence) > 0 then null
            else 'ok'
        end as authenticity,
        case
            when list_contains(reasons_for_silence, 'level_break') then reasons_for_silence
            when len(reasons_for_review) > 0 then reasons_for_review
            else reasons_for_silence
        end as authenticity_reasons,
        burst_ended_on,
        burst_stars,
        round(burst_usual_stars, 1) as burst_usual_stars,
        round(burst_share, 4) as burst_share,
        round(peak_day_share, 4) as peak_day_share,
        round(tail_ratio, 4) as tail_ratio,
        round(taken_back_share, 4) as taken_back_share,
        round(forks_per_star_of_burst, 4) as forks_per_star_of_burst,
        round(usual_forks_per_star, 4) as usual_forks_per_star
    from reasoned
    where {{ in_judged_days(after=days_after_authenticity()) }}
    order by day, repo_key

)

select * from final
