"""Charts as data, and their drawings: Altair defines a chart, and vl-convert draws it as SVG without a browser.

This module defines the kinds of charts with their text alternatives, and a store of drawings keyed by their content.
The numbers come from `contents`. Colours are CSS variables of `style.css`, so one drawing serves light and dark mode.
Altair and vl-convert are imported only where charts are drawn, because most processes draw none.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    import altair as alt

WIDTH = 440
"""width of a drawing in pixels: two fit next to each other on a desktop, and one is shown at 80 % on a phone"""
HEIGHT = 210
TABLE_ROWS = 28
"""days or weeks in the table of a chart; the chart itself shows all"""
WORTH_A_POOL = 64
"""number of drawings from which a process pool is faster: a drawing takes 50 ms, a process a second to start"""
EDITION = f"1 {version('vl-convert-python')}"
"""part of each drawing's key; changing it redraws all charts"""

# attributes that Vega adds; the page labels the drawing as one image; quotes in texts are escaped
_FOR_MACHINES = re.compile(r' (?:xmlns:xlink|version|class|role|aria-[a-z]+)="[^"<>]*"')

Row = dict[str, Any]
Cells = Sequence[Sequence[Any]]
Spec = dict[str, Any]
Points = Sequence[tuple[dt.date, float | None]]


