"""A release made by hand: every table that the site queries, few rows, and hostile texts.

Here: the rows and the folder. Not here: what the pages must show (`test_site.py`, `test_site_browser.py`).
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from reposignal_pipeline.analysis.clusters import CLUSTER_TABLES
from reposignal_pipeline.analysis.forecast import BREAKOUTS, FORECASTS, OUTCOMES, SUPERSEDED, TRACK_RECORD
from reposignal_pipeline.analysis.weekly import LANGUAGE_TRENDS, REPO_TRENDS
from reposignal_pipeline.publishing.article import ARTICLES, CLAIMS
from reposignal_pipeline.publishing.site.pages import Site, build

WEEKS = [dt.date(2026, 1, 5) + dt.timedelta(weeks=number) for number in range(8)]
GAP = WEEKS[3]
"""a week in which the first repository was not read"""
SCRIPT = "<script>alert(1)</script>"
OVERRIDE = "\u202egnp.exe\u2066"
EMOJI = "\N{ROCKET}" * 10_000
FORMULA = "=cmd|'/c calc'!A1"
MARKDOWN = "[click](javascript:alert(1))"
HOSTILE = f'{SCRIPT} "onload="x" {OVERRIDE} {MARKDOWN} \ufffe'

REPOSITORIES = [
    # repo_key, full_name, language, description, topics
    (11, "thu-pacman/chitu", "Python", "High-performance inference", ["llm", "inference"]),
    (22, "fatedier/frp", "Go", HOSTILE, [SCRIPT, "proxy"]),
    (33, "Fatedier/FRP", "Go", EMOJI, []),
    (44, "a--b/c", "Rust", FORMULA, ["x" * 500]),
    (55, "a/b--c", "Rust", None, None),
    (66, f"evil/{SCRIPT}", SCRIPT, MARKDOWN, []),
    (77, "javascript:alert(1)/x", None, "", []),
]
BREAKING = 66
CLIMBED = {22: 3, 33: 0, 44: -2}
"""places climbed since the week before; the others were not ranked then"""

_MARTS = """
    create table dim_repo (
        repo_key bigint, repo_id bigint, full_name varchar, owner varchar, name varchar, language varchar,
        topics varchar[], description varchar, is_archived boolean, is_fork boolean, created_at timestamp,
        state varchar, valid_from date, valid_to date, is_current boolean
    );
    create table dim_repo_alias (repo_key bigint, full_name varchar, seen_from date, seen_to date);
    create table signal_weight (component varchar, weight double, reason varchar);
    create table fct_repo_day (day date, repo_key bigint, dq_flags varchar[]);
    create table fct_repo_signal_day (
        day date, repo_key bigint, full_name varchar, language varchar, stars_total bigint, velocity_7d double,
        velocity_7d_days double, velocity_28d double, growth_28d_points double, surprise_points double,
        authenticity_points double,
        signal_score double, signal_rank integer, is_breakout boolean, breakout_held_back varchar, velocity_24h double,
        expected_change double, surprise double, authenticity varchar, authenticity_reasons varchar[],
        model_version varchar
    );
    create table fct_language_day (
        day date, universe varchar, language varchar, repos bigint, share double, share_low double, share_high double
    );
    comment on table dim_repo is 'Grain: repo_key x valid_from. What a repository was, and when.';
    comment on column dim_repo.description is 'Text by strangers; NULL if none.';
"""
_WEEKLY = (
    *(REPO_TRENDS, LANGUAGE_TRENDS, BREAKOUTS, FORECASTS, SUPERSEDED, OUTCOMES, TRACK_RECORD, ARTICLES, CLAIMS),
    *CLUSTER_TABLES,
)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every table that the site queries, without rows."""
    connection.execute(_MARTS)
    for table in _WEEKLY:
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in table.columns.items())
        connection.execute(f"create table {table.name} ({columns})")


