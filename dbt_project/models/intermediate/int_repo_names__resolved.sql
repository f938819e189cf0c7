{{ config(materialized='table') }}

with recursive

sightings as (

    select
        day,
        name_key
    from {{ ref('int_rankings_repo_days__merged') }}

),

claims as (

    select
        *,
        lead(day) over (partition by repo_id order by day) as moved_on,
        row_number() over (partition by repo_id order by day) = 1 as is_first,
        row_number() over (partition by name_key, day order by observed_at desc, repo_id desc) = 1 as is_holder
    from {{ ref('int_repo_names__claimed') }}
    where not is_spelling_only

),

held as (

    select
        *,
        coalesce(moved_on, date '9999-12-31') as held_until
    from claims
    where is_holder

),

-- Evidence that ids known by that day contradict is not a rename: the new name already belonged to an id, the names
-- belong to two ids, or the id of the old name is known under another.
renames as (

    select renames.*
    from {{ ref('int_rankings_renames__linked') }} as renames
    asof left join held as old_holder
        on renames.old_name_key = old_holder.name_key and renames.day >= old_holder.day
    asof left join held as new_holder
        on renames.new_name_key = new_holder.name_key and renames.day >= new_holder.day
    where
        not coalesce(
            new_holder.held_until > renames.day and not (new_holder.is_first and new_holder.day = renames.day), false
        )
        and not coalesce(new_holder.day = renames.day and old_holder.held_until > renames.day, false)
        and not coalesce(old_holder.held_until = renames.day, false)

),

-- A name given up and seen again belongs to another repository, unless it was renamed back or an id has it.
taken_again as (

    select
        renames.old_name_key as name_key,
        renames.given_up_on,
        min(sightings.day) as starts_on
    from renames
    inner join sightings
        on renames.old_name_key = sightings.name_key and renames.given_up_on <= sightings.day
    group by renames.old_name_key, renames.given_up_on

),

seen as (

    select
        taken_again.name_key,
        taken_again.starts_on
    from taken_again
    anti join claims
        on
            taken_again.name_key = claims.name_key
            and taken_again.given_up_on <= claims.day
            and taken_again.starts_on >= claims.day

    union all

    select
        name_key,
        min(day) as starts_on
    from (
        select
            sightings.day,
            sightings.name_key
        from sightings
        union all
        select
            claims.day,
            claims.name_key
        from claims
    ) as seen_or_claimed
    group by name_key

),

every_start as (

    select
        name_key,
        day as starts_on,
        'claim' as kind,
        repo_id,
        is_first,
        moved_on,
        null as old_name_key,
        null as evidence
    from held

    union all

    select
        new_name_key as name_key,
        day as starts_on,
        'evidence' as kind,
        null as repo_id,
        false as is_first,
        null as moved_on,
        old_name_key,
        evidence
    from renames

    union all

    select
        name_key,
        starts_on,
        'sighting' as kind,
        null as repo_id,
        false as is_first,
        null as moved_on,
        null as old_name_key,
        null as evidence
    from seen

),

starts as (

    select * from every_start
    -- ids take precedence over evidence, and evidence over no evidence; then alphabetical order
    qualify row_number() over (partition by name_key, starts_on order by kind) = 1

),

tenures as (

    select
        *,
        lead(starts_on) over (partition by name_key order by starts_on) as ends_before,
        row_number() over (partition by name_key order by starts_on) = 1 as is_first_of_name
    from starts

),

