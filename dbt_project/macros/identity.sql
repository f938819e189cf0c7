{#- Evidence that two names belong to one repository. -#}

{#- True if the counts of two readings agree, as those of one repository do from one night to the next. -#}
{% macro counts_agree(former, latter) -%}
    (
        abs({{ latter }}.stars_total - {{ former }}.stars_total)
        <= greatest({{ constant('rename_stars') }}, {{ constant('rename_stars_share') }} * {{ former }}.stars_total)
        and abs({{ latter }}.forks_total - {{ former }}.forks_total)
        <= greatest({{ constant('rename_forks') }}, {{ constant('rename_forks_share') }} * {{ former }}.forks_total)
    )
{%- endmacro %}

{#- True if stars and forks of one name both differ by more: another repository may have the name by now. -#}
{% macro counts_left(former, latter) -%}
    (
        abs({{ latter }}.stars_total - {{ former }}.stars_total)
        > greatest({{ constant('rename_stars') }}, {{ constant('rename_stars_share') }} * {{ former }}.stars_total)
        and abs({{ latter }}.forks_total - {{ former }}.forks_total)
        > greatest({{ constant('rename_forks') }}, {{ constant('rename_forks_share') }} * {{ former }}.forks_total)
    )
{%- endmacro %}

{#- What two names of one repository may have in common, one row each; `words` is a hash of the description. -#}
{% macro traits() -%}
    unnest([
        'name ' || split_part(name_key, '/', 2),
        'owner ' || split_part(name_key, '/', 1),
        'words ' || coalesce(words::varchar, '')
    ])
{%- endmacro %}
