"""The backtest measures what it claims: places, periods, calls, leads; a home is loaded only when it is incomplete."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from benchmarks import backtest
from benchmarks.backtest import BEFORE, TEST, calls, fitted_ranking, in_period, interval, leaders, leads, precision
from reposignal_pipeline.sources.rankings import COLUMNS

CALLED_ON = dt.date(2024, 3, 1)


def mondays(count: int, repos: int, first: str = "2022-01-03") -> pd.DataFrame:
    """Return rows of repositories of which the higher keys grow more."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        [(day, repo) for day in pd.date_range(first, periods=count, freq="7D") for repo in range(repos)],
        columns=["day", "repo_key"],
    )
    frame["log_growth_ahead"] = frame["repo_key"] / 100
    for name in backtest.FITTED_ON:
        frame[name] = random.normal(size=len(frame)) + frame["repo_key"] / 10
    frame["is_leader"] = leaders(frame)
    return frame


def test_precision_counts_leaders_among_the_first_places_and_puts_the_unknown_last() -> None:
    frame = mondays(2, 200)
    frame["worst"] = -frame["log_growth_ahead"]
    frame["half_known"] = frame["log_growth_ahead"].where(frame["repo_key"] % 2 == 0)
    assert precision(frame, "log_growth_ahead").tolist() == [1, 1]
    assert precision(frame, "worst").tolist() == [0, 0]
    assert precision(frame, "half_known").tolist() == [0.5, 0.5]


def test_correlated_mondays_widen_the_interval() -> None:
    spread, together = pd.Series([0.1, -0.1] * 60), pd.Series(([0.1] * 6 + [-0.1] * 6) * 10)
    low, high = interval(together)
    assert low < 0 < high
    assert high - low > 3 * np.subtract(*reversed(interval(spread)))
    assert interval(pd.Series([0.2] * 20)) == pytest.approx((0.2, 0.2))


def test_a_day_is_of_the_past_only_if_its_outcome_is() -> None:
    days = pd.Series(
        pd.to_datetime(["2024-05-19", "2024-05-20", "2024-06-30", "2024-07-01", "2025-06-30", "2025-07-01"])
    )
    assert in_period(days, BEFORE, 42).tolist() == [True, False, False, False, False, False]
    assert in_period(days, TEST, 42).tolist() == [False, False, False, True, True, False]


def fitted(frame: pd.DataFrame) -> pd.Series:
    # threads that wait for one another cost minutes where tests share the machine
    with threadpool_limits(1):
        return fitted_ranking(frame)


def test_the_fitted_ranking_learns_from_what_had_ended_and_from_nothing_later() -> None:
    frame = mondays(60, 100)
    scores = fitted(frame)
    quarter = frame["day"] >= "2023-01-01"
    assert scores[~quarter].isna().all()
    assert scores[quarter].notna().all()
    assert precision(frame[quarter].assign(fitted=scores), "fitted").mean() > 0.8
    later = frame.assign(is_leader=frame["is_leader"] ^ (frame["day"] + pd.Timedelta(days=42) >= "2023-01-01"))
    pd.testing.assert_series_equal(
        fitted_ranking(later)[frame["day"] < "2023-04-01"], scores[frame["day"] < "2023-04-01"]
    )


@pytest.fixture
def marts() -> Iterator[duckdb.DuckDBPyConnection]:
    """Five repositories with 10 stars a day up to the call of 2024-03-01 and 30 a day after it; 1 is called again."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table fct_repo_signal_day as
            select
                day::date as day,
                repo_key,
                1000 + 10 * date_diff('day', date '2024-01-01', day)
                + 20 * greatest(date_diff('day', $called - 1, day::date), 0) as stars_total,
                day = $called or (repo_key = 1 and day::date - $called in (1, 14, 29)) as is_breakout,
                null::double as velocity_24h,
                null::double as velocity_28d,
                null::double as expected_change,
                null::integer as signal_rank
            from
                range(timestamp '2024-01-01', timestamp '2024-05-01', interval 1 day) as days(day),
                range(1, 6) as repos(repo_key)
            where
                not (repo_key = 2 and day > $called + 13)
                and not (repo_key = 3 and day < $called - 25)
                and not (repo_key = 5 and day::date in ($called - 3, $called + 14))
            """,
            {"called": CALLED_ON},
        )
        connection.execute(
            "create table fct_repo_day as select day, repo_key, "
            "case when repo_key = 4 and day = date '2024-03-10' then ['total_dropped'] else [] end as dq_flags "
            "from fct_repo_signal_day"
        )
        connection.execute(
            "create table dim_repo_alias as from (values (1, 'Old/Name'), (1, 'new/name'), (4, 'a/b')) "
            "as aliases(repo_key, full_name)"
        )
        connection.execute(
            """
            create table trending as from (values
                ('2024-01-15', null, 1, 'NEW/name'), ('2024-02-28', 'go', 1, 'new/Name'),
                ('2024-03-05', null, 2, 'old/name'), ('2024-03-01', null, 3, 'A/b'),
                ('2023-12-31', null, 3, 'A/b'), ('2024-03-02', null, 4, 'x/y')
            ) as lists(date, language, position, repo)
            """
        )
        yield connection


