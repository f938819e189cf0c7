{{ config(incremental_strategy='replace_window_and_cells', unique_key=['repo_key', 'day']) }}

with

identified as (

    select * from {{ ref('int_repos__identified') }}

),

{% if is_incremental() %}
    -- ids that have another key than the one shown: earlier rankings told of a former name
    stale as (

        select distinct
            shown.repo_key,
            shown.repo_id,
            shown.day
        from {{ this }} as shown
        inner join identified on shown.repo_id = identified.repo_id
        where shown.repo_key <> identified.repo_key

    ),
{% endif %}

gained as (

    select
        star_days.*,
        identified.repo_key
    from {{ ref('int_star_days__read') }} as star_days
    inner join identified on star_days.repo_id = identified.repo_id
    where
        star_days.reading = star_days.readings
        {% if is_incremental() %}
            and (
                {{ in_window('star_days.day') }}
                or {{ is_newly_loaded('star_days.loaded_at') }}
                or star_days.repo_id in (select stale.repo_id from stale)
            )
        {% endif %}

),

{% if is_incremental() %}
    touched as (

        select
            repo_key,
            day
        from gained
        where not {{ in_window() }}

        union

        select
            repo_key,
            day
        from stale
        where not {{ in_window() }}

    ),
{% endif %}

totals as (

    select repo_days.*
    from {{ ref('int_repo_days__stepped') }} as repo_days
    {% if is_incremental() %}
        where {{ in_window('repo_days.day') }}

        union all

        select repo_days.*
        from {{ ref('int_repo_days__stepped') }} as repo_days
        semi join touched on repo_days.day = touched.day and repo_days.repo_key = touched.repo_key
    {% endif %}

),

-- the first name stands for the days before it, too
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

-- how much of a day's histories is read grows for months: see ops_source_coverage
coverage as (

    select * from {{ ref('ops_source_coverage') }}
    where source <> 'star_history'

),

joined as (

    select
        totals.day,
        totals.repo_key,
        gained.repo_id as gained_repo_id,
        null::bigint as unnamed_repo_id,
        totals.full_name,
        totals.source,
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
        totals.is_renamed,
        gained.stars_gained,
        gained.fetched_at,
        gained.readings
    from totals
    left join gained on totals.day = gained.day and totals.repo_key = gained.repo_key

    union all by name

    select
        gained.day,
        gained.repo_key,
        gained.repo_id as gained_repo_id,
        gained.repo_id as unnamed_repo_id,
        'star_history' as source,
        gained.stars_gained,
        gained.fetched_at,
        gained.readings
    from gained
    anti join totals on gained.day = totals.day and gained.repo_key = totals.repo_key

),

final as (

    select
        joined.day,
        joined.repo_key,
        coalesce(joined.gained_repo_id, identified.repo_id) as repo_id,
        coalesce(joined.full_name, names.full_name) as full_name,
        joined.stars_total,
        joined.stars_gained,
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
                case when joined.stars_spread > 0 then 'lists_disagree' end,
                case when joined.is_renamed then 'renamed' end
            ],
            lambda flag: flag is not null -- noqa: RF02
        )::varchar[] as dq_flags
    from joined
    left join identified
        on joined.repo_key = identified.repo_key and joined.day >= identified.first_observed_on
    left join names
        on
            joined.unnamed_repo_id = names.repo_id
            and joined.day >= names.named_from
            and joined.day < names.named_until
    left join coverage on joined.day = coverage.day and joined.source = coverage.source
    -- in no order: years of cells are too many to sort, and both parts come day by day

)

select * from final
