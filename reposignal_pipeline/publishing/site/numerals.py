"""Formats numbers and days for pages; an unknown value is a dash."""

from __future__ import annotations

import datetime as dt
from math import isfinite

from reposignal_pipeline.publishing import numbers

UNKNOWN = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_PERCENT = "\N{NO-BREAK SPACE}%"


def day(value: dt.date) -> str:
    """Return a day in words, such as 27 February 2026."""
    return f"{value.day} {value:%B %Y}"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separators."""
    return UNKNOWN if _is_unknown(value) else f"{value:,.{digits}f}".replace("-", _MINUS)


def signed(value: float | None, digits: int = 0) -> str:
    """Return a change with its sign; zero has no sign."""
    if _is_unknown(value):
        return UNKNOWN
    return f"{value:+,.{digits}f}".replace("-", _MINUS) if value else "0"


def percent(value: float | None, digits: int = 0, sign: str = "") -> str:
    """Return a share in percent; `sign` "+" shows the sign of a change."""
    if _is_unknown(value) or value is None:
        return UNKNOWN
    return f"{100 * value:{sign},.{digits}f}".replace("-", _MINUS) + _PERCENT


def probability(value: float | None) -> str:
    """Return a probability in the common format, with a no-break space."""
    return UNKNOWN if value is None or _is_unknown(value) else numbers.probability(value).replace(" %", _PERCENT)


def exact(value: float | None) -> str:
    """Return the result of a query with up to 12 digits."""
    return "NULL" if value is None else f"{value:.12g}"


def _is_unknown(value: float | None) -> bool:
    return value is None or not isfinite(value)
