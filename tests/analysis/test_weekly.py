"""The weekly frames: small ones by hand, identities on arbitrary ones."""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reposignal_pipeline.analysis.weekly import LANGUAGE_TRENDS, REPO_TRENDS, TOP, language_trends, repo_trends

WEEKS = tuple(pd.Timestamp("2024-03-04") + pd.Timedelta(weeks=n) for n in range(3))
ONE, TWO, THREE = WEEKS
UNKNOWN = {
    "velocity_7d": None,
    "velocity_7d_basis": None,
    "velocity_7d_days": None,
    "growth_7d": None,
    "growth_28d": None,
    "signal_score": None,
    "is_breakout": None,
    "velocity_24h": None,
    "is_tracked": False,
    "dq_flags": [],
}


def closing(week: pd.Timestamp, repo_key: int, **known: Any) -> dict[str, Any]:
    """Return a repository's last reading of a week, on Friday."""
    usual = {
        "full_name": f"owner/{repo_key}",
        "language": "Go",
        "as_of_date": week + pd.Timedelta(days=4),
        "stars_total": 100,
    }
    if known.get("velocity_7d") is not None:
        known.setdefault("velocity_7d_basis", "net_change")
    return {"week": week, "repo_key": repo_key, **usual, **UNKNOWN, **known}


def frame(*closings: dict[str, Any]) -> pd.DataFrame:
    """Return closings as the warehouse returns them: numbers as floats, NULL as NaN."""
    found = pd.DataFrame(list(closings))
    numbers = ["velocity_24h", "velocity_7d", "velocity_7d_days", "growth_7d", "growth_28d", "signal_score"]
    return found.astype(
        dict.fromkeys(numbers, "float64")
        | {"language": "object", "velocity_7d_basis": "object", "is_breakout": "object"}
    )


def of(trends: pd.DataFrame, column: str, week: pd.Timestamp = ONE) -> list[Any]:
    """Return a week's values of a column, ordered by `repo_key` or language; unknown ones as None."""
    rows = trends[trends["week"] == week].sort_values("repo_key" if "repo_key" in trends else "language")
    return [None if pd.isna(value) else value for value in rows[column]]


def test_a_repository_is_ranked_by_score_then_growth_then_key() -> None:
    trends = repo_trends(
        frame(
            closing(ONE, 1, signal_score=50.0, growth_28d=0.1),
            closing(ONE, 2, signal_score=50.0, growth_28d=0.2),
            closing(ONE, 3, signal_score=90.0),
            closing(ONE, 4),
            closing(ONE, 5, signal_score=50.0, growth_28d=0.1),
        )
    )
    assert of(trends, "rank") == [3, 2, 1, None, 4]


def test_a_sum_of_two_bases_is_mixed() -> None:
    history = {"velocity_7d_basis": "star_history"}
    repos = repo_trends(
        frame(
            closing(ONE, 1, velocity_7d=1.0),
            closing(ONE, 2, velocity_7d=2.0, **history),
            closing(ONE, 3, language="Rust", velocity_7d=2.0, **history),
            closing(ONE, 4, language="C"),
        )
    )
    assert of(repos, "stars_gained_basis") == ["net_change", "star_history", "star_history", None]
    assert of(language_trends(repos), "stars_gained_basis") == [None, "mixed", "star_history"]


def test_a_week_is_seven_times_its_pace_and_growth_is_in_percent() -> None:
    trends = repo_trends(frame(closing(ONE, 1, velocity_7d=10.143, growth_7d=0.071), closing(ONE, 2)))
    assert of(trends, "stars_gained") == [71, None]
    assert of(trends, "stars_gained_basis") == ["net_change", None]
    assert of(trends, "growth_pct") == [pytest.approx(7.1), None]


def test_flags_of_a_few_rows_reach_the_table() -> None:
    trends = repo_trends(
        frame(*(closing(ONE, key, dq_flags=["star_wave"] if key == 4321 else []) for key in range(5000)))
    )
    with duckdb.connect() as connection:
        connection.register("trends", trends)
        found = connection.execute(
            "select repo_key, dq_flags, typeof(dq_flags) from trends where len(dq_flags) > 0"
        ).fetchall()
    assert found == [(4321, ["star_wave"], "VARCHAR[]")]


def test_a_rank_change_compares_only_with_the_week_before() -> None:
    trends = repo_trends(
        frame(
            *(closing(ONE, key, signal_score=score) for key, score in ((1, 90.0), (2, 80.0), (3, 70.0))),
            *(closing(TWO, key, signal_score=score) for key, score in ((2, 90.0), (1, 80.0), (4, 70.0))),
            *(closing(THREE, key, signal_score=score) for key, score in ((3, 90.0), (2, 80.0))),
        )
    )
    assert of(trends, "rank_change", ONE) == [None, None, None]
    assert of(trends, "rank_change", TWO) == [-1, 1, None]
    assert of(trends, "rank_change", THREE) == [-1, None]  # 3 was ranked only two weeks before


