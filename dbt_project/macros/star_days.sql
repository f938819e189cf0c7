{#- The days by which GitHub counts the stars of a history: those of `star_day_zone` (dbt_project.yml, with its reason).
    Instants are UTC without a zone, so each is named as UTC first. Python has the same rule: sources/star_days.py. -#}

{#- The star day that an instant lies in. -#}
{% macro star_day_of(at) -%}
    timezone('{{ var("star_day_zone") }}', timezone('UTC', {{ at }}))::date
{%- endmacro %}

{#- The instant at which a star day begins; the day before ends with it. -#}
{% macro star_day_begins_at(day) -%}
    timezone('UTC', timezone('{{ var("star_day_zone") }}', ({{ day }})::timestamp))
{%- endmacro %}

{#- Hours of a star day: 24, or 23 and 25 where the clock is changed. -#}
{% macro star_day_hours(day) -%}
    date_diff('hour', {{ star_day_begins_at(day) }}, {{ star_day_begins_at(day ~ ' + 1') }})
{%- endmacro %}

{#- The last star day whose count could be believed at an instant: it had ended, and the slack had passed. -#}
{% macro last_known_star_day(at) -%}
    ({{ star_day_of(at ~ " - interval " ~ var("star_day_slack_minutes") ~ " minutes") }} - 1)
{%- endmacro %}
