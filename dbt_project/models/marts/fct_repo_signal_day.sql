{{ config(incremental_strategy='replace_judged_days') }}
{#- an archive day that is loaded late changes the accounts of later days -#}
{% set after = days_after_authenticity() %}

with

paced as (

    select * from {{ ref('int_repo_days__paced') }}
    where {{ in_judged_days(after=after) }}

),

surprised as (

    select * from {{ ref('int_repo_days__surprised') }}
    where {{ in_judged_days(after=after) }}

),

judged_days as (

    select
        day,
        repo_key,
        is_above_usual,
        is_surprising
    from {{ ref('int_repo_days__surprised') }}
    where {{ in_judged_days(lookback=constant('persistence_days') | int + 6, after=after) }}

),

-- most repositories have no anomaly: they are not joined
not_ok as (

    select * from {{ ref('int_repo_days__authenticated') }}
    where {{ in_judged_days(after=after) }} and authenticity is distinct from 'ok'

),

weights as (

    select
        {% for component in signal_components().split() %}
            any_value(weight) filter (where component = '{{ component }}') as {{ component }},
        {% endfor %}
        count(*) as components
    from {{ ref('signal_weights') }}

),

weeks as (

    select
        repo_key,
        date_trunc('week', day)::date as week,
        count(is_above_usual) as readings,
        sum(is_above_usual::int) as readings_above
    from judged_days
    group by repo_key, date_trunc('week', day)

),

-- The four whole weeks before a day's own, like the eight weeks of the usual pace: one sum serves seven days.
persisted as (

    select
        repo_key,
        week,
        sum(readings) over four_weeks as readings,
        sum(readings_above) over four_weeks as readings_above
    from weeks
    window four_weeks as (
        partition by repo_key order by week
        range between interval 4 weeks preceding and interval 1 week preceding
    )

),

-- Few days are surprising: only these need the two days before.
confirmed as (

    select
        today.day,
        today.repo_key,
        bool_or(before.is_surprising) as is_confirmed
    from judged_days as today
    left join judged_days as before
        on
            today.repo_key = before.repo_key
            and before.day between today.day - 2 and today.day - 1
            and before.is_surprising is not null
    where {{ in_judged_days('today.day', after=after) }} and today.is_surprising
    group by today.day, today.repo_key

),

measured as (

    select
        paced.*,
        surprised.day_index,
        surprised.dispersion,
        surprised.expected_change,
        surprised.surprise,
        surprised.is_surprising,
        confirmed.is_confirmed,
        case when not_ok.day is null then 'ok' else not_ok.authenticity end as authenticity,
        coalesce(not_ok.authenticity_reasons, []::varchar[]) as authenticity_reasons,
        -- a change of the total and stars given are different quantities: their difference is not an acceleration
        case
            when paced.velocity_7d_basis = paced.velocity_28d_basis
                then round(paced.velocity_7d - paced.velocity_28d, 3)
        end as acceleration,
        case
            when persisted.readings >= {{ constant('usual_days_min') }}
                then round(persisted.readings_above / persisted.readings, 4)
        end as persistence,
        -- a step on the way back to a former level, or within 28 days of a break, is not evidence of new interest
        not paced.is_below_peak and paced.growth_28d is not null as is_scored
    from paced
    left join surprised on paced.day = surprised.day and paced.repo_key = surprised.repo_key
    left join persisted
        on paced.repo_key = persisted.repo_key and date_trunc('week', paced.day)::date = persisted.week
    left join confirmed on paced.day = confirmed.day and paced.repo_key = confirmed.repo_key
    left join not_ok on paced.day = not_ok.day and paced.repo_key = not_ok.repo_key

),

-- Each as growth in 28 days. Unknown growth counts as that of the month, which is neither zero nor a merit. A day with
-- an unknown surprise counts as not surprising.
grown as (

    select
        *,
        {{ growth_share('growth_28d') }} as growth_28d_share,
        {{ growth_share('coalesce(growth_year, growth_28d)') }} as growth_year_share,
        {{ growth_share('coalesce(growth_7d * 4, growth_28d)') }} as growth_7d_share,
        {{ growth_share('coalesce(fork_growth_28d, growth_28d)') }} as breadth_share,
        case when surprise is not null then {{ surprise_share('surprise') }} end as surprise_share
    from measured

),

pointed as (

    select
        {% for component in signal_components().split() %}
            case
                when grown.is_scored
                    then round(weights.{{ component }} * grown.{{ component }}_share, 2)
            end as {{ component }}_points,
        {% endfor %}
        grown.*
    from grown
    cross join weights

),

summed as (

    select
        *,
        growth_28d_points + growth_year_points + growth_7d_points + breadth_points
        + coalesce(surprise_points, 0) as points
    from pointed

),

scored as (

    select
        *,
        case
            when authenticity = 'review' then round(-{{ constant('review_share') }} * points, 2)
            else 0 * points
        end as authenticity_points
    from summed

),

-- sort narrow rows first, then join
ranked as (

    select
        day,
        repo_key,
        row_number() over (
            partition by day
            order by round(points + authenticity_points, 2) desc, growth_28d desc, repo_key asc
        ) as signal_rank
    from scored
    where points is not null

),

final as (

    select
        scored.day,
        scored.repo_key,
        scored.full_name,
        scored.language,
        scored.stars_total,
        scored.velocity_24h,
        scored.velocity_7d,
        scored.velocity_28d,
        scored.velocity_24h_basis as velocity_basis,
        scored.velocity_7d_basis,
        scored.velocity_7d_days,
        scored.velocity_28d_basis,
        scored.acceleration,
        scored.growth_7d,
        scored.growth_28d,
        scored.growth_year,
        scored.fork_growth_28d,
        scored.day_index,
        scored.dispersion,
        scored.expected_change,
        scored.surprise,
        scored.persistence,
        scored.authenticity,
        scored.authenticity_reasons,
        {% for component in signal_components().split() %}
            scored.{{ component }}_points,
        {% endfor %}
        scored.authenticity_points,
        round(scored.points + scored.authenticity_points, 2) as signal_score,
        ranked.signal_rank::integer as signal_rank,
        case
            when not scored.is_scored then null
            when scored.is_waved or scored.is_returned then false
            when scored.is_surprising
                then
                    scored.is_confirmed
                    and scored.velocity_24h >= {{ constant('breakout_ratio') }} * scored.expected_change
            else scored.is_surprising
        end as is_breakout,
        case
            when not scored.is_scored then null
            when scored.is_waved then 'star_wave'
            when scored.is_returned then 'purge_returned'
        end as breakout_held_back,
        '{{ signal_model_version() }}' as model_version
    from scored
    left join ranked on scored.day = ranked.day and scored.repo_key = ranked.repo_key
    order by scored.day, scored.repo_key

)

select * from final
