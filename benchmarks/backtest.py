"""`python -m benchmarks.backtest`: what score, forecasts and breakout calls would have been worth on recorded rankings.

Loads the recordings behind REPOSIGNAL_REAL_DATA into a home of its own as the pipeline loads them, walks through them
week by week, prints what it finds and writes it to docs/backtest.md with its plots.

Here: the questions to the past, and the simpler rules beside each answer. Not here: the forecasts' own walk
(`analysis.forecast`), what anything costs (`__main__`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from benchmarks.__main__ import REPOSIGNAL, write_upstream
from reposignal_pipeline.analysis.forecast import quarter_of, reliability, scores, walk_forward
from reposignal_pipeline.config import PROJECT_ROOT
from reposignal_pipeline.defs.forecasts import whole_past
from reposignal_pipeline.warehouse import LAYOUT

TEST_FROM, TEST_TO = dt.date(2024, 7, 1), dt.date(2025, 6, 30)
"""Methods were chosen on what had ended before the first; the year up to the second was looked at last."""
BEFORE, TEST = "before 2024-07", "test year"
FORECASTS_FROM = dt.date(2023, 7, 1)
"""A quarter's models take half a minute: the year before the test year stands for the past."""
DOCS = PROJECT_ROOT / "docs"

PLACES = 50
HORIZON_DAYS = 42
LEAST_ELIGIBLE = 500
"""Mondays with fewer are left out: 50 of them would be no choice."""
BLOCK = HORIZON_DAYS // 7
"""Mondays drawn together: outcomes of Mondays less than six weeks apart overlap"""
DRAWS = 5_000

FITTED_ON = (
    "stars_total", "velocity_24h", "velocity_7d", "velocity_28d", "acceleration", "growth_7d", "growth_28d",
    "growth_year", "fork_growth_28d", "dispersion", "expected_change", "surprise", "persistence",
)  # fmt: skip
LEAST_MONDAYS = 40
"""of a past to fit a ranking on"""
OTHERS_KEPT = 0.2
"""of the repositories that did not lead, in a fit: a random fifth ranks as well and is four times as quick"""

SINGLE_NUMBERS = {
    "growth_1d": "relative growth, 1 day",
    "growth_7d": "relative growth, 7 days",
    "growth_14d": "relative growth, 14 days",
    "growth_28d": "relative growth, 28 days",
    "velocity": "stars a day, 28 days",
    "stars_total": "star total",
}
"""the rules of the method's notes"""
RANKINGS = {
    "signal_score": "**signal score**",
    **SINGLE_NUMBERS,
    "growth_year": "growth_year, a component of the score",
    "fitted": "fitted ranking (boosted trees)",
}

QUIET_DAYS = 14
CALLS_BY = {
    "breakout": ("**breakout**", "is_breakout"),
    "breakout_5x": ("breakout, the day at least 5 times the expected", "is_breakout and velocity_24h >= 5 * expected_change"),
    "breakout_10x": ("breakout, the day at least 10 times the expected", "is_breakout and velocity_24h >= 10 * expected_change"),
    "day_5x": ("a day of 20 stars and 5 times the 28 days before", "velocity_24h >= greatest(20, 5 * velocity_before)"),
    "day_10x": ("a day of 20 stars and 10 times the 28 days before", "velocity_24h >= greatest(20, 10 * velocity_before)"),
    "top_50": ("among the 50 best scores", "signal_rank <= 50"),
    "any": ("any repository, first of a month", "is_breakout is not null and day = date_trunc('month', day)"),
}  # fmt: skip
"""rule -> how it is called, the days it flags; the last is chance"""
NEAR_DAYS, FAR_DAYS = 14, 60
"""around a call, in which Trending is looked at"""