-- The repository of a tenure: that of an id (owner_id), or that of the name to which the evidence leads back
-- (root_name).
rooted as (

    select
        name_key,
        starts_on,
        ends_before,
        kind,
        repo_id as owner_id,
        is_first,
        moved_on,
        name_key || case when is_first_of_name then '' else '@' || starts_on end as root_name,
        evidence
    from tenures
    where kind <> 'evidence'

    union all

    -- Evidence leads from a tenure to another name. If the id of a name is read under another, the name continues as a
    -- stranger's.
    select
        coalesce(tenures.name_key, former.name_key) as name_key,
        coalesce(tenures.starts_on, former.moved_on + 1) as starts_on,
        case when tenures.name_key is not null then tenures.ends_before else former.ends_before end as ends_before,
        next.kind,
        case when next.kind = 'evidence' then former.owner_id end as owner_id,
        false as is_first,
        case when next.kind = 'evidence' then former.moved_on end as moved_on,
        case
            when next.kind = 'evidence' then former.root_name
            else former.name_key || '@' || (former.moved_on + 1)
        end as root_name,
        tenures.evidence
    from (
        select
            *,
            coalesce(
                moved_on >= starts_on and moved_on + 1 < coalesce(ends_before, date '9999-12-31'), false
            ) as is_left
        from rooted
    ) as former
    cross join (values ('evidence'), ('stranger')) as next (kind)
    left join tenures
        on
            next.kind = 'evidence'
            and tenures.kind = 'evidence'
            and former.name_key = tenures.old_name_key
            and tenures.starts_on > former.starts_on - (former.kind = 'stranger')::integer
            and tenures.starts_on <= case
                when former.is_left then former.moved_on
                else coalesce(former.ends_before, date '9999-12-31')
            end
    where tenures.name_key is not null or (next.kind = 'stranger' and former.is_left)

),

first_claims as (

    select
        claims.*,
        coalesce(renames.old_name_key, claims.name_key) as former_name_key,
        renames.evidence
    from claims
    left join renames on claims.name_key = renames.new_name_key and claims.day = renames.day
    where claims.is_first

),

-- An id takes over the rankings' history of its name, unless another id has it or the name was given up before.
former_tenures as (

    select
        first_claims.*,
        rooted.starts_on as former_starts_on,
        rooted.root_name
    from first_claims
    asof inner join rooted
        on first_claims.former_name_key = rooted.name_key and first_claims.day > rooted.starts_on
    where rooted.owner_id is null

),

taken_over as (

    select former_tenures.*
    from former_tenures
    anti join renames
        on
            former_tenures.former_name_key = renames.old_name_key
            and former_tenures.former_starts_on < renames.day
            and former_tenures.day > renames.day
    qualify
        row_number() over (
            partition by former_tenures.root_name
            order by former_tenures.day, former_tenures.observed_at, former_tenures.repo_id
        ) = 1

),

identities as (

    select
        first_claims.repo_id,
        first_claims.name_key,
        first_claims.day,
        first_claims.is_holder,
        case when taken_over.repo_id is not null then taken_over.evidence end as evidence,
        coalesce(
            taken_over.root_name,
            case
                when not first_claims.is_holder
                    then first_claims.name_key || '@' || first_claims.day || '#' || first_claims.repo_id
                when tenures.is_first_of_name then first_claims.name_key
                else first_claims.name_key || '@' || first_claims.day
            end
        ) as identity
    from first_claims
    left join taken_over on first_claims.repo_id = taken_over.repo_id
    left join tenures on first_claims.name_key = tenures.name_key and first_claims.day = tenures.starts_on

),

shared as (

    select
        old_name_key,
        day
    from renames
    where given_up_on > day

),

resolved as (

    select
        rooted.name_key,
        rooted.starts_on,
        least(
            lead(rooted.starts_on) over (partition by rooted.name_key order by rooted.starts_on), shared.day
        ) as ends_before,
        coalesce(identities.identity, rooted.root_name) as identity,
        rooted.owner_id as repo_id,
        case
            when rooted.kind = 'claim' and not rooted.is_first then 'github_id'
            when coalesce(rooted.evidence, case when rooted.is_first then identities.evidence end) is not null
                then 'evidence'
            else 'first_name'
        end as link,
        coalesce(rooted.evidence, case when rooted.is_first then identities.evidence end) as evidence
    from rooted
    left join identities on rooted.owner_id = identities.repo_id
    -- a repository under two names in one file is read under the newer one
    asof left join shared
        on rooted.name_key = shared.old_name_key and rooted.starts_on < shared.day

    union all

    -- two ids were read under one name on one day: the later one holds it, the other has a key but no day
    select
        name_key,
        day as starts_on,
        day as ends_before,
        identity,
        repo_id,
        'first_name' as link,
        null as evidence
    from identities
    where not is_holder

),

final as (

    select
        name_key,
        starts_on,
        ends_before,
        -- 63 bits: fits a signed BIGINT in every client
        (md5_number_lower(identity) >> 1)::bigint as repo_key,
        repo_id,
        link,
        evidence
    from resolved
    order by name_key, starts_on

)

select * from final
