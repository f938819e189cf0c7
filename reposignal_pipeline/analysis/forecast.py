"""The probability that a repository's stars pass the next threshold within six weeks: fitted, told, graded.

Here: what is forecast, the model (a few small networks that are kept as readable JSON), its fit on a past, walking
forward, scores and reliability; frames in, frames out. Not here: where frames come from and where they go
(`defs.forecasts`), and why it is done so (docs/forecasts.md).

The model is of the days that the distance to a threshold takes at a repository's paces: last night's, last week's, last
month's, last year's. Where it is fitted the distances are drawn at random, not those to round numbers: every week of
every repository tells what a distance is worth, not only the weeks before a crossing.
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
"""A miss is told by the first reading on the due day or at most so many days after it."""
REACH = 5
"""within reach: at least a fifth of the threshold. For the next one it binds below 1,000 stars alone."""
CALL = 0.5
"""A forecast of at least this is a call: it says that the threshold will be passed."""
EVENT = "stars_threshold"
"""of the next threshold: what the track record is of"""
FURTHER_EVENT = "further_stars_threshold"
"""of a threshold beyond the next one that is within reach, too"""
FURTHER_FROM = 0.05
"""the next threshold's probability from which further ones are told: below it they are about 0"""
BACKTEST_DAYS = 7
"""A forecast made more than so many days after the Monday it speaks of could have known the outcome's beginning."""

FAMILY = "forecast-1"
"""version of inputs and method; with each change of either it is one more"""
SHIPPED = Path(__file__).parent / "models" / f"{FAMILY}+2024-07-01.json"
"""fitted on the recorded rankings before that day: speaks where a home has too short a past of its own"""

LEAST_CROSSINGS = 300
"""a model of its own wants so many crossings in a home's past: about 20 per input"""
FIT_ROWS = 400_000
"""More rows moved the skill by less than 0.002."""
MOST_DRAWS = 8
"""thresholds drawn for each row of a past that is short: more would be nearly the same again"""
MEMBERS = 3
"""networks that differ in their random start; their mean logit is steadier than any of them"""
UNITS = 16
EPOCHS = 12
DECAY = 0.01
SPREAD = 1.0
"""of the drawn distances, in logs around what 42 days at the usual pace cover: 15 days to 115 within one deviation"""

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
"""input -> what stands in for it where it is unknown. All are stars/day; see docs/forecasts.md for what they are."""
SLOWEST_DAYS, FASTEST_DAYS = 2_000.0, 0.5
"""A pace of nothing, or less, would take for ever: beyond five years the difference is none."""
KNOTS = tuple(float(days) for days in (5, 14, 30, 42, 60, 100, 300))
"""bends of each input, in days: so that a network of 16 units need not learn where six weeks are"""

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
    "Grain: forecast_id; for each repository and Monday the next threshold, if it is within reach, and where that is "
    "at least 5 % likely, further ones within reach. A row that was issued in time never changes. A backtest row "
    "follows late data; its former versions are in fct_forecast_superseded. Within reach: read in the "
    "week before and one to three weeks earlier, at least a fifth of the threshold, not below a former level. Source: "
    "fct_repo_signal_day, fct_repo_day, of days before issued_on.",
    {
        "forecast_id": ("VARCHAR", "Made of issued_on, repo_key and threshold: the same wherever it is made."),
        "issued_on": ("DATE", "Monday, UTC; only days before it are used."),
        "week": ("DATE", "Monday of the week before issued_on, the last whose readings are used."),
        "repo_key": ("BIGINT", "Repository when it was made; where keys changed since, full_name tells which it is."),
        "full_name": ("VARCHAR", "owner/name at as_of_date; text by strangers."),
        "event": (
            "VARCHAR",
            "A total of at least threshold is observed. stars_threshold: it is the next one; "
            "further_stars_threshold: it lies beyond that.",
        ),
        "threshold": ("BIGINT", "Stars: of 1,000, 2,000, 5,000, 10,000, 20,000, 50,000, 100,000."),
        "horizon_days": ("INTEGER", "Days from issued_on to due_on."),
        "due_on": ("DATE", "Last day on which the event counts."),
        "probability": ("DOUBLE", "That the event is observed from issued_on to due_on, 0-1."),
        "as_of_date": ("DATE", "UTC day of the last reading that was used."),
        "stars_total": ("BIGINT", "Stars held at that reading, below threshold."),
        "model_version": ("VARCHAR", "Method and the day before which the model's examples had ended."),
        "made_at": ("TIMESTAMP", "When the row was made, UTC."),
        "is_backtest": (
            "BOOLEAN",
            "True if made more than 7 days after issued_on: the model saw the past only, its maker may not have.",
        ),
    },
)