MONDAYS = f"""
    select
        today.*,
        today.stars_total / nullif(a_day.stars_total, 0) - 1 as growth_1d,
        today.stars_total / nullif(a_week.stars_total, 0) - 1 as growth_7d_exact,
        today.stars_total / nullif(a_fortnight.stars_total, 0) - 1 as growth_14d,
        today.stars_total / greatest(a_month.stars_total, 1) - 1 as growth_28d_exact,
        (today.stars_total - a_month.stars_total) / 28 as velocity,
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

_FLAGS = "\nunion all\n".join(f"select '{rule}' as rule, day, repo_key from days where {of}" for rule, (_, of) in CALLS_BY.items())  # noqa: E501
# Each call: a day that a rule flags after fourteen without one. What is usual: the 28 days up to three days before, so that a burst that
# was seen on two of three days is not in it. What came: the fortnight after, the day of the call left out.
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
        asof left join readings on based.repo_key = readings.repo_key and based.day + 14 <= readings.day

    ),

    measured as (

        select
            followed.rule,
            followed.day,
            followed.repo_key,
            case
                when followed.usual_to >= followed.day - 7 and followed.usual_from >= followed.usual_to - 32
                    then (followed.usual_to_total - followed.usual_from_total) / (followed.usual_to - followed.usual_from)
            end as usual,
            case
                when followed.after_to <= followed.day + 16
                    then (followed.after_total - today.stars_total) / (followed.after_to - followed.day)
            end as after,
            exists (
                select 1 from breaks
                where breaks.repo_key = followed.repo_key and breaks.day > followed.usual_from and breaks.day <= followed.after_to
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
            -- one star in 28 days at least, so that a share is told of repositories that stood still
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
    """Load what is missing, ask, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtest")
    parser.add_argument("--home", type=Path, default=PROJECT_ROOT / "data" / "backtest", help="kept, and used again")
    parser.add_argument("--marts", type=Path, help="a published file to judge instead; nothing is loaded")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder for backtest.md and its plots")
    options = parser.parse_args()
    recordings = Path(os.environ.get("REPOSIGNAL_REAL_DATA", ""))
    if not os.environ.get("REPOSIGNAL_REAL_DATA") or not (recordings / "rankings").is_dir():
        sys.exit("REPOSIGNAL_REAL_DATA names no folder of recordings: nothing to judge by")
    marts = options.marts or load(recordings, options.home)
    with tempfile.TemporaryDirectory(prefix="reposignal-backtest-") as spill, duckdb.connect() as connection:
        connection.execute("set memory_limit = '3GB'")
        connection.execute("set temp_directory = $1", [spill])
        connection.execute(f"attach '{marts.resolve()}' as marts (read_only)")
        connection.execute("use marts")
        trending = recordings / "trending" / "trending-daily.parquet"
        connection.execute(f"create temp view trending as from read_parquet('{trending}')")
        pages = [
            HEAD.format(days=_one(connection, "select count(distinct day) from fct_repo_day"), test=_test_year()),
            *ranking_pages(connection, options.docs),
            *forecast_pages(connection, options.docs),
            *call_pages(connection),
        ]
    text = "\n\n".join(pages) + "\n"
    (options.docs / "backtest.md").write_text(text, encoding="utf-8")
    print(text)


def load(recordings: Path, home: Path) -> Path:
    """Return the published file of a home that holds every recorded day; what is there already is not loaded again."""
    published = home / "published" / "reposignal.duckdb"
    with duckdb.connect() as connection:
        recorded = connection.execute(
            "select distinct snapshot_date from read_parquet($1)", [str(recordings / "rankings" / "rankings-*.parquet")]
        ).fetchall()
    first, last = min(recorded)[0], max(recorded)[0]
    missing = set(recorded) - _standing(home)
    if not missing and _is_of_this_layout(home):
        return published
    with tempfile.TemporaryDirectory(prefix="reposignal-backtest-") as upstream:
        if missing:
            print("writing the recordings as the upstream published them", file=sys.stderr)
            write_upstream(recordings, Path(upstream))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REPOSIGNAL_", "GITHUB_TOKEN"))}
        command = [str(REPOSIGNAL), "backfill", "rankings", "--from", str(first), "--to", str(last)]
        ours = {"REPOSIGNAL_HOME": str(home), "REPOSIGNAL_PROFILE": "local", "REPOSIGNAL_RANKINGS_URL": upstream}
        if subprocess.run(command, env=kept | ours, check=False).returncode:
            sys.exit(f"{' '.join(command)} failed: the same command goes on from there")
    return published


