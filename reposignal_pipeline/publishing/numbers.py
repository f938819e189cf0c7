"""Numbers as people read them, the same in the article, on the site and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAP = 10
"""A first breakout day gains at least this many times the expected stars; a second day needs less."""
LEAP_SURPRISE = 5
"""standard deviations: beyond what thousands of repositories show by chance"""
HELD_BACK = {
    "star_wave": "an unusual number of old repositories rose that night",
    "purge_returned": "stars that a purge took came back",
}


def probability(value: float) -> str:
    """Return a probability in percent with one digit: 45.6 %. What rounds to none or to certain is a bound."""
    if value < 0.001:
        return "under 0.1 %"
    if value > 0.999:
        return "over 99.9 %"
    return f"{100 * value:.1f} %"


def breakout(day: Mapping[str, Any]) -> tuple[str, str]:
    """Return whether a day is a breakout (yes, no, not judged), and why if it is none.

    Args:
        day: of fct_repo_signal_day: is_breakout, breakout_held_back, signal_score, surprise (sd), velocity_24h (stars),
            expected_change (stars); and last_breakout, the last day before that is one.
    """
    if day["is_breakout"]:
        return "yes", ""
    came, expected, surprise = day["velocity_24h"], day["expected_change"], day["surprise"]
    if day["is_breakout"] is None:
        verdict = "not judged"
        if day["signal_score"] is None:
            why = "it has no score"
        elif surprise is None:
            why = "what was to be expected is not known"
        else:
            why = "the day surprises, and the two days before were not read"
    else:
        verdict = "no"
        if day["breakout_held_back"]:
            why = HELD_BACK[day["breakout_held_back"]]
        elif came < LEAP * expected:
            why = f"{came:,.0f} stars came where {expected:,.1f} were expected, and it takes {LEAP} times as many"
        elif surprise >= LEAP_SURPRISE:
            why = "a single surprising day, and it takes two out of three"
        else:
            why = f"not unusual enough: {surprise:+.1f} sd from what was expected"
    return verdict, f"{why}; the last one was on {day['last_breakout']}" if day["last_breakout"] else why
