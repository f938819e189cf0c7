{{ config(incremental_strategy='replace_all') }}

with

names as (

    select * from {{ ref('int_gh_archive_names__seen') }}

),

tenures as (

    select * from {{ ref('int_repo_names__resolved') }}

),

identified as (

    select * from {{ ref('int_repos__identified') }}

),

-- an id keeps its name until it is seen under another
periods as (

    select
        repo_id,
        name_key,
        min(first_day) as named_from,
        lead(min(first_day), 1, date '9999-12-31') over (
            partition by repo_id order by min(first_day), name_key
        ) as named_until
    from names
    where repo_id is not null
    group by repo_id, name_key

),

-- names in the rankings that no id of GitHub's API has taken over
free_tenures as (

    select tenures.*
    from tenures
    anti join identified on tenures.repo_key = identified.repo_key
    where tenures.repo_id is null

),

meetings as (

    select
        periods.repo_id,
        periods.named_from,
        free_tenures.repo_key,
        greatest(periods.named_from, free_tenures.starts_on) as met_on
    from periods
    inner join free_tenures
        on
            periods.name_key = free_tenures.name_key
            and periods.named_until > free_tenures.starts_on
            and periods.named_from < coalesce(free_tenures.ends_before, date '9999-12-31')
    anti join identified on periods.repo_id = identified.repo_id

),

-- The first id to meet the name gets it; of several ids that had it before, the last to take it.
won as (

    select * from meetings
    qualify row_number() over (partition by repo_key order by met_on asc, named_from desc, repo_id asc) = 1

),

taken as (

    select * from won
    qualify row_number() over (partition by repo_id order by met_on, repo_key) = 1

),

ids as (

    select repo_id from periods
    union
    select identified.repo_id from identified

),

keyed_ids as (

    select
        ids.repo_id,
        coalesce(
            identified.repo_key,
            taken.repo_key,
            -- no period begins with it
            (md5_number_lower('#' || ids.repo_id) >> 1)::bigint
        ) as repo_key
    from ids
    left join identified on ids.repo_id = identified.repo_id
    left join taken on ids.repo_id = taken.repo_id

),

-- a name without an id belongs to the first known repository with that name, an id or a name of the rankings
unnumbered as (

    select distinct
        repo_ref,
        name_key
    from names
    where repo_id is null

),

first_bearers as (

    select
        periods.name_key,
        arg_min(periods.repo_id, (periods.named_from, periods.repo_id)) as repo_id
    from periods
    semi join unnumbered on periods.name_key = unnumbered.name_key
    group by periods.name_key

),

first_tenures as (

    select
        name_key,
        arg_min(repo_key, starts_on) as repo_key
    from tenures
    group by name_key

),

keyed as (

    select
        repo_id as repo_ref,
        repo_id,
        repo_key
    from keyed_ids

    union all

    select
        unnumbered.repo_ref,
        null as repo_id,
        coalesce(keyed_ids.repo_key, first_tenures.repo_key, -unnumbered.repo_ref) as repo_key
    from unnumbered
    left join first_bearers on unnumbered.name_key = first_bearers.name_key
    left join keyed_ids on first_bearers.repo_id = keyed_ids.repo_id
    left join first_tenures on unnumbered.name_key = first_tenures.name_key

),

final as (

    select
        keyed.repo_ref,
        keyed.repo_id,
        keyed.repo_key,
        {% if is_incremental() %}
            case
                when former.repo_key <> keyed.repo_key
                    then list_append(case when former.{{ is_changed() }} then former.former_keys end, former.repo_key)
                else former.former_keys
            end as former_keys,
            case
                when former.repo_key <> keyed.repo_key then {{ var('build_number') }} else former.changed_in
            end::bigint as changed_in
        {% else %}
            null::bigint[] as former_keys,
            null::bigint as changed_in
        {% endif %}
    from keyed
    {% if is_incremental() %}
        left join {{ this }} as former on keyed.repo_ref = former.repo_ref
    {% endif %}
    order by keyed.repo_ref

)

select * from final
