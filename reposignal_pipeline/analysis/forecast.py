"""Forecasts the probability that a repository passes its next star threshold within six weeks.

This module defines the published tables, the model (a few small networks stored as readable JSON), its fit, the
walk-forward backtest, scores and reliability. It takes and returns data frames; `defs.forecasts` reads and writes the
warehouse. docs/forecasts.md explains the choices.

The inputs of the model are the days that the distance to a threshold takes at a repository's paces of the last night,
week, month and year. Fits use randomly drawn distances instead of those to round thresholds, so every week of every
repository is an example, not only the weeks before a crossing.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reposignal_pipeline.analysis.weekly import WeeklyTable

THRESHOLDS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
HORIZON_DAYS = 42
LATE_DAYS = 14
"""The first reading on the due day, or up to this many days later, settles a miss."""
REACH = 5
"""A threshold is within reach from a fifth of it on. For the next threshold this matters only below 1,000 stars."""
CALL = 0.5
"""A forecast of at least this probability is a call: it predicts that the threshold will be passed."""
EVENT = "stars_threshold"
"""forecasts of the next threshold, which the track record covers"""
FURTHER_EVENT = "further_stars_threshold"
"""forecasts of a threshold beyond the next one that is also within reach"""
FURTHER_FROM = 0.05
"""least probability of the next threshold for which further ones are forecast; below it they are about 0"""
BACKTEST_DAYS = 7
"""A forecast made more than this many days after its Monday counts as a backtest: part of the outcome was known."""

FAMILY = "forecast-1"
"""version of inputs and method; increases with each change of either"""
SHIPPED = Path(__file__).parent / "models" / f"{FAMILY}+2024-07-01.json"
"""model fitted on the recorded rankings before that day, used where the history of a home is too short for a fit"""

LEAST_CROSSINGS = 300
"""crossings that a fit needs: about 20 per input"""
FIT_ROWS = 400_000
"""More rows changed the skill by less than 0.002."""
MOST_DRAWS = 8
"""thresholds drawn for each row of a short history; more add almost no information"""
MEMBERS = 3
"""networks that differ in their random start; their mean logit is more stable than a single one"""
UNITS = 16
EPOCHS = 12
DECAY = 0.01
SPREAD = 1.0
"""standard deviation of the log of drawn distances, around the distance that 42 days at the usual pace cover"""

PACES: dict[str, tuple[str, ...]] = {
    "velocity_28d": ("pace_4w", "pace_3w", "pace_2w", "pace_1w"),
    "velocity_7d": ("pace_1w",),
    "velocity_24h": ("pace_3d", "velocity_7d", "pace_1w"),
    "pace_3d": ("velocity_7d", "pace_1w"),
    "pace_1w": (),
    "pace_2w_1w": ("pace_2w", "pace_1w"),
    "pace_4w_2w": ("pace_4w", "pace_2w", "pace_1w"),
    "pace_8w_4w": ("pace_8w", "pace_4w", "pace_1w"),
    "pace_12w": ("pace_8w", "pace_4w", "pace_1w"),
    "pace_52w": ("pace_26w", "pace_12w", "pace_1w"),
    "best_week": ("pace_1w",),
    "worst_week": ("pace_1w",),
    "best_night": ("pace_1w",),
}
"""input -> substitutes if it is unknown, in order. All are in stars/day; docs/forecasts.md defines them."""
SLOWEST_DAYS, FASTEST_DAYS = 2_000.0, 0.5
"""limits of the days to a threshold; a pace of 0 or less would take forever, and beyond five years nothing changes"""
KNOTS = tuple(float(days) for days in (5, 14, 30, 42, 60, 100, 300))
"""bends of each input, in days, so that a network of 16 units need not learn where six weeks are"""

FITTED_ON = [
    *dict.fromkeys([*PACES, *(other for stand_ins in PACES.values() for other in stand_ins)]),
    *("stars_total", "threshold", "days_since_before", "days_seen", "best_total", "settling_total", "has_break"),
]
"""columns of a frame that a fit reads"""

_DAY = np.timedelta64(1, "D")
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

FORECASTS = WeeklyTable(
    "fct_forecast",
    "Grain: forecast_id; for each repository and Monday the next threshold if it is within reach, and further "
    "thresholds within reach if the next one is at least 5 % likely. A row that was issued in time never changes. A "
    "backtest row is updated with late data; its former versions are in fct_forecast_superseded. Within reach: read in "
    "the week before and one to three weeks earlier, at least a fifth of the threshold, not below a former level. "
    "Source: fct_repo_signal_day, fct_repo_day, of days before issued_on.",
    {
        "forecast_id": ("VARCHAR", "Composed of issued_on, repo_key and threshold, so it is the same in every home."),
        "issued_on": ("DATE", "Monday, UTC; only days before it are used."),
        "week": ("DATE", "Monday of the week before issued_on, the last whose readings are used."),
        "repo_key": ("BIGINT", "Repository key when the row was made; if keys changed since, use full_name."),
        "full_name": ("VARCHAR", "owner/name at as_of_date; text by strangers."),
        "event": (
            "VARCHAR",
            "The forecast event: a total of at least threshold is observed. stars_threshold: the next threshold; "
            "further_stars_threshold: one beyond it.",
        ),
        "threshold": ("BIGINT", "Stars: of 1,000, 2,000, 5,000, 10,000, 20,000, 50,000, 100,000."),
        "horizon_days": ("INTEGER", "Days from issued_on to due_on."),
        "due_on": ("DATE", "Last day on which the event counts."),
        "probability": ("DOUBLE", "Probability that the event is observed from issued_on to due_on, 0-1."),
        "as_of_date": ("DATE", "UTC day of the last reading that was used."),
        "stars_total": ("BIGINT", "Stars held at that reading, below threshold."),
        "model_version": ("VARCHAR", "Method, and the day before which all examples of the model had ended."),
        "made_at": ("TIMESTAMP", "When the row was made, UTC."),
        "is_backtest": (
            "BOOLEAN",
            "True if made more than 7 days after issued_on. The model still used only earlier days; the developers of "
            "the method may have seen later ones.",
        ),
    },
)

SUPERSEDED = WeeklyTable(
    "fct_forecast_superseded",
    "Grain: forecast_id x superseded_at; former versions of backtest rows of fct_forecast, from before late data of "
    "days before issued_on changed them. Append-only. Source: fct_forecast.",
    {
        **FORECASTS.columns,
        "superseded_at": ("TIMESTAMP", "When the row was replaced or withdrawn, UTC."),
        "reason": (
            "VARCHAR",
            "revised: fct_forecast has a newer version. withdrawn: given the late data, the repository has another "
            "key, another next threshold, or is not within reach.",
        ),
    },
)
"""former backtest rows, so that no published row is ever lost"""

OUTCOMES = WeeklyTable(
    "fct_forecast_outcome",
    "Grain: forecast_id, from its due day on. The known outcome of a forecast that was issued in time never changes; "
    "outcomes of backtests and unknown outcomes are updated with late readings. Source: fct_forecast, fct_repo_day.",
    {
        "forecast_id": ("VARCHAR", "Forecast that is graded."),
        "resolved_on": (
            "DATE",
            "Day whose readings settle the forecast: the due day; for a miss, the first reading from the due day on.",
        ),
        "happened": (
            "BOOLEAN",
            "True: a total of at least threshold was read from issued_on to due_on. NULL: see reason.",
        ),
        "crossed_on": ("DATE", "Day of the first such reading; NULL if it did not happen."),
        "brier": ("DOUBLE", "(probability - happened)^2; NULL with happened."),
        "reason": (
            "VARCHAR",
            "Why happened is NULL: level_break (a wipe or its restoration before due_on), crossed_in_a_gap (no reading "
            "on the days of the crossing), not_observed (no reading on the 14 days from due_on).",
        ),
        "is_scored": (
            "BOOLEAN",
            "False if happened is NULL, and if a miss could not have been observed because nothing was read on the 14 "
            "days from due_on. Scores leave such rows out, because only hits would count on such days.",
        ),
        "graded_at": ("TIMESTAMP", "When the row was made, UTC."),
    },
)

_WEEK = ("DATE", "Monday that begins the week, UTC.")

BREAKOUTS = WeeklyTable(
    "weekly_breakouts",
    "Grain: week x repo_key, repositories with a breakout on any day of the week. Source: fct_repo_signal_day, "
    "fct_forecast of the Monday after.",
    {
        "week": _WEEK,
        "repo_key": ("BIGINT", "Repository, stable over renames: join key of every table."),
        "full_name": ("VARCHAR", "owner/name at the last breakout day of the week; text by strangers."),
        "as_of_date": ("DATE", "Last breakout day of the week; nothing later than the week is used."),
        "first_flagged_on": ("DATE", "First breakout day of the 28 days up to as_of_date."),
        "days_flagged": ("BIGINT", "Breakout days in the week."),
        "stars_total": ("BIGINT", "Stars held on as_of_date."),
        "probability": (
            "DOUBLE",
            "Probability that threshold is passed within 42 days of the Monday after the week; NULL if no forecast was "
            "issued.",
        ),
        "threshold": ("BIGINT", "Stars; NULL with probability."),
        "forecast_id": ("VARCHAR", "Row of fct_forecast; NULL with probability."),
        "rank": ("INTEGER", "Place by probability, then by days_flagged, from 1."),
    },
)

TRACK_RECORD = WeeklyTable(
    "weekly_track_record",
    "Grain: week x model_version; the forecasts of next thresholds (event stars_threshold) that were due in the week. "
    "Source: fct_forecast, fct_forecast_outcome.",
    {
        "week": _WEEK,
        "model_version": ("VARCHAR", "Model that made the forecasts."),
        "forecasts": ("BIGINT", "Forecasts due in the week."),
        "resolved": (
            "BIGINT",
            "Of these, graded and scored (fct_forecast_outcome.is_scored); the following columns cover only these.",
        ),
        "backtested": ("BIGINT", "Resolved forecasts that were made more than 7 days after their Monday."),
        "happened": ("BIGINT", "Resolved forecasts whose threshold was passed."),
        "expected": ("DOUBLE", "Sum of probabilities; equals happened on average if the model is calibrated."),
        "calls": ("BIGINT", "Forecasts of at least 0.5."),
        "hit_rate": ("DOUBLE", "Share of calls that happened, 0-1; NULL without a call."),
        "recall": ("DOUBLE", "Share of passed thresholds that were called, 0-1; NULL if none was passed."),
        "brier": ("DOUBLE", "Mean of (probability - happened)^2; NULL if none is resolved."),
        "base_rate": (
            "DOUBLE",
            "Share of all forecasts due in the 52 weeks up to this one, of any model, whose threshold was passed.",
        ),
        "brier_skill": (
            "DOUBLE",
            "1 - brier / the brier of always forecasting base_rate; 1 is perfect, 0 is no better than base_rate.",
        ),
        "log_loss": ("DOUBLE", "Mean of -ln of the probability given to the observed outcome."),
        "mean_lead_days": (
            "DOUBLE",
            "Mean days from issued_on to the crossing over the calls that happened; NULL without one.",
        ),
        "brier_skill_52w": ("DOUBLE", "brier_skill of all forecasts due in the 52 weeks up to this one, any model."),
        "reliability_52w": (
            "STRUCT(probability_from DOUBLE, forecasts BIGINT, mean_probability DOUBLE, happened_share DOUBLE)[]",
            "The same forecasts by tenths of probability: count, mean probability, observed share.",
        ),
    },
)


class TooShortError(Exception):
    """The history is too short for a fit; the message gives the number of crossings."""


@dataclass(frozen=True)
class Model:
    """A fitted model with its weights and a record of the data it was fitted on."""

    version: str
    fitted_to: str
    """ISO day before which every example had ended"""
    examples: int
    crossings: int
    """crossings of round thresholds in the history it was fitted on"""
    inputs: list[str]
    centre: list[float]
    scale: list[float]
    members: list[dict[str, Any]]
    """for each network: hidden (a list of weights per input), hidden_bias, out (a weight per unit), out_bias"""
    past: str = ""
    """`fingerprint` of the rows it was fitted on; the model is outdated if it differs for the same day"""

    @property
    def fitted_to_day(self) -> dt.date:
        return dt.date.fromisoformat(self.fitted_to)

    def probabilities(self, frame: pd.DataFrame, threshold: npt.ArrayLike | None = None) -> Floats:
        """Return the probability, 0-1, that each row passes `threshold` (default: the row's own) in time.

        Raises:
            ValueError: the model was fitted on other inputs.
        """
        names, values = inputs(frame, frame["threshold"] if threshold is None else threshold)
        if names != self.inputs:
            raise ValueError(f"model {self.version} was fitted on other inputs")
        scaled = (values - np.array(self.centre)) / np.array(self.scale)
        logit = np.zeros(len(frame))
        for member in self.members:
            hidden = np.maximum(scaled @ np.array(member["hidden"]) + np.array(member["hidden_bias"]), 0)
            logit += hidden @ np.array(member["out"]) + member["out_bias"]
        probability: Floats = 1 / (1 + np.exp(-np.clip(logit / len(self.members), -12, 12)))
        return probability

    def to_json(self) -> str:
        """Return the model as JSON, one line per entry."""
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in asdict(self).items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Model:
        return cls(**json.loads(text))


def inputs(frame: pd.DataFrame, threshold: npt.ArrayLike) -> tuple[list[str], Floats]:
    """Return (names of the inputs, inputs of each row as rows x inputs).

    Args:
        frame: rows of `defs.forecasts.frame`.
        threshold: stars, greater than the total of each row.
    """
    columns = dict(_inputs(frame, threshold))
    return list(columns), np.column_stack(list(columns.values()))


def _inputs(frame: pd.DataFrame, threshold: npt.ArrayLike) -> Iterator[tuple[str, Floats]]:
    stars = frame["stars_total"].to_numpy(float)
    distance = np.asarray(threshold, dtype=float) - stars
    near = np.zeros(len(frame))
    for name, stand_ins in PACES.items():
        pace = frame[name].to_numpy(float, copy=True)
        for other in stand_ins:
            pace = np.where(np.isnan(pace), frame[other].to_numpy(float), pace)
        with np.errstate(divide="ignore", invalid="ignore"):
            days = np.where(pace > 0, distance / pace, SLOWEST_DAYS)
        log_days = np.log(np.clip(days, FASTEST_DAYS, SLOWEST_DAYS))
        if name in ("velocity_28d", "velocity_7d"):
            near += log_days
        yield name, log_days
        for knot in KNOTS:
            yield f"{name}_from_{knot:.0f}", np.maximum(log_days - np.log(knot), 0)
    log_distance = np.log(np.maximum(distance, 1))
    yield "log_distance", log_distance
    yield "log_total", np.log(stars)
    yield "log_ratio", np.log(np.asarray(threshold, dtype=float) / stars)
    yield "log_distance_near", log_distance * (near / 2 - np.log(HORIZON_DAYS))
    yield "weeks_since_before", np.clip(frame["days_since_before"].to_numpy(float), 0, 60) / 7
    yield "log_days_seen", np.minimum(np.log1p(frame["days_seen"].to_numpy(float)), 6)


def further(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of each row for each further threshold within reach, with that threshold in `threshold`."""
    beyond = frame.merge(pd.DataFrame({"further_threshold": THRESHOLDS}), how="cross")
    beyond = beyond[
        (beyond["further_threshold"] > beyond["threshold"])
        & (beyond["further_threshold"] <= REACH * beyond["stars_total"])
    ]
    return beyond.drop(columns="threshold").rename(columns={"further_threshold": "threshold"})


def happened(frame: pd.DataFrame, threshold: npt.ArrayLike | None = None) -> Floats:
    """Return 1 if a threshold was passed in time, 0 if it was not, NaN if the outcome is unknown."""
    of = np.asarray(frame["threshold"] if threshold is None else threshold, dtype=float)
    passed = frame["best_total"].to_numpy(float) >= of
    missed = frame["settling_total"].to_numpy(float) < of
    outcome = np.where(passed, 1.0, np.where(missed, 0.0, np.nan))
    known: Floats = np.where(frame["has_break"].to_numpy(bool), np.nan, outcome)
    return known


def fit(frame: pd.DataFrame, fitted_to: dt.date, hashes: Hashes | None = None) -> Model:
    """Return a model fitted on the rows that had ended before a day; the same frame gives the same model.

    Args:
        frame: rows of `defs.forecasts.frame`; those that ended later are left out.
        fitted_to: the day.
        hashes: `row_hashes` of the frame, to avoid computing them for each of several fits.

    Raises:
        TooShortError: there are too few crossings before the day.
    """
    is_past = has_ended(frame, fitted_to)
    past_fingerprint = fingerprint((row_hashes(frame) if hashes is None else hashes)[is_past])
    past = frame.loc[is_past, FITTED_ON]
    crossings = int(np.nansum(happened(past[_is_issued(past)])))
    if crossings < LEAST_CROSSINGS:
        raise TooShortError(f"{crossings} crossings before {fitted_to}, but a fit needs {LEAST_CROSSINGS}")
    random = np.random.default_rng(0)
    if len(past) > FIT_ROWS:
        past = past.iloc[np.sort(random.choice(len(past), FIT_ROWS, replace=False))]
    draws = min(MOST_DRAWS, max(FIT_ROWS // max(len(past), 1), 1))
    past = past.iloc[np.tile(np.arange(len(past)), draws)]
    thresholds = drawn_thresholds(past, random)
    came = happened(past, thresholds)
    known = ~np.isnan(came)
    past, thresholds, came = past[known], thresholds[known], came[known]
    names, _ = inputs(past.head(1), thresholds[:1])
    scaled = np.empty((len(past), len(names)))
    for place, (_, values) in enumerate(_inputs(past, thresholds)):
        scaled[:, place] = values
    centre, scale = scaled.mean(axis=0), np.maximum(scaled.std(axis=0), 1e-6)
    scaled -= centre
    scaled /= scale
    return Model(
        version=f"{FAMILY}+{fitted_to}",
        fitted_to=str(fitted_to),
        examples=len(past),
        crossings=crossings,
        inputs=names,
        centre=_rounded(centre),
        scale=_rounded(scale),
        members=[_network(scaled, came.astype(int), seed) for seed in range(MEMBERS)],
        past=past_fingerprint,
    )


def _network(scaled: Floats, came: npt.NDArray[np.int_], seed: int) -> dict[str, Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    network = MLPClassifier(
        (UNITS,),
        alpha=DECAY,
        batch_size=min(512, len(scaled)),
        learning_rate_init=2e-3,
        max_iter=EPOCHS,
        random_state=seed,
    )
    # matrices of this size are too small for several threads
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # stops early on purpose
        network.fit(scaled, came)
    (hidden, out), (hidden_bias, out_bias) = network.coefs_, network.intercepts_
    return {
        "hidden": _rounded(hidden),
        "hidden_bias": _rounded(hidden_bias),
        "out": _rounded(out[:, 0]),
        "out_bias": _rounded(out_bias)[0],
    }


def ended(frame: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """Return the rows whose outcome was settled before a day."""
    return frame[has_ended(frame, day)]


def has_ended(frame: pd.DataFrame, day: dt.date) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows whose outcome was settled before a day."""
    return np.asarray(frame["settled_on"].to_numpy("datetime64[D]") < np.datetime64(day))


def row_hashes(frame: pd.DataFrame) -> Hashes:
    """Return a 64-bit hash of each row, without full_name."""
    known = frame.drop(columns="full_name", errors="ignore")
    return np.asarray(pd.util.hash_pandas_object(known, index=False), dtype=np.uint64)


def fingerprint(hashes: Hashes) -> str:
    """Return a short text that identifies a set of rows, independent of their order."""
    return f"{len(hashes)}-{int(hashes.sum()):016x}"


def drawn_thresholds(frame: pd.DataFrame, random: np.random.Generator) -> Floats:
    """Return a threshold for each row at a random distance, centred on the distance its pace covers in the horizon."""
    known = frame[["velocity_28d", "pace_4w", "pace_1w"]].to_numpy(float)
    pace = np.nan_to_num(np.fmax.reduce(known, axis=1), nan=0.0)
    stars = frame["stars_total"].to_numpy(float)
    pace = np.maximum(pace, 0.004 * np.sqrt(stars))  # some repositories without growth leap too
    distance = np.maximum(pace * HORIZON_DAYS * np.exp(random.normal(0, SPREAD, len(frame))), 1)
    drawn: Floats = np.ceil(stars + distance)
    return drawn


def _is_issued(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    return np.asarray(frame["threshold"].notna(), dtype=bool)


def _rounded(values: npt.ArrayLike) -> Any:
    """Return values as lists, rounded to six digits, so that a stored model equals the model in memory."""
    array = np.asarray(values, dtype=float)
    return np.vectorize(lambda value: float(f"{value:.6g}"))(array).tolist()


def quarter_of(day: dt.date) -> dt.date:
    """Return the first day of the quarter of a day."""
    return dt.date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)


def walk_forward(frame: pd.DataFrame, first: dt.date, last: dt.date) -> pd.DataFrame:
    """Return the forecasts of a walk-forward backtest for the Mondays from `first` to `last`, refitted each quarter.

    Args:
        frame: rows of `defs.forecasts.frame`, for all Mondays from the beginning of the history to `last`.
        first: first Monday to forecast.
        last: last Monday to forecast.

    Returns:
        issued_on, repo_key, threshold, model_version, probability; the forecasts of simpler rules: base_rate, linear (1
        if the 28-day pace reaches the threshold) and one_variable (a logistic regression on the days needed at that
        pace); happened (NaN if unknown) and crossed_on. Quarters whose history is too short are left out.
    """
    issued = frame[_is_issued(frame)]
    monday = issued["issued_on"].to_numpy("datetime64[D]")
    hashes = row_hashes(frame)
    predicted = []
    quarter = quarter_of(first)
    while quarter <= last:
        following = quarter_of(quarter + dt.timedelta(days=100))
        begin, end = max(quarter, first), min(following, last + dt.timedelta(days=1))
        rows = issued[(monday >= np.datetime64(begin)) & (monday < np.datetime64(end))]
        if len(rows):
            try:
                model = fit(frame, quarter, hashes)
            except TooShortError:
                pass
            else:
                predicted.append(_predicted(rows, model, ended(issued, quarter)))
        quarter = following
    columns = ["issued_on", "repo_key", "threshold", "model_version", "probability"]
    columns += ["base_rate", "linear", "one_variable", "happened", "crossed_on"]
    return pd.concat(predicted, ignore_index=True) if predicted else pd.DataFrame(columns=columns)


def _predicted(rows: pd.DataFrame, model: Model, past: pd.DataFrame) -> pd.DataFrame:
    from sklearn.linear_model import LogisticRegression

    came = happened(past)
    past, came = past[~np.isnan(came)], came[~np.isnan(came)]
    one = LogisticRegression(C=1e6).fit(_log_days_needed(past), came)
    days = _log_days_needed(rows)
    result = rows[["issued_on", "repo_key", "threshold"]].reset_index(drop=True)
    result["model_version"] = model.version
    result["probability"] = model.probabilities(rows)
    result["base_rate"] = came.mean()
    result["linear"] = (days[:, 0] <= np.log(HORIZON_DAYS)).astype(float)
    result["one_variable"] = one.predict_proba(days)[:, 1]
    result["happened"] = happened(rows)
    result["crossed_on"] = rows["crossed_on"].to_numpy() if "crossed_on" in rows else pd.NaT
    return result


def _log_days_needed(frame: pd.DataFrame) -> Floats:
    """Return the log of the days needed at the 28-day pace or its substitutes, the input of `one_variable`."""
    names, values = inputs(frame, frame["threshold"])
    return values[:, [names.index("velocity_28d")]]


def scores(predictions: pd.DataFrame, probability: str = "probability") -> dict[str, float]:
    """Return the scores of a column of probabilities over the rows with a known outcome.

    Args:
        predictions: rows as from `walk_forward`.
        probability: name of the column.

    Returns:
        forecasts, happened; brier; skill (1 - brier / the brier of always forecasting the share that happened, the
        hardest base rate); log_loss; average_precision; calls (probability of at least 0.5) and hit_rate; lead_days,
        the mean days from the first call of a crossing to the crossing. Undefined scores are NaN.

    Raises:
        ValueError: no outcome is known.
    """
    from sklearn.metrics import average_precision_score, log_loss

    known = predictions[predictions["happened"].notna()]
    if known.empty:
        raise ValueError("no forecast has a known outcome")
    came = known["happened"].to_numpy(float)
    predicted = known[probability].to_numpy(float)
    brier = float(np.mean((predicted - came) ** 2))
    rate = float(came.mean())
    has_both = 0 < rate < 1
    called = predicted >= CALL
    hits = known[called & (came == 1) & known["crossed_on"].notna().to_numpy()]
    first_calls = hits.groupby(["repo_key", "threshold", "crossed_on"])["issued_on"].min().reset_index()
    lead = (first_calls["crossed_on"] - first_calls["issued_on"]) / pd.Timedelta(days=1)
    return {
        "forecasts": len(known),
        "happened": float(came.sum()),
        "brier": brier,
        "skill": 1 - brier / (rate * (1 - rate)) if has_both else np.nan,
        "log_loss": float(log_loss(came, np.clip(predicted, 1e-6, 1 - 1e-6), labels=[0, 1])),
        "average_precision": float(average_precision_score(came, predicted)) if has_both else np.nan,
        "calls": float(called.sum()),
        "hit_rate": float(came[called].mean()) if called.any() else np.nan,
        "lead_days": float(lead.mean()) if len(lead) else np.nan,
    }


def reliability(predictions: pd.DataFrame, probability: str = "probability", bins: int = 10) -> pd.DataFrame:
    """Return a row for each bin of equal width: probability_from, forecasts, mean_probability, happened_share, off."""
    known = predictions[predictions["happened"].notna()]
    predicted = known[probability].to_numpy(float)
    place = np.minimum((predicted * bins).astype(int), bins - 1)
    table = pd.DataFrame({"place": place, "predicted": predicted, "came": known["happened"].to_numpy(float)})
    result = table.groupby("place").agg(
        forecasts=("predicted", "size"), mean_probability=("predicted", "mean"), happened_share=("came", "mean")
    )
    result = result.reset_index()
    result.insert(0, "probability_from", result.pop("place") / bins)
    result["off"] = result["mean_probability"] - result["happened_share"]
    return result


def reliability_png(bins: pd.DataFrame) -> bytes:
    """Return a plot of `reliability` as PNG; a calibrated forecast is on the diagonal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(bins["mean_probability"], bins["happened_share"], color="#1f5fa8", marker="o")
    for mean, came, count in zip(bins["mean_probability"], bins["happened_share"], bins["forecasts"], strict=True):
        axes.annotate(f"{count:,}", (mean, came), xytext=(6, -10), textcoords="offset points", fontsize=8)
    axes.set(xlabel="forecast probability", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
