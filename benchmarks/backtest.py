"""`python -m benchmarks.backtest`: evaluates score, forecasts and breakout calls on recorded rankings.

Loads the recordings of REPOSIGNAL_REAL_DATA into a separate home with the pipeline, evaluates them week by week against
simpler rules, prints the results and writes them to docs/backtest.md with its plots. The walk-forward of the forecasts
is in `analysis.forecast`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd

from benchmarks.__main__ import REPOSIGNAL, write_upstream
from reposignal_pipeline.analysis.forecast import THRESHOLDS, quarter_of, reliability, scores, walk_forward
from reposignal_pipeline.config import PROJECT_ROOT
from reposignal_pipeline.defs.forecasts import whole_past

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None

TEST_FROM, TEST_TO = dt.date(2024, 7, 1), dt.date(2025, 6, 30)
"""The test year. Methods were chosen on outcomes that had ended before its first day; it was evaluated last."""
BEFORE, TEST = "before 2024-07", "test year"
FORECASTS_FROM = dt.date(2023, 7, 1)
"""Only the year before the test year represents the past, because the models of a quarter take half a minute."""
DOCS = PROJECT_ROOT / "docs"

PLACES = 50
HORIZON_DAYS = 42
LEAST_ELIGIBLE = 500
"""Mondays with fewer repositories are left out, because choosing 50 of them would be too easy."""
BLOCK = HORIZON_DAYS // 7
"""Mondays drawn as one block, because outcomes of Mondays less than six weeks apart overlap"""
DRAWS = 5_000

FITTED_ON = (
    "stars_total", "velocity_24h", "velocity_7d", "velocity_28d", "acceleration", "growth_7d", "growth_28d",
    "growth_year", "fork_growth_28d", "dispersion", "expected_change", "surprise", "persistence",
)  # fmt: skip
LEAST_MONDAYS = 40
"""least number of past Mondays for fitting a ranking"""
OTHERS_KEPT = 0.2
"""share of the repositories that did not lead in a fit: a random fifth ranks as well and is four times as fast"""

SINGLE_NUMBERS = {
    "growth_a_day": "relative growth, 1 day",
    "growth_a_week": "relative growth, 7 days",
    "growth_a_fortnight": "relative growth, 14 days",
    "growth_a_month": "relative growth, 28 days",
    "velocity_a_month": "stars a day, 28 days",
    "stars_total": "star total",
}
"""single-number rules for comparison"""
RANKINGS = {
    "signal_score": "**signal score**",
    **SINGLE_NUMBERS,
    "growth_year": "growth_year, a component of the score",
    "fitted": "fitted ranking (boosted trees)",
}

QUIET_DAYS = 14
AFTER_DAYS, LATE_DAYS = 14, 2
CALLS_BY = {
    "breakout": "is_breakout",
    "breakout, day of 5 times the expected": "is_breakout and velocity_24h >= 5 * expected_change",
    "breakout, day of 10 times the expected": "is_breakout and velocity_24h >= 10 * expected_change",
    "day of 20 stars, 5 times the 28 days before": "velocity_24h >= 20 and velocity_24h >= 5 * velocity_before",
    "day of 20 stars, 10 times the 28 days before": "velocity_24h >= 20 and velocity_24h >= 10 * velocity_before",
    "among the 50 best scores": "signal_rank <= 50",
    "any repository, first of a month": "is_breakout is not null and day = date_trunc('month', day)",
}
"""rule -> condition for the days it flags; the last rule represents chance"""
IN_TRENDING = [rule for rule in CALLS_BY if "10 times" not in rule]
NEAR_DAYS, FAR_DAYS = 14, 60
"""days around a call in which Trending lists are searched"""

MONDAYS = f"""
    select
        today.*,
        today.stars_total / nullif(a_day.stars_total, 0) - 1 as growth_a_day,
        today.stars_total / nullif(a_week.stars_total, 0) - 1 as growth_a_week,
        today.stars_total / nullif(a_fortnight.stars_total, 0) - 1 as growth_a_fortnight,
        today.stars_total / greatest(a_month.stars_total, 1) - 1 as growth_a_month,
        (today.stars_total - a_month.stars_total) / 28 as velocity_a_month,
        ln(ahead.stars_total / greatest(today.stars_total, 1)) as log_growth_ahead
    from fct_repo_signal_day as today
    inner join fct_repo_signal_day as ahead
        on today.repo_key = ahead.repo_key and ahead.day = today.day + {HORIZON_DAYS}
    inner join fct_repo_signal_day as a_month on today.repo_key = a_month.repo_key and a_month.day = today.day - 28
    left join fct_repo_signal_day as a_fortnight
        on today.repo_key = a_fortnight.repo_key and a_fortnight.day = today.day - 14
    left join fct_repo_signal_day as a_week on today.repo_key = a_week.repo_key and a_week.day = today.day - 7
    left join fct_repo_signal_day as a_day on today.repo_key = a_day.repo_key and a_day.day = today.day - 1
    where dayofweek(today.day) = 1
    qualify count(*) over (partition by today.day) >= {LEAST_ELIGIBLE}
    order by today.day, today.repo_key
