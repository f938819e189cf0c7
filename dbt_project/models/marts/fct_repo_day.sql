{{ config(incremental_strategy='replace_built_days_and_cells') }}
-- depends_on: {{ ref('int_repo_days__touched') }}

with

identified as (

    select * from {{ ref('int_repos__identified') }}

),

keyed as (

    select * from {{ ref('int_repos__keyed') }}

),

{% if is_incremental() %}
    cells as (

        select * from {{ ref('int_repo_days__touched') }}

    ),

    refs_of_cells as (

        select
            cells.day,
            keyed.repo_ref
        from cells
        inner join keyed on cells.repo_key = keyed.repo_key

    ),
{% endif %}

totals as (

    select repo_days.*
    from {{ ref('int_repo_days__stepped') }} as repo_days
    {% if is_incremental() %}
        where {{ in_built_days('repo_days.day') }}

        union all

        select repo_days.*
        from {{ ref('int_repo_days__stepped') }} as repo_days
        semi join cells on repo_days.day = cells.day and repo_days.repo_key = cells.repo_key
    {% endif %}

),

star_days as (

    select star_days.*
    from {{ ref('int_star_days__read') }} as star_days
    {% if is_incremental() %}
        where {{ in_built_days('star_days.day') }}

        union all

        select star_days.*
        from {{ ref('int_star_days__read') }} as star_days
        semi join refs_of_cells on star_days.day = refs_of_cells.day and star_days.repo_id = refs_of_cells.repo_ref
    {% endif %}

),

archive_days as not materialized (

    select archive_days.*
    from {{ ref('int_gh_archive_repo_days__counted') }} as archive_days
    {% if is_incremental() %}
        where {{ in_built_days('archive_days.day') }}

        union all

        select archive_days.*
        from {{ ref('int_gh_archive_repo_days__counted') }} as archive_days
        semi join refs_of_cells
            on archive_days.day = refs_of_cells.day and archive_days.repo_ref = refs_of_cells.repo_ref
    {% endif %}

),

gained as (

    select
        star_days.*,
        identified.repo_key
    from star_days
    inner join identified on star_days.repo_id = identified.repo_id
    where star_days.reading = star_days.readings

),

numbered as (

    select
        archive_days.*,
        keyed.repo_id,
        keyed.repo_key
    from archive_days
    inner join keyed on archive_days.repo_ref = keyed.repo_ref
    where archive_days.repo_ref > 0

),

-- events without an id: their name can belong to a repository of the rankings, or to an id
unnumbered as (

    select
        archive_days.day,
        keyed.repo_key,
        min(archive_days.repo_ref) as repo_ref,
        arg_min(archive_days.name_ref, archive_days.repo_ref) as name_ref,
        sum(archive_days.stars_gained) as stars_gained
    from archive_days
    inner join keyed on archive_days.repo_ref = keyed.repo_ref
    where archive_days.repo_ref < 0
    group by archive_days.day, keyed.repo_key

),

archived as (

    select
        coalesce(numbered.day, unnumbered.day) as day,
        coalesce(numbered.repo_key, unnumbered.repo_key) as repo_key,
        coalesce(numbered.repo_ref, unnumbered.repo_ref) as repo_ref,
        coalesce(numbered.name_ref, unnumbered.name_ref) as name_ref,
        numbered.repo_id,
        (coalesce(numbered.stars_gained, 0) + coalesce(unnumbered.stars_gained, 0))::bigint as stars_gained
    from numbered
    full join unnumbered on numbered.day = unnumbered.day and numbered.repo_key = unnumbered.repo_key

),

archive_names as (

    select * from {{ ref('int_gh_archive_names__seen') }}

),

-- the first name also applies to the days before it
names as (

    select
        repo_id,
        full_name,
        case
            when row_number() over (partition by repo_id order by day) = 1 then date '0001-01-01' else day
        end as named_from,
        lead(day, 1, date '9999-12-31') over (partition by repo_id order by day) as named_until
    from {{ ref('int_repo_names__claimed') }}

),

-- coverage of a day's histories grows for months: see ops_source_coverage
coverage as (

    select * from {{ ref('ops_source_coverage') }}
    where source <> 'star_history'

),

archive_coverage as (

    select
        day,
        coverage
    from {{ ref('ops_source_coverage') }}
    where source = 'gh_archive'

),

