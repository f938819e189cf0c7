"""Languages over verticals: what was known on the day, numbers that add up, and effects without a residual.

A generated story of 60 repositories whose topics come, change and go; GitHub is queried for most of them.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from built_homes import ROOT, BuiltHome, Rows, window
from github_rows import Row, entered, observation, observed_day
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Template

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rankings_files import file_of, row

from reposignal_pipeline.sources.rankings import Day, parse_day

START = dt.date(2026, 3, 2)
DAYS = 9
REPOS = range(1, 61)
LANGUAGES = ["Go", "Rust", "Python", None]
TOPICS = ["android", "ios", "sql", "redis", "godot", "llm", "rag", "kernel", "made-up", "go"]
TABLES = ("fct_language_vertical_day", "fct_language_reach_day")
RUN = ["run", "--select", "+fct_language_reach_day"]


def day(number: int) -> dt.date:
    return START + dt.timedelta(number)


def language_of(repo: int) -> str | None:
    return LANGUAGES[repo * 7 % 4 if repo % 3 else repo % 2]


def topics_of(repo: int, number: int) -> list[str]:
    """Return the topics that GitHub shows on a day; each repository changes them every few days."""
    chosen = random.Random(f"{repo}/{(number + repo) // 4}")
    return chosen.sample(TOPICS, chosen.choice([0, 1, 1, 2, 3, 4]))


def is_queried(repo: int, number: int) -> bool:
    """A third is found later; a few have a response only now and then."""
    return repo % 3 != 0 or (number >= repo % 7 and (repo % 10 != 0 or number % 2 == 0))


def ranking_day(number: int) -> Day:
    """Two repositories are only in the lists."""
    rows = [
        row(rank, "Go", username="lists", repo_name=f"only{rank}", stars=str(9000 - rank), language="Go")
        for rank in (1, 2)
    ]
    return parse_day(day(number), file_of(rows), f"github-ranking-{day(number)}.csv")


def observations(number: int) -> list[Row]:
    return [
        observation(
            day(number), repo, f"own/repo{repo}", 1000 + repo * (10 + number),
            language=language_of(repo), topics=json.dumps(topics_of(repo, number)),
        )
        for repo in REPOS
        if is_queried(repo, number)
    ]  # fmt: skip


def raw_home(folder: Path, last: int = DAYS - 1) -> BuiltHome:
    home = BuiltHome(folder)
    home.load([ranking_day(number) for number in range(last + 1)])
    rows = {number: observations(number) for number in range(last + 1)}
    home.append(
        repositories=[found for number in rows for found in rows[number]],
        repositories_days=[observed_day(day(number), len(found), len(found)) for number, found in rows.items()],
        universe_changes=[entered(START, repo, f"own/repo{repo}") for repo in REPOS],
    )
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    return raw_home(tmp_path_factory.mktemp("languages") / "home").built(
        ["build", "--exclude-resource-type", "unit_test"]
    )


@pytest.fixture(scope="module")
def verticals() -> dict[str, str]:
    lines = (ROOT / "dbt_project" / "seeds" / "verticals.csv").read_text(encoding="utf-8").splitlines()[1:]
    return dict(line.split(",") for line in lines)


# --- the tables, compared with a count by hand


def placed(verticals: dict[str, str], number: int) -> list[tuple[str, set[str]]]:
    """Return language and verticals of every repository with a response and topics on a day."""
    found = []
    for repo in REPOS:
        if is_queried(repo, number) and (topics := topics_of(repo, number)):
            found.append((language_of(repo) or "none", {verticals[t] for t in topics if t in verticals} or {"other"}))
    return found


@pytest.mark.parametrize("number", range(DAYS))
def test_counts_and_advantages_are_those_of_the_day(home: BuiltHome, verticals: dict[str, str], number: int) -> None:
    repos = placed(verticals, number)
    cells, parts = Counter[tuple[str, str]](), defaultdict[tuple[str, str], float](float)
    for language, names in repos:
        for name in names:
            cells[language, name] += 1
            parts[language, name] += 1 / len(names)
    of_language = Counter(language for language, _ in repos)
    of_vertical = Counter(name for _, names in repos for name in names)
    expected = {
        key: (
            count,
            count / of_vertical[key[1]],
            count / of_vertical[key[1]] / of_language[key[0]] * len(repos),
            parts[key],
            of_vertical[key[1]],
            of_language[key[0]],
            len(repos),
        )
        for key, count in cells.items()
    }
    rows = home.query(
        "select language, vertical, repos, share, rca, repos_split, vertical_repos, language_repos, all_repos"
        " from fct_language_vertical_day where day = $1",
        day(number),
    )
    assert {
        (language, vertical): pytest.approx(tuple(rest), abs=1e-6) for language, vertical, *rest in rows
    } == expected


def test_shares_and_parts_add_up(home: BuiltHome) -> None:
    assert home.query(
        "select day, vertical from fct_language_vertical_day group by all having abs(sum(share) - 1) > 1e-9"
        " union all by name select day, language from fct_language_vertical_day group by all"
        " having abs(sum(repos_split) - any_value(language_repos)) > 1e-6"
        " union all by name select day, language from fct_language_reach_day"
        " where not repos >= repos_with_topics or not repos_with_topics >= repos_in_verticals"
    ) == []  # fmt: skip


def test_reach_counts_repositories_with_and_without_topics(home: BuiltHome, verticals: dict[str, str]) -> None:
    repos = [(language, names) for language, names in placed(verticals, DAYS - 1) if language == "Go"]
    inside = [names for _, names in repos if names != {"other"}]
    parts = defaultdict[str, float](float)
    for names in inside:
        for name in names:
            parts[name] += 1 / len(names) / len(inside)
    entropy = -sum(part * math.log2(part) for part in parts.values())
    queried = sum(is_queried(repo, DAYS - 1) and language_of(repo) == "Go" for repo in REPOS)
    assert home.query(
        "select repos, repos_with_topics, repos_in_verticals, verticals, entropy_bits from fct_language_reach_day"
        " where day = $1 and language = 'Go'",
        day(DAYS - 1),
    ) == [(queried + 2, len(repos), len(inside), len(parts), pytest.approx(entropy, abs=1e-6))]


# --- no look-ahead, and the order of loading does not matter


def rows_of(home: BuiltHome, table: str, where: str = "true") -> Rows:
    return home.query(f"select * from {table} where {where} order by all")


def test_topics_of_later_days_do_not_apply_earlier(home: BuiltHome, tmp_path: Path) -> None:
    last = 4
    past = raw_home(tmp_path / "past", last).built(["seed"], RUN)
    for table in TABLES:
        assert rows_of(past, table) == rows_of(home, table, f"day <= date '{day(last)}'"), table


@pytest.mark.slow
def test_day_by_day_equals_all_at_once(home: BuiltHome, tmp_path: Path) -> None:
    daily = raw_home(tmp_path / "daily")
    windows = [(0, 5), (6, 6), (7, 8), (8, 8)]
    daily.built(["seed"], *([*RUN, *window(day(first), day(last))] for first, last in windows))
    for table in TABLES:
        assert rows_of(daily, table) == rows_of(home, table), table


# --- shift-share


def test_analysts_pass_the_dates_under_any_database_name(home: BuiltHome, tmp_path: Path) -> None:
    shutil.copy(home.marts_db, tmp_path / "renamed.duckdb")
    compared = (
        "select any_value(from_day), any_value(to_day), count(*), sum(share_from), sum(share_to), sum(within_effect),"
        " sum(mix_effect) from language_shift_share({}, {})"
    )
    whole = (day(1), day(7), 4, *map(pytest.approx, (1, 1)), *(pytest.approx(0, abs=1e-12),) * 2)
    with duckdb.connect(str(tmp_path / "renamed.duckdb"), read_only=True) as connection:
        dates = f"date '{day(1)}'", f"date '{day(7)}'"
        assert connection.execute(compared.format(*dates)).fetchone() == whole
        assert connection.execute(compared.format(f"'{day(1)}'", f"'{day(7)}'")).fetchone() == whole
        texts = "select comment from duckdb_functions() where function_name like 'language%shift_share'"
        assert [text[:6] for (text,) in connection.execute(texts).fetchall()] == ["Grain:"] * 2
        newest = "(select max(day) from fct_language_vertical_day)"
        assert connection.execute(compared.format(f"{newest} - 3", newest)).fetchone()[1] == day(DAYS - 1)  # type: ignore[index]
        before = f"from language_shift_share(date '{day(-1)}', {newest})"
        assert connection.execute(before).fetchall() == []  # nothing was known then
        nothing = f"select max(abs(within_effect) + abs(mix_effect)) from language_shift_share({newest}, {newest})"
        assert connection.execute(nothing).fetchone() == (0,)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{tmp_path / 'renamed.duckdb'}' as published (read_only)")
        connection.execute("use published")
        assert connection.execute(compared.format(*dates)).fetchone() == whole


@pytest.fixture(scope="module")
def functions(home: BuiltHome) -> Iterator[duckdb.DuckDBPyConnection]:
    """The functions as written into the database, over a table that a test fills."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(
            "create table fct_language_vertical_day"
            " (day date, language varchar, vertical_basis varchar, vertical varchar, repos_split double)"
        )
        written = home.manifest()["macros"]["macro.reposignal.language_functions"]["macro_sql"]
        connection.execute(Template(written).module.language_functions())  # type: ignore[attr-defined]
        yield connection


