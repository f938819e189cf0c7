{#- The days being rebuilt, and how a daily model replaces them.

    A daily row is a function of the readings of its day and of a bounded number of days before it. A window is
    therefore rebuilt alone, independent of the length of the history, and the order of loading does not matter. -#}

{#- True for the days being rebuilt, and for the `lookback` days before them. -#}
{% macro in_window(day='day', lookback=0) -%}
    {{ day }} between date '{{ var("window_start") }}' - {{ lookback }} and date '{{ var("window_end") }}'
{%- endmacro %}

{#- True for the archive days being rebuilt: days on which stars were given, independent of their file. -#}
{% macro in_archived_days(day='day') -%}
    (
        {%- for days in var("archived_days") %}
            {{ day }} between date '{{ days | first }}' and date '{{ days | last }}' or
        {%- endfor %}
        false
    )
{%- endmacro %}

{#- True for both. -#}
{% macro in_built_days(day='day') -%}
    ({{ in_window(day) }} or {{ in_archived_days(day) }})
{%- endmacro %}

{#- True for the built days, the `before` days before them and the `after` days after them. -#}
{% macro near_built_days(day='day', before=0, after=0) -%}
    (
        {%- for days in var("archived_days") %}
            {{ day }} between date '{{ days | first }}' - {{ before }} and date '{{ days | last }}' + {{ after }} or
        {%- endfor %}
        {{ day }} between date '{{ var("window_start") }}' - {{ before }} and date '{{ var("window_end") }}' + {{ after }}
    )
{%- endmacro %}

{#- A `where` of a data test in yml cannot call macros, but it can name this one. -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = (config.get("where") or "") | replace("in_built_days", in_built_days()) | replace("in_window", in_window()) -%}
    {%- if where -%} (select * from {{ relation }} where {{ where }}) dbt_subquery {%- else -%} {{ relation }} {%- endif -%}
{%- endmacro %}

{#- Incremental strategy: delete the rows of the window and insert the rebuilt ones, in one transaction. This also removes
    rows that no longer exist, which a delete by key would not. -#}
{% macro get_incremental_replace_window_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} where {{ in_window() }};
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Star history is restated for days long past, repository by repository, so these models replace cells, not windows.
    Their `unique_key` is the cell. A cell never disappears, but the key of its repository can change: all rows of keys
    that lost or gained an id or a name are rebuilt. -#}
{% macro get_incremental_replace_cells_sql(arg_dict) %}
    {%- if "repo_key" in arg_dict["dest_columns"] | map(attribute="name") %} {{ _delete_rekeyed(arg_dict) }} {% endif %}
    {{ _delete_cells(arg_dict) }}
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Archive days are loaded in any order, years back: a list of ranges in addition to the window. -#}
{% macro get_incremental_replace_archived_days_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} where {{ in_archived_days() }};
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Replaces the window, the archive days, and the cells elsewhere that are rebuilt. -#}
{% macro get_incremental_replace_built_days_and_cells_sql(arg_dict) %}
    {%- set target = arg_dict["target_relation"] %}
    {{ _delete_built_days(arg_dict) }}
    {{ _delete_rekeyed(arg_dict) }}
    delete from {{ target }} using {{ ref("int_repo_days__touched") }} as touched
    where {{ target }}.day = touched.day and {{ target }}.repo_key = touched.repo_key;
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Replaces rows of whole months; the window may begin inside one. -#}
{% macro get_incremental_replace_months_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }}
    where month between date_trunc('month', date '{{ var("window_start") }}') and date '{{ var("window_end") }}';
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Replaces whole days of models that compare all cells of a day with those of the two days before: the window, days with
    changed cells, and the two days after each. -#}
{% macro get_incremental_replace_compared_days_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} where {{ near_built_days(after=2) }};
    delete from {{ arg_dict["target_relation"] }}
    where day in (
        select unnest(generate_series(day, day + 2, interval 1 day))::date from {{ ref("int_repo_days__touched") }}
    );
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{#- Replaces all rows of a small table that reads its previous content to find what changed. -#}
{% macro get_incremental_replace_all_sql(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }};
    {{ _insert_fresh(arg_dict) }}
{% endmacro %}

{% macro _delete_built_days(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} where {{ in_window() }};
    delete from {{ arg_dict["target_relation"] }} where {{ in_archived_days() }};
{% endmacro %}

{% macro _delete_rekeyed(arg_dict) %}
    delete from {{ arg_dict["target_relation"] }} using ({{ rekeyed() }}) as rekeyed
    where {{ arg_dict["target_relation"] }}.repo_key = rekeyed.repo_key;
{% endmacro %}

{% macro _delete_cells(arg_dict) %}
    {%- set target = arg_dict["target_relation"] %}
    delete from {{ target }} using {{ arg_dict["temp_relation"] }} as fresh
    where
        {% for key in arg_dict["unique_key"] %}
            {% if not loop.first %} and {% endif %} {{ target }}.{{ key }} = fresh.{{ key }}
        {% endfor %};
{% endmacro %}

{% macro _insert_fresh(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) %}
    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{% endmacro %}

{#- True for cells loaded since the last build. -#}
{% macro is_newly_loaded(loaded_at='loaded_at') -%}
    {{ loaded_at }} > timestamp '{{ var("loaded_since") }}'
{%- endmacro %}

{#- True for what changed without a load, in this build or in a killed build of the same number. -#}
{% macro is_changed() -%}
    changed_in >= {{ var("build_number") }}
{%- endmacro %}

{#- Keys that lost or gained an id or a name. Usually empty, in which case DuckDB skips the scan of the joined side. -#}
{% macro rekeyed() -%}
    select distinct unnest(list_append(former_keys, repo_key)) as repo_key
    from {{ ref("int_repos__keyed") }}
    where {{ is_changed() }}
{%- endmacro %}
