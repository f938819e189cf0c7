with

languages as (

    select
        day,
        language,
        repos
    from {{ ref('fct_language_day') }}
    where {{ in_window() }} and universe = 'all'

),

cells as (

    select
        *,
        vertical <> {{ no_vertical() }} as is_vertical,
        repos_split / sum(case when vertical <> {{ no_vertical() }} then repos_split end) over (
            partition by day, language
        ) as part
    from {{ ref('fct_language_vertical_day') }}
    where {{ in_window() }}

),

spread as (

    select
        day,
        language,
        any_value(language_repos) as repos_with_topics,
        round(coalesce(sum(repos_split) filter (where is_vertical), 0))::bigint as repos_in_verticals,
        count(*) filter (where is_vertical) as verticals,
        count(*) filter (
            where is_vertical and rca > 1 and repos >= {{ vertical_repos_min() }}
        ) as verticals_colonised,
        round(abs(sum(part * log2(part)) filter (where is_vertical)), 6) as entropy_bits
    from cells
    group by day, language

),

final as (

    select
        languages.day,
        languages.language,
        languages.repos,
        coalesce(spread.repos_with_topics, 0) as repos_with_topics,
        coalesce(spread.repos_in_verticals, 0) as repos_in_verticals,
        -- without topics nothing is known of verticals, which is not none
        spread.verticals,
        spread.verticals_colonised,
        spread.entropy_bits,
        round(pow(2, spread.entropy_bits), 3) as effective_verticals
    from languages
    left join spread on languages.day = spread.day and languages.language = spread.language
    order by languages.day, languages.language

)

select * from final