CELLS = st.dictionaries(
    st.tuples(st.sampled_from(["Go", "Rust", "C"]), st.sampled_from(["games", "media", "systems", "other"])),
    st.integers(1, 2000).map(lambda sixths: sixths / 6),
    min_size=1,
)


def filled(connection: duckdb.DuckDBPyConnection, *days: dict[tuple[str, str], float]) -> None:
    connection.execute("delete from fct_language_vertical_day")
    rows = [
        (day(number), language, "curated", vertical, repos)
        for number, cells in enumerate(days)
        for (language, vertical), repos in cells.items()
    ]
    connection.executemany("insert into fct_language_vertical_day values (?, ?, ?, ?, ?)", rows)


def effects(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Any, ...]]:
    """Return language -> share_from, share_to, share_change, within_effect, mix_effect."""
    rows = connection.execute(
        f"select * exclude (from_day, to_day) from language_shift_share(date '{day(0)}', date '{day(1)}')"
    ).fetchall()
    return {language: tuple(rest) for language, *rest in rows}


@given(before=CELLS, after=CELLS)
def test_the_effects_add_up_to_the_change_exactly(
    functions: duckdb.DuckDBPyConnection, before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]
) -> None:
    filled(functions, before, after)
    for language, (share_from, share_to, change, within, mix) in effects(functions).items():
        for share, cells in ((share_from, before), (share_to, after)):
            of_language = sum(repos for (name, _), repos in cells.items() if name == language)
            assert share == pytest.approx(of_language / sum(cells.values()), abs=1e-12)
        assert change == pytest.approx(share_to - share_from, abs=1e-12)
        assert within + mix == pytest.approx(change, abs=1e-12)


