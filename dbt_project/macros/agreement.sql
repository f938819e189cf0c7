{#- One row per repository, day and pair of sources that both report the stars of 24 hours; in an incremental build, only
    the days that it rebuilds.

    The archive counts stars given, by UTC days. A history counts those still held, by days of its zone. A total gives the
    stars given less those taken back between the instants of two readings. Daily counts are therefore spread evenly over
    the hours of their days and compared where they cover most of the same hours: a total over the hours between its
    readings, a history and the archive over the UTC day. A burst within a day is uneven and can look like a
    disagreement. Where the archive is complete, a repository with a history but no event counts as 0; only in this
    comparison. -#}
{% macro gains_of_two_sources() %}
    {%- set columns = ['day', 'repo_key', 'full_name', 'observed_at', 'gap_hours', 'net_delta_24h', 'stars_gained',
        'stars_gained_source', 'archive_stars_gained'] | join(', ') %}
    with

    {% if is_incremental() %}
        -- offset 0 stops the optimizer from evaluating the condition below first, on all days
        touched as (

            select {{ columns }} from {{ ref('fct_repo_day') }}
            where
                day in (
                    select unnest(generate_series(touched.day - 2, touched.day + 2, interval 1 day))::date as day
                    from {{ ref('int_repo_days__touched') }} as touched
                )
                and not {{ near_built_days(before=2, after=2) }}
            offset 0

        ),
    {% endif %}

    repo_days as (

        select {{ columns }} from {{ ref('fct_repo_day') }}
        {% if is_incremental() %}
            where {{ near_built_days(before=2, after=2) }}

            union all

            select * from touched
        {% endif %}

    ),

    archive_coverage as (

        select * from {{ ref('ops_source_coverage') }}
        where source = 'gh_archive' and coverage >= {{ constant('low_coverage') }}

    ),

    compared_keys as (

        select distinct repo_key
        from repo_days
        where net_delta_24h is not null or stars_gained_source = 'star_history'

    ),

    gains as (

        select
            repo_days.day,
            repo_days.repo_key,
            repo_days.full_name,
            repo_days.observed_at,
            repo_days.observed_at - to_seconds(repo_days.gap_hours * 3600) as previous_observed_at,
            repo_days.net_delta_24h as net_change,
            case when repo_days.stars_gained_source = 'star_history' then repo_days.stars_gained end as star_history,
            case
                when archive_coverage.day is not null
                    then coalesce(
                        repo_days.archive_stars_gained, case when repo_days.stars_gained_source = 'star_history' then 0 end
                    )
            end as gh_archive
        from repo_days
        semi join compared_keys on repo_days.repo_key = compared_keys.repo_key
        left join archive_coverage on repo_days.day = archive_coverage.day

    ),

    remembered as (

        select
            *,
            max(star_history) over a_day_ago as star_history_1,
            max(gh_archive) over a_day_ago as gh_archive_1,
            max(star_history) over two_days_ago as star_history_2,
            max(gh_archive) over two_days_ago as gh_archive_2
        from gains
        window
            a_day_ago as (
                partition by repo_key order by day
                range between interval 1 day preceding and interval 1 day preceding
            ),
            two_days_ago as (
                partition by repo_key order by day
                range between interval 2 days preceding and interval 2 days preceding
            )

    ),

    -- start of each day in both calendars
    calendar as (

        select
            day,
            {% for n in [2, 1, 0, -1] %}
                (day - ({{ n }}))::timestamp as archive_edge_{{ n + 1 }},
                {{ star_day_begins_at('day - (' ~ n ~ ')') }} as star_edge_{{ n + 1 }}
                {%- if not loop.last %}, {% endif %}
            {% endfor %}
        from (select distinct gains.day from gains) as days_with_gains

    ),

    spread as (

        select
            remembered.day,
            remembered.repo_key,
            remembered.full_name,
            remembered.net_change,
            remembered.star_history as star_history_of_day,
            remembered.gh_archive,
            {{ stars_within('star_history', 'star_edge', 'archive_edge_1', 'archive_edge_0') }} as star_history_utc,
            {{ stars_within('star_history', 'star_edge', 'previous_observed_at', 'observed_at') }} as star_history_between,
            {{ stars_within('gh_archive', 'archive_edge', 'previous_observed_at', 'observed_at') }} as gh_archive_between
        from remembered
        inner join calendar on remembered.day = calendar.day

    ),

    paired as (

        select
            day,
            repo_key,
            full_name,
            'star_history' as source,
            'gh_archive' as other_source,
            star_history_utc as stars,
            gh_archive::double as other_stars
        from spread
        where star_history_of_day is not null

        union all

        select
            day,
            repo_key,
            full_name,
            'net_change' as source,
            'star_history' as other_source,
            net_change::double as stars,
            star_history_between as other_stars
        from spread

        union all

        select
            day,
            repo_key,
            full_name,
            'net_change' as source,
            'gh_archive' as other_source,
            net_change::double as stars,
            gh_archive_between as other_stars
        from spread

    )

    select
        *,
        greatest(
            {{ constant('agreement_stars') }},
            {{ constant('agreement_share') }} * greatest(abs(stars), abs(other_stars))
        )::double as tolerance
    from paired
    where
        stars is not null and other_stars is not null
        {% if is_incremental() %}
            and (
                {{ near_built_days(after=2) }}
                or day in (
                    select unnest(generate_series(touched.day, touched.day + 2, interval 1 day))::date as day
                    from {{ ref('int_repo_days__touched') }} as touched
                )
            )
        {% endif %}
{% endmacro %}

{#- Stars in 24 hours at the pace between two instants, from the counts of a day and of the two days before it, each spread
    evenly over its day; NULL if the known counts cover too little of this time.

    `count` is the prefix of the count columns, `edge` that of the instants: edge_1 begins the day and edge_0 ends it. -#}
{% macro stars_within(count, edge, begins, ends) -%}
    {%- set counts = [count, count ~ '_1', count ~ '_2'] -%}
    {%- set overlaps = [] -%}
    {%- for n in range(3) -%}
        {%- do overlaps.append(
            "greatest(epoch(least(" ~ ends ~ ", " ~ edge ~ "_" ~ n ~ ")) - epoch(greatest(" ~ begins ~ ", "
            ~ edge ~ "_" ~ (n + 1) ~ ")), 0)"
        ) -%}
    {%- endfor -%}
    case
        -- `greatest` and `least` ignore NULLs
        when
            {{ begins }} is not null and {{ ends }} is not null
            and {% for n in range(3) -%}
                {% if not loop.first %} + {% endif %}if({{ counts[n] }} is null, 0, {{ overlaps[n] }})
            {%- endfor %}
            >= {{ constant('agreement_overlap') }} * (epoch({{ ends }}) - epoch({{ begins }}))
            then 86400.0 * (
                {% for n in range(3) -%}
                    {% if not loop.first %} + {% endif %}coalesce(
                        {{ counts[n] }} * {{ overlaps[n] }} / (epoch({{ edge }}_{{ n }}) - epoch({{ edge }}_{{ n + 1 }})), 0
                    )
                {%- endfor %}
            ) / (
                {% for n in range(3) -%}
                    {% if not loop.first %} + {% endif %}if({{ counts[n] }} is null, 0, {{ overlaps[n] }})
                {%- endfor %}
            )
    end
{%- endmacro %}