SUPERSEDED = WeeklyTable(
    "fct_forecast_superseded",
    "Grain: forecast_id x superseded_at; backtest rows of fct_forecast as they were before late data of the days "
    "before issued_on changed them. Append-only. Source: fct_forecast.",
    {
        **FORECASTS.columns,
        "superseded_at": ("TIMESTAMP", "When another version took the place of this row, or none did, UTC."),
        "reason": (
            "VARCHAR",
            "revised: fct_forecast has a newer version. withdrawn: with the late data the repository has another key, "
            "another next threshold, or is not within reach.",
        ),
    },
)
"""what backtests said before late data arrived: nothing that was ever published is lost"""

OUTCOMES = WeeklyTable(
    "fct_forecast_outcome",
    "Grain: forecast_id, from its due day on. The known outcome of a forecast that was issued in time never changes; "
    "that of a backtest, and one that is not known yet, follow late readings. Source: fct_forecast, fct_repo_day.",
    {
        "forecast_id": ("VARCHAR", "Forecast that is graded."),
        "resolved_on": (
            "DATE",
            "Day by whose readings it is settled: the due day, or of a miss the first reading from it on.",
        ),
        "happened": (
            "BOOLEAN",
            "True: a total of at least threshold was read from issued_on to due_on. NULL: see reason.",
        ),
        "crossed_on": ("DATE", "Day of the first such reading; NULL if it did not happen."),
        "brier": ("DOUBLE", "(probability - happened)^2; NULL with happened."),
        "reason": (
            "VARCHAR",
            "Why happened is NULL: level_break (a wipe or its restoration before due_on), crossed_in_a_gap (not read "
            "on the days in question), not_observed (no reading on the 14 days from due_on).",
        ),
        "is_scored": (
            "BOOLEAN",
            "False where happened is NULL, and where a crossing is known but a miss could not have been: nothing "
            "at all was read on the 14 days from due_on. Scores leave these out: of such days hits alone would count.",
        ),
        "graded_at": ("TIMESTAMP", "When the row was made, UTC."),
    },
)

_WEEK = ("DATE", "Monday that begins the week, UTC.")

BREAKOUTS = WeeklyTable(
    "weekly_breakouts",
    "Grain: week x repo_key, repositories that were a breakout on a day of the week. Source: fct_repo_signal_day, "
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
            "That threshold is passed within 42 days of the Monday after the week; NULL: none was issued.",
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
            "Of these, graded and scored (fct_forecast_outcome.is_scored); all figures below are of them.",
        ),
        "backtested": ("BIGINT", "Of the resolved, made more than 7 days after their Monday."),
        "happened": ("BIGINT", "Of the resolved, those whose threshold was passed."),
        "expected": ("DOUBLE", "Sum of probabilities: what happened would be if they were right."),
        "calls": ("BIGINT", "Forecasts of at least 0.5."),
        "hit_rate": ("DOUBLE", "Share of calls that happened, 0-1; NULL without a call."),
        "recall": ("DOUBLE", "Share of what happened that was called, 0-1; NULL if nothing happened."),
        "brier": ("DOUBLE", "Mean of (probability - happened)^2; NULL if none is resolved."),
        "base_rate": ("DOUBLE", "Share that happened of all forecasts due in the 52 weeks up to this one, any model."),
        "brier_skill": ("DOUBLE", "1 - brier / that of telling base_rate every time; 1 is perfect, 0 no better."),
        "log_loss": ("DOUBLE", "Mean of -ln of the probability of what came."),
        "mean_lead_days": (
            "DOUBLE",
            "Days from issued_on to the crossing, mean over the calls that happened; NULL without one.",
        ),
        "brier_skill_52w": ("DOUBLE", "brier_skill of all forecasts due in the 52 weeks up to this one, any model."),
        "reliability_52w": (
            "STRUCT(probability_from DOUBLE, forecasts BIGINT, mean_probability DOUBLE, happened_share DOUBLE)[]",
            "Of the same forecasts by tenths of probability: how many, what was told, what came.",
        ),
    },
)