def _standing(home: Path) -> set[tuple[dt.date]]:
    """Return the days that a home has published."""
    published = home / "published" / "reposignal.duckdb"
    if not published.exists():
        return set()
    with duckdb.connect(str(published.resolve()), read_only=True) as connection:
        return set(connection.execute("select distinct day from fct_repo_day").fetchall())


def _is_of_this_layout(home: Path) -> bool:
    with duckdb.connect(str(home / "warehouse" / "pipeline.duckdb"), read_only=True) as connection:
        return _one(connection, "select max(layout) from build.layout") == LAYOUT


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


# --- the score: P@50


def leaders(frame: pd.DataFrame) -> pd.Series:
    """Return whether a row's log growth ahead is among its Monday's largest."""
    places = frame.groupby("day")["log_growth_ahead"].rank(ascending=False, method="first")
    return places <= PLACES


def precision(frame: pd.DataFrame, by: str) -> pd.Series:
    """Return the share of leaders among the first places of each Monday, by a column; what is unknown comes last."""
    places = frame.groupby("day")[by].rank(ascending=False, method="first", na_option="bottom")
    chosen = frame[places <= PLACES]
    return chosen.groupby("day")["is_leader"].sum() / PLACES


def fitted_ranking(frame: pd.DataFrame) -> pd.Series:
    """Return the probability to lead, by a model of what had ended before each quarter; NaN where that was too little."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    values = frame[list(FITTED_ON)].to_numpy(float)
    leads = frame["is_leader"].to_numpy(bool)
    day = frame["day"].to_numpy("datetime64[D]")
    kept = leads | (np.random.default_rng(0).random(len(frame)) < OTHERS_KEPT)
    quarters = np.array([quarter_of(found) for found in frame["day"].dt.date.unique()], dtype="datetime64[D]")
    told = np.full(len(frame), np.nan)
    quarter_of_row = quarters[np.searchsorted(np.unique(day), day)]
    for quarter in np.unique(quarters):
        past = day + np.timedelta64(HORIZON_DAYS, "D") < quarter
        if len(np.unique(day[past])) < LEAST_MONDAYS:
            continue
        model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=200, l2_regularization=1.0, random_state=0)
        model.fit(values[past & kept], leads[past & kept])
        asked = quarter_of_row == quarter
        told[asked] = model.predict_proba(values[asked])[:, 1]
    return pd.Series(told, index=frame.index)


def interval(differences: pd.Series) -> tuple[float, float]:
    """Return the 95 % interval of a mean over Mondays, by drawing blocks of neighbouring ones with return."""
    values = differences.to_numpy(float)
    random = np.random.default_rng(0)
    starts = random.integers(0, len(values), (DRAWS, -(-len(values) // BLOCK)))
    drawn = (starts[:, :, None] + np.arange(BLOCK)).reshape(DRAWS, -1)[:, : len(values)] % len(values)
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def in_period(day: pd.Series | pd.Index, period: str, horizon_days: int) -> np.ndarray:
    """Return which days belong to a period: before, their outcome had to be known by its end too."""
    days = pd.to_datetime(np.asarray(day))
    if period == TEST:
        return np.asarray((days >= pd.Timestamp(TEST_FROM)) & (days <= pd.Timestamp(TEST_TO)))
    return np.asarray(days + pd.Timedelta(days=horizon_days) < pd.Timestamp(TEST_FROM))


def ranking_pages(connection: duckdb.DuckDBPyConnection, docs: Path) -> list[str]:
    """Return the section on the score."""
    frame = connection.execute(MONDAYS).df()
    frame["growth_7d"], frame["growth_28d"] = frame["growth_7d_exact"].fillna(frame["growth_7d"]), frame["growth_28d_exact"]
    frame["is_leader"] = leaders(frame)
    frame["fitted"] = fitted_ranking(frame)
    found = {by: precision(frame, by) for by in RANKINGS}
    found["fitted"] = found["fitted"][frame.groupby("day")["fitted"].count() > 0]
    rows = [
        [name, *(f"{part.mean():.3f} ({len(part)})" for period in (BEFORE, TEST) for part in [_part(found[by], period)])]
        for by, name in RANKINGS.items()
    ]
    best = max(SINGLE_NUMBERS, key=lambda by: _part(found[by], BEFORE).mean())
    against = [best, *(by for by in ("growth_year", "fitted") if by != best)]
    leads = []
    for by in against:
        row = [RANKINGS[by]]
        for period in (BEFORE, TEST):
            lead = _part((found["signal_score"] - found[by]).dropna(), period)
            low, high = interval(lead)
            row += [f"{lead.mean():+.3f} ({low:+.3f} to {high:+.3f})", f"{(lead > 0).sum()} of {len(lead)}"]
        leads.append(row)
    eligible = frame.groupby("day").size()
    _plot_precision({name: found[by] for by, name in (("signal_score", "signal score"), (best, RANKINGS[best]), ("fitted", "fitted ranking"))}, docs)  # noqa: E501
    return [
        RANKING.format(
            places=PLACES, horizon=HORIZON_DAYS, least=LEAST_ELIGIBLE, block=BLOCK,
            eligible=f"{eligible.median():,.0f}", lowest=f"{eligible.min():,}", highest=f"{eligible.max():,}",
        ),
        table(["P@50 (Mondays)", BEFORE, TEST], rows),
        f"The score's lead, with its 95 % interval, and on how many Mondays it is ahead. The best single number before 2024-07 is {RANKINGS[best]}.",  # noqa: E501
        table(["over", BEFORE, "ahead", TEST, "ahead"], leads),
        "![P@50 by quarter](backtest-precision.svg)",
    ]  # fmt: skip


def _part(found: pd.Series, period: str) -> pd.Series:
    return found[in_period(found.index, period, HORIZON_DAYS)]


# --- forecasts


def forecast_pages(connection: duckdb.DuckDBPyConnection, docs: Path) -> list[str]:
    """Return the section on forecasts."""
    last = connection.execute("select max(day) from fct_repo_signal_day").fetchall()[0][0]
    told = walk_forward(whole_past(connection, last), FORECASTS_FROM, TEST_TO)
    is_test = told["issued_on"] >= pd.Timestamp(TEST_FROM)
    periods = {"2023-07 to 2024-06": told[~is_test], TEST: told[is_test]}
    rules = {
        "probability": "**the model**",
        "one_variable": "logistic of the days needed at the 28-day pace",
        "linear": "linear extrapolation of 28 days",
        "base_rate": "base rate of the past",
    }
    pages = [FORECAST]
    for period, part in periods.items():
        found = {rule: scores(part, rule) for rule in rules}
        model = found["probability"]
        pages += [
            f"**{period}**: {model['forecasts']:,.0f} forecasts scored, {model['happened']:,.0f} came true; "
            f"{part['happened'].isna().sum():,} could not be told.",
            table(
                ["", "Brier", "skill", "log-loss", "average precision", "calls of 0.5 and more", "of these came true", "days ahead"],  # noqa: E501
                [
                    [
                        name, f"{found[rule]['brier']:.5f}", f"{found[rule]['skill']:.3f}", f"{found[rule]['log_loss']:.4f}",
                        f"{found[rule]['average_precision']:.3f}", f"{found[rule]['calls']:,.0f}",
                        _or_none(found[rule]["hit_rate"], ".1%"), _or_none(found[rule]["lead_days"], ".1f"),
                    ]
                    for rule, name in rules.items()
                ],
            ),
        ]  # fmt: skip
    pages += ["Brier skill by threshold (crossings among the forecasts scored):", table(["threshold", *periods], _by_threshold(periods))]
    bins = {period: reliability(part) for period, part in periods.items()}
    pages += ["Reliability, tenths of probability:", table(["told", *(f"{period}: {word}" for period in periods for word in ("forecasts", "mean told", "came true"))], _by_tenth(bins))]  # noqa: E501
    _plot_reliability(bins, docs)
    return [*pages, "![reliability](backtest-reliability.svg)"]


def _by_threshold(periods: dict[str, pd.DataFrame]) -> list[list[str]]:
    rows = []
    for threshold in sorted(next(iter(periods.values()))["threshold"].unique()):
        found = [scores(part[part["threshold"] == threshold]) for part in periods.values()]
        rows.append([f"{threshold:,.0f}", *(f"{of['skill']:.3f} ({of['happened']:,.0f} of {of['forecasts']:,.0f})" for of in found)])
    return rows


def _by_tenth(bins: dict[str, pd.DataFrame]) -> list[list[str]]:
    rows = []
    for tenth in range(10):
        row = [f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}"]
        for found in bins.values():
            of = found[found["probability_from"].round(1) == tenth / 10]
            row += ["0", "", ""] if of.empty else [f"{of['forecasts'].iloc[0]:,}", f"{of['mean_probability'].iloc[0]:.3f}", f"{of['happened_share'].iloc[0]:.3f}"]  # noqa: E501
        rows.append(row)
    return rows


# --- breakout calls


def calls(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Return each call of each rule: what came after it, over what was usual, and when Trending lists show it.

    Args:
        connection: with the marts as its default database and the recorded lists as `trending`.

    Returns:
        rule, day, repo_key; ratio, of the mean stars/day of the fortnight after to the usual (NULL: see `unknown`);
        seen_near, seen_far and the same with _overall: the first day in a list, within 14 or 60 days of the call.
    """
    return connection.execute(CALLS).df()