def test_within_and_mix_are_distinguished(functions: duckdb.DuckDBPyConnection) -> None:
    games, media = ("Go", "games"), ("Go", "media")
    rust_games, rust_media = ("Rust", "games"), ("Rust", "media")
    # Media doubles, and Go keeps 3 of 4 of it: all is mix, on the account of media and games alike.
    before = {games: 1.0, rust_games: 3.0, media: 3.0, rust_media: 1.0}
    filled(functions, before, {games: 1.0, rust_games: 3.0, media: 6.0, rust_media: 2.0})
    assert effects(functions)["Go"][2:] == pytest.approx((7 / 12 - 1 / 2, 0, 7 / 12 - 1 / 2))
    # The verticals keep their sizes and Go gains in one: all is within.
    filled(functions, before, {games: 2.0, rust_games: 2.0, media: 3.0, rust_media: 1.0})
    assert effects(functions)["Go"][2:] == pytest.approx((1 / 8, 1 / 8, 0))
    # A vertical that did not exist before has no share inside it before.
    filled(functions, {games: 1.0, rust_games: 1.0}, {games: 1.0, rust_games: 1.0, media: 2.0})
    assert effects(functions)["Go"][2:] == pytest.approx((1 / 4, 0, 1 / 4))
    # By vertical: growth of one in which Rust is absent costs Rust share.
    rows = functions.execute(
        "select vertical, mix_effect < 0, share_within_from is null from language_vertical_shift_share("
        f"'{day(0)}', '{day(1)}') where language = 'Rust'"
    ).fetchall()
    assert rows == [("games", True, False), ("media", True, True)]
