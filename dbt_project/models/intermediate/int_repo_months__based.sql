{{ config(incremental_strategy='replace_months') }}

with

repo_days as (

    select
        day,
        date_trunc('month', day)::date as month,
        repo_key,
        observed_at,
        stars_total,
        is_dropped or is_restored as is_break,
        case when is_dropped or is_restored then 0 else excluded_step end as left_out
    from {{ ref('int_repo_days__stepped') }}
    where day between date_trunc('month', date '{{ var("window_start") }}') and date '{{ var("window_end") }}'

),

first_readings as (

    select
        month,
        repo_key,
        min(observed_at) as observed_at,
        arg_min(stars_total, day) as stars_total,
        bool_or(is_break) as has_break,
        sum(left_out)::bigint as left_out,
        arg_min(left_out, day)::bigint as left_out_at_first
    from repo_days
    group by month, repo_key

),

months as (

    select * from first_readings

    {% if is_incremental() %}
        union all

        select
            month,
            repo_key,
            observed_at,
            stars_total,
            has_break,
            left_out,
            left_out_at_first
        from {{ this }}
        where
            month < date_trunc('month', date '{{ var("window_start") }}')
            and month >= date_trunc('month', date '{{ var("window_start") }}') - interval 12 months
    {% endif %}

),

-- A reading before a break is not a base for readings after it.
broken as (

    select
        *,
        max(case when has_break then month end) over (
            partition by repo_key order by month
            range between interval 12 months preceding and interval 1 month preceding
        ) as last_broken_month,
        coalesce(sum(left_out) over earlier_months, 0) as left_out_before
    from months
    window earlier_months as (
        partition by repo_key order by month
        rows between unbounded preceding and 1 preceding
    )

),

-- A year ago if there was a reading, otherwise half a year, otherwise two months: for young repositories, the whole
-- past would cover the days of their discovery.
bases as (

    select
        broken.month,
        broken.repo_key,
        arg_min(earlier.stars_total, earlier.month) as base_total,
        arg_min(earlier.observed_at, earlier.month) as base_observed_at,
        -- a first reading includes the step to it
        arg_min(
            broken.left_out_before - earlier.left_out_before - earlier.left_out_at_first, earlier.month
        )::bigint as base_left_out
    from broken
    inner join broken as earlier
        on
            broken.repo_key = earlier.repo_key
            and date_diff('month', earlier.month, broken.month) in (2, 6, 12) -- noqa: ST09
            and (broken.last_broken_month is null or broken.last_broken_month < earlier.month)
    group by broken.month, broken.repo_key

),

final as (

    select
        first_readings.month,
        first_readings.repo_key,
        first_readings.observed_at,
        first_readings.stars_total,
        first_readings.has_break,
        first_readings.left_out,
        first_readings.left_out_at_first,
        bases.base_total,
        bases.base_observed_at,
        bases.base_left_out
    from first_readings
    left join bases on first_readings.month = bases.month and first_readings.repo_key = bases.repo_key
    order by first_readings.month, first_readings.repo_key

)

select * from final
