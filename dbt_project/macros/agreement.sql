{#- One row per repository, day and pair of sources that both tell how many stars the day brought; of an incremental
    build the days that it writes anew.

    The archive counts stars given, a history those still held, a total what was given less what was taken back. Where
    the archive is whole, a repository with a history that it does not mention has 0 there; for this comparison only. -#}
{% macro gains_of_two_sources() %}
    {%- set pairs = [('star_history', 'gh_archive'), ('net_change', 'star_history'), ('net_change', 'gh_archive')] %}
    {%- set columns = ['day', 'repo_key', 'full_name', 'net_delta_24h', 'stars_gained', 'stars_gained_source',
        'archive_stars_gained'] | join(', ') %}
    with

    {% if is_incremental() %}
        -- offset 0 keeps the condition below from being tried first, on all days there are
        touched as (

            select {{ columns }} from {{ ref('fct_repo_day') }}
            where day in (select touched.day from {{ ref('int_repo_days__touched') }} as touched)
            offset 0

        ),
    {% endif %}

    repo_days as (

        select {{ columns }} from {{ ref('fct_repo_day') }}
        {% if is_incremental() %}
            where {{ in_built_days() }}

            union all

            select * from touched
        {% endif %}

    ),

    archive_coverage as (

        select * from {{ ref('ops_source_coverage') }}
        where source = 'gh_archive' and coverage >= {{ constant('low_coverage') }}

    ),

    told as (

        select
            repo_days.day,
            repo_days.repo_key,
            repo_days.full_name,
            repo_days.net_delta_24h as net_change,
            case when repo_days.stars_gained_source = 'star_history' then repo_days.stars_gained end as star_history,
            case
                when archive_coverage.day is not null
                    then coalesce(
                        repo_days.archive_stars_gained, case when repo_days.stars_gained_source = 'star_history' then 0 end
                    )
            end as gh_archive
        from repo_days
        left join archive_coverage on repo_days.day = archive_coverage.day
        where repo_days.net_delta_24h is not null or repo_days.stars_gained_source = 'star_history'

    ),

    paired as (

        {% for source, other_source in pairs %}
            select
                day,
                repo_key,
                full_name,
                '{{ source }}' as source,
                '{{ other_source }}' as other_source,
                {{ source }}::double as stars,
                {{ other_source }}::double as other_stars
            from told
            where {{ source }} is not null and {{ other_source }} is not null
            {% if not loop.last %} union all {% endif %}
        {% endfor %}

    )

    select
        *,
        greatest(
            {{ constant('agreement_stars') }},
            {{ constant('agreement_share') }} * greatest(abs(stars), abs(other_stars))
        )::double as tolerance
    from paired
{% endmacro %}
