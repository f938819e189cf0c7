"""A range of days is split among workers without gaps, without duplicate days, and in nearly equal parts."""

import datetime as dt
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reposignal_pipeline.defs.runs import _parts

DAY = dt.timedelta(days=1)


@given(st.dates(dt.date(2011, 2, 12), dt.date(2026, 1, 1)), st.integers(0, 6000), st.integers(1, 64))
def test_parts_are_the_range(first: dt.date, further: int, number: int) -> None:
    last = first + further * DAY
    parts = _parts(first, last, number)
    assert len(parts) == min(number, further + 1)
    assert parts[0][0] == first
    assert parts[-1][1] == last
    assert all(after[0] - before[1] == DAY for before, after in pairwise(parts))
    lengths = {(end - start).days for start, end in parts}
    assert max(lengths) - min(lengths) <= 1
