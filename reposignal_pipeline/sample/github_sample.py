"""Writes the data of the embedded GitHub, `github/*.csv` and the watchlist, consistent with the ranking sample.

This module gives the repositories of `generate` ids, dates, topics, descriptions and states, adds a few repositories
that no ranking lists, and chooses the 50 tracked ones. `generate` computes the stars, and `github_api` serves the data.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

from reposignal_pipeline.sample.generate import (
    BURST_WITHOUT_FORKS,
    DAYS,
    EMOJI,
    EMOJI_DESCRIPTION,
    EMOJI_FROM,
    FIRST_DAY,
    FORMER_OWNERS,
    PUBLISHED,
    SAMPLE,
    Repository,
    draws,
    fork_totals,
    held_totals,
    repositories,
    star_changes,
)

FIRST_ID = 1_900_000_001  # above any that GitHub has given
COLUMNS = (
    "repo_id", "full_name", "language", "topics", "description", "license", "created_at", "pushed_at", "push_days",
    "is_archived", "is_fork", "forks_pct", "forks", "issues_open", "pull_requests_open", "stars_before",
)  # fmt: skip
WATCHLIST_NOTE = "# The 50 repositories that the demo tracks; all but the first twelve are synthetic (data/README.md)."

# The 38 synthetic ones of the 50 tracked repositories, in languages that the article counts. Together with the twelve
# published ones: Python 20, TypeScript 13, Go 8, Rust 5, C 1, C++ 1 and two others.
TRACKED = {
    "Python": (
        "rpc-web", "agent-pad", "vec-pad", "job-pad", "proxy-pad", "crawl-pad", "auth-pad", "memo-pad",
        "sync-pad", "wav-pad", "graph-pad", "robot-pad", "sql-pad", "doc-pad", "agent-bay",
    ),
    "TypeScript": (
        "robot-den", "sql-den", "doc-den", "agent-hut", "vec-hut", "proxy-hut", "plot-hut", "memo-hut", "lint-hut",
        "make-hut",
    ),
    "Go": ("proxy-run", "crawl-run", "sync-run", "robot-run", "sql-run", "doc-run", "agent-pod"),
    "Rust": ("agent-jar", "graph-bay"),
    "C": ("graph-kit",),
    "C++": ("agent-hub",),
    "Java": ("crawl-web",),
    "Shell": ("sql-jar",),
}  # fmt: skip
ARCHIVED, ARCHIVED_ON = "memo-pad", date(2025, 6, 1)
FORK = "lint-hut"

# Theme -> (topics of its repositories, description).
TOPICS = {
    "agent": ("ai-agents llm automation agents", "agents that use tools"),
    "ocr": ("ocr computer-vision llm documents", "text out of pictures"),
    "vec": ("vector-search database embeddings rag llm", "a vector database"),
    "job": ("queue scheduler workers backend", "a job queue"),
    "proxy": ("proxy networking tunnel http", "a reverse proxy"),
    "plot": ("visualization charts web data", "charts for the web"),
    "crawl": ("crawler scraping web llm", "a crawler that feeds models"),
    "auth": ("authentication oauth security web", "logins for web applications"),
    "memo": ("cache key-value database storage", "a cache that survives restarts"),
    "lint": ("linter static-analysis cli developer-tools", "a linter with few opinions"),
    "sync": ("sync file-transfer backup cli", "files in step on many machines"),
    "make": ("build-tool cli developer-tools monorepo", "builds that remember"),
    "wav": ("audio speech tts machine-learning", "speech in and out"),
    "clip": ("video ffmpeg streaming media", "video cut by scripts"),
    "graph": ("graph-database database knowledge-graph rag", "a graph database"),
    "robot": ("robotics ai-agents simulation machine-learning", "robots in simulation"),
    "sql": ("sql database query-engine analytics", "a query engine"),
    "doc": ("documentation markdown cli static-site", "documentation from comments"),
    "test": ("testing test-framework cli developer-tools", "tests that explain themselves"),
    "rpc": ("rpc networking microservices backend", "calls between services"),
}
PUBLISHED_TOPICS = {
    "Liger-Kernel": "llm gpu training machine-learning",
    "Perplexica": "llm search rag ai-agents",
    "HyperAgent": "ai-agents browser-automation llm",
    "sqlx": "sql database async rust",
    "deepseek-ocr.rs": "ocr llm computer-vision rust",
    "ckb": "blockchain node rust",
    "magentic-ui": "ai-agents browser-automation llm agents",
    "ms-agent": "agents llm ai-agents automation",
    "chitu": "llm inference gpu machine-learning",
    "frp": "proxy tunnel networking nat",
    "AI-Codereview-Gitlab": "code-review llm developer-tools",
    "cursor-ai-downloads": "editor developer-tools downloads",
}
LICENSES = ("MIT", "Apache-2.0", "MIT", "BSD-3-Clause", "MPL-2.0", "AGPL-3.0", "")

# Repositories that no ranking lists: name -> (language, stars held, time of the change, state after it).
STATES = {
    "synthetic-07/deleted-kit": ("Python", 4_210, datetime(2026, 1, 15), "not_found"),
    "synthetic-07/blocked-kit": ("Python", 2_480, datetime(2026, 2, 1), "blocked"),
    "synthetic-07/dmca-kit": ("TypeScript", 6_020, datetime(2026, 2, 10), "dmca"),
    "synthetic-07/closed-kit": ("Go", 1_350, datetime(2026, 2, 16), "forbidden"),
}
# The first repository is renamed; a month later another one takes its old name.
MOVED, MOVED_TO, MOVED_AT = "synthetic-08/past-kit", "synthetic-09/past-kit", datetime(2025, 11, 20)
NAMESAKE_CREATED_AT = datetime(2025, 12, 20, 9)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def created_at(repo: Repository, n: int) -> datetime:
    """Return a creation date at which the usual pace explains the stars; half a year to fifteen years ago."""
    days = min(max(int(repo.stars / repo.rate), 180), 5475)
    return datetime.combine(FIRST_DAY - timedelta(days), time(n % 24, n * 7 % 60, n * 13 % 60))


def description(repo: Repository) -> str:
    if repo.description != "(synthetic)":
        return repo.description
    return f"(synthetic) {TOPICS[repo.name.split('-')[0]][1]}"


def topics(repo: Repository, n: int) -> str:
    """Return the main topic of the theme, then some of its others, separated by blanks."""
    if repo.name in PUBLISHED_TOPICS:
        return PUBLISHED_TOPICS[repo.name]
    first, *others = TOPICS[repo.name.split("-")[0]][0].split()
    return " ".join([first, *(topic for k, topic in enumerate(others) if (n + k) % 3)])


def write_sample(target: Path = SAMPLE) -> None:
    """Write `github/` and the watchlist into `target`, replacing existing files."""
    tracked = repositories()
    given, unstarred = star_changes(tracked)
    held = held_totals(tracked)
    forks = fork_totals(tracked, held)
    luck = draws(4, len(tracked), 2)

    rows: list[tuple[object, ...]] = []
    stars: list[tuple[object, ...]] = []
    changes: list[tuple[object, ...]] = []
    for n, repo in enumerate(tracked):
        repo_id = FIRST_ID + n * 37
        is_flat = repo.name == BURST_WITHOUT_FORKS
        is_archived = repo.name == ARCHIVED
        pushed_on = ARCHIVED_ON if is_archived else FIRST_DAY - timedelta(int(luck[n, 0] % 12))
        rows.append(
            (
                *(repo_id, f"{repo.owner_on(FIRST_DAY)}/{repo.name}", repo.language, topics(repo, n)),
                *(description(repo), LICENSES[n % len(LICENSES)], f"{created_at(repo, n)}"),
                *(datetime.combine(pushed_on, time(n % 24, n % 60)), 0 if is_archived else 1 + luck[n, 1] % 12),
                *(str(is_archived).lower(), str(repo.name == FORK).lower()),
                *("" if is_flat else repo.fork_percent, forks[n, 0] if is_flat else ""),
                *(3 + n % 40, n % 23, held[n, 0] - given[n, 0]),
            )
        )
        stars += [(repo_id, "given", *(cell or "" for cell in given[n]))]
        if unstarred[n].any():
            stars += [(repo_id, "unstarred", *(cell or "" for cell in unstarred[n]))]
        if repo.name in FORMER_OWNERS:
            moved_at = datetime.combine(FORMER_OWNERS[repo.name][1], time())
            changes.append((repo_id, moved_at, "name", f"{repo.owner}/{repo.name}"))
        if repo.name == EMOJI:
            changes.append((repo_id, datetime.combine(EMOJI_FROM, time()), "description", EMOJI_DESCRIPTION))

    extra_id = FIRST_ID + len(tracked) * 37
    extras = [(name, language, count, datetime(2023, 5, 2, 8)) for name, (language, count, _, _) in STATES.items()]
    extras += [(MOVED, "Rust", 1_730, datetime(2022, 3, 9, 16)), (MOVED, "Rust", 0, NAMESAKE_CREATED_AT)]
    for n, (full_name, language, count, created) in enumerate(extras):
        repo_id = extra_id + n * 37
        about, pushed = "(synthetic) listed nowhere", max(created, datetime(2025, 10, 1))
        rows.append(
            (
                repo_id,
                full_name,
                language,
                "synthetic",
                about,
                "MIT",
                created,
                pushed,
                3,
                "false",
                "false",
                8,
                "",
                4,
                2,
                count,
            )
        )
        begins = max(0, (created.date() - FIRST_DAY).days)
        stars.append((repo_id, "given", *((d * 5 + n) % 3 if d >= begins else "" for d in range(len(DAYS)))))
        if full_name in STATES:
            changes.append((repo_id, STATES[full_name][2], "state", STATES[full_name][3]))
        elif created < MOVED_AT:
            changes.append((repo_id, MOVED_AT, "name", MOVED_TO))

    write_table(target / "github" / "repositories.csv", COLUMNS, rows)
    write_table(target / "github" / "changes.csv", ("repo_id", "from", "what", "value"), changes)
    write_table(target / "github" / "stars.csv", ("repo_id", "what", *map(str, DAYS)), stars)
    (target / "watchlist.txt").write_text("\n".join([WATCHLIST_NOTE, *watchlist(tracked), ""]), encoding="utf-8")


def watchlist(tracked: list[Repository]) -> list[str]:
    """Return the 50 tracked repositories by their names on the first day, which keep redirecting to them."""
    chosen = {name for names in TRACKED.values() for name in names}
    first_names = {repo.name: f"{repo.owner_on(FIRST_DAY)}/{repo.name}" for repo in tracked}
    return [*PUBLISHED, *(first_names[name] for name in first_names if name in chosen)]
