"""Builds the charts of each page from its contents, each with a sentence that gives the same information.

`charts` draws them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from reposignal_pipeline.publishing.numbers import is_clear_lead
from reposignal_pipeline.publishing.site.charts import (
    Chart,
    band,
    intervals,
    over_time,
    reliability,
    signed_bars,
    stacked,
    weeks_of_break,
)
from reposignal_pipeline.publishing.site.contents import DAILY_WEEKS, Cluster, Language, Repository, TrackRecord, Week
from reposignal_pipeline.publishing.site.numerals import day, number, percent, signed
from reposignal_pipeline.publishing.site.strangers import one_line

Row = dict[str, Any]

SCORES = 16
"""weeks in the bar chart of the score: with four months the bars are wide enough to distinguish"""
BARS = 12
"""languages or clusters in a chart"""
BANDS = 9
"""languages with their own chart"""


def of_repository(repository: Repository, components: Sequence[Row]) -> list[Chart]:
    """Return charts of the total, the pace and the score by component, as far as they are known."""
    readings = {row["week"]: row for row in repository.readings}
    weeks = _every_week(min(readings), max(readings))
    first, last = repository.readings[0], repository.readings[-1]
    drawn_to = _last_whole_week(first["day"], last["day"])
    days = _days_and_weeks(repository, weeks, drawn_to)
    gaps = len(weeks) - len(readings)
    charts = [
        over_time(
            "Stars held",
            f"{first['stars_total']:,} on {day(first['day'])}, {last['stars_total']:,} on {day(last['day'])}"
            + (f"; not read in {gaps} of {len(weeks)} weeks." if gaps else ".")
            + (f" The line ends on {day(drawn_to)}, with the last whole week." if drawn_to < last["day"] else ""),
            {"stars": [(on, _rounded(row.get("stars_total"))) for on, row in days]},
            form="~s",
            unit="day",
            drawn_to=drawn_to,
        )
    ]
    if any(row["velocity_7d"] is not None for row in repository.readings):
        paces = {
            f"mean of {span} days": [(on, _rounded(row.get(f"velocity_{span}d"))) for on, row in days]
            for span in (7, 28)
        }
        charts.append(over_time("Stars a day", _pace(last), paces, form="~s", unit="day", drawn_to=drawn_to))
    parts = [row["component"] for row in components]
    if parts and any(row["signal_score"] is not None for row in repository.readings):
        charts.append(_score(repository, weeks, parts, drawn_to))
    return charts


def _days_and_weeks(repository: Repository, weeks: list[dt.date], drawn_to: dt.date) -> list[tuple[dt.date, Row]]:
    """Return (day, reading) from the first reading to the last; the reading of a gap is empty.

    A week with readings on several days has a place for each day, any other week only one. So a source that is read
    weekly gives a line, and a day that was not read gives a gap only among days that were.
    """
    columns = repository.days
    daily: dict[dt.date, dict[dt.date, Row]] = {}
    for read_on, *values in zip(*columns.values(), strict=True):
        daily.setdefault(_monday(read_on), {})[read_on] = dict(zip(list(columns)[1:], values, strict=True))
    readings = {row["week"]: row for row in repository.readings}
    last = repository.readings[-1]["day"]
    found: list[tuple[dt.date, Row]] = []
    # the oldest week of days leaves with the next week: without it, the drawing does not change in between
    first_of_days = _monday(drawn_to) - dt.timedelta(weeks=DAILY_WEEKS - 2)
    for week in weeks:
        days = daily.get(week, {})
        if len(days) > 1 and week >= first_of_days:
            begin = week if found else min(days)
            end = min(week + dt.timedelta(days=6), last)
            every_day = (begin + dt.timedelta(days=number) for number in range((end - begin).days + 1))
            found += [(on, days.get(on, {})) for on in every_day]
        elif week in readings:
            found.append((readings[week]["day"], readings[week]))
        else:
            found.append((week + dt.timedelta(days=6), {}))
    return found


def _last_whole_week(first: dt.date, last: dt.date) -> dt.date:
    """Return the last Sunday up to `last`, where drawings end: a chart is drawn once a week, not once a day.

    Before the first Sunday it is `last`.
    """
    sunday = last - dt.timedelta(days=(last.weekday() + 1) % 7)
    return sunday if sunday >= first else last


def _monday(day: dt.date) -> dt.date:
    return day - dt.timedelta(days=day.weekday())


def _pace(last: Row) -> str:
    known = [(span, last[f"velocity_{span}d"]) for span in (7, 28)]
    paces = [f"{number(value, 1)} over {span} days" for span, value in known if value is not None]
    return f"On {day(last['day'])}: {' and '.join(paces) or 'not known'}."


def _score(repository: Repository, weeks: list[dt.date], parts: list[str], drawn_to: dt.date) -> Chart:
    whole = [week for week in weeks if week <= drawn_to]
    shown = {*whole[-SCORES:], *weeks[len(whole) :]}
    rows = [
        {"week": row["week"], "part": part.replace("_", " "), "points": row[f"{part}_points"], "place": place}
        for row in repository.readings
        if row["week"] in shown and row["signal_score"] is not None
        for place, part in enumerate([*parts, "authenticity"])
        if row.get(f"{part}_points") is not None
    ]
    last = repository.readings[-1]
    # weeks without a score keep their place on the axis
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
    return stacked("Signal score by component", text, [row for row in rows if row["part"] in names], names, drawn_to)


def of_week(week: Week) -> dict[str, Chart | None]:
    """Return the charts of a week by section of its article."""
    return {"languages": of_languages_of(week), "clusters": of_clusters_of(week)}


def of_languages_of(week: Week) -> Chart | None:
    """Return a chart of the languages of a week's top 50 with their intervals; None without languages."""
    rows = [
        {
            "name": one_line(row["language"], 24),
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
    is_clear = is_clear_lead(first["low"], (row["high"] for row in rows[1:]))
    leads = "leads with" if is_clear else "has the largest share, but no clear lead:"
    text = (
        f"{first['name']} {leads} {percent(first['share'])} of the top 50; with so few repositories the 95 %"
        f" interval of the share is {percent(first['low'])} to {percent(first['high'])}."
    )
    return intervals("Languages of the top 50", text, rows, "language")


def of_clusters_of(week: Week) -> Chart | None:
    """Return a chart of the momentum of a week's clusters; None without clusters."""
    rows = [
        {"name": one_line(row["label"], 40), "value": round(row["momentum"], 6)}
        for row in week.clusters
        if row["momentum"] is not None
    ][:BARS]
    if not rows:
        return None
    leader = f"{rows[0]['name']} leads with {percent(rows[0]['value'], 1, '+')}"
    text = f"Growth in the week minus that of all repositories: {leader}."
    return signed_bars("Momentum of the clusters", text, rows, ("cluster", "momentum"))


def of_cluster(cluster: Cluster) -> list[Chart]:
    """Return charts of a cluster's size, and of its growth compared with all repositories."""
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
    both = {
        "this cluster": _series(weeks, found, "growth"),
        "all repositories": _series(weeks, found, "universe_growth"),
    }
    return [sizes, over_time("Growth in a week", f"{growth} on {day(last['as_of_date'])}.", both, form="+.2~%")]


def of_languages(languages: Sequence[Language]) -> list[tuple[Language, Chart]]:
    """Return charts of the share of each leading language in the top 50, on one scale."""
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
            "ground": found[week]["ground"] if week in found else None,
        }
        for week in _every_week(min(found), max(found))
    ]
    now = language.now
    interval = f"{percent(now['share_low'])} to {percent(now['share_high'])}"
    text = f"{percent(now['top_share'])} on {day(now['as_of_date'])}; 95 % interval {interval}."
    if breaks := weeks_of_break(rows):
        text += f" Since {day(breaks[-1])} the top 50 are chosen among other repositories than before."
    return band(one_line(language.language, 24), text, rows, top)