"""

_FLAGS = "\nunion all\n".join(
    f"select '{rule}' as rule, day, repo_key from days where {condition}" for rule, condition in CALLS_BY.items()
)
# A call is a day that a rule flags after fourteen days without one. The usual pace is that of the 28 days up to three
# days before, so that it excludes a burst on two of three days. The outcome is the fortnight after the day of the call.
CALLS = f"""
    with

    days as (

        select today.*, yesterday.velocity_28d as velocity_before
        from fct_repo_signal_day as today
        left join fct_repo_signal_day as yesterday
            on today.repo_key = yesterday.repo_key and yesterday.day = today.day - 1

    ),

    flagged as (

        {_FLAGS}

    ),

    calls as (

        select * from flagged
        qualify coalesce(lag(day) over (partition by rule, repo_key order by day) < day - {QUIET_DAYS}, true)

    ),

    readings as (

        select repo_key, day, stars_total from fct_repo_signal_day

    ),

    breaks as (

        select repo_key, day from fct_repo_day
        where list_has_any(dq_flags, ['total_dropped', 'total_restored'])

    ),

    begun as (

        select calls.*, readings.day as usual_to, readings.stars_total as usual_to_total
        from calls
        asof left join readings on calls.repo_key = readings.repo_key and calls.day - 3 >= readings.day

    ),

    based as (

        select begun.*, readings.day as usual_from, readings.stars_total as usual_from_total
        from begun
        asof left join readings on begun.repo_key = readings.repo_key and begun.usual_to - 28 >= readings.day

    ),

    followed as (

        select based.*, readings.day as after_to, readings.stars_total as after_total
        from based
        asof left join readings on based.repo_key = readings.repo_key and based.day + {AFTER_DAYS} <= readings.day

    ),

    measured as (

        select
            followed.rule,
            followed.day,
            followed.repo_key,
            case
                when followed.usual_to >= followed.day - 7 and followed.usual_from >= followed.usual_to - 32
                    then
                        (followed.usual_to_total - followed.usual_from_total)
                        / (followed.usual_to - followed.usual_from)
            end as usual,
            case
                when followed.after_to <= followed.day + {AFTER_DAYS + LATE_DAYS}
                    then (followed.after_total - today.stars_total) / (followed.after_to - followed.day)
            end as after,
            exists (
                select 1 from breaks
                where
                    breaks.repo_key = followed.repo_key
                    and breaks.day > followed.usual_from
                    and breaks.day <= followed.after_to
            ) as has_break
        from followed
        inner join readings as today on followed.repo_key = today.repo_key and followed.day = today.day

    ),

    -- a name tells which repository a Trending list means, whenever it bore it
    named as (

        select distinct repo_key, lower(full_name) as name from dim_repo_alias

    ),

    seen as (

        select
            named.repo_key,
            trending.date::date as seen_on,
            bool_or(trending.language is null) as is_overall
        from trending
        inner join named on lower(trending.repo) = named.name
        group by named.repo_key, trending.date::date

    ),

    final as (

        select
            measured.rule,
            measured.day,
            measured.repo_key,
            case
                when measured.has_break then 'level_break'
                when measured.usual is null then 'not_read_before'
                when measured.after is null then 'not_read_after'
            end as unknown,
            -- at least one star in 28 days, so that repositories without growth have a ratio too
            case when unknown is null then measured.after / greatest(measured.usual, 1 / 28) end as ratio,
            min(seen.seen_on) as seen_far,
            min(seen.seen_on) filter (where seen.is_overall) as seen_far_overall,
            min(seen.seen_on) filter (where {{near}}) as seen_near,
            min(seen.seen_on) filter (where {{near}} and seen.is_overall) as seen_near_overall
        from measured
        left join seen
            on
                measured.repo_key = seen.repo_key
                and seen.seen_on between measured.day - {FAR_DAYS} and measured.day + {FAR_DAYS}
        group by all

    )

    select * from final
    order by rule, day, repo_key
