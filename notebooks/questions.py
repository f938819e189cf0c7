"""The questions of docs/questions.md on the published file: each with its answer and a chart, and room for other SQL.

    marimo run notebooks/questions.py      # to read
    marimo edit notebooks/questions.py     # to go on from there

Here: which chart suits an answer, and the chart in words. The SQL is read from docs/questions.md.
Not here: what the columns mean (docs/data-dictionary.md).
"""

# ruff: noqa: B018, PLR1711  (cells show their last expression, and end as marimo writes them)

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="RepoSignal: questions")

with app.setup:
    import datetime as dt
    import html
    import re
    import unicodedata
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any, Literal, NamedTuple

    import altair as alt
    import duckdb
    import marimo as mo
    import pandas as pd

    from reposignal_pipeline.config import PROJECT_ROOT, load_settings

    ROWS_SHOWN = 1000
    """of an answer; more is a matter for a client"""
    DRAWN = {"bars": 20, "dots": 20, "ranges": 20, "lines": 8}
    """labels under each other before a chart is longer than a screen, lines before their colours look alike"""
    REVERSING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

    class Question(NamedTuple):
        title: str
        sql: str
        watch_for: str

    class Picture(NamedTuple):
        """How a result is drawn. Several columns on the x axis are a range, or series with a colour each."""

        mark: Literal["bars", "dots", "lines", "ranges"]
        x: str | tuple[str, ...]
        y: str
        colour: str | None = None

    # by the number of the question; `rows` counts them, `quantity` is the name of a column
    PICTURES = {
        1: Picture("bars", "growth_pct", "full_name"),
        2: Picture("bars", "growth_28d", "full_name"),
        3: Picture("dots", "first_called_on", "full_name"),
        4: Picture("ranges", ("share_low", "share_high"), "language"),
        5: Picture("bars", "stars_gained", "language"),
        6: Picture("lines", "month", "share", "language"),
        7: Picture("bars", "rank_change", "full_name"),
        8: Picture("dots", "velocity_rank", "signal_rank", "verdict"),
        9: Picture("bars", "points", "full_name", "component"),
        10: Picture("dots", "first_seen_at_10000_on", "full_name"),
        11: Picture("dots", "day", "stars"),
        12: Picture("bars", ("p10", "p50", "p90", "p99"), "quantity"),
        13: Picture("bars", "repos", "day", "change"),
        14: Picture("lines", "day", "stars_total", "full_name"),
        15: Picture("dots", ("former_total", "stars_total"), "full_name"),
        16: Picture("bars", "stars_total", "full_name"),
        17: Picture("ranges", ("first_day", "last_day"), "source", "status"),
        18: Picture("bars", "restated_by", "full_name"),
        19: Picture("bars", "rows", "reason", "source"),
        20: Picture("dots", "started_at", "job", "status"),
        21: Picture("bars", "disagreeing_share", "other_source", "source"),
        22: Picture("lines", "month", "coverage"),
        23: Picture("bars", "growth_28d", "full_name", "authenticity"),
        24: Picture("bars", "probability", "full_name"),
        25: Picture("bars", "brier", "full_name", "happened"),
        26: Picture("lines", "mean_probability", "happened_share", "model_version"),
        27: Picture("bars", "probability", "full_name"),
        28: Picture("bars", "verticals_colonised", "language"),
        29: Picture("ranges", ("share_low", "share_high"), "language", "vertical"),
        30: Picture("bars", ("within_effect", "mix_effect"), "language"),
        31: Picture("bars", "repos", "topic"),
        32: Picture("bars", "momentum", "label"),
        33: Picture("bars", "size", "label", "week"),
        34: Picture("bars", "rows", "label"),
        35: Picture("dots", "week", "stability", "is_stable"),
        36: Picture("bars", "verticals_colonised", "language", "vertical_basis"),
        37: Picture("dots", "week", "numbers"),
        38: Picture("bars", "rows", "section"),
        39: Picture("dots", ("former_probability", "probability"), "full_name"),
        40: Picture("bars", "stars_off", "edge_hour"),
    }


