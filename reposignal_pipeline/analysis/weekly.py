"""The weekly trend tables, computed from the last reading of each repository in each week.

This module defines the columns of the tables (name, type, comment) and computes their rows as data frames.
`defs.trends` reads and writes the warehouse.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

TOP = 50
_Z = 1.959964
"""two-sided 95 % of the normal distribution, as in the marts"""
LEFT_OUT_FLAGS = (
    "below_former_level", "platform_purge", "purge_returned", "star_wave", "total_dropped", "total_restored",
)  # fmt: skip
"""Flags of fct_repo_day that affect the gain of a week: changes of the total that velocities leave out."""


@dataclass(frozen=True)
class WeeklyTable:
    """A published weekly table: its name, its comment and its columns as name -> (DuckDB type, comment)."""

    name: str
    comment: str
    columns: dict[str, tuple[str, str]]

    @property
    def column_names(self) -> list[str]:
        return list(self.columns)


_WEEK = ("DATE", "Monday that begins the week, UTC.")
_BASIS = (
    "VARCHAR",
    "net_change: change of the observed total at a pace of 7 days, stars taken back included; star_history: stars "
    "given and still held when read; mixed: a sum of both; NULL with stars_gained.",
)

REPO_TRENDS = WeeklyTable(
    "weekly_repo_trends",
    "Grain: week x repo_key, only repositories read in that week. Values are as of the last reading of the week. "
    "Source: fct_repo_signal_day.",
    {
        "week": _WEEK,
        "repo_key": ("BIGINT", "Repository, stable over renames: join key of every table."),
        "full_name": ("VARCHAR", "owner/name at the last reading; text by strangers."),
        "language": ("VARCHAR", "Primary language; NULL if none."),
        "as_of_date": ("DATE", "UTC day of the last reading of the week; nothing later is used."),
        "stars_total": ("BIGINT", "Stars held at that reading."),
        "stars_gained": (
            "BIGINT",
            "7 x velocity_7d of that reading, stars; NULL without a reading 7 to 9 days before. If dq_flags "
            "has an entry, read it first.",
        ),
        "stars_gained_basis": _BASIS,
        "velocity_7d_days": (
            "DOUBLE",
            "Days between the two readings behind stars_gained; velocity_7d_days x stars_gained / 7 is the observed "
            "change. If it is more than 7, the change of one day can exceed stars_gained. NULL with stars_gained.",
        ),
        "dq_flags": (
            "VARCHAR[]",
            "Flags of fct_repo_day on the 7 days up to as_of_date that concern stars_gained: "
            f"{', '.join(LEFT_OUT_FLAGS)}. stars_gained leaves out the changes that they mark, except a wipe whose "
            "stars came back within those days: then it is the whole change. Empty if there is none.",
        ),
        "growth_pct": (
            "DOUBLE",
            "Gain over the total of a week before, percent; NULL if either is unknown, and over a level break.",
        ),
        "signal_score": ("DOUBLE", "Score at that reading, 0-100; NULL without 28 days of history."),
        "rank": ("INTEGER", "Place by signal_score among the week's repositories, from 1; NULL without a score."),
        "rank_change": ("INTEGER", "Places climbed since the week before; NULL if unranked then or now."),
        "is_breakout": ("BOOLEAN", "True if a breakout on any day of the week; NULL if no day could be judged."),
        "is_tracked": (
            "BOOLEAN",
            "True if the repository is tracked and the reading is from GitHub itself; the rankings list others too.",
        ),
        "is_top50": (
            "BOOLEAN",
            "True for the 50 highest by rank of the tracked repositories, or of all if none is tracked that week.",
        ),
    },
)

LANGUAGE_TRENDS = WeeklyTable(
    "weekly_language_trends",
    "Grain: week x language. Sums over the repositories of weekly_repo_trends. Source: weekly_repo_trends.",
    {
        "week": _WEEK,
        "language": ("VARCHAR", "Primary language; 'none' if GitHub gives none."),
        "as_of_date": ("DATE", "UTC day of the last reading of the week; nothing later is used."),
        "repos": ("BIGINT", "Repositories read in the week."),
        "share": (
            "DOUBLE",
            "repos over all read in the week, 0-1. The rankings list a fixed number per language.",
        ),
        "share_low": ("DOUBLE", "Lower end of the Wilson 95 % interval of share."),
        "share_high": ("DOUBLE", "Upper end of the Wilson 95 % interval of share."),
        "share_change": ("DOUBLE", "share minus that of the week before; NULL if that week was not observed."),
        "top50_repos": ("BIGINT", "Repositories with is_top50 in weekly_repo_trends."),
        "top50_share": ("DOUBLE", "top50_repos over all of the week's is_top50, 0-1; NULL if there is none."),
        "top50_share_low": ("DOUBLE", "Lower end of the Wilson 95 % interval of top50_share; NULL with it."),
        "top50_share_high": ("DOUBLE", "Upper end of the Wilson 95 % interval of top50_share; NULL with it."),
        "top50_share_change": ("DOUBLE", "top50_share minus that of the week before; NULL if unknown then or now."),
        "stars_gained": ("BIGINT", "Sum of stars_gained; NULL if unknown for all its repositories."),
        "stars_gained_basis": _BASIS,
        "rank": ("INTEGER", "Place by stars_gained among the week's languages, from 1; NULL without stars_gained."),
    },
)


def repo_trends(closings: pd.DataFrame) -> pd.DataFrame:
    """Return `weekly_repo_trends` for the weeks of `closings`; rank_change needs the week before in `closings` too.

    Args:
        closings: one row per week x repo_key, the last reading of the week: week, repo_key, full_name, language,
            as_of_date, stars_total, velocity_7d (stars/day), velocity_7d_basis, velocity_7d_days, growth_7d (share),
            growth_28d (share), velocity_24h (stars/day), signal_score, is_breakout (any day of the week), is_tracked
            and dq_flags (list).
    """
    trends = closings.sort_values(
        ["week", "signal_score", "growth_28d", "repo_key"], ascending=[True, False, False, True], na_position="last"
    ).reset_index(drop=True)
    trends["stars_gained"] = (trends["velocity_7d"].astype("Float64") * 7).round().astype("Int64")
    trends["stars_gained_basis"] = trends["velocity_7d_basis"].astype("string").where(trends["stars_gained"].notna())
    # DuckDB infers the type of a column of Python lists from a sample, in which all lists may be empty
    trends["dq_flags"] = trends["dq_flags"].map(list).astype(pd.ArrowDtype(pa.list_(pa.string())))
    trends["growth_pct"] = (trends["growth_7d"].astype("Float64") * 100).round(4)
    is_ranked = trends["signal_score"].notna()
    trends["rank"] = (trends.groupby("week").cumcount() + 1).astype("Int64").where(is_ranked)
    trends["rank_change"] = _week_before(trends, ["repo_key"], "rank") - trends["rank"]
    trends["is_top50"] = _is_top(trends)
    return trends[REPO_TRENDS.column_names]


def language_trends(repos: pd.DataFrame) -> pd.DataFrame:
    """Return `weekly_language_trends` for the weeks of `repos`, a frame of `repo_trends`."""
    repos = repos.assign(language=repos["language"].fillna("none"), is_top=repos["is_top50"].astype("Int64"))
    trends = (
        repos.groupby(["week", "language"], as_index=False)
        .agg(repos=("repo_key", "size"), top50_repos=("is_top", "sum"))
        .astype({"repos": "Int64", "top50_repos": "Int64"})
    )
    gained = repos.groupby(["week", "language"])["stars_gained"].sum(min_count=1).rename("stars_gained").reset_index()
    trends = trends.merge(gained, on=["week", "language"], validate="one_to_one")
    trends["as_of_date"] = trends["week"].map(repos.groupby("week")["as_of_date"].max())
    of_week = trends.groupby("week")
    trends["share"] = trends["repos"] / of_week["repos"].transform("sum")
    top = of_week["top50_repos"].transform("sum")
    trends["top50_share"] = (trends["top50_repos"] / top.where(top > 0)).astype("Float64")
    trends["share_low"], trends["share_high"] = wilson_interval(trends["repos"], of_week["repos"].transform("sum"))
    trends["top50_share_low"], trends["top50_share_high"] = wilson_interval(trends["top50_repos"], top)
    for share in ("share", "top50_share"):
        trends[f"{share}_change"] = trends[share] - _week_before(trends, ["language"], share, absent=0.0)
    bases = repos.groupby(["week", "language"])["stars_gained_basis"]
    basis = bases.first().where(bases.nunique() < 2, "mixed").rename("stars_gained_basis").reset_index()
    trends = trends.merge(basis, on=["week", "language"], validate="one_to_one")
    trends = trends.sort_values(["week", "stars_gained", "language"], ascending=[True, False, True], na_position="last")
    trends["rank"] = (trends.groupby("week").cumcount() + 1).astype("Int64").where(trends["stars_gained"].notna())
    return trends[LANGUAGE_TRENDS.column_names].reset_index(drop=True)


def _is_top(trends: pd.DataFrame) -> pd.Series:
    """Return which rows are in the top 50 of their week, among tracked ones if any, as in `fct_language_day`."""
    has_tracked = trends.groupby("week")["is_tracked"].transform("any")
    candidates = trends[trends["is_tracked"] | (~has_tracked & trends["rank"].notna())]
    highest = (
        candidates.sort_values(
            ["week", "rank", "velocity_24h", "repo_key"], ascending=[True, True, False, True], na_position="last"
        )
        .groupby("week")
        .head(TOP)
    )
    return pd.Series(trends.index.isin(highest.index), index=trends.index)


def wilson_interval(part: pd.Series, whole: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return (lower, upper) end of the 95 % interval of a share, 0-1 to six digits; NA where `whole` is 0.

    Source: Wilson (1927), the score interval.
    """
    n = whole.astype("Float64").where(whole > 0)
    share = part.astype("Float64") / n
    centre = share + _Z**2 / (2 * n)
    half = _Z * (share * (1 - share) / n + _Z**2 / (4 * n * n)) ** 0.5
    scale = 1 + _Z**2 / n
    return ((centre - half) / scale).round(6).clip(lower=0.0), ((centre + half) / scale).round(6).clip(upper=1.0)


def _week_before(frame: pd.DataFrame, key: list[str], column: str, absent: float | None = None) -> pd.Series:
    """Return each row's value of the week before, aligned with `frame`.

    Args:
        frame: rows with week, `key` and `column`.
        key: columns that identify a row within a week.
        column: column of the value.
        absent: value of a key that an observed week lacks; None leaves it unknown.
    """
    before = frame[["week", *key, column]].assign(week=frame["week"] + pd.Timedelta(days=7))
    values = frame[["week", *key]].merge(before, on=["week", *key], how="left", validate="one_to_one")[column]
    values.index = frame.index
    if absent is None:
        return values
    known = before.groupby("week")[column].count()
    was_observed = frame["week"].map(known).fillna(0) > 0
    return values.mask(values.isna() & was_observed, absent)
