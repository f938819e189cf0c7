{%- set gap = constant('rename_gap_days') | int -%}

with

-- two gaps before the window: a pair of days can end up to one gap before it, and begin one gap earlier
repo_days as materialized (

    select
        day,
        name_key,
        language,
        stars_total,
        forks_total,
        -- Descriptions are only compared: as 64-bit numbers, years of them fit into memory.
        length(description) as words_long,
        case when description is not null then hash(description) end as words
    from {{ ref('int_rankings_repo_days__merged') }}
    where {{ in_window(lookback=2 * gap) }}

),

days as (

    select
        day,
        lag(day) over (order by day) as previous_day
    from (select distinct repo_days.day from repo_days) as days_read

),

-- also days just before the window, so that one of two names of a repository does not leave again in the window
pairs_of_days as (

    select * from days
    where
        {{ in_window(lookback=gap) }}
        and day - previous_day <= {{ constant('rename_gap_days') }}

),

-- each reading with those of its name on the days before and after
listed as materialized (

    select
        *,
        lag({ 'day': day, 'stars_total': stars_total, 'forks_total': forks_total }) over by_name as former,
        lead({ 'day': day, 'stars_total': stars_total, 'forks_total': forks_total }) over by_name as still
    from repo_days
    window by_name as (partition by name_key order by day)

),

-- names that are gone, and names with other counts, which may belong to another repository now
leavers as materialized (

    select
        listed.* exclude (day, former, still), -- noqa: RF02
        pairs_of_days.day,
        pairs_of_days.previous_day,
        coalesce(listed.still.day = pairs_of_days.day, false) as is_listed
    from pairs_of_days
    inner join listed on pairs_of_days.previous_day = listed.day
    where
        listed.still.day is distinct from pairs_of_days.day
        or {{ counts_left('listed', 'listed.still') }}

),

entrants as materialized (

    select
        listed.* exclude (former, still), -- noqa: RF02
        pairs_of_days.previous_day,
        coalesce(listed.former.day = pairs_of_days.previous_day, false) as is_listed
    from pairs_of_days
    inner join listed on pairs_of_days.day = listed.day
    where
        listed.former.day is distinct from pairs_of_days.previous_day
        or {{ counts_left('listed.former', 'listed') }}

),

-- The lists of one file are read minutes apart. A repository renamed in between is listed under both names.
namesakes as materialized (

    select
        entrants.day,
        entrants.previous_day,
        older.name_key as old_name_key,
        entrants.name_key as new_name_key
    from entrants
    inner join repo_days as older
        on
            entrants.day = older.day
            and entrants.name_key <> older.name_key
            and entrants.words = older.words
            and coalesce(entrants.language, '') = coalesce(older.language, '')
            and {{ counts_agree('older', 'entrants') }}
    where not entrants.is_listed and entrants.words_long >= {{ constant('rename_words') }}

),

twins as materialized (

    select namesakes.*
    from namesakes
    semi join repo_days
        on namesakes.previous_day = repo_days.day and namesakes.old_name_key = repo_days.name_key
    qualify
        count(*) over (partition by namesakes.day, namesakes.old_name_key) = 1
        and count(*) over (partition by namesakes.day, namesakes.new_name_key) = 1

),

-- a common name, owner or description as join keys, where all pairs of a day would be millions
traits_of_leavers as (

    select
        *,
        {{ traits() }} as trait
    from leavers

),

traits_of_entrants as (

    select
        *,
        {{ traits() }} as trait
    from entrants

),

