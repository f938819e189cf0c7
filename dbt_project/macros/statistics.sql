{#- Variance-stabilised negative-binomial z of a count against a mean, unit variance under the null.
    Anscombe (1948): asinh(sqrt(alpha (y + 3/8))) / sqrt(alpha) has a variance of about 1/4. -#}
{% macro negative_binomial_z(count, mean, alpha) -%}
    2 / sqrt({{ alpha }}) * (
        asinh(sqrt({{ alpha }} * (greatest({{ count }}, 0) + 0.375)))
        - asinh(sqrt({{ alpha }} * (greatest({{ mean }}, 0) + 0.375)))
    )
{%- endmacro %}

{#- Upper tail of the standard normal. Abramowitz and Stegun (1964) 26.2.17: absolute error below 7.5e-8. -#}
{% macro normal_upper_tail(z) -%}
    case
        when {{ z }} is null then null
        when {{ z }} < 0 then 1 - ({{ _upper_tail("abs(" ~ z ~ ")") }})
        else {{ _upper_tail("abs(" ~ z ~ ")") }}
    end
{%- endmacro %}

{% macro _upper_tail(z) -%}
    {%- set t = "(1 / (1 + 0.2316419 * " ~ z ~ "))" -%}
    exp(-{{ z }} * {{ z }} / 2) / sqrt(2 * pi()) * {{ t }} * (
        0.319381530 + {{ t }} * (-0.356563782 + {{ t }} * (1.781477937 + {{ t }} * (-1.821255978 + {{ t }} * 1.330274429)))
    )
{%- endmacro %}

{#- One bound of the Wilson 95 % interval of a share; `sign` is '-' or '+'. Wilson (1927). -#}
{% macro wilson_bound(successes, trials, sign) -%}
    {%- set z = "1.959964" -%}
    (
        ({{ successes }} + {{ z }} * {{ z }} / 2)
        {{ sign }} {{ z }} * sqrt({{ successes }}::double * ({{ trials }} - {{ successes }}) / {{ trials }} + {{ z }} * {{ z }} / 4)
    ) / ({{ trials }} + {{ z }} * {{ z }})
{%- endmacro %}

{#- Rank of a value among the day's known values: 0 (lowest) to 1; NULL for NULL. -#}
{% macro percentile_of_day(value) -%}
    case when {{ value }} is not null
        then percent_rank() over (partition by day, {{ value }} is null order by {{ value }})
    end
{%- endmacro %}

{#- True where a change of the total is one night's: neither too short nor too long to be scaled to 24 hours. -#}
{% macro is_one_night(gap_hours) -%}
    {{ gap_hours }} between {{ constant('shortest_gap_hours') }} and {{ constant('longest_gap_hours') }}
{%- endmacro %}
