"""Which charts stand on which page, and the sentence that says the same.

Here: from contents to charts. Not here: how a kind of chart is drawn (`charts`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from reposignal_pipeline.publishing.site.charts import (
    Chart,
    band,
    intervals,
    over_time,
    reliability,
    signed_bars,
    stacked,
)
from reposignal_pipeline.publishing.site.contents import Cluster, Language, Repository, TrackRecord, Week
from reposignal_pipeline.publishing.site.numerals import day, number, percent, signed
from reposignal_pipeline.publishing.site.strangers import told

Row = dict[str, Any]

SCORES = 16
"""weeks of the score's bars: four months, wide enough to tell apart"""
BARS = 12
"""languages or clusters in a chart"""
BANDS = 9
"""languages with a chart of their own"""


def of_repository(repository: Repository, components: Sequence[Row]) -> list[Chart]:
    """Return its total, its pace, and its score by component, as far as they are known."""
    readings = {row["week"]: row for row in repository.readings}
    weeks = _every_week(min(readings), max(readings))
    first, last = repository.readings[0], repository.readings[-1]
    gaps = len(weeks) - len(readings)
    charts = [
        over_time(
            "Stars held",
            f"{first['stars_total']:,} on {day(first['day'])}, {last['stars_total']:,} on {day(last['day'])}"
            + (f"; not read in {gaps} of {len(weeks)} weeks." if gaps else "."),
            {"stars": _series(weeks, readings, "stars_total")},
            form="~s",
        )
    ]
    if any(row["velocity_7d"] is not None for row in repository.readings):
        paces = {f"mean of {span} days": _series(weeks, readings, f"velocity_{span}d") for span in (7, 28)}
        charts.append(over_time("Stars a day", _pace(last), paces, form="~s"))
    parts = [row["component"] for row in components]
    if parts and any(row["signal_score"] is not None for row in repository.readings):
        charts.append(_score(repository, weeks, parts))
    return charts


def _pace(last: Row) -> str:
    known = [(span, last[f"velocity_{span}d"]) for span in (7, 28)]
    told_of = [f"{number(value, 1)} over {span} days" for span, value in known if value is not None]
    return f"On {day(last['day'])}: {' and '.join(told_of) or 'not known'}."


def _score(repository: Repository, weeks: list[dt.date], parts: list[str]) -> Chart:
    shown = set(weeks[-SCORES:])
    rows = [
        {"week": row["week"], "part": part.replace("_", " "), "points": row[f"{part}_points"], "place": place}
        for row in repository.readings
        if row["week"] in shown and row["signal_score"] is not None
        for place, part in enumerate([*parts, "authenticity"])
        if row.get(f"{part}_points") is not None
    ]
    last = repository.readings[-1]
    # weeks without a score hold their place
    known = {row["week"] for row in rows}
    rows += [{"week": week, "part": parts[0].replace("_", " "), "points": None, "place": 0} for week in shown - known]
    rows.sort(key=lambda row: (row["week"], row["place"]))
    names = [part.replace("_", " ") for part in parts]
    if any(row["part"] == "authenticity" and row["points"] for row in rows):
        names.append("authenticity")
    text = (
        f"{last['signal_score']:.1f} of 100 on {day(last['day'])}, rank {last['signal_rank']:,}."
        if last["signal_score"] is not None
        else f"No score on {day(last['day'])}."
    )
    return stacked("Signal score by component", text, [row for row in rows if row["part"] in names], names)


def of_week(week: Week) -> dict[str, Chart | None]:
    """Return the charts of a week, by the sections of its article that they belong to."""
    return {"languages": of_languages_of(week), "clusters": of_clusters_of(week)}


def of_languages_of(week: Week) -> Chart | None:
    """Return the languages of a week's 50 highest with their intervals."""
    rows = [
        {
            "name": told(row["language"], 24),
            "share": row["share"],
            "low": row["share_low"],
            "high": row["share_high"],
        }
        for row in week.languages
        if row["repos"]
    ][:BARS]
    if not rows:
        return None
    first = rows[0]
    text = (
        f"{first['name']} leads with {percent(first['share'])} of the fifty; with so few repositories the share"
        f" behind it lies between {percent(first['low'])} and {percent(first['high'])}."
    )
    return intervals("Languages of the fifty", text, rows, "language")


