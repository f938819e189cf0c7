"""Draws the small lines of the ranking as SVG, without a chart library, because a page has one in each row.

`charts` draws the charts that have axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from markupsafe import Markup

from reposignal_pipeline.publishing.site.numerals import number

WIDTH, HEIGHT = 112, 26
"""of the drawing, in pixels"""
MARGIN = 2
"""room for half the width of the line"""


def sparkline(values: Sequence[float | None]) -> Markup:
    """Return stars a day as a line, with a text alternative; an empty text if no number is known.

    The axis begins at 0, or below if a number is negative. A missing number is a gap, and a number between two gaps a
    point.

    Args:
        values: one number a day, oldest first; None if unknown.
    """
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    low, high = min(0, *known), max(0, *known)
    across = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    up = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    points = [
        None if value is None else f"{MARGIN + place * across:.1f} {HEIGHT - MARGIN - (value - low) * up:.1f}"
        for place, value in enumerate(values)
    ]
    pieces = [list(piece) for is_known, piece in itertools.groupby(points, lambda point: point is not None) if is_known]
    line = "".join(f"M{'L'.join(map(str, piece))}" for piece in pieces if len(piece) > 1)
    alone = "".join(f"M{piece[0]}h0" for piece in pieces if len(piece) == 1)  # with round ends, a point
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}">{}{}</svg>'
    ).format(
        _in_words(values, known),
        *(WIDTH, HEIGHT, WIDTH, HEIGHT),
        Markup('<path d="{}"/>').format(line) if line else "",
        Markup('<path class="alone" d="{}"/>').format(alone) if alone else "",
    )


def _in_words(values: Sequence[float | None], known: Sequence[float]) -> str:
    return (
        f"{number(min(known))} to {number(max(known))} stars a day, {number(known[-1])} on the last day with a number;"
        f" known on {len(known)} of {len(values)} days"
    )
