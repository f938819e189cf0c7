-- A row without a score has no points.
select
    day,
    repo_key,
    signal_score
from {{ ref('fct_repo_signal_day') }}
where
    {{ in_window() }}
    and abs(coalesce(signal_score, 0) - (
        0
        {% for component in signal_components().split() %}
            + coalesce({{ component }}_points, 0)
        {% endfor %}
        + coalesce(authenticity_points, 0)
    )) > 0.005