def fill_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill them with eight weeks of seven repositories."""
    for key, full_name, language, description, topics in REPOSITORIES:
        row: dict[str, Any] = {"repo_key": key, "full_name": full_name, "language": language}
        about = {"description": description, "topics": topics, "created_at": dt.datetime(2023, 1, 1)}
        life = {"is_archived": False, "state": "active", "valid_from": WEEKS[0], "is_current": True}
        add(connection, "dim_repo", **row, **about, **life)
        add(connection, "dim_repo_alias", repo_key=key, full_name=full_name, seen_to=WEEKS[-1])
    add(connection, "dim_repo_alias", repo_key=11, full_name="old/name", seen_to=WEEKS[1])
    add(connection, "signal_weight", component="growth_28d", weight=70.0, reason="It lasts.")
    add(connection, "signal_weight", component="surprise", weight=30.0, reason="It is new.")
    for number, week in enumerate(WEEKS):
        _readings(connection, number, week)
        _languages(connection, number, week)
        _clusters(connection, number, week)
    breakout = {"repo_key": BREAKING, "full_name": f"evil/{SCRIPT}", "stars_total": 4000, "rank": 1}
    values = {"first_flagged_on": WEEKS[-1], "probability": 0.3, "threshold": 5000}
    add(connection, "weekly_breakouts", week=WEEKS[-1], **breakout, **values)
    _forecasts(connection)
    _track_record(connection)
    for week in WEEKS[-2:]:
        _article(connection, week)


def _readings(connection: duckdb.DuckDBPyConnection, number: int, week: dt.date) -> None:
    for place, (key, full_name, language, *_) in enumerate(REPOSITORIES, start=1):
        if key == 11 and week == GAP:
            continue
        day = week + dt.timedelta(days=6)
        score = None if number < 2 else 90.0 - place
        seen: dict[str, Any] = {
            "repo_key": key,
            "full_name": full_name,
            "language": language,
            "stars_total": 2000 + 100 * number + key,
            "signal_score": score,
            "is_breakout": key == BREAKING,
        }
        rank = None if score is None else place
        points = {} if score is None else {"growth_28d_points": score - 20, "surprise_points": 20.0}
        pace: dict[str, Any] = {
            "velocity_7d": 14.25,
            "velocity_7d_days": 7.0,
            "velocity_28d": 9.5,
            "authenticity": "ok",
        }
        pace |= {"velocity_24h": 12.0, "expected_change": 8.5, "surprise": 0.4, "model_version": "signal-3"}
        flags = ["gap_over_36h"] if number == 4 else ["stars_gained_not_observed"]
        add(connection, "fct_repo_day", day=day, repo_key=key, dq_flags=flags)
        add(connection, "fct_repo_signal_day", day=day, signal_rank=rank, **seen, **points, **pace)
        trend = {"rank": rank, "rank_change": CLIMBED.get(key), "stars_gained": 100}
        add(connection, "weekly_repo_trends", week=week, as_of_date=day, **trend, **seen)


def _languages(connection: duckdb.DuckDBPyConnection, number: int, week: dt.date) -> None:
    day = week + dt.timedelta(days=6)
    for language, repos in (("Python", 30 + number), ("Go", 20 - number), (SCRIPT, 0)):
        share = repos / 50
        trend = {"language": language, "repos": repos, "share": share, "top50_repos": repos, "top50_share": share}
        add(connection, "weekly_language_trends", week=week, as_of_date=day, stars_gained=500, **trend)
        if repos:
            bounds = {"share": share, "share_low": share - 0.1, "share_high": share + 0.1}
            add(connection, "fct_language_day", day=day, universe="top50", language=language, repos=repos, **bounds)


def _clusters(connection: duckdb.DuckDBPyConnection, number: int, week: dt.date) -> None:
    day = week + dt.timedelta(days=6)
    for cluster, label, growth in ((1, "agent · llm · mcp", 0.05), (2, "proxy · tunnel", -0.01)):
        values: dict[str, Any] = {"week": week, "cluster": cluster, "label": label, "as_of_date": day}
        values |= {"growth": growth, "stars_gained": 300, "status": "growing"}
        facts = {"size": 20 + number, "universe_growth": 0.02, "entrants": 1, "leavers": 0, "stability": 0.93}
        is_new = number == 0
        origin = {"born_on": WEEKS[0], "split_from": 1 if is_new and cluster == 2 else None}
        origin["merged_from"] = [99] if number == 5 and cluster == 1 else []
        add(connection, "fct_cluster_week", **values, **facts, **origin)
        momentum = {"repos": 20 + number, "momentum": growth - 0.02, "momentum_rank": cluster}
        add(connection, "weekly_cluster_trends", **values, **momentum)
        for key, full_name, *_ in REPOSITORIES[cluster - 1 : cluster + 2]:
            member = {"repo_key": key, "full_name": full_name, "is_entrant": number == 7}
            add(connection, "fct_cluster_member_week", week=week, cluster=cluster, **member)


def _forecasts(connection: duckdb.DuckDBPyConnection) -> None:
    for number, (happened, probability) in enumerate([(True, 0.9), (False, 0.8), (True, 0.02), (None, 0.5)]):
        issued = WEEKS[0] + dt.timedelta(weeks=number)
        due = issued + dt.timedelta(days=42)
        what = {"repo_key": 11, "full_name": "thu-pacman/chitu", "threshold": 5000, "horizon_days": 42}
        values = {"probability": probability, "stars_total": 2500, "model_version": "forecast-1"}
        when = {"issued_on": issued, "due_on": due, "is_backtest": number == 0}
        add(connection, "fct_forecast", forecast_id=str(number), **what, **values, **when)
        if happened is not None:
            came = {"happened": happened, "crossed_on": due if happened else None, "is_scored": True}
            add(connection, "fct_forecast_outcome", forecast_id=str(number), brier=0.04, **came)


def _track_record(connection: duckdb.DuckDBPyConnection) -> None:
    bins = [
        {
            "probability_from": 0.1 * tenth,
            "forecasts": 100 // (tenth + 1),
            "mean_probability": 0.1 * tenth + 0.05,
            "happened_share": 0.1 * tenth + 0.03,
        }
        for tenth in range(10)
    ]
    counts = {"forecasts": 100, "resolved": 98, "backtested": 0, "happened": 10, "expected": 9.5, "calls": 8}
    scores = {"hit_rate": 0.75, "recall": 0.6, "brier": 0.03, "brier_skill": -0.1, "mean_lead_days": 20.0}
    for number, week in enumerate(WEEKS[-3:]):
        year = {"brier_skill_52w": 0.6 + number / 100, "reliability_52w": bins}
        add(connection, "weekly_track_record", week=week, model_version="forecast-1", **counts, **scores, **year)


QUERIED = [
    # claim, sentence, text, shown, value, query
    ("languages.1.repos", 1, "Python has 20 of 50.", "20", 20.0, "select 20 -- </code><script>alert(1)</script>"),
    ("languages.1.all", 1, "Python has 20 of 50.", "50", 50.0, "select 50"),
    ("breakouts.4.probability", 4, f"evil/{SCRIPT} may pass: 30 %.", "30 %", 0.3, "select 0.3"),
]


def _article(connection: duckdb.DuckDBPyConnection, week: dt.date) -> None:
    day = week + dt.timedelta(days=6)
    values = {"title": f"Python leads {HOSTILE}", "summary": f"Agents form a cluster. {HOSTILE}"}
    texts = {"document": json.dumps(document(week)), "markdown": "# Python leads\n"}
    add(connection, "weekly_article", week=week, as_of_date=day, **values, **texts)
    for claim, sentence, text, shown, value, sql in QUERIED:
        found = {"claim": claim, "section": claim.partition(".")[0], "sentence": sentence, "text": text}
        row = found | {"shown": shown, "value": value, "sql_text": sql}
        add(connection, "fct_article_claim", week=week, as_of=day, **row)


def document(week: dt.date) -> dict[str, Any]:
    """Return an article with every kind of part."""
    languages = [
        {"language": "Python"},
        {"text": " has "},
        {"number": "languages.1.repos", "shown": "20"},
        {"text": " of "},
        {"number": "languages.1.all", "shown": "50"},
        {"text": " repositories of "},
        {"day": str(week)},
        {"text": "."},
    ]
    breakouts = [
        {"repo": BREAKING, "name": f"evil/{SCRIPT}"},
        {"text": f" next to {HOSTILE} and "},
        {"repo": 999, "name": "launchbadge/sqlx"},
        {"text": " may pass: "},
        {"number": "breakouts.4.probability", "shown": "30 %"},
        {"text": ", "},
        {"cluster": 1, "label": "agent · llm · mcp"},
        {"text": ", "},
        {"cluster": 99, "label": "gone"},
        {"text": "."},
    ]
    count = itertools.count(1)
    sections = [
        _section(count, "languages", "Languages", "paragraph", languages, [{"text": "No other language moved."}]),
        _section(count, "clusters", "Clusters", "paragraph", [{"text": "Two are stable."}]),
        _section(count, "breakouts", "Breakout calls", "list", breakouts),
    ]
    return {"week": str(week), "as_of_date": str(week), "title": "", "summary": "", "sections": sections}


def _section(count: Iterator[int], key: str, title: str, kind: str, *sentences: list[dict[str, Any]]) -> dict[str, Any]:
    numbered = [{"id": next(count), "parts": parts} for parts in sentences]
    return {"key": key, "title": title, "blocks": [{"kind": kind, "sentences": numbered}]}


def release(folder: Path, charts: Path) -> Site:
    """Return the site built from a made release in a new folder."""
    folder.mkdir(parents=True)
    with duckdb.connect(str(folder / "reposignal.duckdb")) as connection:
        create_tables(connection)
        fill_tables(connection)
        (folder / "parquet" / "fct_repo_day").mkdir(parents=True)
        connection.execute(f"copy dim_repo to '{folder}/parquet/dim_repo.parquet'")
        return build(connection, folder, charts)


def add(connection: duckdb.DuckDBPyConnection, table: str, **row: Any) -> None:
    """Insert a row; columns without a value are NULL."""
    places = ", ".join("?" * len(row))
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({places})", list(row.values()))
