"""Queries on the published copy: SQL, the score of one repository, the trends of a week.

This module opens the copy read-only and prints results safely, even if strangers wrote control characters into names
or descriptions. The numbers are computed in dbt.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import duckdb

from reposignal_pipeline.publishing import numbers
from reposignal_pipeline.trouble import chain as causes
from reposignal_pipeline.trouble import line_of

if TYPE_CHECKING:
    from reposignal_pipeline.config import Settings

# Control characters and bidirectional overrides, which could move a terminal's cursor or reverse a line.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_JSON_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# types whose text is never a formula, even if it begins with "-"; lists, blobs and unions may contain strangers' text
_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_NO_FORMULA = {
    *_INTEGERS,
    *(f"u{name}" for name in _INTEGERS),
    *("bignum", "decimal", "float", "double", "boolean", "uuid", "date", "time", "time with time zone", "interval"),
    *("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"),
}

NEAR = 3
"""number of similar names that are suggested for an unknown one"""
NEAR_ENOUGH = 0.9
"""least Jaro-Winkler similarity of a suggested name, 0-1"""

BATCH_ROWS = 2_000
"""rows of a result that are in memory at the same time"""


class AnswerError(Exception):
    """A query cannot be answered. The message is one line."""


def opened(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Return a read-only connection to the published copy without access to other files.

    Raises:
        AnswerError: nothing is published yet, or the file cannot be opened.
    """
    path = settings.published_db.resolve()
    if not path.exists():
        raise AnswerError(f"nothing is published yet below {settings.home}: run {_fillers(settings)}")
    try:
        connection = duckdb.connect(str(path), read_only=True, config={"enable_external_access": "false"})
        connection.execute("set enable_progress_bar = false")  # DuckDB would draw it into standard output
        return connection
    except duckdb.Error as error:
        raise AnswerError(line_of(error, settings.home)) from None


def _fillers(settings: Settings) -> str:
    """Return the commands that fill a home; for a home that is in use, only the one of its profile."""
    fillers = {True: f"`reposignal demo{' --lake' if settings.lake else ''}`", False: "`reposignal run`"}
    return fillers[settings.profile.is_sample] if settings.is_begun else " or ".join(fillers.values())


def answer(settings: Settings, query: str, form: str, out: TextIO) -> None:
    """Write the rows of a query as `table`, `csv` or `json` in batches, so that memory stays small.

    Several statements run in order. Only the last may return rows, because two results in one output are neither valid
    CSV nor valid JSON; the statements before it can be `set` or `create temp macro`.

    Args:
        settings: settings of the home.
        query: one or more SQL statements.
        form: `table`, `csv` or `json`.
        out: text stream for the result.

    Raises:
        AnswerError: the query is empty or fails, or another statement than the last returns rows.
    """
    with _closed_unless_interrupted(opened(settings)) as connection:
        try:
            statements = connection.extract_statements(query)
            if not statements:
                raise AnswerError("the query is empty")
            *before, last = statements
            if any(statement.expected_result_type == [duckdb.ExpectedResultType.QUERY_RESULT] for statement in before):
                raise AnswerError("only the last statement may return rows: run each query in a separate command")
            for statement in before:
                connection.execute(statement)
            relation = connection.sql(last)
            if relation is None:  # `set`, `create temp table`
                raise AnswerError("the last statement returns no rows, and its settings end with this command")
            write: dict[str, Callable[[duckdb.DuckDBPyRelation, TextIO], None]]
            write = {"csv": write_csv, "json": write_json, "table": write_table}
            write[form](relation, out)
        except duckdb.Error as error:
            raise AnswerError(_one_line(error)) from None


