select sum(weight) as total
from {{ ref('signal_weights') }}
having sum(weight) <> 100
