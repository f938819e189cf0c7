with

-- the days of the window, and those that they are compared with
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

-- the curated verticals are there on every day, the clusters only on days that know any
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

told as (

    select
        languages.day,
        languages.language,
        bases.vertical_basis,
        languages.repos,
        coalesce(spread.repos_with_topics, 0) as repos_with_topics,
        coalesce(spread.repos_in_verticals, 0) as repos_in_verticals,
        -- without topics nothing is known of verticals, which is not none
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

-- days without readings are many: the last day of the week that ended 28 days before
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
        told.*,
        before.verticals_colonised as verticals_colonised_28d_before,
        case
            when told.verticals_colonised is null or before.verticals_colonised is null then null
            else
                told.verticals_colonised >= {{ colonising_min() }}
                and told.verticals_colonised > before.verticals_colonised
        end as is_colonising
    from told
    left join compared on told.day = compared.day and told.vertical_basis = compared.vertical_basis
    left join told as before
        on
            compared.day_before = before.day
            and told.language = before.language
            and told.vertical_basis = before.vertical_basis
    where {{ in_window('told.day') }}
    order by told.day, told.language, told.vertical_basis

)

select * from final
