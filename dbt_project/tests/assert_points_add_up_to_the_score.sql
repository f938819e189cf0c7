select
    day,
    repo_key,
    signal_score
from {{ ref('fct_repo_signal_day') }}
where
    {{ in_window() }}
    and abs(signal_score - (
        {%- for component in signal_components() %}
        {{ "+ " if not loop.first }}coalesce({{ component }}_points, 0)
        {%- endfor %}
    )) > 0.005