def precision_row(found: pd.DataFrame, weeks: float) -> list[str]:
    """Return cells on the calls of a rule: how many, how many a week, and what share of the known ones went on how well."""
    known = found["ratio"].dropna()
    at_least = [f"{(known >= ratio).mean():.3f}" if len(known) else "" for ratio in (2, 1.5, 1)]
    return [f"{len(found):,}", f"{len(found) / weeks:.1f}", f"{len(known):,}", *at_least, f"{known.median():.2f}" if len(known) else ""]


def lead_row(found: pd.DataFrame, seen: str) -> list[str]:
    """Return cells on calls and the first day in Trending: calls, seen, median lead, shares we were after, level, before."""
    lead = (found[seen] - found["day"]).dt.days.dropna()
    if lead.empty:
        return [f"{len(found):,}", "0", "", "", "", ""]
    shares = [f"{share:.1%}" for share in ((lead < 0).mean(), (lead == 0).mean(), (lead > 0).mean())]
    return [f"{len(found):,}", f"{len(lead) / len(found):.1%}", f"{lead.median():+.0f}", *shares]


def call_pages(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the section on breakout calls."""
    found = calls(connection)
    observed = connection.execute("select distinct day from fct_repo_signal_day").df()["day"]
    lists = connection.execute(
        "select min(date)::date, min(date) filter (where language is null)::date, max(date)::date from trending"
    ).fetchall()[0]
    first_any, first_overall, last = (pd.Timestamp(day) for day in lists)
    pages = [CALL.format(quiet=QUIET_DAYS)]
    names = {rule: name for rule, (name, _) in CALLS_BY.items()}
    for period in (BEFORE, TEST):
        weeks = in_period(observed, period, 14).sum() / 7
        part = found[in_period(found["day"], period, 16)]
        pages += [
            f"**{period}**, {weeks:.0f} weeks of readings:",
            table(
                ["rule", "calls", "a week", "known", "2x and more", "1.5x and more", "as usual and more", "median"],
                [[name, *precision_row(part[part["rule"] == rule], weeks)] for rule, name in names.items()],
            ),
        ]
    breakout = found[in_period(found["day"], BEFORE, 16) | in_period(found["day"], TEST, 16)]
    unknown = breakout[breakout["rule"] == "breakout"]["unknown"].value_counts()
    pages += ["Breakout calls not known: " + ", ".join(f"{count} `{reason}`" for reason, count in unknown.items()) + "."]
    pages += [TRENDING.format(near=NEAR_DAYS, far=FAR_DAYS, any=first_any.date(), overall=first_overall.date(), last=last.date())]
    far = pd.Timedelta(days=FAR_DAYS)
    for seen, text, first in (
        ("seen_far_overall", f"the list of all languages, within {FAR_DAYS} days", first_overall),
        ("seen_near_overall", f"the list of all languages, within {NEAR_DAYS} days", first_overall),
        ("seen_far", f"any list, within {FAR_DAYS} days", first_any),
        ("seen_near", f"any list, within {NEAR_DAYS} days", first_any),
    ):
        inside = found[(found["day"] >= first + far) & (found["day"] <= last - far)]
        rows = []
        for rule, name in names.items():
            for period in (BEFORE, TEST):
                part = inside[(inside["rule"] == rule) & in_period(inside["day"], period, 16)]
                rows.append([name, period, *lead_row(part, seen)])
        header = ["rule", "", "calls", "seen", "median lead, days", "list first", "same day", "call first"]
        pages += [f"Against {text}:", table(header, rows)]
    return pages


# --- the page


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _or_none(value: float, style: str) -> str:
    return "" if np.isnan(value) else format(value, style)


def _test_year() -> str:
    return f"{TEST_FROM} to {TEST_TO}"


def _plot_precision(found: dict[str, pd.Series], docs: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(found.items(), ("#1f5fa8", "0.55", "#c8781e"), strict=True):
        quarters = values.groupby(pd.PeriodIndex(values.index, freq="Q")).mean()
        axes.plot(quarters.index.to_timestamp(), quarters.to_numpy(), label=name, color=colour, marker=".")
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
    axes.set(xlabel="probability told", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    _save(figure, docs / "backtest-reliability.svg")


def _save(figure: object, path: Path) -> None:
    """Write a figure such that the same numbers give the same bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "reposignal", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None, "Creator": None})  # type: ignore[attr-defined]


