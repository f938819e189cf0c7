-- Shares add up to 1 in each vertical; the split counts add up to the repositories of each language.
with

cells as (

    select * from {{ ref('fct_language_vertical_day') }}
    where {{ in_window() }}

),

verticals as (

    select
        day,
        vertical_basis,
        vertical as name
    from cells
    group by day, vertical_basis, vertical
    having abs(sum(share) - 1) > 1e-9 or sum(repos) <> any_value(vertical_repos)

),

languages as (

    select
        day,
        vertical_basis,
        language as name
    from cells
    group by day, vertical_basis, language
    having abs(sum(repos_split) - any_value(language_repos)) > 1e-6

),

final as (

    select * from verticals

    union all

    select * from languages

)

select * from final