class TooShortError(Exception):
    """A past that is too short to fit on; the message says what is missing."""


@dataclass(frozen=True)
class Model:
    """A fitted model: all that is needed to tell a probability, and what it was fitted on."""

    version: str
    fitted_to: str
    """ISO day: every example had ended before it"""
    examples: int
    crossings: int
    """of round thresholds in the past it was fitted on"""
    inputs: list[str]
    centre: list[float]
    scale: list[float]
    members: list[dict[str, Any]]
    """hidden: a list of weights per input; hidden_bias; out: a weight per unit; out_bias"""
    past: str = ""
    """`fingerprint` of the rows it was fitted on: with other rows before the same day it is out of date"""

    @property
    def fitted_to_day(self) -> dt.date:
        return dt.date.fromisoformat(self.fitted_to)

    def probabilities(self, frame: pd.DataFrame, threshold: npt.ArrayLike | None = None) -> Floats:
        """Return the probability of each row that `threshold`, or the row's own, is passed in time."""
        names, values = inputs(frame, frame["threshold"] if threshold is None else threshold)
        if names != self.inputs:
            raise ValueError(f"model {self.version} was fitted on other inputs")
        scaled = (values - np.array(self.centre)) / np.array(self.scale)
        logit = np.zeros(len(frame))
        for member in self.members:
            hidden = np.maximum(scaled @ np.array(member["hidden"]) + np.array(member["hidden_bias"]), 0)
            logit += hidden @ np.array(member["out"]) + member["out_bias"]
        told: Floats = 1 / (1 + np.exp(-np.clip(logit / len(self.members), -12, 12)))
        return told

    def to_json(self) -> str:
        """Return the model as text: a line an entry."""
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in asdict(self).items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Model:
        return cls(**json.loads(text))


def inputs(frame: pd.DataFrame, threshold: npt.ArrayLike) -> tuple[list[str], Floats]:
    """Return the model's inputs for each row, with their names.

    Args:
        frame: rows of `defs.forecasts.frame`.
        threshold: stars, above each row's total.
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
    """Return a row for each threshold beyond a row's own that is within reach, with that threshold as its own."""
    beyond = frame.merge(pd.DataFrame({"further_threshold": THRESHOLDS}), how="cross")
    beyond = beyond[
        (beyond["further_threshold"] > beyond["threshold"])
        & (beyond["further_threshold"] <= REACH * beyond["stars_total"])
    ]
    return beyond.drop(columns="threshold").rename(columns={"further_threshold": "threshold"})


def happened(frame: pd.DataFrame, threshold: npt.ArrayLike | None = None) -> Floats:
    """Return 1 where a threshold was passed in time, 0 where it was not, NaN where it cannot be told."""
    of = np.asarray(frame["threshold"] if threshold is None else threshold, dtype=float)
    passed = frame["best_total"].to_numpy(float) >= of
    missed = frame["settling_total"].to_numpy(float) < of
    told = np.where(passed, 1.0, np.where(missed, 0.0, np.nan))
    known: Floats = np.where(frame["has_break"].to_numpy(bool), np.nan, told)
    return known


