{%- set clusters = source('clusters', 'fct_cluster_week') -%}

with

clusters as (

    {% if is_there(clusters) %}
        select
            week,
            cluster,
            label
        from {{ clusters }}
    {% else %}
        select
            null::date as week,
            null::integer as cluster,
            null::varchar as label
        where false
    {% endif %}

),

final as (

    select
        week,
        cluster,
        label
    from clusters

)

select * from final
