-- Every star event of the built days counts once, in any file, and the day shows the source that the rule selects.
with

events as (

    select
        day,
        count(*) as stars_gained
    from (
        select distinct
            stars.day,
            stars.event_id
        from {{ ref('stg_gh_archive__stars') }} as stars
        where {{ in_archived_days('stars.day') }}
    ) as distinct_events
    group by day

),

facts as (

    select
        day,
        sum(archive_stars_gained) as stars_gained
    from {{ ref('fct_repo_day') }}
    where {{ in_archived_days() }} and archive_stars_gained is not null
    group by day

)

select
    coalesce(events.day, facts.day) as day,
    events.stars_gained as held,
    facts.stars_gained as shown
from events
full join facts on events.day = facts.day
where events.stars_gained is distinct from facts.stars_gained
