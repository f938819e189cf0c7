{{ config(severity='warn') }}
-- GitHub does not document the zone of its star days. ops_star_day_edge fits it on totals; this test warns if the
-- fitted hour is not that of star_day_zone (dbt_project.yml).
with

hours as (

    select
        edge_hour,
        sum(readings) as readings,
        sum(stars_off) as stars_off
    from {{ ref('ops_star_day_edge') }}
    group by edge_hour

),

configured as (

    select
        sum(readings) as readings,
        sum(stars_off) as stars_off
    from {{ ref('ops_star_day_edge') }}
    where is_configured

)

select
    hours.edge_hour as fitted_edge_hour,
    hours.stars_off,
    configured.stars_off as stars_off_as_set,
    configured.readings
from hours
cross join configured
where
    configured.readings >= {{ constant('star_edge_readings_min') }}
    and hours.stars_off * {{ constant('star_edge_ratio') }} < configured.stars_off
-- not `qualify row_number() ... = 1`: without a partition, DuckDB 1.5.5 returns a row of NULLs for an empty input
order by hours.stars_off
limit 1
