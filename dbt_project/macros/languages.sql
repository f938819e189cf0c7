{#- Languages across verticals: constants, and the functions that compare two dates.

    Here: what fct_language_vertical_day and fct_language_reach_day share. The seed `verticals` assigns topics to verticals. -#}

{#- Minimum repositories for a language to be established in a vertical: with fewer, one newcomer decides. -#}
{% macro vertical_repos_min() -%} 3 {%- endmacro %}

{#- Name for repositories with topics none of which is curated. It is a part of the whole, not a vertical. -#}
{% macro no_vertical() -%} 'other' {%- endmacro %}

{#- Clusters of a week apply from the following Monday, when they are made. After this many weeks without new clusters,
    cluster rows end. -#}
{% macro clusters_hold_weeks() -%} 5 {%- endmacro %}

{#- Several means two or more: a language established in one vertical does not colonise. -#}
{% macro colonising_min() -%} 2 {%- endmacro %}

{#- Whether the relation exists. No model makes the weekly tables, so they are missing before the first weekly run. -#}
{% macro is_there(relation) -%}
    {{ return(execute and load_relation(relation) is not none) }}
{%- endmacro %}

{#- Table functions for analysts with dates as parameters. They are part of the marts database, so that the published copy
    has them. `mart` is fct_language_vertical_day. Table names inside the functions are unqualified, so that they work
    under any database name. -#}
{% macro create_language_functions(mart) -%}
    use {{ mart.database }}.{{ mart.schema }};
    {{ language_functions() }}
    {#- DuckLake does not support comments on functions -#}
    {%- if not adapter.is_ducklake(mart) %}
    {{ language_function_comments() }}
    {%- endif %}
    use {{ target.database }}.{{ target.schema }}
{%- endmacro %}

{#- Marshall-Edgeworth shift-share: each effect is weighted by the mean of both dates, so that no residual remains.
    within: the language's share inside a vertical changed. mix: the vertical's share of all repositories changed,
    measured against the language's overall share: growth of a vertical helps languages that are strong in it. A vertical
    that is empty on one of the dates has no share inside it, so its whole effect is mix. -#}
{% macro language_functions() -%}
    create or replace macro language_vertical_shift_share(from_day, to_day, basis := 'curated') as table (
        with

        days as (

            select
                max(day) filter (where day <= from_day::date) as day_before,
                max(day) filter (where day <= to_day::date) as day_after
            from fct_language_vertical_day
            where vertical_basis = basis

        ),

        cells as (

            select
                day_before,
                day_after,
                language,
                vertical,
                coalesce(sum(repos_split) filter (where day = day_before), 0) as before,
                coalesce(sum(repos_split) filter (where day = day_after), 0) as after
            from fct_language_vertical_day
            cross join days
            where
                vertical_basis = basis
                and day_before is not null
                and day_after is not null
                and day in (day_before, day_after)
            group by day_before, day_after, language, vertical

        ),

        -- A language that is absent from a growing vertical loses.
        crossed as (

            select
                languages.day_before,
                languages.day_after,
                languages.language,
                verticals.vertical,
                languages.before / languages.all_before as language_before,
                languages.after / languages.all_after as language_after,
                verticals.before / languages.all_before as vertical_before,
                verticals.after / languages.all_after as vertical_after,
                coalesce(cells.before, 0) / nullif(verticals.before, 0) as inside_before,
                coalesce(cells.after, 0) / nullif(verticals.after, 0) as inside_after
            from (
                select
                    day_before,
                    day_after,
                    language,
                    sum(before) as before,
                    sum(after) as after,
                    sum(sum(before)) over () as all_before,
                    sum(sum(after)) over () as all_after
                from cells
                group by day_before, day_after, language
            ) as languages
            cross join (
                select vertical, sum(before) as before, sum(after) as after
                from cells
                group by vertical
            ) as verticals
            left join cells on languages.language = cells.language and verticals.vertical = cells.vertical

        )

        select
            day_before as from_day,
            day_after as to_day,
            language,
            vertical,
            vertical_before as vertical_share_from,
            vertical_after as vertical_share_to,
            inside_before as share_within_from,
            inside_after as share_within_to,
            coalesce((vertical_before + vertical_after) / 2 * (inside_after - inside_before), 0) as within_effect,
            (
                (coalesce(inside_before, inside_after) + coalesce(inside_after, inside_before)) / 2
                - (language_before + language_after) / 2
            ) * (vertical_after - vertical_before) as mix_effect
        from crossed
        order by language, vertical
    );

    create or replace macro language_shift_share(from_day, to_day, basis := 'curated') as table (
        select
            effects.from_day,
            effects.to_day,
            language,
            sum(vertical_share_from * coalesce(share_within_from, 0)) as share_from,
            sum(vertical_share_to * coalesce(share_within_to, 0)) as share_to,
            sum(vertical_share_to * coalesce(share_within_to, 0))
            - sum(vertical_share_from * coalesce(share_within_from, 0)) as share_change,
            sum(within_effect) as within_effect,
            sum(mix_effect) as mix_effect
        from language_vertical_shift_share(from_day, to_day, basis := basis) as effects
        group by effects.from_day, effects.to_day, language
        order by abs(sum(within_effect) + sum(mix_effect)) desc, language
    );
{%- endmacro %}

{% macro language_function_comments() -%}
    comment on macro table language_vertical_shift_share is
    'Grain: language x vertical. What changed a language''s share of the repositories with topics between two dates, for each vertical. basis := ''cluster'' uses clusters as verticals, and the repositories in them instead of those with topics; the default is curated. from_day, to_day: the last days with rows on or before the requested ones. vertical_share_*: of all repositories with topics; share_within_*: of the language inside the vertical, NULL if the vertical was empty; within_effect, mix_effect: shares, 0-1; over all verticals they add up to the change of the language''s share. Source: fct_language_vertical_day.';

    comment on macro table language_shift_share is
    'Grain: language. Change of its share of the repositories with topics between two dates, or with basis := ''cluster'' of those in clusters; share_change = within_effect (its shares inside verticals changed) + mix_effect (verticals in which it is strong or weak grew or shrank). from_day, to_day: the last days with rows on or before the requested ones; no rows if there is none. Source: fct_language_vertical_day.';
{%- endmacro %}
