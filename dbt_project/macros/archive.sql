{#- UTC time at which the hour of the archive file `file_hour` begins, or the hour `later` hours after it. Files before
    2015 are named in Pacific time.

    DuckDB interprets an hour that autumn repeats as its second occurrence, and an hour that spring skips as the next
    hour. The first occurrence begins where the previous hour ends. -#}
{% macro archive_utc_hour(file_hour, later=0) -%}
    {%- set hour = "(" ~ file_hour ~ " + interval " ~ later ~ " hours)" -%}
    {%- set to_utc = "at time zone 'America/Los_Angeles' at time zone 'UTC'" -%}
    case
        when {{ file_hour }} < timestamp '{{ constant("archive_named_in_utc_from") }}'
            then least({{ hour }} {{ to_utc }}, ({{ hour }} - interval 1 hour) {{ to_utc }} + interval 1 hour)
        else {{ hour }}
    end
{%- endmacro %}
