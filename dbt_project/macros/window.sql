{#- The days being rebuilt, and how a daily model replaces them.

    A daily row is a function of the readings of its day and of a bounded number of days before it, so a window
    is rebuilt alone, whatever the length of the history; the result does not depend on the order of loading. -#}

{#- True for the days being rebuilt, and for `lookback` days before them. -#}
{% macro in_window(day='day', lookback=0) -%}
    {{ day }} between date '{{ var("window_start") }}' - {{ lookback }} and date '{{ var("window_end") }}'
{%- endmacro %}

{#- Incremental strategy: drop the window's rows, insert the window anew, in one transaction. Rows that no longer
    come about disappear, which a delete by key would not do. -#}
{% macro get_incremental_replace_window_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) %}
    delete from {{ arg_dict["target_relation"] }} where {{ in_window() }};
    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{% endmacro %}
