with

repo_days as (

    select * from {{ ref('int_rankings_repo_days__merged') }}
    where {{ in_window(lookback=constant('memory_days') | int) }}

),

names as (

    select * from {{ ref('int_repo_names__resolved') }}

),

keyed as (

    select
        repo_days.*,
        names.repo_key
    from repo_days
    inner join names
        on
            repo_days.name_key = names.name_key
            and repo_days.day >= names.starts_on
            and (names.ends_before is null or repo_days.day < names.ends_before)

),

remembered as (

    select
        *,
        lag(day) over by_day as previous_day,
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
        * exclude (previous_day, previous_total, previous_name_key),
        case when day - previous_day <= {{ constant('memory_days') }} then previous_day end as previous_day,
        case when day - previous_day <= {{ constant('memory_days') }} then previous_total end as previous_total,
        case when day - previous_day <= {{ constant('memory_days') }} then previous_name_key end as previous_name_key
    from remembered

),

judged as (

    select
        *,
        stars_total - previous_total as step,
        24 * (day - previous_day) as gap_hours,
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
    where gap_hours <= {{ constant('longest_gap_hours') }}
    group by day

),

final as (

    select
        judged.day,
        judged.repo_key,
        judged.name_key,
        judged.full_name,
        judged.language,
        judged.description,
        judged.stars_total,
        judged.forks_total,
        judged.stars_spread,
        judged.previous_day,
        judged.step,
        judged.gap_hours,
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
