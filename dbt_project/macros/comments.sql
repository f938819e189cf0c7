{#- Descriptions as comments in the warehouse, said where they are not said yet: in a lake each one is a change of the
    schema, and files of different schemas are never merged. -#}

{% macro duckdb__alter_relation_comment(relation, comment) %}
    {%- set told = _comments("duckdb_tables", relation, "table_name", "comment") -%}
    {%- if told.get(relation.identifier) != comment %}
        comment on {{ relation.type }} {{ relation }} is {{ duckdb_escape_comment(comment) }};
    {%- else %}
        select 1
    {%- endif %}
{% endmacro %}

{#- Views of a lake have no comments on columns. -#}
{% macro duckdb__alter_column_comment(relation, column_dict) %}
    {%- set lines = [] -%}
    {%- if not (adapter.is_ducklake(relation) and relation.is_view) -%}
        {%- set told = _comments("duckdb_columns", relation, "column_name", "comment") -%}
        {%- for name, column in column_dict.items() if name in told and told[name] != column["description"] -%}
            {%- do lines.append(
                "comment on column " ~ relation ~ "." ~ name ~ " is " ~ duckdb_escape_comment(column["description"]) ~ ";"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ lines | join("\n") or "select 1" }}
{% endmacro %}

{% macro _comments(catalog, relation, name, comment) %}
    {%- set told = run_query(
        "select " ~ name ~ ", " ~ comment ~ " from " ~ catalog ~ "() where database_name = '" ~ relation.database
        ~ "' and schema_name = '" ~ relation.schema ~ "' and table_name = '" ~ relation.identifier ~ "'"
    ) -%}
    {{ return(dict(told.rows | map("list"))) }}
{% endmacro %}