@contextmanager
def _closed_unless_interrupted(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Close a connection after use, unless an interrupt ended its query.

    After an interrupt, DuckDB 1.5.5 can wait forever for the threads of the query. The file is only open for reading,
    so nothing is lost.
    """
    try:
        yield connection
    except BaseException as error:
        if not any(isinstance(each, KeyboardInterrupt) for each in causes(error)):
            connection.close()
        raise
    connection.close()


def write_json(relation: duckdb.DuckDBPyRelation, out: TextIO) -> None:
    """Write rows as a JSON array of objects, one per line.

    DuckDB formats the values: numbers with all digits, values without a JSON type as text. NaN and infinity, which JSON
    does not have, become null.
    """
    pairs = ", ".join(f"'{_quoted(name)}', #{n}" for n, name in enumerate(_distinct(relation.columns), start=1))
    lead = "[\n"
    for rows in _batches(relation.project(f"json_object({pairs})::varchar")):
        out.write(lead + ",\n".join(_finite(text) for (text,) in rows))
        lead = ",\n"
    out.write("[]\n" if lead == "[\n" else "\n]\n")


def write_csv(
    relation: duckdb.DuckDBPyRelation, out: TextIO, clean: Callable[[str | None], str | None] = lambda text: text
) -> None:
    """Write rows as CSV, each value as DuckDB's text.

    Text that a spreadsheet would interpret as a formula is prefixed with an apostrophe.

    Args:
        relation: the rows.
        out: text stream for the CSV.
        clean: applied to every text that strangers may have written.
    """
    writer = csv.writer(_Lines(out))
    is_text = [kind.id not in _NO_FORMULA for kind in relation.types]
    columns = ", ".join(f"#{n}::varchar" for n in range(1, len(is_text) + 1))
    names = [_spreadsheet_safe(name) for name in relation.columns]
    for rows in _batches(relation.project(columns)):
        if names:
            writer.writerow(names)
            names = []
        writer.writerows(
            [_spreadsheet_safe(clean(value)) if text else value for value, text in zip(row, is_text, strict=True)]
            for row in rows
        )
    if names:
        writer.writerow(names)


def write_table(relation: duckdb.DuckDBPyRelation, out: TextIO) -> None:
    """Write rows as a table aligned by the first batch; later batches can only widen a column."""
    columns = ", ".join(
        f"#{n}" if kind.id in ("float", "double") else f"#{n}::varchar" for n, kind in enumerate(relation.types, 1)
    )
    is_right = [str(kind) not in ("VARCHAR", "DATE", "BOOLEAN") for kind in relation.types]
    for line in _table_lines(relation.columns, _batches(relation.project(columns)), is_right):
        out.write(line + "\n")


def table(names: list[str], rows: list[tuple[Any, ...]]) -> str:
    """Return rows as an aligned table, at most as wide as the terminal, with control characters replaced."""
    is_right = [all(isinstance(row[n], int | float | None) for row in rows) for n in range(len(names))]
    return "\n".join(_table_lines(names, [rows] if rows else [], is_right))


def _table_lines(names: list[str], batches: Iterable[list[tuple[Any, ...]]], is_right: list[bool]) -> Iterator[str]:
    names = [_cell(name) for name in names]
    needed, count, is_begun = [len(name) for name in names], 0, False
    room = max(shutil.get_terminal_size((160, 24)).columns - 2 * (len(names) - 1), 4 * len(names))
    for rows in chain(batches, [[]]):
        cells = [[_cell(value) for value in row] for row in rows]
        needed = [max(width, *(len(row[n]) for row in cells)) if cells else width for n, width in enumerate(needed)]
        widths = _fitted(needed, room)
        head = [] if is_begun else [names, ["-" * width for width in widths]]
        for line in [*head, *cells]:
            yield "  ".join(
                _clipped(cell, width).rjust(width) if right else _clipped(cell, width).ljust(width)
                for cell, width, right in zip(line, widths, is_right, strict=True)
            ).rstrip()
        count, is_begun = count + len(rows), True
    yield f"({count:,} row{'' if count == 1 else 's'})"


def _fitted(needed: list[int], room: int) -> list[int]:
    """Return the column widths, with the widest columns reduced until all fit."""
    widths = list(needed)
    while sum(widths) > room:
        widest = widths.index(max(widths))
        widths[widest] = max(max(widths) - (sum(widths) - room), sorted(widths)[-2] - 1 if len(widths) > 1 else 4, 4)
    return widths


def _batches(relation: duckdb.DuckDBPyRelation) -> Iterator[list[tuple[Any, ...]]]:
    while rows := relation.fetchmany(BATCH_ROWS):
        yield rows


def _distinct(names: Iterable[str]) -> list[str]:
    """Return unique names: a repeated name gets a number, as in DuckDB's subqueries."""
    names, used = list(names), set[str]()
    taken = set(names)
    for n, name in enumerate(names):
        number = 0
        while names[n] in used or (number and names[n] in taken):
            number += 1
            names[n] = f"{name}_{number}"
        used.add(names[n])
    return names


def _finite(text: str) -> str:
    """Return JSON text with null in place of NaN and infinity, which DuckDB writes as bare words."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _JSON_WORD.sub(lambda found: found[0] if found[0].startswith('"') else "null", text)


def explanation(settings: Settings, full_name: str, day: dt.date | None) -> str:
    """Return a text that explains the score of a repository on a day by its components and their inputs.

    Args:
        settings: settings of the home.
        full_name: owner/name, or a name that only one owner has.
        day: the day; None for the last observed day.

    Raises:
        AnswerError: the repository is unknown or ambiguous, or was not observed on the day.
    """
    with opened(settings) as connection:
        full_name = full_name if "/" in full_name else _full_name(connection, full_name)
        bearer, others = _bearers(connection, full_name, day)
        found = connection.execute(
            """
            select *, max(day) filter (where is_breakout) over (order by day) as last_breakout
            from fct_repo_signal_day
            where repo_key = ? and day <= coalesce(?, date '9999-12-31')
            order by day desc limit 1
            """,
            [bearer.repo_key, day],
        )
        names = [column for column, *_ in found.description or ()]
        row = found.fetchone()
        if row is None:
            if (
                day is not None
                and _first(connection, "select 1 from fct_repo_signal_day where repo_key = ?", [bearer.repo_key])[0]
            ):
                raise AnswerError(f"{_cell(full_name)} was not observed by {day}")
            raise AnswerError(
                f"{_cell(full_name)} has no score: its name was seen from {bearer.seen_from} to {bearer.seen_to},"
                " but no source has read its star total"
            )
        fact = dict(zip(names, row, strict=True))
        if day and fact["day"] != day:
            raise AnswerError(
                f"{_cell(full_name)} was not observed on {day}; its last reading before that day is from {fact['day']}"
            )
        (flags,) = _first(
            connection,
            "select dq_flags from fct_repo_day where repo_key = ? and day = ?",
            [fact["repo_key"], fact["day"]],
        )
        (ranked,) = _first(
            connection, "select count(signal_rank) from fct_repo_signal_day where day = ?", [fact["day"]]
        )
        weights = connection.execute(
            "select component, weight, reason from signal_weight order by weight desc, component desc"
        ).fetchall()
        forecast = _forecast(connection, fact["repo_key"], fact["day"])
    notes = [
        f"{_cell(full_name)} was also the name of another repository, from {other.seen_from} to {other.seen_to};"
        f" that repository was last seen as {_cell(other.last_name)}"
        for other in others
    ]
    return "\n".join([_explained(fact, flags, ranked, weights, forecast), *notes])


class _Bearer(NamedTuple):
    """A repository that had a name, and the days on which it was seen under that name."""

    repo_key: int
    seen_from: dt.date
    seen_to: dt.date
    last_name: str


def _bearers(
    connection: duckdb.DuckDBPyConnection, full_name: str, day: dt.date | None
) -> tuple[_Bearer, list[_Bearer]]:
    """Return (the repository that a name referred to on a day or refers to now, the others that had the name).

    A name refers to the last repository seen under it by that day, or else to the first one seen later.
    """
    rows = connection.execute(
        """
        with
        aliases as (
            select
                repo_key,
                min(seen_from) filter (where lower(full_name) = lower($name)) as seen_from,
                max(seen_to) filter (where lower(full_name) = lower($name)) as seen_to,
                arg_max(full_name, seen_to) as last_name
            from dim_repo_alias
            group by repo_key
            having seen_from is not null
        ),
        -- the days of an alias have gaps, in which another repository can have had the name
        last_seen as (
            select repo_key, max(day) filter (where day <= $day) as day
            from fct_repo_signal_day
            where repo_key in (select repo_key from aliases) and lower(full_name) = lower($name)
            group by repo_key
        )
        select aliases.*
        from aliases left join last_seen using (repo_key)
        order by
            coalesce(last_seen.day, case when seen_from <= $day then least(seen_to, $day) end) desc nulls last,
            seen_from
        """,
        {"name": full_name, "day": day or dt.date.max},
    ).fetchall()
    if not rows:
        raise AnswerError(_unknown(connection, full_name))
    bearer, *others = (_Bearer(*row) for row in rows)
    return bearer, others


def _full_name(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return the full name of the only repository with a name.

    Raises:
        AnswerError: no repository, or more than one, ever had the name.
    """
    rows = connection.execute(
        """
        select any_value(full_name) from dim_repo_alias
        where lower(split_part(full_name, '/', 2)) = lower(?) group by lower(full_name) order by 1
        """,
        [name],
    ).fetchall()
    if not rows:
        raise AnswerError(_unknown(connection, name))
    if len(rows) > 1:
        owners = ", ".join(_cell(found) for (found,) in rows[:NEAR])
        raise AnswerError(
            f"{len(rows):,} repositories are named {_cell(name)!r}: {owners}{'' if len(rows) <= NEAR else ', ...'};"
            " give owner/name"
        )
    return str(rows[0][0])


def _unknown(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    part = "full_name" if "/" in name else "split_part(full_name, '/', 2)"
    rows = connection.execute(
        f"""
        select full_name from dim_repo_alias
        group by full_name
        having max(jaro_winkler_similarity(lower({part}), lower($1))) >= {NEAR_ENOUGH}
        order by max(jaro_winkler_similarity(lower({part}), lower($1))) desc, full_name limit {NEAR}
        """,
        [name],
    ).fetchall()
    near = f"; similar names: {', '.join(_cell(found) for (found,) in rows)}" if rows else ""
    return f"no repository was ever seen under the name {_cell(name)!r}{near}"


def _forecast(connection: duckdb.DuckDBPyConnection, repo_key: int, day: dt.date) -> tuple[Any, ...] | None:
    """Return threshold, probability, due day, issue day, reading day and model of the last forecast known on `day`.

    Forecasts are issued on the Monday after a week, from the last reading of that week.
    """
    if _first(connection, "select 1 from duckdb_tables() where table_name = 'fct_forecast'", []) == (None,):
        return None
    return connection.execute(
        """
        select threshold, probability, due_on, issued_on, as_of_date, model_version from fct_forecast
        where repo_key = ? and as_of_date <= ? and due_on >= ? order by issued_on desc, threshold limit 1
        """,
        [repo_key, day, day],
    ).fetchone()


_INPUTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "growth_28d": lambda fact: _percent(fact["growth_28d"], "in 28 days"),
    "growth_year": lambda fact: _percent(fact["growth_year"], "in 28 days, mean of up to a year"),
    "growth_7d": lambda fact: _percent(fact["growth_7d"], "in 7 days"),
    "breadth": lambda fact: _percent(fact["fork_growth_28d"], "more forks in 28 days"),
    "surprise": lambda fact: "" if fact["surprise"] is None else f"{fact['surprise']:+.1f} sd from the expected change",
}


def _explained(
    fact: dict[str, Any],
    flags: list[str],
    ranked: int,
    weights: list[tuple[str, float, str]],
    forecast: tuple[Any, ...] | None,
) -> str:
    head = f"{_cell(fact['full_name'])} on {fact['day']}: {fact['stars_total']:,} stars"
    is_scored = fact["signal_score"] is not None
    if not is_scored:
        if "below_former_level" in flags:
            why = "its total is still below a former level"
        elif fact["velocity_28d"] is not None:
            why = "its total had a level break within the last 28 days"
        else:
            why = "less than 28 days of history"
        score = f"no signal score: {why}"
    else:
        rank = f"rank {fact['signal_rank']:,} of {ranked:,} ({fact['model_version']})"
        score = f"signal score {fact['signal_score']:.2f} of 100, {rank}"
    rows: list[tuple[Any, ...]] = []
    for component, weight, reason in weights:
        substitute = "" if not is_scored or component == "surprise" else "; the growth in 28 days is used instead"
        source = _INPUTS[component](fact) or f"not known{substitute}"
        rows.append((component, fact[f"{component}_points"], weight, source, reason))
    rows.append(("authenticity", fact["authenticity_points"], 0.0, _authenticity(fact), "review halves the score"))
    rows.append(("sum", fact["signal_score"], sum(weight for _, weight, _ in weights), "", ""))
    verdict, why = numbers.breakout(fact)
    breakout = f"breakout: {verdict}{f' ({why})' if why else ''}"
    shown = (
        table(["component", "points", "of", "from", "why it counts"], rows).rsplit("\n", 1)[0].replace("NULL", "    ")
    )
    notable = [flag for flag in flags if flag != "stars_gained_not_observed"]
    notes = f"quality flags of the total: {', '.join(notable)}" if notable else "no quality flags of the total"
    context = "\n".join(f"  {name:<12} {text}" for name, text in _context(fact, forecast))
    return f"{head}\n{score}\n{breakout}\n\n{shown}\n\nnot part of the score\n{context}\n\n{notes}"


def _authenticity(fact: dict[str, Any]) -> str:
    reasons = ", ".join(fact["authenticity_reasons"] or []).replace("_", " ")
    return {
        "ok": "ok: nothing suspicious about its stars",
        "review": f"under review: {reasons}",
        None: f"not known{': ' * bool(reasons)}{reasons}",
    }[fact["authenticity"]]


def _context(fact: dict[str, Any], forecast: tuple[Any, ...] | None) -> list[tuple[str, str]]:
    """Return (name, text) pairs of facts that are not components of the score."""
    over = {"24h": "in the last 24 h", "7d": "in the last 7 days", "28d": "in the last 28 days"}
    if days := fact.get("velocity_7d_days"):
        over["7d"] += f" ({fact['velocity_7d'] * days:,.0f} stars in {days:.1f} days)"
    paces = [
        f"{fact[f'velocity_{span}']:,.1f} {words}"
        for span, words in over.items()
        if fact[f"velocity_{span}"] is not None
    ]
    context = [("pace", f"stars/day: {', '.join(paces)}" if paces else "not known")]
    if fact["surprise"] is None:
        context.append(("expected", "not known: this takes 14 readings in the preceding eight weeks"))
    else:
        context.append(
            (
                "expected",
                f"{fact['expected_change']:,.1f} stars in 24 h; observed {fact['velocity_24h']:,.0f}"
                f" (all repositories gained {fact['day_index']:.2f} times their usual number on this day)",
            )
        )
    if fact["persistence"] is not None:
        context.append(
            (
                "persistence",
                f"above the expected change on {fact['persistence']:.0%} of the days of the preceding four weeks",
            )
        )
    if forecast:
        threshold, probability, due_on, issued_on, as_of, model = forecast
        context.append(
            (
                "forecast",
                f"{threshold:,} stars by {due_on}: {numbers.probability(probability)}"
                f" (issued on {issued_on} from the reading of {as_of}, by {_cell(model)})",
            )
        )
    return context


def _percent(value: float | None, what: str) -> str:
    return "" if value is None else f"{value:+.2%} {what}"


def week_in_words(settings: Settings, day: dt.date, command: str) -> str:
    """Return the trends of the week of `day` as tables, the paths of the results, and commands to try next."""
    week = day - dt.timedelta(days=day.weekday())
    with opened(settings) as connection:
        repos = connection.execute(
            """
            select
                rank, full_name, language, stars_total, stars_gained, growth_pct, signal_score, rank_change, is_breakout
            from weekly_repo_trends where week = ? and rank <= 15 order by rank
            """,
            [week],
        )
        repo_names, repo_rows = [name for name, *_ in repos.description or ()], repos.fetchall()
        languages = connection.execute(
            """
            select rank, language, repos, top50_repos, round(100 * top50_share, 1) as top50_share_pct, stars_gained
            from weekly_language_trends where week = ? order by rank
            """,
            [week],
        )
        language_names, language_rows = [name for name, *_ in languages.description or ()], languages.fetchall()
    published = settings.published_dir
    suggested = (
        "select full_name, signal_score, stars_gained from weekly_repo_trends"
        f" where week = '{week}' order by rank limit 5"
    )
    return "\n".join(
        [
            f"\nRepositories of the week of {week}, by signal (not by stars)\n",
            table(repo_names, repo_rows),
            f"\nLanguages of the week of {week}, by stars gained\n",
            table(language_names, language_rows),
            "\nResults",
            f"  warehouse  {settings.published_db}   (open it read-only with any DuckDB client)",
            f"  parquet    {published / 'parquet'}",
            f"  site       {published / 'site' / 'index.html'}   (open it in a browser)",
            f"  runs       {settings.dagster_home}   (make dev shows them)",
            f'\nNext:  {command} explain thu-pacman/chitu\n       {command} sql "{suggested}"',
        ]
    )


def _first(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any]) -> tuple[Any, ...]:
    return connection.execute(sql, parameters).fetchone() or (None,)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return without_controls(str(value)).replace("\n", " ")


def without_controls(text: str) -> str:
    """Return a text with replacement characters for controls that could move a cursor or reverse a line."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


class _Lines:
    """Converts the CR LF line ends of a CSV writer to LF; with CR LF the writer also quotes a lone CR in a text."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def write(self, row: str) -> int:
        return self.out.write(row.removesuffix("\r\n") + "\n")


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _spreadsheet_safe(text: str | None) -> str | None:
    return f"'{text}" if text is not None and text.startswith(_FORMULA_STARTS) else text


def _one_line(error: BaseException) -> str:
    return _cell(" ".join(str(error).split("\n\n")[0].split()))[:500]