def test_a_call_is_judged_by_the_fortnight_after_it(marts: duckdb.DuckDBPyConnection) -> None:
    found = calls(marts)
    found = found[found["rule"] == "breakout"].set_index(["repo_key", "day"])
    first = pd.Timestamp(CALLED_ON)
    # the next day and the fourteenth after it are still the same call, fifteen days later is another
    assert found.loc[1].index.tolist() == [first, first + pd.Timedelta(days=29)]
    assert found["ratio"].xs(first, level="day").dropna().to_dict() == {1: pytest.approx(3), 5: pytest.approx(3)}
    assert found["unknown"].xs(first, level="day").dropna().to_dict() == {
        2: "not_read_after",
        3: "not_read_before",
        4: "level_break",
    }


def test_leads_are_counted_from_the_first_day_in_a_list(marts: duckdb.DuckDBPyConnection) -> None:
    found = calls(marts)
    found = found[(found["rule"] == "breakout") & (found["day"] == pd.Timestamp(CALLED_ON))]
    lead = {seen: (found.set_index("repo_key")[seen] - pd.Timestamp(CALLED_ON)).dt.days.dropna().to_dict() for seen in
            ("seen_far", "seen_near", "seen_far_overall", "seen_near_overall")}  # fmt: skip
    assert lead["seen_far"] == {1: -46, 4: 0}
    assert lead["seen_far_overall"] == {1: -46, 4: 0}
    assert lead["seen_near"] == {1: -2, 4: 0}
    assert lead["seen_near_overall"] == {1: 4, 4: 0}
    assert leads(found, "seen_near_overall") == [0.4, "+2", 0.0, 0.5, 0.5]
    assert leads(found[found["repo_key"] == 2], "seen_near") == [0.0, None, None, None, None]


def test_missing_recordings_are_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["backtest", "--docs", str(tmp_path)])
    monkeypatch.delenv("REPOSIGNAL_REAL_DATA", raising=False)
    with pytest.raises(SystemExit, match="REPOSIGNAL_REAL_DATA is not a folder of recordings"):
        backtest.main()
    assert not list(tmp_path.iterdir())


def recorded(folder: Path, days: list[str]) -> Path:
    """Return a folder of recordings with one place per day."""
    (folder / "rankings").mkdir(parents=True)
    cells = ", ".join(f"'1' as {column}" for column in COLUMNS)
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select unnest({days}::date[]) as snapshot_date, {cells}) "
            f"to '{folder}/rankings/rankings-2024.parquet'"
        )
    return folder


def make_home(home: Path, days: list[str]) -> None:
    """Make a home that has published some days."""
    (home / "published").mkdir(parents=True)
    with duckdb.connect(str(home / "published" / "reposignal.duckdb")) as connection:
        connection.execute(f"create table fct_repo_day as select unnest({days}::date[]) as day")


@pytest.mark.parametrize(
    ("published", "written"),
    [(["2024-03-01", "2024-03-02"], 0), (["2024-03-01"], 2), (None, 2)],
)
def test_recordings_are_written_only_if_something_is_missing(
    published: list[str] | None, written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, launched = tmp_path / "home", []

    def launch(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        launched.append(
            (command[1:], env["REPOSIGNAL_HOME"], len(list(Path(env["REPOSIGNAL_RANKINGS_URL"]).iterdir())))
        )
        assert "GITHUB_TOKEN" not in env
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("GITHUB_TOKEN", "not to be handed on")
    monkeypatch.setattr(subprocess, "run", launch)
    recordings = recorded(tmp_path / "recordings", ["2024-03-01", "2024-03-02"])
    if published is not None:
        make_home(home, published)
    assert backtest.load(recordings, home) == home / "published" / "reposignal.duckdb"
    command = ["backfill", "rankings", "--from", "2024-03-01", "--to", "2024-03-02"]
    assert launched == [(command, str(home), written)]
