{#- Bounds that staging applies to raw rows. Sources reject everything else, but older versions loaded such rows. -#}

{#- True for a count within bounds; NULL for NULL. -#}
{% macro is_count(column) -%}
    {{ column }} between 0 and {{ constant("count_most") }}
{%- endmacro %}

{#- The count; NULL if it is out of bounds. -#}
{% macro count_or_null(column) -%}
    case when {{ is_count(column) }} then {{ column }} end
{%- endmacro %}

{#- The time; NULL if it is out of bounds. -#}
{% macro time_or_null(column) -%}
    case when {{ column }} >= timestamp '{{ constant("github_began") }}' and {{ column }} < timestamp '2100-01-01' then {{ column }} end
{%- endmacro %}

{#- True for a week of a star history within bounds; a day may be NULL (unknown). -#}
{% macro is_star_week() -%}
    (
        week >= date '{{ constant("github_began") }}' - 7 and week < date '2100-01-01'
        {%- for count in ["total", "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"] %}
            and coalesce({{ is_count(count) }}, true)
        {%- endfor %}
    )
{%- endmacro %}