def of_clusters_of(week: Week) -> Chart | None:
    """Return the momentum of a week's clusters."""
    rows = [
        {"name": told(row["label"], 40), "value": round(row["momentum"], 6)}
        for row in week.clusters
        if row["momentum"] is not None
    ][:BARS]
    if not rows:
        return None
    text = f"Growth in the week less that of all: {rows[0]['name']} leads with {percent(rows[0]['value'], 1, '+')}."
    return signed_bars("Momentum of the clusters", text, rows, ("cluster", "momentum"))


def of_cluster(cluster: Cluster) -> list[Chart]:
    """Return a cluster's size and its growth beside that of all."""
    found = {row["week"]: row for row in cluster.weeks}
    weeks = _every_week(min(found), max(found))
    if len(weeks) < 2:
        return []
    last = cluster.weeks[0]
    sizes = over_time(
        "Repositories",
        f"{last['size']:,} on {day(last['as_of_date'])}.",
        {"repositories": _series(weeks, found, "size")},
        form="~s",
    )
    if all(row["growth"] is None for row in cluster.weeks):
        return [sizes]
    growth = "not known" if last["growth"] is None else percent(last["growth"], 2, "+")
    both = {"this cluster": _series(weeks, found, "growth"), "all": _series(weeks, found, "universe_growth")}
    return [sizes, over_time("Growth in a week", f"{growth} on {day(last['as_of_date'])}.", both, form="+.2~%")]


def of_languages(languages: Sequence[Language]) -> list[tuple[Language, Chart]]:
    """Return the share of each of the leading languages among the 50 highest, on one scale."""
    leading = [one for one in languages if one.now["top_repos"]][:BANDS]
    top = max((row["share_high"] for one in leading for row in one.shares if row["share_high"] is not None), default=1)
    return [(one, _band(one, min(top * 1.05, 1))) for one in leading]


def _band(language: Language, top: float) -> Chart:
    found = {row["week"]: row for row in language.shares}
    rows = [
        {
            "week": week,
            "share": found[week]["top_share"] if week in found else None,
            "low": found[week]["share_low"] if week in found else None,
            "high": found[week]["share_high"] if week in found else None,
        }
        for week in _every_week(min(found), max(found))
    ]
    now = language.now
    interval = f"{percent(now['share_low'])} to {percent(now['share_high'])}"
    text = f"{percent(now['top_share'])} on {day(now['as_of_date'])}; with so few repositories {interval}."
    return band(told(language.language, 24), text, rows, top)


def of_track_record(record: TrackRecord) -> list[Chart]:
    """Return what came against what was told, and the skill over time."""
    charts = []
    if record.bins:
        rows = [
            {
                "told": round(row["mean_probability"], 4),
                "came": round(row["happened_share"], 4),
                "forecasts": row["forecasts"],
            }
            for row in record.bins
            if row["forecasts"]
        ]
        total = sum(row["forecasts"] for row in rows)
        text = f"{total:,} forecasts due in 52 weeks, by tenths of probability; on the dashed line what was told came."
        charts.append(reliability("What was told and what came", text, rows))
    skills = {row["week"]: row for row in record.weeks if row["brier_skill_52w"] is not None}
    if len(skills) > 1:
        weeks = _every_week(min(skills), max(skills))
        skill = signed(skills[weeks[-1]]["brier_skill_52w"], 2)
        text = f"{skill} in the week of {day(weeks[-1])}; 1 is perfect, 0 no better than the base rate."
        series = {"skill of 52 weeks": _series(weeks, skills, "brier_skill_52w")}
        charts.append(over_time("Skill against the base rate", text, series, form=".3~f"))
    return charts


def _every_week(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(weeks=number) for number in range((last - first).days // 7 + 1)]


def _series(weeks: list[dt.date], found: dict[dt.date, Row], column: str) -> list[tuple[dt.date, float | None]]:
    return [(week, _rounded(found[week][column]) if week in found else None) for week in weeks]


def _rounded(value: float | None) -> float | None:
    """Return a number to six digits: more is neither seen nor the same on every machine."""
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")
