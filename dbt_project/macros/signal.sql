{#- Components of the signal score, in the order of `signal_weights`, separated by spaces. -#}
{% macro signal_components() -%}
    growth_28d growth_7d surprise persistence acceleration breadth
{%- endmacro %}

{#- Changes whenever the same inputs would give another score. -#}
{% macro signal_model_version() -%} signal-1 {%- endmacro %}
