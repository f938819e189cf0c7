with

places as (

    select * from {{ ref('stg_rankings__places') }}
    where {{ in_window() }}

),

merged as (

    -- Lists are read some minutes apart and may differ. The largest total is the latest of a growing repository.
    select
        day,
        name_key,
        max(stars_total) as stars_total,
        max(stars_total) - min(stars_total) as stars_spread,
        max(forks_total) as forks_total,
        max(full_name) as full_name,
        max(language) as language,
        max(description) as description
    from places
    group by day, name_key

),

final as (

    select * from merged
    order by day, name_key

)

select * from final
