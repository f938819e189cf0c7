with

repo_days as (

    select * from {{ ref('int_repo_days__stepped') }}
    where {{ in_window() }}

),

coverage as (

    select * from {{ ref('ops_source_coverage') }}
    where source = 'rankings'

),

final as (

    select
        repo_days.day,
        repo_days.repo_key,
        repo_days.full_name,
        repo_days.stars_total,
        null::bigint as stars_gained,
        case
            when
                repo_days.gap_hours <= {{ constant('longest_gap_hours') }}
                and not repo_days.is_dropped
                and not repo_days.is_restored
                then repo_days.step * 24.0 / repo_days.gap_hours
        end::double as net_delta_24h,
        repo_days.gap_hours::double as gap_hours,
        repo_days.forks_total,
        coverage.coverage,
        'rankings' as source,
        list_filter(
            [
                'stars_gained_not_observed',
                case when repo_days.gap_hours is null then 'first_observation' end,
                case when repo_days.gap_hours > {{ constant('longest_gap_hours') }} then 'gap_over_36h' end,
                case when repo_days.is_dropped then 'total_dropped' end,
                case when repo_days.is_restored then 'total_restored' end,
                case when repo_days.is_below_peak then 'below_former_level' end,
                case when repo_days.is_purged then 'platform_purge' end,
                case when repo_days.stars_spread > 0 then 'lists_disagree' end,
                case when repo_days.is_renamed then 'renamed' end
            ],
            lambda flag: flag is not null -- noqa: RF02
        )::varchar[] as dq_flags
    from repo_days
    left join coverage on repo_days.day = coverage.day
    order by repo_days.day, repo_days.repo_key

)

select * from final
