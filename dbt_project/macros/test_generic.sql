{#- Rows that share the values of `columns`. -#}
{% test unique_together(model, columns) %}
    select {{ columns | join(", ") }}, count(*) as rows_alike
    from {{ model }}
    group by {{ columns | join(", ") }}
    having count(*) > 1
{% endtest %}

{#- Rows whose value is outside [low, high]; NULL passes. -#}
{% test between(model, column_name, low=none, high=none) %}
    select {{ column_name }}
    from {{ model }}
    where
        false
        {% if low is not none %} or {{ column_name }} < {{ low }} {% endif %}
        {% if high is not none %} or {{ column_name }} > {{ high }} {% endif %}
{% endtest %}
