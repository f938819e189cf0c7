"""An explanation describes the repository that had the name on the requested day.

On a published copy of three repositories made here. Not here: the numbers themselves (tests/test_cli.py).
"""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.publishing.answers import AnswerError, explanation

UNKNOWN = (
    "signal_score, signal_rank, velocity_24h, velocity_7d, velocity_7d_days, velocity_28d, growth_7d, growth_28d,"
    " growth_year, fork_growth_28d, surprise, persistence, expected_change, day_index, authenticity,"
    " authenticity_reasons, is_breakout, breakout_held_back, growth_28d_points, authenticity_points"
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """r/tool became r/tool-next on 11 January; on the 21st another repository took its name."""
    made = Settings(home=tmp_path_factory.mktemp("bearers"), profile=Profile.LOCAL, rankings_base="")
    made.published_db.parent.mkdir(parents=True)
    with duckdb.connect(str(made.published_db)) as connection:
        connection.execute(
            f"""
            create table fct_repo_signal_day as
            with days as (select date '2026-01-01' + number::integer as day, number from range(35) as days (number))
            select *, {", ".join(f"null as {column.strip()}" for column in UNKNOWN.split(","))}, 'v' as model_version
            from (
                select
                    day, 1 as repo_key, case when number < 10 then 'r/tool' else 'r/tool-next' end as full_name,
                    9000 + 4 * number as stars_total
                from days
                union all
                select day, 2, 'r/tool', 400 + 4 * number from days where number >= 20
            );
            create table fct_repo_day as select day, repo_key, []::varchar[] as dq_flags from fct_repo_signal_day;
            create table signal_weight as select 'growth_28d' as component, 25.0 as weight, 'grows' as reason;
            create table dim_repo_alias as
            select repo_key, full_name, min(day) as seen_from, max(day) as seen_to from fct_repo_signal_day group by all
            union all
            select 3, 'only/archived', date '2020-01-01', date '2020-02-01';
            """
        )
    return made


@pytest.mark.parametrize(
    ("day", "head", "other"),
    [
        (
            None,
            "r/tool on 2026-02-04: 536 stars",
            "from 2026-01-01 to 2026-01-10; that repository was last seen as r/tool-next",
        ),
        ("2026-01-05", "r/tool on 2026-01-05: 9,016 stars", "from 2026-01-21 to 2026-02-04"),
        ("2026-01-15", "r/tool-next on 2026-01-15: 9,056 stars", "from 2026-01-21 to 2026-02-04"),
        ("2026-01-25", "r/tool on 2026-01-25: 496 stars", "from 2026-01-01 to 2026-01-10"),
    ],
)
def test_a_name_of_two_repositories_means_that_of_the_day(
    settings: Settings, day: str | None, head: str, other: str
) -> None:
    lines = explanation(settings, "R/Tool", day and dt.date.fromisoformat(day)).splitlines()
    assert lines[0] == head
    assert f"R/Tool was also the name of another repository, {other}" in lines[-1]


def test_a_name_of_one_repository_mentions_no_other(settings: Settings) -> None:
    assert "another repository" not in explanation(settings, "r/tool-next", None)


@pytest.mark.parametrize("text", ["tool-next", "TOOL-NEXT"])
def test_a_name_that_one_owner_has_is_enough(settings: Settings, text: str) -> None:
    assert explanation(settings, text, None) == explanation(settings, "r/tool-next", None)


@pytest.mark.parametrize(("text", "near"), [("r/tool-nxt", "r/tool-next"), ("archvied", "only/archived")])
def test_a_mistyped_name_is_reported_with_similar_names(settings: Settings, text: str, near: str) -> None:
    with pytest.raises(
        AnswerError, match=f"^no repository was ever seen under the name '{text}'; similar names: {near}"
    ):
        explanation(settings, text, None)


def test_a_name_without_similar_names_is_reported_alone(settings: Settings) -> None:
    with pytest.raises(AnswerError, match=r"^no repository was ever seen under the name 'quite/another'$"):
        explanation(settings, "quite/another", None)


def test_a_day_before_the_first_reading(settings: Settings) -> None:
    with pytest.raises(AnswerError, match=r"^r/tool was not observed by 2025-12-31$"):
        explanation(settings, "r/tool", dt.date(2025, 12, 31))


@pytest.mark.parametrize("day", [None, dt.date(2020, 1, 15)])
def test_a_repository_that_only_the_archive_has_seen(settings: Settings, day: dt.date | None) -> None:
    with pytest.raises(AnswerError, match="seen from 2020-01-01 to 2020-02-01, but no source has read its star total"):
        explanation(settings, "only/archived", day)
