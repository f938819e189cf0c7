with

repo_days as (

    select
        day,
        repo_key,
        {{ daily_change() }} as daily_change,
        -- half decades of the total, and the age according to GitHub; repositories only in the rankings have no age
        floor(2 * log10(greatest(stars_total, 1)))::integer as size_band,
        case
            when created_at is null then 0
            when day - created_at::date < 365 then 1
            when day - created_at::date < 3 * 365 then 2
            else 3
        end as age_band
    from {{ ref('int_repo_days__stepped') }}
    where {{ in_window(lookback=constant('usual_days') | int + 6) }}

),

-- The eight whole weeks before a day's own: weekdays balance, a burst does not become usual while it lasts, and one sum
-- serves the seven days of a week.
weeks as (

    select
        repo_key,
        date_trunc('week', day)::date as week,
        count(daily_change) as readings,
        sum(daily_change) as total,
        sum(daily_change * daily_change) as total_of_squares
    from repo_days
    group by repo_key, date_trunc('week', day)

),

framed as (

    select
        repo_key,
        week,
        sum(readings) over usual as usual_readings,
        sum(total) over usual as usual_total,
        sum(total_of_squares) over usual as usual_total_of_squares
    from weeks
    window usual as (
        partition by repo_key order by week
        range between interval 8 weeks preceding and interval 1 week preceding
    )

),

moments as (

    select
        repo_key,
        week,
        usual_readings::double as usual_readings,
        greatest(usual_total / usual_readings, 0) as usual_change,
        (usual_total_of_squares - usual_total * usual_total / usual_readings) / (usual_readings - 1) as usual_variance
    from framed
    where usual_readings >= {{ constant('usual_days_min') }}

),

usual as (

    select
        repo_days.*,
        moments.usual_readings,
        moments.usual_change,
        moments.usual_variance,
        repo_days.daily_change is not null and moments.usual_change is not null as is_comparable
    from repo_days
    left join moments
        on repo_days.repo_key = moments.repo_key and date_trunc('week', repo_days.day)::date = moments.week
    where {{ in_window('repo_days.day') }}

),

-- The change common to all repositories of a day: weekday, holiday, the hour of reading. (Beware: least() and
-- greatest() ignore NULL.)
days as (

    select
        day,
        (
            {{ constant('index_prior_stars') }}
            + sum(greatest(least(daily_change, 3 * usual_change + 5), 0)) filter (where is_comparable)
        ) / (
            {{ constant('index_prior_stars') }}
            + sum(usual_change) filter (where is_comparable)
        ) as day_index
    from usual
    group by day

),

-- Repositories of similar size and age: the spread of their paces and of their days (medians, so that bursts do not
-- count).
strata as (

    select
        day,
        size_band,
        age_band,
        avg(usual_change) as mean_change,
        var_samp(usual_change) as variance_of_means,
        count(usual_change) filter (where usual_change >= 1) as scattered_repos,
        median(
            (usual_variance - (1 + {{ constant('unstar_dispersion') }}) * usual_change) / (usual_change * usual_change)
        ) filter (where usual_change >= 1) as median_dispersion
    from usual
    group by day, size_band, age_band

),

judged as (

    select
        strata.day,
        strata.size_band,
        strata.age_band,
        days.day_index,
        strata.mean_change,
        -- Gamma prior by moments: shape = mean^2 / variance; a repository alone in its stratum has none
        coalesce(
            strata.mean_change * strata.mean_change / nullif(strata.variance_of_means, 0), 0
        ) as prior_shape,
        (
            {{ constant('dispersion') }} * {{ constant('dispersion_prior_repos') }}
            + coalesce(greatest(strata.median_dispersion, 0), 0) * strata.scattered_repos
        ) / ({{ constant('dispersion_prior_repos') }} + strata.scattered_repos) as dispersion
    from strata
    inner join days on strata.day = days.day

),

shrunk as (

    select
        usual.day,
        usual.repo_key,
        usual.daily_change,
        judged.day_index,
        judged.dispersion,
        -- effective number of readings: over-dispersed ones carry less information than Poisson ones
        usual.usual_readings
        / (1 + {{ constant('unstar_dispersion') }} + judged.dispersion * usual.usual_change) as evidence_days,
        least(judged.prior_shape, {{ constant('prior_shape_max') }}) as prior_shape,
        judged.mean_change,
        usual.usual_change
    from usual
    inner join judged
        on usual.day = judged.day and usual.size_band = judged.size_band and usual.age_band = judged.age_band

),

-- Posterior of the pace: Gamma(prior_shape + stars seen, prior_shape / mean_change + days seen)
expected as (

    select
        *,
        prior_shape + evidence_days * usual_change as pace_shape,
        case
            when usual_change is not null
                then greatest(
                    (prior_shape + evidence_days * usual_change)
                    / (prior_shape / nullif(mean_change, 0) + evidence_days), {{ constant('least_pace') }}
                )
        end as pace
    from shrunk

),

predicted as (

    select
        *,
        pace * day_index as expected_change,
        case
            when pace is not null then greatest(pace * day_index, {{ constant('least_judged') }})
        end as judged_change,
        -- variance of a day: scatter of days, stars taken back, and uncertainty of the pace itself
        least(
            dispersion + {{ constant('unstar_dispersion') }} / (pace * day_index) + 1 / greatest(pace_shape, 1), 1.4
        ) as predictive_dispersion
    from expected

),

{#- negative_binomial_deviate in two variants: the published deviate uses the count plus half a star, so that it is 0 in
    the middle; the test uses the plain count, so that it never understates chance -#}
{{ negative_binomial_deviate(
    'surprised', 'predicted', 'surprise', 'case when daily_change is not null then greatest(daily_change, 0) + 0.5 end'
) }},

{{ negative_binomial_deviate(
    'candidates', '(select * from surprised where surprise > 1.6)', 'deviate', 'greatest(daily_change, 1)'
) }},

tails as (

    select
        day,
        repo_key,
        {{ normal_upper_tail('deviate') }} as p_value
    from candidates

),

tests as (

    select
        day,
        count(surprise) as tests
    from surprised
    group by day

),

-- Benjamini-Hochberg (1995): all up to the largest rank k with p <= q k / m. A deviate below 1.645 can never be among
-- them.
discoveries as (

    select
        tails.day,
        max(tails.p_value) as largest_p_value
    from (
        select
            *,
            row_number() over (partition by day order by p_value) as p_rank
        from tails
    ) as tails
    inner join tests on tails.day = tests.day
    where tails.p_value <= {{ constant('false_discovery_rate') }} * tails.p_rank / tests.tests
    group by tails.day

),

discovered as (

    select
        tails.day,
        tails.repo_key
    from tails
    inner join discoveries on tails.day = discoveries.day and tails.p_value <= discoveries.largest_p_value

),

final as (

    select
        surprised.day,
        surprised.repo_key,
        round(surprised.daily_change, 3) as daily_change,
        round(surprised.day_index, 4) as day_index,
        round(surprised.dispersion, 4) as dispersion,
        round(surprised.expected_change, 3) as expected_change,
        -- removes the sign of zero: files of a lake keep the one that came first
        round(surprised.surprise, 3) + 0.0 as surprise,
        surprised.daily_change > surprised.expected_change as is_above_usual,
        case when surprised.surprise is not null then discovered.day is not null end as is_surprising
    from surprised
    left join discovered on surprised.day = discovered.day and surprised.repo_key = discovered.repo_key

)

select * from final