joined as (

    select
        coalesce(totals.day, gained.day, archived.day) as day,
        coalesce(totals.repo_key, gained.repo_key, archived.repo_key) as repo_key,
        coalesce(gained.repo_id, archived.repo_id) as repo_id,
        -- repositories to name: on a day without a total the archive saw the name, otherwise take it from GitHub's
        -- responses before and after
        case when totals.day is null then archived.repo_ref end as seen_ref,
        archived.name_ref,
        case when totals.day is null and archived.day is null then gained.repo_id end as unnamed_repo_id,
        totals.full_name,
        -- source of the day: an observed total, otherwise GitHub's history, otherwise the archive
        case
            when totals.day is not null then totals.source
            when gained.day is not null then 'star_history'
            else 'gh_archive'
        end as source,
        totals.observed_at,
        totals.stars_total,
        totals.forks_total,
        totals.stars_spread,
        totals.step,
        totals.gap_hours,
        totals.is_read_before_previous,
        totals.is_dropped,
        totals.is_restored,
        totals.is_below_peak,
        totals.is_purged,
        totals.is_returned,
        totals.is_waved,
        totals.is_doubtful,
        totals.is_renamed,
        coalesce(gained.stars_gained, archived.stars_gained) as stars_gained,
        case
            when gained.day is not null then 'star_history'
            when archived.day is not null then 'gh_archive'
        end as stars_gained_source,
        archived.stars_gained as archive_stars_gained,
        gained.fetched_at,
        gained.readings,
        gained.has_risen
    from totals
    full join gained on totals.day = gained.day and totals.repo_key = gained.repo_key
    full join archived
        on
            coalesce(totals.day, gained.day) = archived.day
            and coalesce(totals.repo_key, gained.repo_key) = archived.repo_key

),

final as (

    select
        joined.day,
        joined.repo_key,
        coalesce(joined.repo_id, identified.repo_id) as repo_id,
        coalesce(joined.full_name, archive_names.full_name, names.full_name) as full_name,
        joined.stars_total,
        joined.stars_gained,
        joined.stars_gained_source,
        case when joined.stars_gained_source = 'gh_archive' then archive_coverage.coverage end as stars_gained_coverage,
        joined.archive_stars_gained,
        case
            when {{ is_one_night('joined.gap_hours') }} and not joined.is_dropped and not joined.is_restored
                then joined.step * 24.0 / joined.gap_hours
        end::double as net_delta_24h,
        joined.gap_hours::double as gap_hours,
        joined.forks_total,
        coverage.coverage,
        joined.source,
        joined.observed_at,
        joined.fetched_at as stars_gained_fetched_at,
        list_filter(
            [
                case when joined.stars_total is null then 'total_not_observed' end,
                case when joined.stars_gained is null then 'stars_gained_not_observed' end,
                case when joined.readings > 1 then 'restated' end,
                case when joined.has_risen then 'restated_upward' end,
                case when joined.stars_gained_source = 'gh_archive' then 'not_netted' end,
                case
                    when joined.stars_gained_source = 'gh_archive' and archive_coverage.coverage is null
                        then 'coverage_unknown'
                end,
                case
                    when
                        joined.stars_gained_source = 'gh_archive'
                        and archive_coverage.coverage < {{ constant('low_coverage') }}
                        then 'low_coverage'
                end,
                case
                    when
                        joined.stars_total is not null
                        and joined.gap_hours is null
                        and not joined.is_read_before_previous
                        then 'first_observation'
                end,
                case when joined.is_read_before_previous then 'read_before_previous' end,
                case when joined.gap_hours < {{ constant('shortest_gap_hours') }} then 'gap_under_12h' end,
                case when joined.gap_hours > {{ constant('longest_gap_hours') }} then 'gap_over_36h' end,
                case when joined.is_dropped then 'total_dropped' end,
                case when joined.is_restored then 'total_restored' end,
                case when joined.is_below_peak then 'below_former_level' end,
                case when joined.is_purged then 'platform_purge' end,
                case when joined.is_returned then 'purge_returned' end,
                case when joined.is_waved then 'star_wave' end,
                case when joined.is_doubtful then 'total_doubtful' end,
                case when joined.stars_spread > 0 then 'lists_disagree' end,
                case when joined.stars_spread >= {{ constant('lists_far_apart') }} then 'lists_far_apart' end,
                case when joined.is_renamed then 'renamed' end
            ],
            lambda flag: flag is not null -- noqa: RF02
        )::varchar[] as dq_flags
    from joined
    left join identified
        on joined.repo_key = identified.repo_key and joined.day >= identified.first_observed_on
    left join archive_names
        on joined.seen_ref = archive_names.repo_ref and joined.name_ref = archive_names.name_ref
    left join names
        on
            joined.unnamed_repo_id = names.repo_id
            and joined.day >= names.named_from
            and joined.day < names.named_until
    left join coverage on joined.day = coverage.day and joined.source = coverage.source
    left join archive_coverage on joined.day = archive_coverage.day
    -- unsorted: years of cells are too many to sort, and both parts arrive day by day

)

select * from final
