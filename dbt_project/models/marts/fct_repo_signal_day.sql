with

paced as (

    select * from {{ ref('int_repo_days__paced') }}
    where {{ in_window(lookback=constant('persistence_days') | int) }}

),

weights as (

    select
        {% for component in signal_components().split() %}
            any_value(weight) filter (where component = '{{ component }}') as {{ component }},
        {% endfor %}
        count(*) as components
    from {{ ref('signal_weights') }}

),

framed as (

    select
        *,
        avg(is_above_usual::int) over this_month as share_above_usual,
        count(is_above_usual) over this_month as readings_this_month,
        sum(is_surprising::int) over three_days as surprising_days,
        count(is_surprising) over three_days as judged_days
    from paced
    window
        this_month as (
            partition by repo_key order by day
            range between interval {{ constant('persistence_days') | int - 1 }} days preceding and current row
        ),
        three_days as (
            partition by repo_key order by day
            range between interval 2 days preceding and current row
        )
    qualify {{ in_window() }}

),

measured as (

    select
        *,
        -- a change of the total and stars given are two quantities: their difference would be no acceleration
        case
            when velocity_7d_basis = velocity_28d_basis then round(velocity_7d - velocity_28d, 3)
        end as acceleration,
        case
            when readings_this_month >= {{ constant('usual_days_min') }} then round(share_above_usual, 4)
        end as persistence,
        -- what happens on the way back to a former level, or within 28 days of a break, says nothing of new interest
        not is_below_peak and growth_28d is not null as is_scored
    from framed

),

ranked as (

    select
        *,
        {{ percentile_of_day('growth_28d') }} as growth_28d_percentile,
        {{ percentile_of_day('growth_7d') }} as growth_7d_percentile,
        {{ percentile_of_day('surprise') }} as surprise_percentile,
        {{ percentile_of_day('persistence') }} as persistence_percentile,
        {{ percentile_of_day('acceleration') }} as acceleration_percentile,
        {{ percentile_of_day('fork_growth_28d') }} as breadth_percentile
    from measured

),

pointed as (

    select
        {% for component in signal_components().split() %}
            case
                when ranked.is_scored then round(weights.{{ component }} * ranked.{{ component }}_percentile, 2)
            end as {{ component }}_points,
        {% endfor %}
        ranked.*
    from ranked
    cross join weights

),

scored as (

    select
        *,
        case
            when is_scored
                then round(
                    0
                    {% for component in signal_components().split() %}
                        + coalesce({{ component }}_points, 0)
                    {% endfor %}, 2
                )
        end as signal_score
    from pointed

),

final as (

    select
        day,
        repo_key,
        full_name,
        language,
        stars_total,
        velocity_24h,
        velocity_7d,
        velocity_28d,
        velocity_24h_basis as velocity_basis,
        velocity_7d_basis,
        velocity_28d_basis,
        acceleration,
        growth_7d,
        growth_28d,
        fork_growth_28d,
        expected_change,
        surprise,
        persistence,
        null::varchar as authenticity,
        {% for component in signal_components().split() %}
            {{ component }}_points,
        {% endfor %}
        signal_score,
        case
            when signal_score is not null
                then row_number() over (
                    partition by day, signal_score is null
                    order by signal_score desc, growth_28d desc, repo_key asc
                )
        end::integer as signal_rank,
        case
            when not is_scored or is_surprising is null or judged_days < 2 then null
            else is_surprising and surprising_days >= 2
        end as is_breakout,
        '{{ signal_model_version() }}' as model_version
    from scored
    order by day, repo_key

)

select * from final