@app.function
def questions(page: str) -> list[Question]:
    """Return the questions of docs/questions.md in order; a link of the page leads nowhere here and becomes words."""
    section = r"^## (\d+\. [^\n]+)$(?:(?!^## ).)*?^```sql\n(.*?)^```$(.*?)(?=^## |\Z)"
    found = re.findall(section, page, re.DOTALL | re.MULTILINE)
    named = ((title, sql.strip(), re.sub(r"\[(.+?)\]\(.+?\)", r"\1", note).strip()) for title, sql, note in found)
    return [Question(*parts) for parts in named]


@app.function
def answered(connection: duckdb.DuckDBPyConnection, sql: str) -> pd.DataFrame | str:
    """Return the first rows of an answer, or why there are none."""
    try:
        relation = connection.sql(sql)
        if relation is None:
            return "This is no question: nothing comes back."
        return pd.DataFrame(relation.limit(ROWS_SHOWN).fetchall(), columns=relation.columns, dtype=object)
    except duckdb.Error as error:
        return str(error)


@app.function
def plain(value: Any) -> str:
    """Return a value as text that neither reverses its line nor runs on: names and descriptions are by strangers."""
    if value is None:
        return ""
    if type(value) in (int, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = "".join(
        " " if unicodedata.category(sign) == "Cc" or unicodedata.bidirectional(sign) in REVERSING else sign
        for sign in text
    )
    return text if len(text) <= 200 else text[:199] + "…"


@app.function
def table(frame: pd.DataFrame) -> mo.Html:
    """Return rows as a table of text alone: no link and no picture is made of what strangers wrote."""
    sides = ["right" if (frame[name].map(type).isin((int, float))).any() else "left" for name in frame]

    def row(tag: str, cells: Iterable[str]) -> str:
        made = []
        for side, cell in zip(sides, cells, strict=True):
            wrap = "normal; min-width: 16em" if len(cell) > 40 else "nowrap"
            style = f"text-align: {side}; padding: 0 0.6em; white-space: {wrap}"
            made.append(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>')
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row("td", map(plain, cells)) for cells in frame.itertuples(index=False))
    more = f"<p>The first {ROWS_SHOWN:,} rows.</p>" if len(frame) == ROWS_SHOWN else ""
    return mo.Html(
        '<div style="max-height: 24rem; overflow: auto" tabindex="0">'
        f"<table><thead>{row('th', map(plain, frame))}</thead><tbody>{body}</tbody></table></div>{more}"
    )


@app.function
def refusal(text: str) -> mo.Html:
    """Return the message of DuckDB's error."""
    return mo.callout(mo.Html(f"<pre>{html.escape(text)}</pre>"), kind="danger")


@app.function
def drawable(frame: pd.DataFrame, picture: Picture) -> tuple[pd.DataFrame, Picture]:
    """Return the rows to draw and how: as many as can be distinguished, with texts that are safe to show."""
    rows = frame.assign(rows=1)
    if isinstance(picture.x, tuple) and picture.mark != "ranges":
        keys = [picture.y] if picture.y in rows else []
        rows = rows.melt(keys, list(picture.x), "quantity", "value")
        picture = picture._replace(x="value", colour="quantity" if keys else None)
    told_apart = picture.colour if picture.mark == "lines" else picture.y
    if told_apart:
        rows = rows[rows[told_apart].isin(rows[told_apart].unique()[: DRAWN[picture.mark]])]
    names = {picture.colour, picture.y} if picture.mark in ("bars", "ranges") else {picture.colour}
    columns = {}
    for name, column in rows.items():
        known = column.dropna()
        if name not in names and known.map(lambda value: isinstance(value, dt.date)).all():
            columns[name] = pd.to_datetime(column)
        elif name not in names and known.map(lambda value: type(value) in (int, float)).all():
            columns[name] = pd.to_numeric(column)
        else:
            columns[name] = column.map(plain)
    return pd.DataFrame(columns), picture


@app.function
def chart(frame: pd.DataFrame, picture: Picture) -> alt.Chart:
    """Return the chart of an answer, which tells its content in words, too."""
    rows, picture = drawable(frame, picture)
    ends = (picture.x,) if isinstance(picture.x, str) else picture.x
    drawn = alt.Chart(rows, description=in_words(rows, picture), width=560)
    if rows[picture.y].dtype == "str":
        y = alt.Y(picture.y, sort=None, title=None, axis=alt.Axis(labelLimit=260))
    else:
        y = alt.Y(picture.y, scale=alt.Scale(zero=False))
    channels: dict[str, Any] = {"x": alt.X(ends[0]), "y": y, "tooltip": list(rows)}
    if picture.mark == "ranges":
        channels |= {"x": alt.X(ends[0], title=" to ".join(ends)), "x2": ends[-1]}
    if picture.colour:
        channels["color"] = alt.Color(picture.colour, sort=None)
    marks = {"bars": drawn.mark_bar, "dots": drawn.mark_point, "ranges": drawn.mark_bar, "lines": drawn.mark_line}
    look = {"bars": {}, "dots": {"filled": True, "size": 70}, "ranges": {"height": 8}, "lines": {"point": True}}
    return marks[picture.mark](**look[picture.mark]).encode(**channels)


@app.function
def in_words(rows: pd.DataFrame, picture: Picture) -> str:
    """Return what a chart shows as a sentence: for whoever does not see it."""
    last = picture.x if isinstance(picture.x, str) else picture.x[-1]
    value, label = (last, picture.y) if rows[picture.y].dtype == "str" else (picture.y, last)
    ordered = rows.dropna(subset=[value]).sort_values(value, kind="stable")
    if ordered.empty:
        return f"{value} by {label}: not known of any."
    ends = ordered[[value, label]].astype(object).map(lambda cell: plain(cell).removesuffix(" 00:00:00"))
    low, high = (f"{ends[value].iloc[place]} ({ends[label].iloc[place]})" for place in (0, -1))
    colours = f", in colours by {picture.colour}" if picture.colour else ""
    return f"{picture.mark.capitalize()} of {value} by {label}{colours}, {len(ordered)} rows: from {low} to {high}."


@app.cell
def _():
    mo.md("""
    # Questions to the published file

    The questions of `docs/questions.md`, each with its answer, a chart and what to watch for. The file is opened
    read-only. Below each chart is what it shows, in words and in numbers.
    """)
    return


@app.cell
def _():
    given = mo.ui.text(str(load_settings().published_db), label="Published file", full_width=True)
    given
    return (given,)


@app.cell
def _(given):
    path = Path(given.value).expanduser().resolve()
    mo.stop(not path.is_file(), refusal(f"No file {path}: run `reposignal demo` or `reposignal run`, or name another."))
    try:
        connection = duckdb.connect(str(path), read_only=True, config={"enable_external_access": "false"})
        connection.execute("set enable_progress_bar = false")
    except duckdb.Error as error:
        mo.stop(True, refusal(str(error)))
    return (connection,)


@app.cell
def _(connection):
    asked = questions((PROJECT_ROOT / "docs" / "questions.md").read_text(encoding="utf-8"))
    answers = {question: answered(connection, question.sql) for question in asked}
    return (answers,)


@app.cell
def _(answers):
    def section(question: Question, answer: pd.DataFrame | str) -> mo.Html:
        parts = [mo.md(f"## {question.title}")]
        picture = PICTURES.get(int(question.title.split(".")[0]))
        if isinstance(answer, str):
            parts.append(refusal(answer))
        elif answer.empty:
            parts.append(mo.md("No rows: nothing of the kind is in this file."))
        else:
            if picture:
                drawn = chart(answer, picture)
                parts += [drawn, mo.Html(f"<p><small>{html.escape(drawn.description)}</small></p>")]
            parts.append(table(answer))
        parts += [mo.md(question.watch_for), mo.accordion({"SQL": mo.md(f"```sql\n{question.sql}\n```")})]
        return mo.vstack(parts)

    mo.vstack([section(*pair) for pair in answers.items()], gap=2)
    return


@app.cell
def _(answers):
    start_from = mo.ui.dropdown({question.title: question.sql for question in answers}, label="Start from")
    mo.vstack([mo.md("## A question of your own"), start_from])
    return (start_from,)


@app.cell
def _(start_from):
    own = mo.ui.code_editor(start_from.value or "from weekly_repo_trends", language="sql", debounce=True)
    own
    return (own,)


@app.cell
def _(connection, own):
    own_answer = answered(connection, own.value)
    refusal(own_answer) if isinstance(own_answer, str) else table(own_answer)
    return


if __name__ == "__main__":
    app.run()
