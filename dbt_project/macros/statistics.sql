{#- CTEs that add to `relation` the normal deviate of a count: its upper tail equals that of the negative binomial at or
    above the count, with mean judged_change and variance mean + predictive_dispersion x mean^2; NULL where one is.

    P(NB >= y) = P(Binomial(y - 1 + r, p) <= r - 1) with r = 1 / dispersion and p = r / (r + mean), which follows Peizer
    and Pratt (1968): for means of 0.6 to 3,000 within 8 % of the exact tail, down to 1e-12, for dispersions up to 0.8,
    and 12 % below it at 1.4. The count may be fractional; it must be at least 1/2. Computed in steps, because DuckDB
    evaluates a term inside a case each time it is named. -#}
{% macro negative_binomial_deviate(name, relation, deviate, count) -%}
{{ name }}_as_binomial as (

    select
        *,
        {{ count }} as binomial_y,
        1 / predictive_dispersion as binomial_r,
        1 / (1 + predictive_dispersion * judged_change) as binomial_p
    from {{ relation }}

),

{{ name }}_in_ratios as (

    select
        *,
        (binomial_r - 0.5) / ((binomial_y - 1 + binomial_r) * binomial_p) as below,
        (binomial_y - 0.5) / ((binomial_y - 1 + binomial_r) * (1 - binomial_p)) as above
    from {{ name }}_as_binomial

),

{{ name }} as (

    select
        * exclude (binomial_y, binomial_r, binomial_p, below, above),
        (
            (binomial_y - 1 + binomial_r + 1.0 / 3) * binomial_p - binomial_r + 1.0 / 3
            - 0.02 * (
                (1 - binomial_p) / binomial_r - binomial_p / binomial_y + (0.5 - binomial_p) / (binomial_y + binomial_r)
            )
        ) * sqrt(
            (1 + (1 - binomial_p) * {{ _peizer_pratt('below') }} + binomial_p * {{ _peizer_pratt('above') }})
            / ((binomial_y - 1 + binomial_r + 1.0 / 6) * binomial_p * (1 - binomial_p))
        ) as {{ deviate }}
    from {{ name }}_in_ratios

)
{%- endmacro %}

{% macro _peizer_pratt(ratio) -%}
    case
        when {{ ratio }} < 1e-9 then 1
        when abs({{ ratio }} - 1) < 1e-4 then 0
        else (1 - {{ ratio }} * {{ ratio }} + 2 * {{ ratio }} * ln({{ ratio }})) / ((1 - {{ ratio }}) * (1 - {{ ratio }}))
    end
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

{#- True if a change of the total spans one night: neither too short nor too long to scale to 24 hours. -#}
{% macro is_one_night(gap_hours) -%}
    {{ gap_hours }} between {{ constant('shortest_gap_hours') }} and {{ constant('longest_gap_hours') }}
{%- endmacro %}

{#- True if the step, or a part of it, does not consist of stars given and taken back one by one. -#}
{% macro is_left_out(relation=none) -%}
    {%- set prefix = relation ~ "." if relation else "" -%}
    (
        {%- for flag in ("is_dropped", "is_restored", "is_purged", "is_returned", "is_waved") %}
            {{ prefix }}{{ flag }}{{ " or" if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}


{#- stars/day given or taken back one by one over one night; NULL over a gap and where the step is excluded. -#}
{% macro daily_change() -%}
    case
        when {{ is_one_night('gap_hours') }} and not {{ is_left_out() }}
            then step * 24.0 / gap_hours
    end
{%- endmacro %}


{% macro exact_sum(column) -%}
{#- A sum that does not depend on the order of its rows. DuckDB adds doubles in the order in which threads deliver them,
    so the last bits of a sum differ between two runs, and a rounded sum can differ in its last digit. -#}
sum(({{ column }})::decimal(18, 6))
{%- endmacro %}