@dataclass(frozen=True)
class Chart:
    """A chart: its specification, its text alternative, and its numbers as a table."""

    title: str
    text: str
    """the essential numbers in a sentence"""
    columns: tuple[str, ...]
    cells: Cells
    """the numbers as a table; a cell may be text"""
    spec: Spec
    """Vega-Lite"""
    note: str = ""
    """note on rows that the table leaves out"""

    @functools.cached_property
    def key(self) -> str:
        content = json.dumps([EDITION, self.spec], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def over_time(
    title: str,
    text: str,
    series: Mapping[str, Points],
    *,
    form: str,
    unit: str = "week",
    drawn_to: dt.date = dt.date.max,
) -> Chart:
    """Return a chart of lines over days or weeks; one without a number is a gap, a number between two gaps a point.

    Args:
        title: title of the chart.
        text: text alternative.
        series: name -> (day, number) for every day or week from the first to the last.
        form: d3 format of the numbers on the axis.
        unit: what a point is, a day or a week.
        drawn_to: last day that is drawn; the table has later ones, too.
    """
    drawn = {name: [point for point in points if point[0] <= drawn_to] for name, points in series.items()}
    rows = [
        {"day": str(day), "series": name, "value": value, "alone": _is_alone(points, place)}
        for name, points in drawn.items()
        for place, (day, value) in enumerate(points)
    ]
    days = sorted({day for points in series.values() for day, _ in points}, reverse=True)
    found = {name: dict(points) for name, points in series.items()}
    cells = [[day, *(found[name].get(day) for name in series)] for day in days[:TABLE_ROWS]]
    note = f"The newest {TABLE_ROWS} of {len(days)} {unit}s." if len(days) > TABLE_ROWS else ""
    lines = _lines(form, tuple(series), _dates([day for day in days if day <= drawn_to]))
    return Chart(title, text, (unit, *series), cells, _filled(lines, rows), note)


def stacked(title: str, text: str, rows: list[Row], parts: Sequence[str], drawn_to: dt.date = dt.date.max) -> Chart:
    """Return a chart of stacked bars, one per week; rows have week, part and points.

    Weeks that begin after `drawn_to` are in the table alone.
    """
    weeks = sorted({row["week"] for row in rows}, reverse=True)
    found = {(row["week"], row["part"]): row["points"] for row in rows}
    cells = [[week, *(found.get((week, part)) for part in parts)] for week in weeks]
    # a week without points keeps its place on the axis
    drawn = [row for row in rows if row["week"] <= drawn_to]
    plain = [row | {"week": str(row["week"]), "points": row["points"] or 0} for row in drawn]
    return Chart(title, text, ("week", *parts), cells, _filled(_bars_of_parts(tuple(parts)), plain))


def intervals(title: str, text: str, rows: list[Row], name: str) -> Chart:
    """Return a chart of shares with their intervals, one line each; rows have name, share, low and high."""
    cells = [[row["name"], row["share"], row["low"], row["high"]] for row in rows]
    spec = _filled(_dots_with_intervals(_room(rows)), rows) | {"height": 40 + 24 * len(rows)}
    return Chart(title, text, (name, "share", "from", "to"), cells, spec)


def band(title: str, text: str, rows: list[Row], top: float) -> Chart:
    """Return a chart of a share over weeks within its interval; rows have week, share, low, high and ground.

    Numbers are None in a gap. Where `ground` changes, the line breaks and a rule marks the first week of the new one.

    Args:
        title: title of the chart.
        text: text alternative.
        rows: the rows.
        top: maximum of the axis, the same for charts that are compared.
    """
    cells = [[row["week"], row["share"], row["low"], row["high"]] for row in reversed(rows)]
    breaks = set(weeks_of_break(rows))
    plain, ground = [], 0
    for row in rows:
        ground += row["week"] in breaks  # also of weeks in a gap, so that the gap interrupts the line
        plain.append(row | {"week": str(row["week"]), "ground": ground, "breaks": row["week"] in breaks})
    spec = _filled(_line_in_band(round(top, 2), _dates([row["week"] for row in rows])), plain) | {
        "width": 300,
        "height": 150,
    }
    return Chart(title, text, ("week", "share", "from", "to"), cells, spec)


def weeks_of_break(rows: Sequence[Row]) -> list[dt.date]:
    """Return the weeks whose `ground` is another than that of the last week before that has one."""
    known = [row for row in rows if row["ground"] is not None]
    return [row["week"] for before, row in pairwise(known) if row["ground"] != before["ground"]]


def signed_bars(title: str, text: str, rows: list[Row], columns: tuple[str, str]) -> Chart:
    """Return a chart of bars to both sides of zero; rows have name and value, a share."""
    cells = [[row["name"], row["value"]] for row in rows]
    return Chart(title, text, columns, cells, _filled(_bars(_room(rows)), rows) | {"height": 40 + 24 * len(rows)})


def reliability(title: str, text: str, rows: list[Row]) -> Chart:
    """Return a chart of outcomes against forecasts; rows have predicted, happened (shares) and forecasts."""
    cells = [[row["predicted"], row["happened"], row["forecasts"]] for row in rows]
    spec = _filled(_predicted_and_happened(), rows) | {"height": 300}
    return Chart(title, text, ("mean probability", "happened", "forecasts"), cells, spec)


class Gallery:
    """A folder of drawings keyed by their content, so that an unchanged chart is drawn only once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.shown: set[str] = set()
        self.drawn = 0

    def draw(self, charts: Iterable[Chart]) -> None:
        """Draw the charts that have no drawing in the folder."""
        wanted = {chart.key: chart.spec for chart in charts}
        self.shown |= wanted.keys()
        missing = {key: spec for key, spec in wanted.items() if not self._file(key).exists()}
        self.drawn += len(missing)
        for key, svg in zip(missing, _drawings(list(missing.values())), strict=True):
            aside = self._file(key).with_suffix(".making")
            aside.write_text(svg, encoding="utf-8")
            aside.replace(self._file(key))

    def keep(self, keys: Collection[str]) -> bool:
        """Return whether all these drawings exist; if so, `prune` keeps them."""
        if not all(self._file(key).exists() for key in keys):
            return False
        self.shown.update(keys)
        return True

    def svg(self, chart: Chart) -> Markup:
        """Return the drawing of a chart, with its text alternative as label."""
        drawing = self._file(chart.key).read_text(encoding="utf-8")
        named = Markup('<svg role="img" aria-label="{}"').format(f"{chart.title}. {chart.text}")
        return Markup(drawing.replace("<svg", named, 1))  # safe: `drawing` escapes its texts

    def prune(self) -> None:
        """Delete the drawings that no page shows any more."""
        for file in self.folder.iterdir():
            if file.stem not in self.shown or file.suffix != ".svg":
                file.unlink()

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.svg"


def _drawings(specs: list[Spec]) -> Iterable[str]:
    processes = min(os.cpu_count() or 1, 4)
    if len(specs) < WORTH_A_POOL or processes == 1:
        return map(drawing, specs)
    # spawned, because a fork of a process with DuckDB's threads may hang
    context = multiprocessing.get_context("spawn")
    # only this process handles interrupts
    with ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        return list(pool.map(drawing, specs, chunksize=8))


def drawing(spec: Spec) -> str:
    """Return a Vega-Lite chart as scalable SVG without labels for screen readers; the page labels it."""
    import vl_convert

    form = json.dumps(spec | {"datasets": spec["datasets"] | {"rows": []}})
    vega = _compiled(form)
    filled = [one | {"values": spec["datasets"]["rows"]} if one["name"] == "rows" else one for one in vega["data"]]
    return _FOR_MACHINES.sub("", vl_convert.vega_to_svg(vega | {"data": filled}))


@functools.lru_cache(maxsize=256)
def _compiled(form: str) -> Spec:
    """Return a chart without rows as Vega; compiling takes 7 ms, which charts of the same form share."""
    import altair as alt
    import vl_convert

    version_of_form = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    vega: Spec = vl_convert.vegalite_to_vega(json.loads(form), vl_version=version_of_form)
    return vega


def _is_alone(points: Points, place: int) -> bool:
    around = [points[near][1] for near in (place - 1, place + 1) if 0 <= near < len(points)]
    return points[place][1] is not None and all(value is None for value in around)


def _filled(spec: Spec, rows: list[Row]) -> Spec:
    return spec | {"datasets": spec.get("datasets", {}) | {"rows": rows}}


_AXIS = {
    "labelColor": "var(--muted)",
    "titleColor": "var(--muted)",
    "domainColor": "var(--grid)",
    "gridColor": "var(--grid)",
    "tickColor": "var(--grid)",
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
}
_CONFIG = {
    "aria": False,
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": _AXIS,
    "legend": {
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "labelLimit": 200,
        "orient": "top",
        "title": None,
        "columnPadding": 28,
    },
    "line": {"strokeWidth": 2},
}
_SERIES = [f"var(--series-{number})" for number in range(1, 7)]


def _time(field: str, dates: str) -> alt.X:
    import altair as alt

    axis = alt.Axis(grid=False, tickCount=5, format=dates, labelOverlap="greedy", labelSeparation=10)
    return alt.X(f"{field}:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def _names(room: int) -> alt.Y:
    import altair as alt

    axis = alt.Axis(grid=False, minExtent=room, labelLimit=room, ticks=False, domain=False)
    return alt.Y("name:N", sort=None, title=None, axis=axis)


def _room(rows: list[Row]) -> int:
    """Return the width of the names in pixels, for a wide font, because the reader's font is unknown."""
    return min(max(round(7.4 * len(row["name"])) for row in rows) + 8, WIDTH // 2)


def _dates(weeks: Sequence[dt.date]) -> str:
    """Return the date format of an axis, which depends on its length."""
    days = (max(weeks) - min(weeks)).days
    return "%-d %b" if days < 200 else "%b %Y" if days < 1200 else "%Y"


def _template(build: Callable[..., Any]) -> Callable[..., Spec]:
    """Build and validate a chart's form with Altair only once; rows are filled in for each chart."""

    @functools.cache
    def built(*arguments: Any) -> Spec:
        chart = build(*arguments).properties(width=WIDTH, height=HEIGHT)
        spec: Spec = chart.to_dict() | {"config": _CONFIG, "autosize": {"type": "fit", "contains": "padding"}}
        return spec

    return built


def _rows() -> alt.NamedData:
    import altair as alt

    return alt.NamedData(name="rows")


@_template
def _lines(form: str, series: tuple[str, ...], dates: str) -> Any:
    import altair as alt

    colour = alt.Color(
        "series:N",
        sort=list(series),
        scale=alt.Scale(domain=list(series), range=_SERIES[: len(series)]),
        legend=alt.Legend(symbolType="stroke", symbolStrokeWidth=2) if len(series) > 1 else None,
    )
    number = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=form, tickCount=5))
    base = alt.Chart(_rows()).encode(x=_time("day", dates), y=number, color=colour)
    dashes = alt.StrokeDash(
        "series:N", scale=alt.Scale(domain=list(series), range=[[1, 0], [5, 3], [2, 2]][: len(series)]), legend=None
    )
    # gaps break the line of a series
    return base.mark_line(invalid="break-paths-show-path-domains").encode(strokeDash=dashes) + base.mark_point(
        filled=True, size=25, opacity=1
    ).transform_filter("datum.alone")


