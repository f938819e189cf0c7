"""The forecast model: it fits on the past only, states how certain it is, and is graded impartially."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from reposignal_pipeline.analysis.forecast import (
    PACES,
    SHIPPED,
    THRESHOLDS,
    Model,
    TooShortError,
    drawn_thresholds,
    ended,
    fit,
    happened,
    inputs,
    quarter_of,
    reliability,
    reliability_png,
    scores,
    walk_forward,
)

FIRST = pd.Timestamp("2022-01-03")
WEEKS = 60
MODEL_DAY = dt.date(2023, 1, 1)
EVERY_PACE = sorted({*PACES, *(other for others in PACES.values() for other in others)})


def history(seed: int = 0, repos: int = 100) -> pd.DataFrame:
    """Return a frame of repositories that grow daily at individual, wandering paces."""
    random = np.random.default_rng(seed)
    pace = np.exp(random.normal(2.5, 1, repos))
    stars = random.uniform(300, 9_000, repos)
    totals, paces = [], []
    for _ in range(WEEKS + 6):
        stars = stars + 7 * pace
        pace = pace * np.exp(random.normal(0, 0.1, repos))
        totals.append(stars.copy())
        paces.append(pace.copy())
    rows = []
    for week in range(WEEKS):
        total = np.floor(totals[week])
        following = np.array([min((t for t in THRESHOLDS if t > total_), default=np.nan) for total_ in total])
        ahead = np.floor(totals[week + 6])
        monday = FIRST + pd.Timedelta(weeks=week)
        rows.append(
            pd.DataFrame(
                dict.fromkeys(EVERY_PACE, paces[week])
                | {
                    "issued_on": monday,
                    "repo_key": np.arange(repos),
                    "stars_total": total,
                    "threshold": following,
                    "days_since_before": 7,
                    "days_seen": 7 * week + 7,
                    "best_total": ahead,
                    "settling_total": ahead,
                    "settled_on": monday + pd.Timedelta(days=42),
                    "has_break": False,
                    "crossed_on": monday + pd.to_timedelta(np.where(ahead >= following, 30, np.nan), unit="D"),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def past() -> pd.DataFrame:
    return history()


@pytest.fixture(scope="module")
def model(past: pd.DataFrame) -> Model:
    return fit(past, MODEL_DAY)


@pytest.fixture(scope="module")
def predictions(past: pd.DataFrame) -> pd.DataFrame:
    return walk_forward(past, dt.date(2022, 10, 1), dt.date(2023, 2, 28))


def test_the_future_of_the_fit_changes_nothing(past: pd.DataFrame, model: Model) -> None:
    changed = past.copy()
    later = changed["settled_on"] >= pd.Timestamp(MODEL_DAY)
    assert later.any()
    changed.loc[later, ["best_total", "settling_total"]] = 1e9
    assert fit(changed, MODEL_DAY) == model
    assert fit(past[~later], MODEL_DAY) == model


def test_a_row_ends_when_its_outcome_was_read_not_when_it_was_issued(past: pd.DataFrame) -> None:
    rows = ended(past, dt.date(2022, 3, 1))
    assert rows["settled_on"].max() == pd.Timestamp("2022-02-28")
    assert rows["issued_on"].max() == pd.Timestamp("2022-01-17")


def test_text_holds_the_whole_model(past: pd.DataFrame, model: Model) -> None:
    again = Model.from_json(model.to_json())
    assert again == model
    np.testing.assert_array_equal(again.probabilities(past), model.probabilities(past))


def test_a_model_of_other_inputs_is_refused(past: pd.DataFrame, model: Model) -> None:
    other = Model(**{**vars(model), "inputs": model.inputs[1:]})
    with pytest.raises(ValueError, match="other inputs"):
        other.probabilities(past)


def test_a_past_without_crossings_is_too_short(past: pd.DataFrame) -> None:
    with pytest.raises(TooShortError, match="crossings before 2022-02-20"):
        fit(past, dt.date(2022, 2, 20))


def test_nearer_is_likelier_and_faster_is_likelier(past: pd.DataFrame, model: Model) -> None:
    row = past.iloc[[0]].copy()
    row["stars_total"] = 4_000.0
    row[EVERY_PACE] = 10.0
    probabilities = [model.probabilities(row, [threshold])[0] for threshold in (4_100, 4_300, 4_450, 4_900, 6_000)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[0] > 0.9
    assert probabilities[-1] < 0.1
    paces = [model.probabilities(row.assign(**dict.fromkeys(EVERY_PACE, pace)), [4_450])[0] for pace in (5, 10, 20)]
    assert paces == sorted(paces)


@pytest.mark.parametrize("shipped", [True, False])
def test_unknown_and_falling_paces_still_give_a_probability(past: pd.DataFrame, model: Model, shipped: bool) -> None:
    speaks = Model.from_json(SHIPPED.read_text(encoding="utf-8")) if shipped else model
    row = past.iloc[[0]].copy()
    row[EVERY_PACE] = np.nan
    row["pace_1w"] = 0.0
    falling = row.assign(**dict.fromkeys(EVERY_PACE, -5.0))
    for of in (row, falling):
        given = speaks.probabilities(of)
        assert 0 < given[0] < 0.2


def test_the_shipped_model_fits_42_days() -> None:
    shipped = Model.from_json(SHIPPED.read_text(encoding="utf-8"))
    assert shipped.fitted_to == "2024-07-01"
    assert shipped.version == SHIPPED.stem
    row = history(repos=1).iloc[[59]]
    row = row.assign(stars_total=9_000.0, **dict.fromkeys(EVERY_PACE, 0.0))
    sure, open_, far = (
        shipped.probabilities(row.assign(**dict.fromkeys(EVERY_PACE, pace)), [10_000])[0] for pace in (50, 24, 8)
    )
    assert sure > 0.95
    assert 0.3 < open_ < 0.8
    assert far < 0.03


def test_a_break_or_an_unread_day_leaves_the_outcome_unknown(past: pd.DataFrame) -> None:
    row = past.iloc[[0, 0, 0, 0]].assign(
        threshold=1_000,
        best_total=[1_200, 900, 900, np.nan],
        settling_total=[np.nan, 900, 1_100, np.nan],
        has_break=False,
    )
    np.testing.assert_array_equal(happened(row), [1, 0, np.nan, np.nan])
    assert np.isnan(happened(row.assign(has_break=True))).all()


def test_drawn_thresholds_lie_ahead_and_are_the_same_again(past: pd.DataFrame) -> None:
    drawn = drawn_thresholds(past, np.random.default_rng(0))
    assert (drawn > past["stars_total"]).all()
    np.testing.assert_array_equal(drawn, drawn_thresholds(past, np.random.default_rng(0)))


def test_inputs_do_not_use_the_outcome(past: pd.DataFrame) -> None:
    blind = past.drop(columns=["best_total", "settling_total", "settled_on", "has_break", "crossed_on"])
    names, values = inputs(blind, blind["threshold"].fillna(1e6))
    assert len(names) == values.shape[1]
    assert np.isfinite(values).all()


def test_walking_forward_beats_the_simpler_rules(predictions: pd.DataFrame) -> None:
    found = {rule: scores(predictions, rule)["skill"] for rule in ("probability", "linear", "base_rate")}
    assert found["probability"] > found["linear"] > found["base_rate"]
    assert found["base_rate"] <= 0
    assert found["probability"] > 0.7
    assert set(predictions["model_version"]) == {"forecast-1+2022-10-01", "forecast-1+2023-01-01"}


def test_a_quarter_is_forecast_from_the_past_of_its_first_day(past: pd.DataFrame, predictions: pd.DataFrame) -> None:
    changed = past.copy()
    changed.loc[changed["settled_on"] >= pd.Timestamp("2022-10-01"), ["best_total", "settling_total"]] = 1e9
    again = walk_forward(changed, dt.date(2022, 10, 1), dt.date(2022, 12, 31))
    before = predictions[predictions["issued_on"] < pd.Timestamp("2023-01-01")].reset_index(drop=True)
    columns = ["issued_on", "repo_key", "probability", "base_rate", "linear", "one_variable"]
    pd.testing.assert_frame_equal(again[columns], before[columns])


def test_without_a_past_there_is_no_forecast(past: pd.DataFrame) -> None:
    assert walk_forward(past, dt.date(2022, 1, 1), dt.date(2022, 1, 31)).empty


def graded(*rows: tuple[float, float | None]) -> pd.DataFrame:
    """Return predictions as (probability, happened), each for a different repository."""
    return pd.DataFrame(
        {
            "issued_on": FIRST,
            "repo_key": range(len(rows)),
            "threshold": 1_000,
            "probability": [probability for probability, _ in rows],
            "happened": [np.nan if came is None else came for _, came in rows],
            "crossed_on": FIRST + pd.to_timedelta([20 if came else np.nan for _, came in rows], unit="D"),
        }
    )


def test_scores_of_a_few_forecasts_by_hand() -> None:
    found = scores(graded((0.9, 1), (0.6, 0), (0.1, 0), (0.2, 0), (0.5, None)))
    assert found["forecasts"] == 4
    assert found["happened"] == 1
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.01 + 0.04) / 4)
    assert found["skill"] == pytest.approx(1 - found["brier"] / (0.25 * 0.75))
    assert (found["calls"], found["hit_rate"], found["lead_days"]) == (2, 0.5, 20)
    assert found["average_precision"] == 1


def test_scores_without_anything_that_happened_have_no_skill() -> None:
    found = scores(graded((0.1, 0), (0.2, 0)))
    assert np.isnan(found["skill"])
    assert found["brier"] == pytest.approx(0.025)


def test_bins_are_of_equal_width_and_certainty_is_in_the_last() -> None:
    bins = reliability(graded((0.05, 0), (0.95, 1), (1.0, 1), (0.95, 0), (0.4, None)))
    assert list(bins["probability_from"]) == [0, 0.9]
    assert list(bins["forecasts"]) == [1, 3]
    assert bins["off"].iloc[1] == pytest.approx((0.95 + 1 + 0.95) / 3 - 2 / 3)


def test_the_plot_is_a_png() -> None:
    assert reliability_png(reliability(graded((0.1, 0), (0.9, 1)))).startswith(b"\x89PNG")


def test_quarters() -> None:
    assert quarter_of(dt.date(2024, 3, 31)) == dt.date(2024, 1, 1)
    assert quarter_of(dt.date(2024, 10, 1)) == dt.date(2024, 10, 1)