HEAD = """# Backtest: what the signal would have been worth

Written by `make backtest`: the recorded rankings ({days:,} days, 2018-12-18 to 2025-06-24) are loaded as the pipeline loads any day, then walked
through week by week. It needs the recordings behind `REPOSIGNAL_REAL_DATA`; the home is kept in `data/backtest` and used again.

Two periods stand side by side everywhere. Weights, thresholds and methods were chosen on what had ended **before 2024-07-01**; the **test
year** is {test}. From 2024-10-05 to 2024-12-20 the rankings have no files: the test year has a quarter less than its name says."""

RANKING = """## The score: P@50

Each Monday: of the {places} repositories with the largest log growth over the **next {horizon} days**, which share stands among the {places} highest scores? Asked of repositories
with totals observed that day, 28 days before and {horizon} days after, on Mondays with at least {least} of them ({lowest} to {highest}, median {eligible}). What a
rule does not know comes last. The fitted ranking has the inputs of `fct_repo_signal_day`, without the score, and is fitted anew each quarter on
what had ended before it; its Mondays begin with the first quarter that has a past to fit on. Intervals draw blocks of {block} neighbouring Mondays."""

FORECAST = """## Threshold forecasts

P(the next threshold is passed within 42 days), walked forward a quarter at a time ([forecasts](forecasts.md)). Skill is 1 - Brier / that of telling
the very share that came true, the hardest base rate there is."""

CALL = """## Breakout calls

A call is the first day that a rule flags a repository after {quiet} days without. It was right if the fortnight **after** it (days +1 to +14, the day of the call
itself not counted) brought at least twice the usual: the mean of the 28 days that ended three days before the call, at least one star in 28 days. Where a reading is missing
(up to 4 days late before, 2 days after) or the level broke it is not known, and not in the shares."""

TRENDING = """### Who is first: the calls and GitHub's Trending

The first day on which the repository stands in a recorded list, within {far} or {near} days of the call, for calls with recorded lists on all days of the wider window (any list: from {any};
all languages: from {overall}; to {last}). A list of a day is that of its end; the ranking of a day is read at 04:00 UTC, so on the same day the call comes first, and a list of the day before
is four hours old when the call is made. A positive lead says that the call came first. Large repositories come and go in the lists of their language: over 60 days nearly all have stood there
once, whatever happened; the nearer window says more."""


if __name__ == "__main__":
    main()