@_template
def _bars_of_parts(parts: tuple[str, ...]) -> Any:
    import altair as alt

    colours = alt.Scale(domain=list(parts), range=_SERIES[: len(parts)])
    month_and_day = alt.Axis(labelAngle=0, labelOverlap=True, labelExpr="slice(datum.label, 5)")
    return (
        alt.Chart(_rows())
        .mark_bar(stroke="var(--paper)", strokeWidth=0.5)
        .encode(
            x=alt.X("week:O", title=None, axis=month_and_day),
            y=alt.Y("points:Q", title=None, axis=alt.Axis(tickCount=5)),
            color=alt.Color("part:N", scale=colours, legend=alt.Legend(columns=3)),
            order=alt.Order("place:Q"),
        )
    )


@_template
def _dots_with_intervals(room: int) -> Any:
    import altair as alt

    names = _names(room)
    shares = alt.Axis(format=".0%", tickCount=5)
    base = alt.Chart(_rows()).encode(y=names)
    rules = base.mark_rule(strokeWidth=5, opacity=0.35, color=_SERIES[0]).encode(
        x=alt.X("low:Q", title=None, axis=shares, scale=alt.Scale(domainMin=0)), x2="high:Q"
    )
    return rules + base.mark_point(filled=True, size=70, color=_SERIES[0], opacity=1).encode(x=alt.X("share:Q"))