""".replace("{near}", f"seen.seen_on between measured.day - {NEAR_DAYS} and measured.day + {NEAR_DAYS}")


def main() -> None:
    """Load missing days, evaluate them, and print and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtest")
    parser.add_argument("--home", type=Path, default=PROJECT_ROOT / "data" / "backtest", help="kept and reused")
    parser.add_argument("--marts", type=Path, help="evaluate this published file instead; nothing is loaded")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder for backtest.md and its plots")
    options = parser.parse_args()
    recordings = Path(os.environ.get("REPOSIGNAL_REAL_DATA", ""))
    if not os.environ.get("REPOSIGNAL_REAL_DATA") or not (recordings / "rankings").is_dir():
        sys.exit("REPOSIGNAL_REAL_DATA is not a folder of recordings: there is nothing to evaluate")
    marts = options.marts or load(recordings, options.home)
    pages = []
    for section in (head_pages, ranking_pages, forecast_pages, call_pages):
        print(f"{section.__name__.removesuffix('_pages')} ...", file=sys.stderr)
        with opened(marts, recordings) as connection:
            pages += section(connection, options.docs)
    text = "\n\n".join(pages) + "\n"
    (options.docs / "backtest.md").write_text(text, encoding="utf-8")
    print(text)


@contextmanager
def opened(marts: Path, recordings: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to a published file as default database, with the recorded Trending lists as `trending`."""
    with tempfile.TemporaryDirectory(prefix="reposignal-backtest-") as spill, duckdb.connect() as connection:
        connection.execute("set memory_limit = '2GB'")
        connection.execute("set temp_directory = $1", [spill])
        connection.execute(f"attach '{marts.resolve()}' as marts (read_only)")
        connection.execute("use marts")
        lists = recordings / "trending" / "trending-daily.parquet"
        connection.execute(f"create temp view trending as from read_parquet('{lists}')")
        yield connection


def head_pages(connection: duckdb.DuckDBPyConnection, _: Path) -> list[str]:
    """Return the introduction, with the number of recorded days of the test year."""
    days = connection.execute("select distinct day from fct_repo_day").df()["day"]
    head = HEAD.format(
        days=len(days),
        first=days.min().date(),
        last=days.max().date(),
        test=f"{TEST_FROM} to {TEST_TO}",
        test_days=in_period(days, TEST, 0).sum(),
    )
    return [head]


def load(recordings: Path, home: Path) -> Path:
    """Load all recorded days that a home lacks, and return its published file.

    The command runs even if no day is missing, because it rebuilds the marts if their columns have changed.
    """
    published = home / "published" / "reposignal.duckdb"
    with duckdb.connect() as connection:
        recorded = connection.execute(
            "select distinct snapshot_date from read_parquet($1)", [str(recordings / "rankings" / "rankings-*.parquet")]
        ).fetchall()
    first, last = min(recorded)[0], max(recorded)[0]
    missing = set(recorded) - _published_days(home)
    with tempfile.TemporaryDirectory(prefix="reposignal-backtest-") as upstream:
        if missing:
            print("writing the recordings in the format of the upstream", file=sys.stderr)
            write_upstream(recordings, Path(upstream))
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("REPOSIGNAL_", "GITHUB_TOKEN"))
        }
        command = [str(REPOSIGNAL), "backfill", "rankings", "--from", str(first), "--to", str(last)]
        ours = {"REPOSIGNAL_HOME": str(home), "REPOSIGNAL_PROFILE": "local", "REPOSIGNAL_RANKINGS_URL": upstream}
        if subprocess.run(command, env=kept | ours, check=False).returncode:
            sys.exit(f"{' '.join(command)} failed: run the same command again to continue")
    return published


def _published_days(home: Path) -> set[tuple[dt.date]]:
    """Return the days that a home has published."""
    published = home / "published" / "reposignal.duckdb"
    if not published.exists():
        return set()
    with duckdb.connect(str(published.resolve()), read_only=True) as connection:
        return set(connection.execute("select distinct day from fct_repo_day").fetchall())


# --- the score: P@50


def leaders(frame: pd.DataFrame) -> pd.Series:
    """Return whether the future log growth of each row is among the largest of its Monday."""
    places = frame.groupby("day")["log_growth_ahead"].rank(ascending=False, method="first")
    return places <= PLACES


def precision(frame: pd.DataFrame, by: str) -> pd.Series:
    """Return the share of leaders among the top places of each Monday by a column; unknown values rank last."""
    places = frame.groupby("day")[by].rank(ascending=False, method="first", na_option="bottom")
    chosen = frame[places <= PLACES]
    return chosen.groupby("day")["is_leader"].sum() / PLACES


def fitted_ranking(frame: pd.DataFrame) -> pd.Series:
    """Return the probability to lead from a model fitted before each quarter; NaN if its history is too short."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    values = frame[list(FITTED_ON)].to_numpy(float)
    leads = frame["is_leader"].to_numpy(bool)
    day = frame["day"].to_numpy("datetime64[D]")
    kept = leads | (np.random.default_rng(0).random(len(frame)) < OTHERS_KEPT)
    quarters = np.array([quarter_of(found) for found in frame["day"].dt.date.unique()], dtype="datetime64[D]")
    probability = np.full(len(frame), np.nan)
    quarter_of_row = quarters[np.searchsorted(np.unique(day), day)]
    for quarter in np.unique(quarters):
        past = day + np.timedelta64(HORIZON_DAYS, "D") < quarter
        if len(np.unique(day[past])) < LEAST_MONDAYS:
            continue
        model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=200, l2_regularization=1.0, random_state=0)
        model.fit(values[past & kept], leads[past & kept])
        asked = quarter_of_row == quarter
        probability[asked] = model.predict_proba(values[asked])[:, 1]
    return pd.Series(probability, index=frame.index)


