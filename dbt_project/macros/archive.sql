{#- The UTC time at which the hour of the archive's file `file_hour` begins, or the hour so many hours after it. Files
    before 2015 are named by Pacific hours.

    DuckDB takes the hour that autumn repeats for its second, and the hour that spring skips for the next one. The end of
    the hour before tells where the first of the two begins. -#}
{% macro archive_utc_hour(file_hour, later=0) -%}
    {%- set hour = "(" ~ file_hour ~ " + interval " ~ later ~ " hours)" -%}
    {%- set to_utc = "at time zone 'America/Los_Angeles' at time zone 'UTC'" -%}
    case
        when {{ file_hour }} < timestamp '{{ constant("archive_named_in_utc_from") }}'
            then least({{ hour }} {{ to_utc }}, ({{ hour }} - interval 1 hour) {{ to_utc }} + interval 1 hour)
        else {{ hour }}
    end
{%- endmacro %}