def test_a_week_without_readings_breaks_the_chain() -> None:
    trends = repo_trends(frame(closing(ONE, 1, signal_score=1.0), closing(THREE, 1, signal_score=1.0)))
    assert of(trends, "rank_change", THREE) == [None]
    assert of(language_trends(trends), "share_change", THREE) == [None]


def test_languages_add_up_their_repositories() -> None:
    repos = repo_trends(
        frame(
            closing(ONE, 1, velocity_7d=1.0, signal_score=9.0),
            closing(ONE, 2, velocity_7d=2.0),
            closing(ONE, 3, language="Rust"),
            closing(ONE, 4, language=None, velocity_7d=-1.0),
        )
    )
    trends = language_trends(repos)
    assert of(trends, "language") == ["Go", "Rust", "none"]
    assert of(trends, "repos") == [2, 1, 1]
    assert of(trends, "share") == [0.5, 0.25, 0.25]
    assert of(trends, "stars_gained") == [21, None, -7]
    assert of(trends, "rank") == [1, None, 2]
    assert of(trends, "top50_repos") == [1, 0, 0]
    assert of(trends, "top50_share") == [1.0, 0.0, 0.0]


def test_a_language_new_to_an_observed_week_grew_from_nothing() -> None:
    repos = repo_trends(frame(closing(ONE, 1), closing(TWO, 1), closing(TWO, 2, language="Rust")))
    trends = language_trends(repos)
    assert of(trends, "share_change", ONE) == [None]
    assert of(trends, "share_change", TWO) == [-0.5, 0.5]
    assert of(trends, "top50_share_change", TWO) == [None, None]  # no repository was ranked


def test_only_the_first_fifty_count_as_top() -> None:
    trends = language_trends(repo_trends(frame(*(closing(ONE, key, signal_score=float(key)) for key in range(1, 61)))))
    assert of(trends, "top50_repos") == [TOP]


unknown_or = lambda numbers: st.none() | numbers  # noqa: E731
closings = st.lists(
    st.builds(
        closing,
        st.sampled_from(WEEKS),
        st.integers(1, 80),
        language=st.sampled_from(["Go", "Rust", "Python", None]),
        velocity_7d=unknown_or(st.floats(-1e5, 1e5)),
        growth_7d=unknown_or(st.floats(-1, 50)),
        growth_28d=unknown_or(st.floats(-1, 50)),
        signal_score=unknown_or(st.floats(0, 100).map(lambda score: round(score, 1))),
        is_breakout=st.sampled_from([True, False, None]),
    ),
    min_size=1,
    max_size=150,
    unique_by=lambda row: (row["week"], row["repo_key"]),
)


@settings(deadline=None, max_examples=40)
@given(closings)
def test_repositories_keep_their_identities(rows: list[dict[str, Any]]) -> None:
    trends = repo_trends(frame(*rows))
    assert list(trends.columns) == REPO_TRENDS.column_names
    assert len(trends) == len(rows)
    for _, week in trends.groupby("week"):
        ranked = week[week["signal_score"].notna()]
        assert sorted(ranked["rank"]) == list(range(1, len(ranked) + 1))
        assert ranked.sort_values("rank")["signal_score"].is_monotonic_decreasing
        assert week[week["signal_score"].isna()]["rank"].isna().all()
    ranks = {(row.week, row.repo_key): row.rank for row in trends[trends["rank"].notna()].itertuples()}
    for row in trends.itertuples():
        before, now = (ranks.get((week, row.repo_key)) for week in (row.week - pd.Timedelta(weeks=1), row.week))
        expected = before - now if before and now else None
        assert (None if pd.isna(row.rank_change) else row.rank_change) == expected


@settings(deadline=None, max_examples=40)
@given(closings)
def test_languages_keep_their_identities(rows: list[dict[str, Any]]) -> None:
    repos = repo_trends(frame(*rows))
    trends = language_trends(repos)
    assert list(trends.columns) == LANGUAGE_TRENDS.column_names
    assert not trends.duplicated(["week", "language"]).any()
    for name, week in trends.groupby("week"):
        of_week = repos[repos["week"] == name]
        assert week["repos"].sum() == len(of_week)
        assert week["share"].sum() == pytest.approx(1)
        assert week["top50_repos"].sum() == min(TOP, of_week["rank"].notna().sum())
        assert week["stars_gained"].sum() == of_week["stars_gained"].sum()
        if of_week["rank"].notna().any():
            assert week["top50_share"].sum() == pytest.approx(1)
        else:
            assert week["top50_share"].isna().all()
        known = week["stars_gained"].notna().sum()
        assert sorted(week["rank"].dropna()) == list(range(1, known + 1))


@settings(deadline=None, max_examples=40)
@given(closings, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    one, other = repo_trends(frame(*rows)), repo_trends(frame(*shuffled))
    pd.testing.assert_frame_equal(one, other)
    pd.testing.assert_frame_equal(language_trends(one), language_trends(other))