def interval(differences: pd.Series) -> tuple[float, float]:
    """Return the 95 % interval of a mean over Mondays, from blocks of neighbouring Mondays drawn with replacement."""
    values = differences.to_numpy(float)
    random = np.random.default_rng(0)
    starts = random.integers(0, len(values), (DRAWS, -(-len(values) // BLOCK)))
    drawn = (starts[:, :, None] + np.arange(BLOCK)).reshape(DRAWS, -1)[:, : len(values)] % len(values)
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def in_period(day: pd.Series | pd.Index, period: str, horizon_days: int) -> np.ndarray:
    """Return which days belong to a period; before the test year, only days whose outcome had also ended before it."""
    days = pd.to_datetime(np.asarray(day))
    if period == TEST:
        return np.asarray((days >= pd.Timestamp(TEST_FROM)) & (days <= pd.Timestamp(TEST_TO)))
    return np.asarray(days + pd.Timedelta(days=horizon_days) < pd.Timestamp(TEST_FROM))


def ranking_pages(connection: duckdb.DuckDBPyConnection, docs: Path) -> list[str]:
    """Return the section on the score."""
    frame = connection.execute(MONDAYS).df()
    frame["is_leader"] = leaders(frame)
    frame["fitted"] = fitted_ranking(frame)
    found = {by: precision(frame, by) for by in RANKINGS}
    found["fitted"] = found["fitted"][frame.groupby("day")["fitted"].count() > 0]
    rows = []
    for by, name in RANKINGS.items():
        parts = [_of_period(found[by], period) for period in (BEFORE, TEST)]
        rows.append([name, *(cell for part in parts for cell in (part.mean(), len(part)))])
    best = max(SINGLE_NUMBERS, key=lambda by: _of_period(found[by], BEFORE).mean())
    leads = []
    for by in (best, "growth_year", "fitted"):
        lead = found["signal_score"] - found[by]
        leads.append([RANKINGS[by]])
        for part in (_of_period(lead.dropna(), period) for period in (BEFORE, TEST)):
            low, high = interval(part)
            leads[-1] += [f"{part.mean():+.3f} ({low:+.3f} to {high:+.3f})", f"{(part > 0).sum()} of {len(part)}"]
    eligible = frame.groupby("day").size()
    shown = {"signal score": found["signal_score"], RANKINGS[best]: found[best], "fitted ranking": found["fitted"]}
    _plot_precision(shown, docs)
    return [
        RANKING.format(median=f"{eligible.median():,.0f}", least=f"{eligible.min():,}", most=f"{eligible.max():,}"),
        table(["P@50", BEFORE, "Mondays", TEST, "Mondays"], rows),
        "The lead of the score, with the 95 % interval, and on how many Mondays it leads. The first row is the\n"
        "single number that was best before 2024-07.",
        table(["over", BEFORE, "ahead", TEST, "ahead"], leads),
        "![P@50 by quarter](backtest-precision.svg)",
    ]


def _of_period(found: pd.Series, period: str) -> pd.Series:
    return found[in_period(found.index, period, HORIZON_DAYS)]


# --- forecasts


def forecast_pages(connection: duckdb.DuckDBPyConnection, docs: Path) -> list[str]:
    """Return the section on forecasts."""
    last = connection.execute("select max(day) from fct_repo_signal_day").fetchall()[0][0]
    frame = whole_past(connection, last)
    connection.close()  # frees memory for the fits
    predictions = walk_forward(frame, FORECASTS_FROM, TEST_TO)
    is_test = predictions["issued_on"] >= pd.Timestamp(TEST_FROM)
    periods = {f"{FORECASTS_FROM:%Y-%m} to 2024-06": predictions[~is_test], TEST: predictions[is_test]}
    rules = {
        "probability": "**the model**",
        "one_variable": "logistic of the days needed at the 28-day pace",
        "linear": "linear extrapolation of 28 days",
        "base_rate": "base rate of the past",
    }
    columns = ("skill", "brier", "log_loss", "average_precision", "calls", "hit_rate", "lead_days")
    pages = [FORECAST]
    for period, part in periods.items():
        found = {rule: scores(part, rule) for rule in rules}
        whole = found["probability"]
        pages += [
            f"**{period}**: {whole['forecasts']:,.0f} forecasts scored, {whole['happened']:,.0f} came true; "
            f"{part['happened'].isna().sum():,} more have an unknown outcome.",
            table(
                ["", "skill", "Brier", "log-loss", "average precision", "calls", "of these came true", "days ahead"],
                [[name, *(_counted(found[rule])[column] for column in columns)] for rule, name in rules.items()],
            ),
        ]
    bins = {period: reliability(part) for period, part in periods.items()}
    _plot_reliability(bins, docs)
    counted = [cell for period in periods for cell in (f"skill, {period}", "forecasts", "came true")]
    binned = [cell for period in periods for cell in (f"forecasts, {period}", "mean forecast", "came true")]
    return [
        *pages,
        "By threshold:",
        table(["threshold", *counted], _by_threshold(periods)),
        "Reliability, tenths of probability:",
        table(["probability", *binned], _by_tenth(bins)),
        "![reliability](backtest-reliability.svg)",
    ]


def _counted(found: dict[str, float]) -> dict[str, Cell]:
    """Return scores with counts converted to int."""
    return {name: int(value) if name in ("forecasts", "happened", "calls") else value for name, value in found.items()}


def _by_threshold(periods: dict[str, pd.DataFrame]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for threshold in THRESHOLDS:
        found = [scores(part[part["threshold"] == threshold]) for part in periods.values()]
        rows.append([threshold, *(_counted(of)[name] for of in found for name in ("skill", "forecasts", "happened"))])
    return rows


def _by_tenth(bins: dict[str, pd.DataFrame]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    names = ["forecasts", "mean_probability", "happened_share"]
    for tenth in range(10):
        rows.append([f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}"])
        for found in bins.values():
            of = found.loc[(found["probability_from"] * 10).round() == tenth, names]
            rows[-1] += [0, None, None] if of.empty else of.to_numpy(object)[0].tolist()
    return rows


# --- breakout calls


def calls(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Return the calls of all rules, with the ratio of the following to the usual pace, and days in Trending lists.

    Args:
        connection: connection with the marts as default database and the recorded lists as `trending`.

    Returns:
        rule, day, repo_key; ratio of the mean stars/day of the following fortnight to the usual (if NULL, `unknown` has
        the reason); seen_near, seen_far and the same with _overall: first day in a list within 14 or 60 days.
    """
    return connection.execute(CALLS).df()


def went_on(found: pd.DataFrame) -> list[Cell]:
    """Return the number of known outcomes, their shares of at least 2, 1.5 and 1 times the usual, and the median."""
    known = found["ratio"].dropna()
    if known.empty:
        return [0, None, None, None, None]
    return [len(known), *(float((known >= ratio).mean()) for ratio in (2, 1.5, 1)), float(known.median())]


def leads(found: pd.DataFrame, seen: str) -> list[Cell]:
    """Return the share of calls in a list, their median lead in days, and the shares of list, same day, call first."""
    lead = (found[seen] - found["day"]).dt.days.dropna()
    if lead.empty:
        return [0.0 if len(found) else None, None, None, None, None]
    first = [float(share.mean()) for share in (lead < 0, lead == 0, lead > 0)]
    return [len(lead) / len(found), f"{lead.median():+.0f}", *first]


def call_pages(connection: duckdb.DuckDBPyConnection, _: Path) -> list[str]:
    """Return the section on breakout calls."""
    found = calls(connection)
    observed = connection.execute("select distinct day from fct_repo_signal_day").df()["day"]
    is_in = {period: in_period(found["day"], period, AFTER_DAYS + LATE_DAYS) for period in (BEFORE, TEST)}
    pages = [CALL]
    for period, inside in is_in.items():
        weeks = in_period(observed, period, AFTER_DAYS + LATE_DAYS).sum() / 7
        of = {rule: found[inside & (found["rule"] == rule)] for rule in CALLS_BY}
        unknown = of["breakout"]["unknown"].value_counts()
        pages += [
            f"**{period}**, {weeks:.0f} weeks of readings; unknown outcomes of breakouts: "
            + (", ".join(f"{count} `{reason}`" for reason, count in unknown.items()) or "none"),
            table(
                ["rule", "calls", "a week", "known", "2x and more", "1.5x and more", "1x and more", "median"],
                [[rule, len(part), f"{len(part) / weeks:.1f}", *went_on(part)] for rule, part in of.items()],
            ),
        ]
    any_from, overall_from, lists_to = connection.execute(
        "select min(date::date), min(date::date) filter (where language is null), max(date::date) from trending"
    ).fetchall()[0]
    pages.append(TRENDING.format(any=any_from, overall=overall_from, last=lists_to))
    far = dt.timedelta(days=FAR_DAYS)
    for kind, first in (("overall", overall_from), ("any", any_from)):
        has_lists = found["day"].between(pd.Timestamp(first + far), pd.Timestamp(lists_to - far))
        for days, seen in ((FAR_DAYS, "seen_far"), (NEAR_DAYS, "seen_near")):
            column = seen if kind == "any" else f"{seen}_overall"
            rows: list[list[Cell]] = []
            for rule in IN_TRENDING:
                for period, inside in is_in.items():
                    part = found[has_lists & inside & (found["rule"] == rule)]
                    rows.append([rule, period, len(part), *leads(part, column)])
            pages += [
                f"Against {'any list' if kind == 'any' else 'the list of all languages'}, within {days} days:",
                table(["rule", "", "calls", "seen", "median lead", "list first", "same day", "call first"], rows),
            ]
    return pages


# --- the page


def table(header: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a Markdown table: floats with three significant digits, unknown values empty."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_text, line))} |" for line in lines)


def _text(cell: Cell) -> str:
    if cell is None or pd.isna(cell):
        return ""
    if isinstance(cell, float):
        return f"{cell:.3f}" if 0.01 <= abs(cell) < 1 or cell == 0 else f"{cell:#.3g}"
    return cell if isinstance(cell, str) else f"{cell:,}"


def _plot_precision(found: dict[str, pd.Series], docs: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(found.items(), ("#1f5fa8", "0.55", "#c8781e"), strict=True):
        quarters = values.groupby(pd.PeriodIndex(values.index, freq="Q")).mean()
        axes.plot(
            pd.PeriodIndex(quarters.index).to_timestamp(), quarters.to_numpy(), label=name, color=colour, marker="."
        )
    axes.axvline(pd.Timestamp(TEST_FROM), color="0.8", linewidth=1)
    axes.set(ylabel=f"P@{PLACES}, mean of the quarter", ylim=(0, 1))
    axes.legend(loc="lower left", frameon=False)
    _save(figure, docs / "backtest-precision.svg")


def _plot_reliability(bins: dict[str, pd.DataFrame], docs: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for (period, found), colour in zip(bins.items(), ("0.55", "#1f5fa8"), strict=True):
        axes.plot(found["mean_probability"], found["happened_share"], label=period, color=colour, marker="o")
    axes.set(xlabel="forecast probability", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    _save(figure, docs / "backtest-reliability.svg")


def _save(figure: Figure, path: Path) -> None:
    """Save a figure so that the same numbers give the same bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "reposignal", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None, "Creator": None})


HEAD = """# Backtest: what the signal would have been worth

Written by `make backtest`: the recorded rankings ({days:,} days from {first} to {last}) are
loaded as the pipeline loads any day, then evaluated week by week. This requires the recordings
behind `REPOSIGNAL_REAL_DATA`; the home in `data/backtest` is kept and reused.

Every table compares two periods. Weights, thresholds and methods were chosen on what had ended
**before 2024-07-01**; the **test year** is {test}. Only {test_days} of its days were
recorded: between 2024-10-23 and 2025-01-08 there are no files."""

RANKING = f"""## The score: P@{PLACES}

Each Monday: of the {PLACES} repositories with the largest log growth over the **next {HORIZON_DAYS} days**, which
share is among the {PLACES} highest scores? The evaluation covers repositories with totals observed that
day, 28 days before and {HORIZON_DAYS} days after, on Mondays with at least {LEAST_ELIGIBLE} of them (median {{median}},
{{least}} to {{most}}). Values unknown to a rule rank last: growth requires a reading on that very
day. In the earlier period only Mondays whose {HORIZON_DAYS} days had also ended count.

The fitted ranking has the inputs of `fct_repo_signal_day`, without the score, and is fitted again
each quarter on what had ended before it; it begins with the first quarter that has {LEAST_MONDAYS} Mondays
before it. It shows what a model gets out of these numbers that nobody can recompute by hand.
Intervals draw blocks of {BLOCK} neighbouring Mondays with replacement."""

FORECAST = """## Threshold forecasts

P(the next threshold is passed within 42 days), walked forward a quarter at a time
([forecasts](forecasts.md)). Skill is 1 - Brier / Brier of a constant forecast of the share that came
true, the hardest base rate there is. A call is a forecast of at least 0.5; days ahead are those from
the first call to the crossing."""

CALL = f"""## Breakout calls

A call is the first day that a rule flags a repository after {QUIET_DAYS} days without. It was right if the
fortnight **after** it (days +1 to +{AFTER_DAYS}; the day of the call itself does not count) brought at least
twice the usual stars a day: the mean of the 28 days up to three days before the call, and at least
one star in 28 days. Where readings are missing (those before may be 4 days older, that after {LATE_DAYS} days
later) or the level broke, the outcome is unknown and not in the shares. Rules of a single day call
a day earlier than a breakout, which requires two of three: more of the burst is still to come."""

TRENDING = f"""### Which is first: the calls or GitHub's Trending

The first day on which the repository is in a recorded list (any list: from {{any}}; that of all
languages: from {{overall}}; to {{last}}), within {FAR_DAYS} or {NEAR_DAYS} days of the call. Only calls with
lists on the {FAR_DAYS} days before and after count. A list of a day is that of its end; the ranking of a
day is read at 04:00 UTC: on the same day the call comes first, and the list of the day before is
four hours old. A positive lead is the call's. Large repositories enter and leave the lists of their
language frequently: within {FAR_DAYS} days of any day many have been there, as the last rows show; the
nearer window is more specific to the burst itself."""


if __name__ == "__main__":
    main()
