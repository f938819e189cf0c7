{#- Evidence that two names are one repository's. -#}

{#- True where the counts of two readings agree, as those of one repository do within a night. -#}
{% macro counts_agree(former, latter) -%}
    (
        abs({{ latter }}.stars_total - {{ former }}.stars_total)
        <= greatest({{ constant('rename_stars') }}, {{ constant('rename_stars_share') }} * {{ former }}.stars_total)
        and abs({{ latter }}.forks_total - {{ former }}.forks_total)
        <= greatest({{ constant('rename_forks') }}, {{ constant('rename_forks_share') }} * {{ former }}.forks_total)
    )
{%- endmacro %}

{#- True where stars and forks of one name both differ by more: it may be another repository's by now. -#}
{% macro counts_left(former, latter) -%}
    (
        abs({{ latter }}.stars_total - {{ former }}.stars_total)
        > greatest({{ constant('rename_stars') }}, {{ constant('rename_stars_share') }} * {{ former }}.stars_total)
        and abs({{ latter }}.forks_total - {{ former }}.forks_total)
        > greatest({{ constant('rename_forks') }}, {{ constant('rename_forks_share') }} * {{ former }}.forks_total)
    )
{%- endmacro %}
