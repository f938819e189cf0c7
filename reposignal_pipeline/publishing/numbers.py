"""Numbers as people read them, the same in the article, on the site and in the terminal."""

from __future__ import annotations


def probability(value: float) -> str:
    """Return a probability in percent with one digit: 45.6 %. What rounds to none or to certain is a bound."""
    if value < 0.001:
        return "under 0.1 %"
    if value > 0.999:
        return "over 99.9 %"
    return f"{100 * value:.1f} %"