alike as materialized (

    select distinct
        entrants.day,
        entrants.previous_day,
        leavers.name_key as old_name_key,
        entrants.name_key as new_name_key,
        leavers.language,
        leavers.stars_total as old_stars,
        entrants.stars_total as new_stars,
        leavers.forks_total as old_forks,
        entrants.forks_total as new_forks,
        leavers.is_listed as is_old_listed,
        entrants.is_listed as is_new_listed,
        {{ counts_agree('leavers', 'entrants') }} as is_same_counts,
        split_part(leavers.name_key, '/', 2) = split_part(entrants.name_key, '/', 2) as is_same_name,
        split_part(leavers.name_key, '/', 1) = split_part(entrants.name_key, '/', 1) as is_same_owner,
        coalesce(leavers.words = entrants.words, false) as is_same_description,
        coalesce(
            leavers.words = entrants.words and leavers.words_long >= {{ constant('rename_words') }},
            false
        ) as is_same_text,
        leavers.words is null and entrants.words is null as is_without_description
    from traits_of_leavers as leavers
    inner join traits_of_entrants as entrants
        on
            leavers.day = entrants.day
            and leavers.trait = entrants.trait
            and leavers.name_key <> entrants.name_key
            and coalesce(leavers.language, '') = coalesce(entrants.language, '')
            and (
                {{ counts_agree('leavers', 'entrants') }}
                or (leavers.words = entrants.words and leavers.stars_total <= entrants.stars_total)
            )
    -- of a repository under two names, only the newer name can leave
    anti join twins on leavers.previous_day = twins.day and leavers.name_key = twins.old_name_key

),

-- readings of the candidate names, as far back as memory_days: a join with all readings would hash years of rows
named as (

    select unnest([old_name_key, new_name_key]) as name_key
    from alike

    union

    select unnest([old_name_key, new_name_key]) as name_key
    from twins

),

past as materialized (

    select
        repo_days.day,
        repo_days.name_key,
        repo_days.stars_total
    from {{ ref('int_rankings_repo_days__merged') }} as repo_days
    semi join named on repo_days.name_key = named.name_key
    where {{ in_window(lookback=(constant('memory_days') | int) + gap) }}

),

-- names listed before, as far back as memory_days
known as materialized (

    select distinct
        candidates.day,
        candidates.new_name_key
    from (
        select
            day,
            new_name_key
        from alike
        union
        select
            day,
            new_name_key
        from twins
    ) as candidates
    inner join past
        on
            candidates.new_name_key = past.name_key
            and candidates.day > past.day
            and candidates.day <= past.day + {{ constant('memory_days') }}

),

pairs as materialized (

    select
        alike.*,
        known.new_name_key is null as is_newcomer
    from alike
    left join known on alike.day = known.day and alike.new_name_key = known.new_name_key

),

-- a repository near the end of its list can leave the list and keep its name
well_listed as materialized (

    select
        pairs.day,
        pairs.old_name_key
    from pairs
    inner join repo_days
        on
            pairs.previous_day = repo_days.day
            and pairs.language = repo_days.language
            and pairs.old_stars > repo_days.stars_total
    where pairs.is_same_owner and pairs.is_same_counts and pairs.is_newcomer
    group by pairs.day, pairs.old_name_key
    having count(distinct repo_days.name_key) >= {{ constant('rename_rank') }}

),

gains as (

    select
        pairs.day,
        pairs.old_name_key,
        past.day as read_on,
        (past.stars_total - lag(past.stars_total) over by_day)
        / (past.day - lag(past.day) over by_day) as gain
    from (
        select distinct
            day,
            old_name_key
        from pairs
        where is_same_text and not is_same_counts
    ) as pairs
    inner join past
        on
            pairs.old_name_key = past.name_key
            and pairs.day > past.day
            and pairs.day <= past.day + {{ constant('memory_days') }}
    window by_day as (partition by pairs.day, pairs.old_name_key order by past.day)

),

paces as (

    select
        day,
        old_name_key,
        min(read_on) + {{ constant('rename_pace_days') }} >= day as is_new,
        max(gain) filter (where read_on + {{ constant('rename_pace_days') }} >= day) as pace
    from gains
    group by day, old_name_key

),

