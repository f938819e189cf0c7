"""The recorded star histories as worlds that an API can serve: as first read, and as last read."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from reposignal_pipeline.sample.github_world import World

FIRST, LAST = dt.date(2023, 8, 11), dt.date(2025, 12, 31)

# A repository can be in several recorded lists; the list that was read last counts.
_CELLS = """
    select repo, date, new_stars, case when new_stars = new_min then new_max else new_min end as first_stars
    from read_parquet($file)
    where repo in (
        select repo from read_parquet($file) where regexp_full_match(repo, '[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+')
        group by repo having min(new_min) >= 0 order by hash(repo) limit $count
    )
    qualify row_number() over (partition by lower(repo), date order by last_seen_ts desc, list) = 1
"""


@dataclass(frozen=True)
class Recorded:
    """Cells of some repositories; arrays of shape (repositories, days from `FIRST`), -1 where nothing was recorded."""

    names: list[str]
    first: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]

    def world(self, gains: npt.NDArray[np.int32], days: int) -> World:
        """Return a world whose history is `gains` (missing cells are 0), served for `days` more."""
        padded = np.pad(np.maximum(gains, 0), ((0, 0), (0, days)))
        created = dt.datetime.combine(FIRST, dt.time()) - dt.timedelta(days=100)
        return World.from_gains(padded, FIRST, 500, full_names=self.names, created_at=created)


def recorded_stars(real_data: Path, count: int) -> Recorded:
    """Return the recorded cells of `count` repositories."""
    file = str(real_data / "star_history" / "daily-new-stars.parquet")
    with duckdb.connect() as connection:
        cells: dict[str, Any] = connection.execute(_CELLS, {"file": file, "count": count}).fetchnumpy()
    keys = np.array([name.lower() for name in cells["repo"]])
    _, where, rows = np.unique(keys, return_index=True, return_inverse=True)
    days = (cells["date"].astype("datetime64[D]") - np.datetime64(FIRST)).astype(int)
    shape = (len(where), (LAST - FIRST).days + 1)
    first, last = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
    first[rows, days] = cells["first_stars"]
    last[rows, days] = cells["new_stars"]
    return Recorded([str(cells["repo"][n]) for n in where], first, last)
