-- The weights of the score add up to 100.
select sum(weight) as total
from {{ ref('signal_weights') }}
having sum(weight) <> 100