-- Counts agree already, and words must too: an owner has many repositories, but a name rarely has two owners.
strong as (

    select
        pairs.*,
        case
            -- the name is still listed, with the counts, language and description of another name's repository
            when pairs.is_new_listed
                then pairs.is_same_counts and (pairs.is_same_description or pairs.is_without_description)
            when pairs.is_same_counts
                then
                    pairs.is_same_name
                    or (pairs.is_same_owner and pairs.is_same_description)
                    or pairs.is_same_text
                    or (
                        pairs.is_same_owner and pairs.is_newcomer and not pairs.is_old_listed
                        and well_listed.old_name_key is not null
                    )
            else
                pairs.is_same_text and pairs.is_newcomer and not pairs.is_old_listed
                and pairs.new_stars - pairs.old_stars <= case
                    when paces.is_new then pairs.old_stars
                    else {{ constant('rename_pace') }} * paces.pace * (pairs.day - pairs.previous_day)
                end
                and pairs.old_forks - pairs.new_forks <= greatest(
                    {{ constant('rename_forks') }}, {{ constant('rename_forks_share') }} * pairs.old_forks
                )
                and pairs.new_forks - pairs.old_forks <= greatest(
                    {{ constant('rename_forks') }},
                    {{ constant('rename_forks_ratio') }}
                    * pairs.old_forks * (pairs.new_stars / pairs.old_stars - 1)
                )
        end as is_strong
    from pairs
    left join well_listed on pairs.day = well_listed.day and pairs.old_name_key = well_listed.old_name_key
    left join paces on pairs.day = paces.day and pairs.old_name_key = paces.old_name_key

),

candidates as (

    select
        day,
        old_name_key,
        new_name_key,
        day as given_up_on,
        is_new_listed,
        concat_ws(
            ', ',
            case
                when is_same_counts then 'same language, stars and forks'
                else 'same language, stars and forks in line with its pace'
            end,
            case when is_same_name then 'same name' end,
            case when is_same_owner then 'same owner' end,
            case when is_same_description then 'same description' end,
            case when is_new_listed then 'the new name was listed with other counts' end
        ) as evidence
    from strong
    where is_strong

    union all

    select
        twins.day,
        twins.old_name_key,
        twins.new_name_key,
        twins.day + 1 as given_up_on,
        false as is_new_listed,
        'same language, stars, forks and description in one file' as evidence
    from twins
    anti join known on twins.day = known.day and twins.new_name_key = known.new_name_key

),

unambiguous as materialized (

    select * from candidates
    qualify
        count(*) over (partition by day, old_name_key) = 1
        and count(*) over (partition by day, new_name_key) = 1

),

-- two names seen on one day within memory_days are two repositories
days_of_old_name as materialized (

    select
        unambiguous.day as renamed_on,
        unambiguous.old_name_key,
        unambiguous.new_name_key,
        past.day
    from unambiguous
    inner join past
        on
            unambiguous.old_name_key = past.name_key
            and unambiguous.day > past.day
            and unambiguous.day <= past.day + {{ constant('memory_days') }}
    where not unambiguous.is_new_listed

),

seen_together as (

    select distinct
        days_of_old_name.renamed_on,
        days_of_old_name.old_name_key
    from days_of_old_name
    inner join past
        on days_of_old_name.day = past.day and days_of_old_name.new_name_key = past.name_key

),

-- a name under which GitHub returns or finds the repository after the file was taken is not given up
still_public as (

    select
        day,
        name_key
    from {{ ref('int_repo_readings__united') }}
    where {{ in_window() }} and source = 'repositories' and state = 'public'

    union

    select
        day,
        name_key
    from {{ ref('stg_repositories__universe_changes') }}
    where {{ in_window() }} and change = 'entered'

),

final as (

    select
        unambiguous.day,
        unambiguous.old_name_key,
        unambiguous.new_name_key,
        unambiguous.given_up_on,
        unambiguous.evidence
    from unambiguous
    anti join seen_together
        on unambiguous.day = seen_together.renamed_on and unambiguous.old_name_key = seen_together.old_name_key
    anti join still_public
        on unambiguous.day = still_public.day and unambiguous.old_name_key = still_public.name_key
    where {{ in_window('unambiguous.day') }}
    order by unambiguous.day, unambiguous.old_name_key

)

select * from final
