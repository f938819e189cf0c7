{#- Writes descriptions as comments in the warehouse, but only those that differ: in a lake each comment changes the
    schema, and DuckLake never merges files with different schemas. -#}

{% macro duckdb__alter_relation_comment(relation, comment) %}
    {%- set present = _comments("duckdb_tables", relation, "table_name", "comment") -%}
    {%- if present.get(relation.identifier) != comment %}
        comment on {{ relation.type }} {{ relation }} is {{ duckdb_escape_comment(comment) }};
    {%- else %}
        select 1
    {%- endif %}
{% endmacro %}

{#- DuckLake does not support comments on columns of views. -#}
{% macro duckdb__alter_column_comment(relation, column_dict) %}
    {%- set lines = [] -%}
    {%- if not (adapter.is_ducklake(relation) and relation.is_view) -%}
        {%- set present = _comments("duckdb_columns", relation, "column_name", "comment") -%}
        {%- for name, column in column_dict.items() if name in present and present[name] != column["description"] -%}
            {%- do lines.append(
                "comment on column " ~ relation ~ "." ~ name ~ " is " ~ duckdb_escape_comment(column["description"]) ~ ";"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ lines | join("\n") or "select 1" }}
{% endmacro %}

{% macro _comments(catalog, relation, name, comment) %}
    {%- set found = run_query(
        "select " ~ name ~ ", " ~ comment ~ " from " ~ catalog ~ "() where database_name = '" ~ relation.database
        ~ "' and schema_name = '" ~ relation.schema ~ "' and table_name = '" ~ relation.identifier ~ "'"
    ) -%}
    {{ return(dict(found.rows | map("list"))) }}
{% endmacro %}
