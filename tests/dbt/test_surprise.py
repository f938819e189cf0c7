"""Surprises: tails compared with the exact ones, and no more false discoveries than promised.

Histories are drawn from the model's own null, so that every call is false, and run through the models as dbt compiled
them; then bursts are added to some. `pytest -s` on this file prints the tables of docs/surprise.md. Not here: what
recorded bursts became (docs/backtest.md).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from built_homes import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template
from scipy.stats import binom, nbinom, norm
from tiny_warehouse import TinyWarehouse

FIRST = dt.date(2025, 1, 6)
WARM_UP, DAYS, REPOS, SEEDS = 70, 150, 1500, 3
MODELS = ("int_repo_days__surprised", "int_repo_months__based", "int_repo_days__paced", "fct_repo_signal_day")
NOMINAL, UNSTAR, CAP = 0.05, 0.8, 1.4
CALLS = ["is_surprising", "is_breakout"]
WEEKDAYS = np.array([0.98, 1.05, 1.06, 1.04, 1.00, 0.82, 0.79]) * 7 / 6.74
BURST_FROM, BURST_DAYS, ONE_IN = 77, 3, 30
FACTORS = (5, 10, 20)
PACES = (0, 0.3, 1, 3, 10, 1000)


# --- the tails


@pytest.fixture(scope="module")
def macros() -> Any:
    """The macros as written."""
    return Template((ROOT / "dbt_project" / "macros" / "statistics.sql").read_text()).module


def tails(macros: Any, cases: pd.DataFrame) -> pd.DataFrame:
    """Return the deviates of counts, their tails by SQL, and the exact ones."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("cases", cases)
        deviates = macros.negative_binomial_deviate("deviates", "cases", "deviate", "stars")
        found = connection.execute(
            f"with {deviates} select *, {macros.normal_upper_tail('deviate')} as p_value from deviates"
        ).df()
    shape = 1 / found.predictive_dispersion
    found["exact"] = nbinom.sf(found.stars - 1, shape, shape / (shape + found.judged_change))
    return found


CASES = st.tuples(st.integers(1, 5000), st.floats(0.6, 3000), st.floats(0.005, CAP))


@settings(max_examples=40)
@given(st.lists(CASES, min_size=1, max_size=100))
def test_the_tail_of_a_count_is_that_of_the_negative_binomial(
    macros: Any, cases: list[tuple[int, float, float]]
) -> None:
    """Within 12 %, and 8 % below a dispersion of 0.8, wherever it is above 1e-12; never large again beyond that."""
    found = tails(macros, pd.DataFrame(cases, columns=["stars", "judged_change", "predictive_dispersion"]))
    assert found.p_value.between(0, 1).all()
    tested = found[found.exact > 1e-12]
    assert (tested.p_value / tested.exact - 1).abs().max() <= 0.12 or tested.empty
    close = tested[tested.predictive_dispersion < 0.8]
    assert (close.p_value / close.exact - 1).abs().max() <= 0.08 or close.empty
    assert found[found.exact <= 1e-12].p_value.max() < 2e-12 or len(tested) == len(found)


def test_tails_over_the_whole_plane(macros: Any) -> None:
    """As above, for many counts around and above their means, where discoveries are made."""
    random = np.random.default_rng(1)
    mean = np.exp(random.uniform(np.log(0.6), np.log(3000), 100_000))
    cases = {
        "stars": np.maximum(np.round(mean * np.exp(random.uniform(-1.5, 4, len(mean)))), 1),
        "judged_change": mean,
        "predictive_dispersion": np.exp(random.uniform(np.log(0.005), np.log(CAP), len(mean))),
    }
    found = tails(macros, pd.DataFrame(cases))
    tested = found[found.exact > 1e-12]
    error = tested.p_value / tested.exact - 1
    assert len(tested) > 50_000
    assert error.abs().max() <= 0.12
    assert error[tested.predictive_dispersion < 0.8].abs().max() <= 0.08


@settings(max_examples=40)
@given(st.floats(-8, 8))
def test_the_upper_tail_of_the_normal(macros: Any, z: float) -> None:
    with duckdb.connect(config={"threads": 1}) as connection:
        ((tail, none),) = connection.execute(
            f"select {macros.normal_upper_tail('z')}, {macros.normal_upper_tail('n')}"
            f" from (select {z!r}::double as z, null::double as n)"
        ).fetchall()
    assert none is None
    assert tail == pytest.approx(norm.sf(z), abs=7.5e-8)
    assert z > 7 or tail == pytest.approx(norm.sf(z), rel=0.007)