@_template
def _line_in_band(top: float, dates: str) -> Any:
    import altair as alt

    share = alt.Axis(format=".0%", tickCount=4)
    base = alt.Chart(_rows()).encode(x=_time("week", dates), detail="ground:N")
    rules = base.mark_rule(strokeDash=[3, 3], color="var(--muted)").transform_filter("datum.breaks")
    area = base.mark_area(opacity=0.2, color=_SERIES[0]).encode(
        y=alt.Y("low:Q", title=None, axis=share, scale=alt.Scale(domain=[0, top])), y2="high:Q"
    )
    return area + base.mark_line(color=_SERIES[0]).encode(y="share:Q") + rules


@_template
def _bars(room: int) -> Any:
    import altair as alt

    names = _names(room)
    return (
        alt.Chart(_rows())
        .mark_bar(height=12)
        .encode(
            y=names,
            x=alt.X("value:Q", title=None, axis=alt.Axis(format="+.1%", tickCount=4)),
            color=alt.condition("datum.value < 0", alt.value(_SERIES[1]), alt.value(_SERIES[0])),
        )
    )


@_template
def _predicted_and_happened() -> Any:
    import altair as alt

    ends = alt.InlineData(values=[{"predicted": 0, "happened": 0}, {"predicted": 1, "happened": 1}])
    scale, axis = alt.Scale(domain=[0, 1]), alt.Axis(format=".0%")
    x = alt.X("predicted:Q", title="forecast probability", scale=scale, axis=axis)
    y = alt.Y("happened:Q", title="share that happened", scale=scale, axis=axis)
    diagonal = alt.Chart(ends).mark_line(strokeDash=[4, 4], strokeWidth=1, color="var(--muted)").encode(x=x, y=y)
    points = alt.Chart(_rows()).encode(x=x, y=y)
    size = alt.Size("forecasts:Q", scale=alt.Scale(type="sqrt", range=[30, 300]), legend=None)
    return (
        diagonal
        + points.mark_line(color=_SERIES[0])
        + points.mark_point(filled=True, color=_SERIES[0], opacity=1).encode(size=size)
    )
