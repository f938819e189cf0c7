"""Formats numbers and breakout verdicts for readers, alike in the article, on the site and in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LEAP = 10
"""A first breakout day gains at least this many times the expected stars; a second day needs less."""
LEAP_SURPRISE = 5
"""standard deviations, beyond the chance fluctuations of thousands of repositories"""
HELD_BACK = {
    "star_wave": "an unusual number of old repositories gained stars that night",
    "purge_returned": "stars that a purge had removed came back",
}


def is_clear_lead(low: float, other_highs: Iterable[float]) -> bool:
    """Return whether an interval of a share begins above the ends of all others: overlapping ones give no order."""
    return all(low > high for high in other_highs)


def probability(value: float) -> str:
    """Return a probability in percent with one digit, such as 45.6 %; extreme values are given as bounds."""
    if value < 0.001:
        return "under 0.1 %"
    if value > 0.999:
        return "over 99.9 %"
    return f"{100 * value:.1f} %"


def breakout(day: Mapping[str, Any]) -> tuple[str, str]:
    """Return (yes, no or not judged; the reason unless it is a breakout) for a day of a repository.

    Args:
        day: row of fct_repo_signal_day with is_breakout, breakout_held_back, signal_score, surprise (sd),
            velocity_24h (stars), expected_change (stars), and last_breakout, the last earlier breakout day.
    """
    if day["is_breakout"]:
        return "yes", ""
    came, expected, surprise = day["velocity_24h"], day["expected_change"], day["surprise"]
    if day["is_breakout"] is None:
        verdict = "not judged"
        if day["signal_score"] is None:
            why = "it has no score"
        elif surprise is None:
            why = "the expected change is not known"
        else:
            why = "the day is surprising, but the two days before were not read"
    else:
        verdict = "no"
        if day["breakout_held_back"]:
            why = HELD_BACK[day["breakout_held_back"]]
        elif came < LEAP * expected:
            why = f"{came:,.0f} new stars, {expected:,.1f} expected; a breakout needs {LEAP} times the expected number"
        elif surprise >= LEAP_SURPRISE:
            why = "a single surprising day; a breakout needs two out of three"
        else:
            why = f"not unusual enough: {surprise:+.1f} sd from the expected change"
    return verdict, f"{why}; the last breakout was on {day['last_breakout']}" if day["last_breakout"] else why