# --- histories without anything unusual


def histories(
    seed: int,
    scatter: str = "capped",
    dispersion: float | tuple[float, float] = 0.15,
    sleeping: float = 0.0,
    bursts: bool = False,
) -> pd.DataFrame:
    """Return repo_key, number of the day, pace, stars given and the factor of a burst, one row per repository and day.

    Args:
        seed: seed of the random numbers.
        scatter: "capped", as in the model: a dispersion of 0.8 / mean for stars taken back, 1.4 at most; "unstars",
            without the 1.4, so that few stars a day come in clumps.
        dispersion: additional dispersion of stars given; two values are the bounds of an individual one per repository.
        sleeping: share of the repositories that get no star at all.
        bursts: one repository in thirty gets 5, 10 or 20 times its pace on each of three days.
    """
    random = np.random.default_rng(seed)
    pace = np.clip(np.exp(np.log(0.7) + 2.2 * random.standard_normal(REPOS)), 0.02, 300)
    stars = np.maximum(4000 * np.sqrt(pace) * np.exp(0.8 * random.standard_normal(REPOS)), 50).astype(int)
    age = random.choice([0, 200, 700, 2000], REPOS)
    number = np.arange(BURST_FROM + BURST_DAYS if bursts else DAYS)
    factor = np.ones((REPOS, len(number)))
    if bursts:
        factor[::ONE_IN, BURST_FROM:] = np.resize(FACTORS, len(factor[::ONE_IN]))[:, None]
    mean = pace[:, None] * WEEKDAYS[number % 7][None, :] * factor
    least, most = dispersion if isinstance(dispersion, tuple) else (dispersion, dispersion)
    own = np.exp(random.uniform(np.log(least), np.log(most), (REPOS, 1)))
    shape = 1 / (np.minimum(own + UNSTAR / mean, CAP) if scatter == "capped" else own + UNSTAR / mean)
    stars_given = random.poisson(mean * random.gamma(shape, 1 / shape))
    stars_given[: int(sleeping * REPOS)] = 0
    return pd.DataFrame(
        {
            "repo_key": np.repeat(np.arange(REPOS), len(number)),
            "number": np.tile(number, REPOS),
            "pace": np.repeat(pace, len(number)),
            "age": np.repeat(age, len(number)),
            "step": stars_given.ravel(),
            "stars_total": (stars[:, None] + stars_given.cumsum(axis=1)).ravel(),
            "factor": factor.ravel(),
        }
    )


READ = f"""
    create or replace table pipeline.intermediate.int_repo_days__stepped as
    select
        date '{FIRST}' + number::integer as day, repo_key::bigint as repo_key, 'own/' || repo_key as full_name,
        null::varchar as language, day + interval 4 hours as observed_at, stars_total, stars_total // 10 as forks_total,
        case when age > 0 then date '{FIRST}' - age::integer end::timestamp as created_at,
        case when number > 0 then step end as step, case when number > 0 then 24.0 end as gap_hours,
        false as is_dropped, false as is_restored, false as is_below_peak, false as is_doubtful, false as is_purged,
        false as is_returned, false as is_waved, 0 as excluded_step
    from histories
"""


@pytest.fixture(scope="module")
def warehouse(manifest: dict[str, Any]) -> TinyWarehouse:
    """The models from the steps of the totals to the marts; their other inputs are empty."""
    warehouse = TinyWarehouse(manifest, MODELS)
    warehouse.connection.execute(
        f"""
        create schema pipeline.seeds;
        create table pipeline.seeds.signal_weights as
            from read_csv('{ROOT / "dbt_project" / "seeds" / "signal_weights.csv"}');
        create table pipeline.intermediate.int_repos__identified (repo_id bigint, repo_key bigint);
        create table pipeline.intermediate.int_star_days__read (
            repo_id bigint, day date, stars_gained bigint, fetched_at timestamp, reading integer
        );
        create table pipeline.intermediate.int_repo_days__authenticated (
            day date, repo_key bigint, authenticity varchar, authenticity_reasons varchar[]
        );
        """
    )
    return warehouse


