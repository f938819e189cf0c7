{%- set members = source('clusters', 'fct_cluster_member_week') -%}

with

members as (

    {% if is_there(members) %}
        select
            week,
            cluster,
            repo_key
        from {{ members }}
    {% else %}
        select
            null::date as week,
            null::integer as cluster,
            null::bigint as repo_key
        where false
    {% endif %}

),

final as (

    select
        week,
        cluster,
        repo_key
    from members

)

select * from final
