with

repo_days as (

    select
        day,
        repo_key,
        full_name,
        language,
        description,
        md5_number_lower(
            concat_ws(chr(31), full_name, coalesce(language, chr(30)), coalesce(description, chr(30)))
        ) as attributes
    from {{ ref('int_repo_days__stepped') }}
    where {{ in_window(lookback=constant('memory_days') | int) }}

),

changed as (

    select * from repo_days
    qualify
        {{ in_window() }}
        and attributes is distinct from lag(attributes) over (partition by repo_key order by day)

),

final as (

    select
        day,
        repo_key,
        full_name,
        language,
        description
    from changed
    order by day, repo_key

)

select * from final