def judged(warehouse: TinyWarehouse, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the histories after the warm-up as the models judge them."""
    warehouse.connection.register("histories", frame)
    warehouse.connection.execute(READ)
    warehouse.build()
    return warehouse.connection.execute(
        f"""
        select histories.*, signal.expected_change, signal.surprise, surprised.is_surprising, signal.is_breakout
        from histories
        inner join reposignal.main.fct_repo_signal_day as signal
            on signal.day = date '{FIRST}' + number::integer and signal.repo_key = histories.repo_key
        inner join pipeline.intermediate.int_repo_days__surprised as surprised
            on surprised.day = signal.day and surprised.repo_key = signal.repo_key
        where number >= {WARM_UP}
        """
    ).df()


def false_calls(warehouse: TinyWarehouse, **drawn: Any) -> tuple[int, int, int]:
    """Return the number of days, of days with any surprise, and of days with a breakout."""
    daily = []
    for seed in range(SEEDS):
        found = judged(warehouse, histories(seed, **drawn))
        assert found.is_breakout.notna().all()
        daily.append(found.astype({"is_surprising": bool, "is_breakout": bool}).groupby("number")[CALLS].any())
    days = pd.concat(daily)
    print(f"{drawn}: {len(days)} days, {days.sum().to_dict()}")
    return len(days), int(days.is_surprising.sum()), int(days.is_breakout.sum())


def most(days: int, share: float) -> float:
    """Return how many days may have a false call: a share of them, and chance (one test in 1,000)."""
    return float(binom.isf(0.001, days, share))


NULLS: dict[str, dict[str, Any]] = {
    "as the model says": {},
    "little dispersion": {"dispersion": 0.03},
    "few stars a day come in clumps": {"scatter": "unstars"},
    "half of them asleep": {"sleeping": 0.5},
}


@pytest.mark.parametrize("null", NULLS)
def test_where_nothing_is_unusual_few_days_have_a_discovery(warehouse: TinyWarehouse, null: str) -> None:
    """All are false then, so the false discovery rate is the share of days with any."""
    days, surprising, breakout = false_calls(warehouse, **NULLS[null])
    assert days == SEEDS * (DAYS - WARM_UP)
    assert surprising <= most(days, NOMINAL)
    assert breakout <= most(days, 0.002)


def test_repositories_with_a_larger_scatter_are_not_breakouts(warehouse: TinyWarehouse) -> None:
    """Each has its own dispersion and is judged by the middle one: more surprises than promised, no breakouts."""
    days, surprising, breakout = false_calls(warehouse, dispersion=(0.03, 0.4))
    assert surprising <= most(days, 3 * NOMINAL)
    assert breakout <= most(days, 0.002)


def test_a_day_without_stars_is_not_surprising(warehouse: TinyWarehouse) -> None:
    found = judged(warehouse, histories(7, sleeping=0.5))
    none = found[found.step == 0]
    assert len(none) > 30_000
    assert not none.is_surprising.any()
    assert none.surprise.max() <= 0.2
    # in the middle on an expected day
    some = found[(found.expected_change > 3) & (found.pace > 3)]
    assert some.surprise.median() == pytest.approx(0, abs=0.1)
    assert (some.surprise > norm.isf(NOMINAL)).mean() == pytest.approx(NOMINAL, abs=0.015)


# --- bursts


def test_bursts_are_called(warehouse: TinyWarehouse) -> None:
    """Three days at a multiple of the pace, called by the end of the third."""
    bursts = []
    for seed in range(100, 106):
        found = judged(warehouse, histories(seed, bursts=True))
        calls = found[found.factor > 1].astype({"is_surprising": bool, "is_breakout": bool})
        bursts.append(calls.groupby(["repo_key", "factor", "pace"], as_index=False)[CALLS].any())
    all_bursts = pd.concat(bursts)
    all_bursts["pace"] = pd.cut(all_bursts.pace, PACES, right=False)
    table = all_bursts.groupby(["factor", "pace"], observed=True)[CALLS].agg(["size", "mean"]).round(2)
    print(table)
    fast = all_bursts[all_bursts.pace.cat.codes >= PACES.index(3)]
    recall = fast.groupby("factor")[CALLS].mean()
    assert fast.groupby("factor").size().min() >= 20
    assert recall.is_surprising[5] >= 0.6
    assert recall.is_surprising[10] >= 0.95
    # a breakout is ten times the expected: about half of the bursts of ten times have such a night among their last two
    assert recall.is_breakout[5] <= 0.2 <= recall.is_breakout[10]
    assert recall.is_breakout[20] >= 0.9
    # for a repository with a star in three days, 20 times that is seven a day, which cannot be detected
    assert all_bursts[(all_bursts.pace.cat.codes == 0) & (all_bursts.factor == FACTORS[0])].is_breakout.sum() == 0