def of_track_record(record: TrackRecord) -> list[Chart]:
    """Return charts of the reliability of forecasts and of their skill over time."""
    charts = []
    if record.bins:
        rows = [
            {
                "predicted": round(row["mean_probability"], 4),
                "happened": round(row["happened_share"], 4),
                "forecasts": row["forecasts"],
            }
            for row in record.bins
            if row["forecasts"]
        ]
        total = sum(row["forecasts"] for row in rows)
        text = f"{total:,} forecasts due in 52 weeks, by tenths of probability; calibrated ones are on the dashed line."
        charts.append(reliability("Forecast probability and outcome", text, rows))
    skills = {row["week"]: row for row in record.weeks if row["brier_skill_52w"] is not None}
    if len(skills) > 1:
        weeks = _every_week(min(skills), max(skills))
        skill = signed(skills[weeks[-1]]["brier_skill_52w"], 2)
        text = f"{skill} in the week of {day(weeks[-1])}; 1 is perfect, 0 is no better than the base rate."
        series = {"skill of 52 weeks": _series(weeks, skills, "brier_skill_52w")}
        charts.append(over_time("Skill against the base rate", text, series, form=".3~f"))
    return charts


def _every_week(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(weeks=number) for number in range((last - first).days // 7 + 1)]


def _series(weeks: list[dt.date], found: dict[dt.date, Row], column: str) -> list[tuple[dt.date, float | None]]:
    return [(week, _rounded(found[week][column]) if week in found else None) for week in weeks]


def _rounded(value: float | None) -> float | None:
    """Return a number rounded to six digits: further digits are not visible and differ between machines."""
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")
