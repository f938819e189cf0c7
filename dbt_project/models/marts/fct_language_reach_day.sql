with

-- the days of the window, and the days with which they are compared
languages as (

    select
        day,
        language,
        repos
    from {{ ref('fct_language_day') }}
    where {{ in_window(lookback=35) }} and universe = 'all'

),

cells as (

    select
        *,
        vertical_basis = 'cluster' or vertical <> {{ no_vertical() }} as is_vertical
    from {{ ref('fct_language_vertical_day') }}
    where {{ in_window(lookback=35) }}

),

parts as (

    select
        *,
        repos_split / sum(case when is_vertical then repos_split end) over (
            partition by day, vertical_basis, language
        ) as part
    from cells

),

spread as (

    select
        day,
        language,
        vertical_basis,
        any_value(language_repos) as repos_with_topics,
        round(coalesce(sum(repos_split) filter (where is_vertical), 0))::bigint as repos_in_verticals,
        count(*) filter (where is_vertical) as verticals,
        count(*) filter (
            where is_vertical and rca > 1 and repos >= {{ vertical_repos_min() }}
        ) as verticals_colonised,
        round(abs(sum(part * log2(part)) filter (where is_vertical)), 6) as entropy_bits
    from parts
    group by day, language, vertical_basis

),

-- curated verticals exist on every day, clusters only on days for which any are known
bases as (

    select
        day,
        'curated' as vertical_basis
    from languages

    union

    select
        day,
        vertical_basis
    from cells

),

reach as (

    select
        languages.day,
        languages.language,
        bases.vertical_basis,
        languages.repos,
        coalesce(spread.repos_with_topics, 0) as repos_with_topics,
        coalesce(spread.repos_in_verticals, 0) as repos_in_verticals,
        -- without topics, verticals are unknown, which is not zero
        spread.verticals,
        spread.verticals_colonised,
        spread.entropy_bits,
        round(pow(2, spread.entropy_bits), 3) as effective_verticals
    from languages
    inner join bases on languages.day = bases.day
    left join spread
        on
            languages.day = spread.day
            and languages.language = spread.language
            and bases.vertical_basis = spread.vertical_basis

),

-- days without readings are common: use the last day of the week that ended 28 days before
compared as (

    select
        days.day,
        days.vertical_basis,
        past.day as day_before
    from bases as days
    asof inner join bases as past
        on days.vertical_basis = past.vertical_basis and days.day - 28 >= past.day
    where days.day - 35 < past.day

),

final as (

    select
        reach.*,
        before.verticals_colonised as verticals_colonised_28d_before,
        case
            when reach.verticals_colonised is null or before.verticals_colonised is null then null
            else
                reach.verticals_colonised >= {{ colonising_min() }}
                and reach.verticals_colonised > before.verticals_colonised
        end as is_colonising
    from reach
    left join compared on reach.day = compared.day and reach.vertical_basis = compared.vertical_basis
    left join reach as before
        on
            compared.day_before = before.day
            and reach.language = before.language
            and reach.vertical_basis = before.vertical_basis
    where {{ in_window('reach.day') }}
    order by reach.day, reach.language, reach.vertical_basis

)

select * from final
