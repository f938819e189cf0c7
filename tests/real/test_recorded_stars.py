"""Two years of the recorded star histories, backfilled through the whole pipeline from an API that serves them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import duckdb
import numpy as np
import pytest

from reposignal_pipeline.sample.github_api import GitHubApi
from tests.pipeline.homes import Home, parsed_once
from tests.pipeline.test_github import SOURCES, TOKEN, Running, started
from tests.real.recorded_stars import FIRST, LAST, Recorded, recorded_stars

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("RECORDED_REPOSITORIES", "250"))
NOW = dt.datetime(2026, 1, 1, 9)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def backfilled(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Recorded]]:
    """A home that read every page twice: as first recorded, and a week later as last recorded."""
    recorded = recorded_stars(real_data, COUNT)
    folder = tmp_path_factory.mktemp("recorded")
    copytree(parsed_once() / "dbt", folder / "home" / "dbt")
    (folder / "watchlist.txt").write_text("\n".join(recorded.names) + "\n")
    (folder / "rankings").mkdir()
    first, last = (recorded.world(gains, days=20) for gains in (recorded.first, recorded.last))
    with GitHubApi(first, NOW, {TOKEN: 100_000}) as api:
        extra = {
            "GITHUB_TOKEN": TOKEN,
            "REPOSIGNAL_GITHUB_API_URL": api.base,
            "REPOSIGNAL_WATCHLIST": str(folder / "watchlist.txt"),
            "REPOSIGNAL_UNIVERSE_SIZE": str(len(recorded.names)),
            "REPOSIGNAL_GITHUB_REQUESTS_A_MINUTE": "1000000",
        }
        with started(Home(folder / "home", str(folder / "rankings"), extra=extra), api, first) as live:
            days = "--from", str(FIRST), "--to", str(LAST)
            for ran in (live.run(NOW, "run", *SOURCES), live.run(NOW, "backfill", "star_history", *days)):
                assert ran.returncode == 0, ran.stderr
            api.world = live.world = last
            ran = live.run(NOW + 7 * DAY, "backfill", "star_history", *days, "--reread")
            assert ran.returncode == 0, ran.stderr
            yield live, recorded


def differing(live: Running, recorded: Recorded, sql: str, expected: np.ndarray) -> tuple[int, int]:
    """Return (recorded cells, how many of them differ from the rows (name, day, stars) of `sql`)."""
    rows, days = np.nonzero(expected >= 0)
    cells = {
        "name": np.array([name.lower() for name in recorded.names], dtype=object)[rows],
        "day": (np.datetime64(FIRST) + days).astype("datetime64[us]"),
        "stars": expected[rows, days],
    }
    with duckdb.connect(str(live.home.published), read_only=True) as connection:
        connection.register("cells", cells)
        found = connection.execute(
            f"select count(*), count(*) filter (cells.stars is distinct from shown.stars) from cells"
            f" left join ({sql}) as shown on cells.name = shown.name and cells.day::date = shown.day"
        ).fetchone()
    assert found
    return found


def test_every_day_is_the_last_recorded_one(backfilled: tuple[Running, Recorded]) -> None:
    live, recorded = backfilled
    sql = "select lower(full_name) as name, day, stars_gained as stars from fct_repo_day"
    cells, wrong = differing(live, recorded, sql, recorded.last)
    assert (cells > 100 * COUNT, wrong) == (True, 0)


def test_the_first_reading_of_a_restated_day_stays(backfilled: tuple[Running, Recorded]) -> None:
    live, recorded = backfilled
    sql = """
        select lower(full_name) as name, day, arg_min(stars_gained, fetched_at) as stars
        from fct_star_vintage join dim_repo using (repo_key) where is_current group by all
    """
    cells, wrong = differing(live, recorded, sql, recorded.first)
    assert (cells > 100 * COUNT, wrong) == (True, 0)
    restated = int((recorded.first != recorded.last).sum())
    assert restated > 0
    found = live.query(
        f"select count(*) from (select repo_key from fct_star_vintage where day between '{FIRST}' and '{LAST}'"
        " group by repo_key, day having count(*) > 1)"
    )
    assert found == [(restated,)]
