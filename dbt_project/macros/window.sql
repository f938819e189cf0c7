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

{#- Star history is restated for days long past, repository by repository: such models replace cells, not windows.
    Their `unique_key` is the cell. A cell never ceases to be, but its repository can turn out to have another key
    (earlier rankings tell of a former name): rows under a key that is no longer the id's are dropped, too. -#}
{% macro get_incremental_replace_cells_sql(arg_dict) %}
    {%- set target = arg_dict["target_relation"] %}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) %}
    delete from {{ target }} using {{ arg_dict["temp_relation"] }} as fresh
    where
        {% for key in arg_dict["unique_key"] %}
            {% if not loop.first %} and {% endif %} {{ target }}.{{ key }} = fresh.{{ key }}
        {% endfor %};
    {% if "repo_key" in arg_dict["dest_columns"] | map(attribute="name") %}
        delete from {{ target }} using {{ ref("int_repos__identified") }} as identified
        where {{ target }}.repo_id = identified.repo_id and {{ target }}.repo_key <> identified.repo_key;
    {% endif %}
    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{% endmacro %}

{#- Both: the window, and cells outside it. -#}
{% macro get_incremental_replace_window_and_cells_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} where {{ in_window() }};
    {{ get_incremental_replace_cells_sql(arg_dict) }}
{% endmacro %}

{#- True for cells loaded since the last build. -#}
{% macro is_newly_loaded(loaded_at='loaded_at') -%}
    {{ loaded_at }} > timestamp '{{ var("loaded_since") }}'
{%- endmacro %}
