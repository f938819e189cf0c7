"""Topics of real repositories of April 2022: how many the curated verticals cover, and whether known facts hold."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dbt"))
from built_homes import BuiltHome
from github_rows import observation, observed_day

from reposignal_pipeline.sources.rankings import parse_day

pytestmark = [pytest.mark.real, pytest.mark.slow]

DAY = dt.date(2022, 4, 15)
SECONDARY = "vertical not in ('other', 'generative_ai')"  # the latter is of 2023
KNOWN = {
    ("Python", "machine_learning"), ("Jupyter Notebook", "machine_learning"), ("Jupyter Notebook", "computer_vision"),
    ("R", "data_science"), ("JavaScript", "web_frontend"), ("TypeScript", "web_frontend"), ("Vue", "web_frontend"),
    ("CSS", "web_frontend"), ("Swift", "mobile"), ("Objective-C", "mobile"), ("Kotlin", "mobile"), ("Dart", "mobile"),
    ("Solidity", "blockchain"), ("HCL", "infrastructure"), ("Go", "infrastructure"), ("C", "systems"),
    ("Rust", "systems"), ("C++", "hardware"), ("GLSL", "graphics"), ("GDScript", "games"), ("C#", "games"),
    ("Vim script", "developer_tools"),
}  # fmt: skip


@pytest.fixture(scope="module")
def topics_home(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """A home with every recorded repository observed on one day."""
    with duckdb.connect(config={"threads": 2}) as connection:
        repos = connection.execute(
            "select repo_id, any_value(full_name), any_value(stars), any_value(language), any_value(topics)"
            " from read_parquet($1) group by repo_id having any_value(stars) is not null order by repo_id",
            [str(real_data / "topics" / "repo-topics-2022-04.parquet")],
        ).fetchall()
    home = BuiltHome(tmp_path_factory.mktemp("topics") / "home")
    home.load([parse_day(DAY, None, "none.csv")])
    home.append(
        repositories=[
            observation(DAY, repo_id, name, stars, language=language, topics=json.dumps(topics or []))
            for repo_id, name, stars, language, topics in repos
        ],
        repositories_days=[observed_day(DAY, len(repos), len(repos))],
    )
    return home.built(["seed"], ["run"])


def test_most_repositories_with_topics_are_in_a_vertical(topics_home: BuiltHome) -> None:
    sql = "select sum(repos_in_verticals) / sum(repos_with_topics), sum(repos_with_topics) from fct_language_reach_day"
    ((share, repos),) = topics_home.query(sql)
    assert repos > 9000
    assert share >= 0.70  # 0.785 when the seed was made
    worst = topics_home.query(
        "select language, repos_in_verticals / repos_with_topics from fct_language_reach_day"
        " where repos_with_topics >= 100 and repos_in_verticals / repos_with_topics < 0.60"
    )
    assert worst == []


def test_verticals_are_neither_empty_nor_everything(topics_home: BuiltHome) -> None:
    sizes = topics_home.query(
        "select vertical, any_value(vertical_repos / all_repos) as share from fct_language_vertical_day"
        f" where {SECONDARY} group by vertical"
    )
    assert len(sizes) == 24
    assert {vertical: share for vertical, share in sizes if not 0.004 <= share <= 0.20} == {}


def test_languages_are_strong_where_they_are_known_to_be(topics_home: BuiltHome) -> None:
    strong = set(topics_home.query("select language, vertical from fct_language_vertical_day where rca > 1.2"))
    seen = {language for language, _ in strong}
    assert {pair for pair in KNOWN if pair[0] in seen} - strong == set()
    assert sum(language in seen for language, _ in KNOWN) >= 18


def test_general_languages_reach_further_than_special_ones(topics_home: BuiltHome) -> None:
    reach: dict[str, float] = dict(
        topics_home.query(
            "select language, effective_verticals from fct_language_reach_day where repos_in_verticals >= 20"
        )
    )
    assert reach["Python"] > 8 < reach["C++"]
    assert {language for language in ("Swift", "Objective-C", "CSS") if reach[language] > reach["Python"]} == set()
