"""The GitHub of the embedded sample is its generator's output, agrees with the rankings, and has the article's data."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from reposignal_pipeline.sample import generate, github_sample
from reposignal_pipeline.sample.github_api import GitHubApi
from reposignal_pipeline.sample.github_world import Repository, World, sample_world

AFTER_THE_LAST_DAY = datetime(2026, 2, 28, 0, 30)
BATCH = """query($ids: [ID!]!) { nodes(ids: $ids) { ... on Repository {
  nameWithOwner stargazerCount primaryLanguage { name } isArchived isFork description forkCount } } }"""


@pytest.fixture(scope="module")
def world() -> World:
    return sample_world()


@pytest.fixture(scope="module")
def watchlist() -> list[str]:
    lines = (generate.SAMPLE / "watchlist.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def github(world: World) -> Iterator[httpx.Client]:
    with (
        GitHubApi(world, AFTER_THE_LAST_DAY) as api,
        httpx.Client(base_url=api.base, headers={"Authorization": "Bearer sample-token"}) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def tracked(github: httpx.Client, watchlist: list[str]) -> dict[str, dict[str, Any]]:
    """The GraphQL nodes of the fifty, by their name on the last day."""
    asked = [github.get(f"/repos/{name}", follow_redirects=True).json()["node_id"] for name in watchlist]
    answer = github.post("/graphql", json={"query": BATCH, "variables": {"ids": asked}}).json()
    assert "errors" not in answer
    return {node["nameWithOwner"]: node for node in answer["data"]["nodes"]}


def test_regenerating_gives_the_same_bytes(tmp_path: Path) -> None:
    github_sample.write_sample(tmp_path)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(str, written)) == [
        "github/changes.csv",
        "github/repositories.csv",
        "github/stars.csv",
        "watchlist.txt",
    ]
    assert [name for name in written if (tmp_path / name).read_bytes() != (generate.SAMPLE / name).read_bytes()] == []


def in_rankings(world: World) -> list[tuple[generate.Repository, Repository]]:
    """Each repository of the rankings with the one that has its name on GitHub, always the same."""
    pairs = []
    for repo in generate.repositories():
        first, last = f"{repo.owner_on(generate.FIRST_DAY)}/{repo.name}", f"{repo.owner}/{repo.name}"
        holder = world.holder(first, datetime(2025, 10, 20))
        now = world.holder(last, AFTER_THE_LAST_DAY)
        assert holder and now
        assert holder.repository is now.repository
        pairs.append((repo, now.repository))
    return pairs


def test_half_past_midnight_the_totals_are_those_of_the_rankings(world: World) -> None:
    pairs = in_rankings(world)
    assert len(pairs) == 286
    ranked = generate.star_totals([repo for repo, _ in pairs])
    forks = generate.fork_totals([repo for repo, _ in pairs], ranked)
    differing = set()
    for n, (repo, repository) in enumerate(pairs):
        for d, day in enumerate(generate.DAYS):
            instant = datetime.combine(day + timedelta(1), datetime.min.time()) + timedelta(minutes=30)
            if world.total(repository, instant) != ranked[n, d]:
                differing.add((repo.name, day))
            assert repository.name(instant - timedelta(1)) == f"{repo.owner_on(day)}/{repo.name}"
        assert repository.forked(AFTER_THE_LAST_DAY) == forks[n, -1]
    planted = {("ocr-pad", date(2025, 11, 17) + timedelta(n)) for n in range(9)}
    planted |= {("lint-den", date(2025, 12, 8) + timedelta(n)) for n in range(21)}
    assert differing == planted


def test_the_ranking_files_and_github_agree_once_the_stars_of_the_day_have_come(world: World) -> None:
    path = generate.DEFAULT_TARGET / "github-ranking-2026-02-27.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["repo_name"] != generate.COUNTED_TWICE]
    at = datetime(2026, 2, 27, 12)  # 04:00 in the zone of the histories
    for row in rows:
        holder = world.holder(f"{row['username']}/{row['repo_name']}", at)
        assert holder
        assert world.total(holder.repository, at) == int(row["stars"])
        assert holder.repository.forked(at) == int(row["forks"])


def test_histories_are_what_was_given_less_what_was_taken_back(world: World) -> None:
    pairs = in_rankings(world)
    given, taken = generate.star_changes([repo for repo, _ in pairs])
    for n, (_, repository) in enumerate(pairs):
        weeks = world.held(repository, AFTER_THE_LAST_DAY)
        start = (generate.FIRST_DAY - weeks.first).days
        held = weeks.cells.reshape(-1)[start : start + len(generate.DAYS)]
        assert (held <= given[n]).all()
        assert weeks.cells.sum() == world.total(repository, AFTER_THE_LAST_DAY)
        assert held[-1] == given[n, -1]
        if not taken[n].any():
            assert (held == given[n]).all()


def test_chitu_alone_is_fast_on_the_last_day(world: World) -> None:
    gained = {}
    for repository in world.repositories:
        weeks = world.held(repository, AFTER_THE_LAST_DAY)
        last_day = int(weeks.cells.reshape(-1)[(generate.LAST_DAY - weeks.first).days])
        net = world.total(repository, AFTER_THE_LAST_DAY) - world.total(repository, datetime(2026, 2, 27, 0, 30))
        gained[repository.name(AFTER_THE_LAST_DAY)] = (last_day, net)
    assert gained.pop("thu-pacman/chitu") == (513, 513)
    assert max(max(map(abs, both)) for both in gained.values()) < 150


def test_fifty_are_tracked_in_the_languages_of_the_article(
    watchlist: list[str], tracked: dict[str, dict[str, Any]]
) -> None:
    assert len(watchlist) == len(set(watchlist)) == len(tracked) == 50
    assert watchlist[:12] == list(generate.PUBLISHED)
    languages = Counter(node["primaryLanguage"]["name"] for node in tracked.values())
    assert languages == {"Python": 20, "TypeScript": 13, "Go": 8, "Rust": 5, "C": 1, "C++": 1, "Java": 1, "Shell": 1}


@pytest.mark.parametrize(
    ("full_name", "language", "stars"),
    [
        ("linkedin/Liger-Kernel", "Python", 6_142),
        ("ItzCrazyKns/Perplexica", "TypeScript", 28_892),
        ("hyperbrowserai/HyperAgent", "TypeScript", 1_046),
        ("launchbadge/sqlx", "Rust", 16_524),
        ("TimmyOVO/deepseek-ocr.rs", "Rust", 2_127),
        ("nervosnetwork/ckb", "Rust", None),
        ("microsoft/magentic-ui", "Python", 9_642),
        ("modelscope/ms-agent", "Python", 3_974),
        ("thu-pacman/chitu", "Python", None),
        ("fatedier/frp", "Go", 104_480),
        ("sunmh207/AI-Codereview-Gitlab", "Python", 1_404),
        ("oslook/cursor-ai-downloads", "TypeScript", 3_152),
    ],
)
def test_the_published_figures_are_served(
    tracked: dict[str, dict[str, Any]], full_name: str, language: str, stars: int | None
) -> None:
    node = tracked[full_name]
    assert node["primaryLanguage"]["name"] == language
    assert node["stargazerCount"] == (stars or node["stargazerCount"])
    assert node["stargazerCount"] < 3_000 or full_name != "thu-pacman/chitu"


def test_the_fifty_hold_one_of_each_kind(tracked: dict[str, dict[str, Any]], watchlist: list[str]) -> None:
    assert [name for name, node in tracked.items() if node["isArchived"]] == ["synthetic-68/memo-pad"]
    assert [name for name, node in tracked.items() if node["isFork"]] == ["synthetic-59/lint-hut"]
    assert set(watchlist) - set(tracked) == {"synthetic-01/crawl-web", "Synthetic-26/sql-jar"}
    assert set(tracked) - set(watchlist) == {"synthetic-46/crawl-web", "synthetic-26/sql-jar"}
    described = " ".join(node["description"] for node in tracked.values())
    assert all(hostile in described for hostile in ("<script>", "=HYPERLINK", "\u202e", "](http://"))
    named = set(generate.PUBLISHED)
    assert all("(synthetic)" in node["description"] for name, node in tracked.items() if name not in named)
    assert all("(synthetic history)" in tracked[name]["description"] for name in named)


def test_topics_are_shared(world: World, watchlist: list[str]) -> None:
    holders = [world.holder(name, AFTER_THE_LAST_DAY) for name in watchlist]
    topics = Counter(topic for holder in holders if holder for topic in holder.repository.topics)
    assert all(topics[theme] >= 3 for theme in ("ai-agents", "agents", "llm", "database", "web", "cli", "rag", "proxy"))
    assert topics["vector-search"] >= 2
    assert all(repository.topics for repository in world.repositories)


def test_those_outside_the_rankings_end_as_configured(github: httpx.Client, world: World) -> None:
    statuses = {name: github.get(f"/repos/{name}").status_code for name in github_sample.STATES}
    assert list(statuses.values()) == [404, 403, 451, 403]
    block = github.get("/repos/synthetic-07/blocked-kit").json()["block"]
    assert block == {"reason": "tos", "created_at": "2026-02-01T00:00:00Z", "html_url": "https://github.com/tos"}
    before = datetime(2025, 12, 1)
    for name in github_sample.STATES:
        holder = world.holder(name, before)
        assert holder
        assert holder.repository.state(before) == "public"


def test_a_name_is_taken_by_another_id(github: httpx.Client, world: World) -> None:
    moved = github.get("/repos/synthetic-09/past-kit").json()
    namesake = github.get("/repos/synthetic-08/past-kit").json()
    assert moved["id"] != namesake["id"]
    assert namesake["created_at"] == "2025-12-20T09:00:00Z"
    between = world.holder("synthetic-08/past-kit", datetime(2025, 12, 1))
    assert between
    assert (between.repository.repo_id, between.is_current) == (moved["id"], False)
