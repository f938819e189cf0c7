{%- set gap_days = constant('rename_gap_days') | int %}

with

places as (

    select
        day,
        list,
        name_key,
        -- the count that orders the list
        max(case list when 'top-100-forks' then forks_total else stars_total end) as size
    from {{ ref('stg_rankings__places') }}
    where {{ in_window(lookback=gap_days) }}
    group by day, list, name_key

),

files as (

    select
        day,
        lag(day) over (order by day) as previous_day,
        lead(day) over (order by day) as next_day
    from places
    group by day

),

lists as (

    select
        day,
        list,
        min(size) as floor
    from places
    group by day, list

),

followed as (

    select
        places.*,
        files.previous_day,
        files.next_day,
        lag(places.day) over by_repo as seen_before,
        lead(places.day) over by_repo as seen_after
    from places
    inner join files on places.day = files.day
    window by_repo as (partition by places.list, places.name_key order by places.day)

),

-- lists that both files have
newcomers as (

    select
        followed.day,
        followed.list,
        count(*) as newcomers
    from followed
    inner join lists on followed.previous_day = lists.day and followed.list = lists.list
    where followed.seen_before is distinct from followed.previous_day
    group by followed.day, followed.list

),

leavers as (

    select
        followed.next_day as day,
        followed.list,
        count(*) as leavers,
        count(*) filter (where followed.size >= (1 + {{ constant('floor_margin') }}) * lists.floor) as not_returned
    from followed
    inner join lists on followed.next_day = lists.day and followed.list = lists.list
    where followed.seen_after is distinct from followed.next_day
    group by followed.next_day, followed.list

),

compared as (

    select
        coalesce(newcomers.day, leavers.day) as day,
        coalesce(newcomers.newcomers, 0) as newcomers,
        coalesce(leavers.leavers, 0) as leavers,
        coalesce(leavers.not_returned, 0) as not_returned,
        -- a place without a repository is already missing
        least(coalesce(leavers.not_returned, 0), coalesce(newcomers.newcomers, 0)) as replaced
    from newcomers
    full join leavers on newcomers.day = leavers.day and newcomers.list = leavers.list

),

final as (

    select
        files.day,
        files.previous_day,
        coalesce(sum(compared.newcomers), 0)::bigint as newcomers,
        coalesce(sum(compared.leavers), 0)::bigint as leavers,
        coalesce(sum(compared.not_returned), 0)::bigint as not_returned,
        coalesce(sum(compared.replaced), 0)::bigint as replaced
    from files
    left join compared on files.day = compared.day
    where {{ in_window('files.day') }} and files.day - files.previous_day <= {{ gap_days }}
    group by files.day, files.previous_day
    order by files.day

)

select * from final
