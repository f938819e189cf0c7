{#- The days by which GitHub counts the stars of a history, those of `star_day_zone` (see dbt_project.yml). Instants are
    UTC timestamps without a zone, so each is cast to UTC first. Python has the same rule: sources/star_days.py. -#}

{#- The star day that contains an instant. -#}
{% macro star_day_of(at) -%}
    timezone('{{ var("star_day_zone") }}', timezone('UTC', {{ at }}))::date
{%- endmacro %}

{#- The instant at which a star day begins and the previous day ends. -#}
{% macro star_day_begins_at(day) -%}
    timezone('UTC', timezone('{{ var("star_day_zone") }}', ({{ day }})::timestamp))
{%- endmacro %}

{#- Hours of a star day: 24, or 23 and 25 at clock changes. -#}
{% macro star_day_hours(day) -%}
    date_diff('hour', {{ star_day_begins_at(day) }}, {{ star_day_begins_at(day ~ ' + 1') }})
{%- endmacro %}

{#- The last star day whose count is final at an instant: it has ended, and the slack has passed. -#}
{% macro last_known_star_day(at) -%}
    ({{ star_day_of(at ~ " - interval " ~ var("star_day_slack_minutes") ~ " minutes") }} - 1)
{%- endmacro %}