def fit(frame: pd.DataFrame, fitted_to: dt.date, hashes: Hashes | None = None) -> Model:
    """Return a model of what had ended before a day; the same frame gives the same model.

    Args:
        frame: rows of `defs.forecasts.frame`; those that ended later are left out.
        hashes: `row_hashes` of the frame, where it is fitted on more than once.

    Raises:
        TooShortError: if that past has too few crossings.
    """
    is_past = has_ended(frame, fitted_to)
    past_fingerprint = fingerprint((row_hashes(frame) if hashes is None else hashes)[is_past])
    past = frame.loc[is_past, FITTED_ON]
    crossings = int(np.nansum(happened(past[_is_issued(past)])))
    if crossings < LEAST_CROSSINGS:
        raise TooShortError(f"{crossings} crossings before {fitted_to}, {LEAST_CROSSINGS} are needed")
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
    # threads for products of this size only wait for one another
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # it stops early on purpose
        network.fit(scaled, came)
    (hidden, out), (hidden_bias, out_bias) = network.coefs_, network.intercepts_
    return {
        "hidden": _rounded(hidden),
        "hidden_bias": _rounded(hidden_bias),
        "out": _rounded(out[:, 0]),
        "out_bias": _rounded(out_bias)[0],
    }


def ended(frame: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """Return the rows whose outcome was settled by readings before a day."""
    return frame[has_ended(frame, day)]


def has_ended(frame: pd.DataFrame, day: dt.date) -> npt.NDArray[np.bool_]:
    """Return which rows those are."""
    return np.asarray(frame["settled_on"].to_numpy("datetime64[D]") < np.datetime64(day))


def row_hashes(frame: pd.DataFrame) -> Hashes:
    """Return a number for each row that differs when the row does."""
    known = frame.drop(columns="full_name", errors="ignore")
    return np.asarray(pd.util.hash_pandas_object(known, index=False), dtype=np.uint64)


def fingerprint(hashes: Hashes) -> str:
    """Return a short text that differs when the rows of a past differ, in whatever order their hashes come."""
    return f"{len(hashes)}-{int(hashes.sum()):016x}"


def drawn_thresholds(frame: pd.DataFrame, random: np.random.Generator) -> Floats:
    """Return a threshold for each row at a random distance, around what its pace covers in the horizon."""
    known = frame[["velocity_28d", "pace_4w", "pace_1w"]].to_numpy(float)
    pace = np.nan_to_num(np.fmax.reduce(known, axis=1), nan=0.0)
    stars = frame["stars_total"].to_numpy(float)
    pace = np.maximum(pace, 0.004 * np.sqrt(stars))  # of those that stand still, too, some leap
    distance = np.maximum(pace * HORIZON_DAYS * np.exp(random.normal(0, SPREAD, len(frame))), 1)
    drawn: Floats = np.ceil(stars + distance)
    return drawn


def _is_issued(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    return np.asarray(frame["threshold"].notna(), dtype=bool)


def _rounded(values: npt.ArrayLike) -> Any:
    """Return values as lists, with the digits that matter: what is stored is what speaks."""
    array = np.asarray(values, dtype=float)
    return np.vectorize(lambda value: float(f"{value:.6g}"))(array).tolist()


def quarter_of(day: dt.date) -> dt.date:
    """Return the first day of a day's quarter."""
    return dt.date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)


def walk_forward(frame: pd.DataFrame, first: dt.date, last: dt.date) -> pd.DataFrame:
    """Return what would have been told on the Mondays from `first` to `last`, by models of the past of each quarter.

    Args:
        frame: rows of `defs.forecasts.frame`, for all Mondays from the beginning of the past to `last`.

    Returns:
        issued_on, repo_key, threshold, model_version, probability; beside it what simpler rules would have told:
        base_rate, linear (1 if the 28-day pace gets there) and one_variable (a logistic of the days needed at it);
        happened (NaN: cannot be told) and crossed_on. Without the Mondays whose past was too short.
    """
    issued = frame[_is_issued(frame)]
    monday = issued["issued_on"].to_numpy("datetime64[D]")
    hashes = row_hashes(frame)
    told = []
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
                told.append(_told(rows, model, ended(issued, quarter)))
        quarter = following
    columns = ["issued_on", "repo_key", "threshold", "model_version", "probability"]
    columns += ["base_rate", "linear", "one_variable", "happened", "crossed_on"]
    return pd.concat(told, ignore_index=True) if told else pd.DataFrame(columns=columns)


def _told(rows: pd.DataFrame, model: Model, past: pd.DataFrame) -> pd.DataFrame:
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
    """Return the one variable: log of the days needed at the 28-day pace, or at what is known of it."""
    names, values = inputs(frame, frame["threshold"])
    return values[:, [names.index("velocity_28d")]]


def scores(predictions: pd.DataFrame, probability: str = "probability") -> dict[str, float]:
    """Return how good a column of probabilities was where the outcome is known.

    Args:
        predictions: as from `walk_forward`.

    Returns:
        forecasts, happened; brier; skill (1 - brier / that of telling the very share that happened: the hardest base
        rate); log_loss; average_precision; calls and hit_rate of at least 0.5; lead_days, the mean of days from the
        first call for a crossing to the crossing. NaN where there is nothing to tell it by.

    Raises:
        ValueError: if no outcome is known.
    """
    from sklearn.metrics import average_precision_score, log_loss

    known = predictions[predictions["happened"].notna()]
    if known.empty:
        raise ValueError("no forecast has a known outcome")
    came = known["happened"].to_numpy(float)
    told = known[probability].to_numpy(float)
    brier = float(np.mean((told - came) ** 2))
    rate = float(came.mean())
    has_both = 0 < rate < 1
    called = told >= CALL
    hits = known[called & (came == 1) & known["crossed_on"].notna().to_numpy()]
    first_calls = hits.groupby(["repo_key", "threshold", "crossed_on"])["issued_on"].min().reset_index()
    lead = (first_calls["crossed_on"] - first_calls["issued_on"]) / pd.Timedelta(days=1)
    return {
        "forecasts": len(known),
        "happened": float(came.sum()),
        "brier": brier,
        "skill": 1 - brier / (rate * (1 - rate)) if has_both else np.nan,
        "log_loss": float(log_loss(came, np.clip(told, 1e-6, 1 - 1e-6), labels=[0, 1])),
        "average_precision": float(average_precision_score(came, told)) if has_both else np.nan,
        "calls": float(called.sum()),
        "hit_rate": float(came[called].mean()) if called.any() else np.nan,
        "lead_days": float(lead.mean()) if len(lead) else np.nan,
    }


def reliability(predictions: pd.DataFrame, probability: str = "probability", bins: int = 10) -> pd.DataFrame:
    """Return, for each bin of equal width: probability_from, forecasts, mean_probability, happened_share, off."""
    known = predictions[predictions["happened"].notna()]
    told = known[probability].to_numpy(float)
    place = np.minimum((told * bins).astype(int), bins - 1)
    table = pd.DataFrame({"place": place, "told": told, "came": known["happened"].to_numpy(float)})
    result = table.groupby("place").agg(
        forecasts=("told", "size"), mean_probability=("told", "mean"), happened_share=("came", "mean")
    )
    result = result.reset_index()
    result.insert(0, "probability_from", result.pop("place") / bins)
    result["off"] = result["mean_probability"] - result["happened_share"]
    return result


def reliability_png(bins: pd.DataFrame) -> bytes:
    """Return a plot of `reliability` as PNG: on the diagonal what was told came."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(bins["mean_probability"], bins["happened_share"], color="#1f5fa8", marker="o")
    for told, came, count in zip(bins["mean_probability"], bins["happened_share"], bins["forecasts"], strict=True):
        axes.annotate(f"{count:,}", (told, came), xytext=(6, -10), textcoords="offset points", fontsize=8)
    axes.set(xlabel="probability told", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
