{#- Components of the signal score, in the order of `signal_weights`, separated by spaces. -#}
{% macro signal_components() -%}
    growth_28d growth_year growth_7d breadth surprise
{%- endmacro %}

{#- Changes whenever the same inputs would give another score. -#}
{% macro signal_model_version() -%} signal-3 {%- endmacro %}

{#- Share of a component's points, 0-1, for a growth in 28 days: logarithmic, full at growth_most. -#}
{% macro growth_share(growth) -%}
    least(
        ln(1 + greatest({{ growth }}, 0) / {{ constant('growth_least') }})
        / ln(1 + {{ constant('growth_most') }} / {{ constant('growth_least') }}), 1
    )
{%- endmacro %}

{#- The same for a surprise in standard deviations: linear, full at surprise_most. `-0.0` becomes 0. -#}
{% macro surprise_share(surprise) -%}
    least(greatest({{ surprise }} / {{ constant('surprise_most') }}, 0), 1) + 0.0
{%- endmacro %}
