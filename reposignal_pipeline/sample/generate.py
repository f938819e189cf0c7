"""Writes the embedded sample: the daily ranking files, and the GitHub data behind them (`github_sample`).

This module generates synthetic repositories, their stars, and ranking files with the quirks of the real ones at fixed
places (listed in data/README.md). The output is the same bytes on every machine. Data that only GitHub has is in
`github_sample`; this module does not serve or load the files.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Row = tuple[str, ...]

SEED = 20260227
FIRST_DAY, LAST_DAY = date(2025, 10, 20), date(2026, 2, 27)
DAYS = tuple(FIRST_DAY + timedelta(n) for n in range((LAST_DAY - FIRST_DAY).days + 1))
MISSING_DAYS = frozenset(
    {date(2025, 11, 12), date(2025, 12, 19), date(2026, 1, 20), date(2026, 1, 21), date(2026, 1, 22)}
)
LIST_LENGTH = 25
TRACKED_PER_LANGUAGE = 28  # more than LIST_LENGTH, so that some repositories are below the cut
SAMPLE = Path(__file__).parents[2] / "data" / "sample"
DEFAULT_TARGET = SAMPLE / "rankings"
HEADER = (
    "rank", "item", "repo_name", "stars", "forks", "language",
    "repo_url", "username", "issues", "last_commit", "description",
)  # fmt: skip

# List label -> (language label, stars of its largest synthetic repository).
# Ten languages and the two top lists fit in 5 MB.
LANGUAGE_LISTS = {
    "C": ("C", 33_000),
    "CPP": ("C++", 41_000),
    "CSharp": ("C#", 26_000),
    "Go": ("Go", 47_000),
    "Java": ("Java", 44_000),
    "Python": ("Python", 61_000),
    "Rust": ("Rust", 36_000),
    "Shell": ("Shell", 30_000),
    "TypeScript": ("TypeScript", 52_000),
    "Vim-script": ("Vim script", 9_500),
}
# Large repositories whose language has no list; the first has no language.
TOP_ONLY = (
    ("", 190_000), ("Markdown", 152_000), ("HTML", 118_000),
    ("CSS", 96_000), ("MDX", 83_000), ("PHP", 71_000),
)  # fmt: skip

# Full name -> (language, stars published on 2026-02-27, mean stars a day, description).
# These totals, and chitu's +513 of that day, are the only figures that are not synthetic.
PUBLISHED = {
    "linkedin/Liger-Kernel": ("Python", 6_142, 6.0, "llm training kernels"),
    "ItzCrazyKns/Perplexica": ("TypeScript", 28_892, 22.0, "answer engine"),
    "hyperbrowserai/HyperAgent": ("TypeScript", 1_046, 2.0, "browser agents"),
    "launchbadge/sqlx": ("Rust", 16_524, 7.0, "sql toolkit"),
    "TimmyOVO/deepseek-ocr.rs": ("Rust", 2_127, 5.0, "ocr inference"),
    "nervosnetwork/ckb": ("Rust", 1_204, 0.3, "blockchain node"),
    "microsoft/magentic-ui": ("Python", 9_642, 12.0, "web agents"),
    "modelscope/ms-agent": ("Python", 3_974, 5.0, "agent framework"),
    "thu-pacman/chitu": ("Python", 2_846, 3.0, "llm inference"),
    "fatedier/frp": ("Go", 104_480, 28.0, "reverse proxy"),
    "sunmh207/AI-Codereview-Gitlab": ("Python", 1_404, 2.5, "code review"),
    "oslook/cursor-ai-downloads": ("TypeScript", 3_152, 4.0, "editor downloads"),
}

THEMES = (
    "agent", "ocr", "vec", "job", "proxy", "plot", "crawl", "auth", "memo", "lint",
    "sync", "make", "wav", "clip", "graph", "robot", "sql", "doc", "test", "rpc",
)  # fmt: skip
SUFFIXES = ("kit", "lab", "hub", "box", "run", "pod", "web", "pad", "bay", "jar", "den", "hut", "inn", "rig")

# How the repositories named here differ from the slow majority.
QUIET_GROWERS = frozenset(
    {"graph-kit", "agent-hub", "lint-box", "doc-run", "vec-web",
     "wav-pad", "graph-bay", "agent-den", "memo-hut", "auth-inn"}
)  # fmt: skip
BURSTS = {  # name -> (day, stars of that day); afterwards the decay that was measured on real bursts
    "lint-kit": (date(2025, 11, 3), 340),
    "proxy-web": (date(2025, 11, 25), 280),
    "robot-run": (date(2025, 12, 10), 620),
    "rpc-jar": (date(2026, 1, 5), 260),
    "plot-box": (date(2026, 1, 15), 410),
    "wav-bay": (date(2026, 2, 3), 520),
    "make-hut": (date(2026, 2, 18), 300),
    "crawl-lab": (date(2026, 1, 12), 230),  # below the cut until then: its first observation is no velocity
    "chitu": (LAST_DAY, 513),
}
BURST_WITHOUT_FORKS = "make-hut"
BREAKOUTS = {  # name -> (first day, mean stars a day afterwards)
    "agent-jar": (date(2026, 2, 7), 70.0),
    "robot-pad": (date(2026, 2, 11), 120.0),
    "sync-box": (date(2026, 2, 14), 90.0),
}

# The quirks of the real upstream, as data/README.md lists them.
CRLF_DAY = date(2025, 10, 24)
DUPLICATES_DAY, DUPLICATES_ITEM, DUPLICATES = date(2025, 11, 5), "Go", 3
BAD_ROW_DAY, BAD_ROW_ITEM, BAD_ROW_NAME = date(2025, 12, 3), "Java", "robot-pod"
WIPED, WIPED_FROM, WIPED_TO = "ocr-pad", date(2025, 11, 17), date(2025, 11, 25)
FALLEN, FALLEN_FROM, FALLEN_TO = "lint-den", date(2025, 12, 8), date(2025, 12, 28)
COUNTED_TWICE = "plot-run"  # its language list is read later in the day than the top lists
RELABELLED_ON = date(2025, 12, 1)
FORMER_OWNERS = {  # repository name -> (owner until the day before, day of the change)
    "crawl-web": ("synthetic-01", date(2025, 12, 15)),
    "sql-jar": ("Synthetic-26", date(2026, 1, 10)),
}
# Hostile descriptions belong to repositories that have a page, but none of the 25 highest scores of the last week:
# on the first page of the site they would look like a break-in. An article of December quotes that of robot-run.
DESCRIPTIONS = {
    "test-run": "(synthetic) testing,\nin two lines",
    "robot-run": "(synthetic) <script>alert(1)</script>",
    "job-pad": '=HYPERLINK("http://example.invalid","x") (synthetic)',
    "sync-run": "(synthetic) \u202egnp.exe",
    "sql-run": "(synthetic) [click me](http://example.invalid)",
    "plot-hut": "'; drop table x; -- (synthetic)",
}
EMOJI, EMOJI_FROM, EMOJI_DESCRIPTION = "vec-lab", date(2026, 1, 30), "(synthetic) " + "\U0001f680" * 200

# Monday to Sunday, in the measured range, and the shape 1/alpha of the negative binomial (alpha 0.14).
WEEKDAY_INDEX = (1.04, 1.06, 1.06, 1.05, 1.02, 0.79, 0.83)
SHAPE = 7
FIRST_AFTER_BURST, DECAY = 0.5, 0.88  # the mean of the 42 days after is then about 10 % of the burst


@dataclass(frozen=True)
class Repository:
    """A repository of the rankings: `stars` on the first day (published ones: the last day), `rate` in stars a day."""

    owner: str
    name: str
    language: str
    stars: int
    rate: float
    fork_percent: int
    description: str

    def owner_on(self, day: date) -> str:
        former, changed_on = FORMER_OWNERS.get(self.name, (self.owner, FIRST_DAY))
        return former if day < changed_on else self.owner

    def description_on(self, day: date) -> str:
        return EMOJI_DESCRIPTION if self.name == EMOJI and day >= EMOJI_FROM else self.description

    def language_on(self, day: date) -> str:
        return "Vim Script" if self.language == "Vim script" and day < RELABELLED_ON else self.language


def draws(purpose: int, *shape: int) -> Counts:
    """Return random 53-bit integers; NumPy guarantees this stream across versions, unlike its distributions."""
    words: npt.NDArray[np.uint64] = np.random.PCG64([SEED, purpose]).random_raw(shape)
    return (words >> np.uint64(11)).astype(np.int64)


def negative_binomial(mean: Floats, purpose: int) -> Counts:
    """Return over-dispersed counts around `mean`, by inversion with + - * / only, which round alike everywhere."""
    uniform = draws(purpose, *mean.shape) * 2.0**-53
    success = SHAPE / (SHAPE + mean)
    squared = success * success
    mass = squared * squared * squared * success  # success ** SHAPE, without the platform's pow
    below, counts = mass.copy(), np.zeros(mean.shape, np.int64)
    for k in range(int(mean.max()) * 10 + 100):
        if not (beyond := uniform >= below).any():
            break
        counts += beyond
        mass = mass * ((SHAPE + k) / (k + 1)) * (1 - success)
        below += mass
    return counts


def repositories() -> list[Repository]:
    """Return all repositories: a ladder of sizes in each language, then the large and the published ones."""
    ladder: list[tuple[str, int]] = []
    for language, largest in LANGUAGE_LISTS.values():
        stars = largest
        for _ in range(TRACKED_PER_LANGUAGE - sum(known[0] == language for known in PUBLISHED.values())):
            ladder.append((language, stars))
            stars = stars * 4 // 5
    ladder += TOP_ONLY

    names = [f"{theme}-{suffix}" for suffix in SUFFIXES for theme in THEMES]
    luck = draws(0, 2, len(ladder))
    tracked = []
    for n, ((language, stars), name) in enumerate(zip(ladder, names, strict=False)):
        usual = 0.2 + stars * (2 + int(luck[0, n] % 5)) / 10_000
        tracked.append(
            Repository(
                owner=f"synthetic-{10 + n % 90}",
                name=name,
                language=language,
                stars=stars,
                rate=stars * 0.004 if name in QUIET_GROWERS else min(usual, 25.0),
                fork_percent=6 + int(luck[1, n] % 15),
                description=DESCRIPTIONS.get(name, "(synthetic)"),
            )
        )
    for full_name, (language, stars, rate, about) in PUBLISHED.items():
        owner, name = full_name.split("/")
        tracked.append(Repository(owner, name, language, stars, rate, 10, f"{about} (synthetic history)"))
    return tracked


def star_changes(tracked: list[Repository]) -> tuple[Counts, Counts]:
    """Return (stars given, stars taken back) by repository (rows) and day (columns)."""
    position = {repository.name: n for n, repository in enumerate(tracked)}
    rate = np.array([repository.rate for repository in tracked])
    # A file is taken at about 04:00 UTC, when it still is the day before where most of its new stars were given.
    weekday = np.array([WEEKDAY_INDEX[(day - timedelta(1)).weekday()] for day in DAYS])
    mean = np.repeat(rate[:, None], len(DAYS), axis=1)
    for name, (day, level) in BREAKOUTS.items():
        start = DAYS.index(day)
        mean[position[name], start:] = level
        mean[position[name], start : start + 2] = (level * 0.4, level * 0.7)
    for name, (day, peak) in BURSTS.items():
        after = mean[position[name], DAYS.index(day) + 1 :]
        after += peak * FIRST_AFTER_BURST * np.multiply.accumulate(np.full(len(after), DECAY)) / DECAY

    unstarred = negative_binomial(np.repeat(0.1 + 0.06 * rate[:, None], len(DAYS), axis=1), purpose=1)
    given = negative_binomial(mean * weekday, purpose=2)
    unstarred[:, 0] = 0
    for name, (day, peak) in BURSTS.items():
        given[position[name], DAYS.index(day)] = peak
        unstarred[position[name], DAYS.index(day)] = 0
    return given, unstarred


def held_totals(tracked: list[Repository]) -> Counts:
    """Return the stars held at the end of each day (columns): the totals of the rankings without planted quirks."""
    given, unstarred = star_changes(tracked)
    change = given - unstarred
    change[:, 0] = 0
    totals: Counts = np.array([repository.stars for repository in tracked])[:, None] + change.cumsum(axis=1)
    position = {f"{repository.owner}/{repository.name}": n for n, repository in enumerate(tracked)}
    for full_name, (_, published, _, _) in PUBLISHED.items():
        row = totals[position[full_name]]
        row += published - row[-1]
    return totals


def star_totals(tracked: list[Repository]) -> Counts:
    """Return the stars by repository (rows) and daily file (columns)."""
    position = {repository.name: n for n, repository in enumerate(tracked)}
    totals = held_totals(tracked)
    wiped = totals[position[WIPED], DAYS.index(WIPED_FROM) : DAYS.index(WIPED_TO) + 1]
    wiped[:] = wiped * 3 // 200
    fallen = totals[position[FALLEN], DAYS.index(FALLEN_FROM) : DAYS.index(FALLEN_TO) + 1]
    fallen[:] = fallen * 2 // 5
    return totals


def fork_totals(tracked: list[Repository], stars: Counts) -> Counts:
    """Return forks, same shape as `stars`: a fixed share of the highest total so far, unaffected by wipes and dips."""
    share = np.array([repository.fork_percent for repository in tracked])[:, None]
    forks: Counts = np.maximum.accumulate(stars, axis=1) * share // 100
    flat = [repository.name == BURST_WITHOUT_FORKS for repository in tracked]
    forks[flat] = forks[flat, :1]
    return forks


def last_commits(tracked: list[Repository]) -> npt.NDArray[np.str_]:
    """Return the time of the newest commit before each file, same shape as the stars."""
    words = draws(3, len(tracked), len(DAYS) + 12)
    repository, day = np.arange(len(tracked))[:, None], np.arange(len(DAYS))
    age = 1 + (day + repository) % (1 + words[:, :1] % 12)  # whole days, 1 to 12
    second = np.take_along_axis(words, 12 + day - age, axis=1) % 86_400
    at = np.array(DAYS, dtype="datetime64[s]") + (second - age * 86_400).astype("timedelta64[s]")
    return np.char.add(np.datetime_as_string(at), "Z")


def daily_rows() -> Iterator[tuple[date, list[Row]]]:
    """Yield (day, rows) for each published file, list by list in the order of the upstream."""
    tracked = repositories()
    stars = star_totals(tracked)
    forks = fork_totals(tracked, stars)
    commits = last_commits(tracked)
    is_twice = [repo.name == COUNTED_TWICE for repo in tracked]
    read_later = stars + np.outer(is_twice, 1 + np.arange(len(DAYS)) % 4)
    everyone = np.arange(len(tracked))
    lists = {"top-100-stars": (everyone, stars, stars), "top-100-forks": (everyone, forks, stars)}
    for item, (language, _) in LANGUAGE_LISTS.items():
        members = np.array([n for n in everyone if tracked[n].language == language])
        lists[item] = (members, read_later, read_later)

    for d, day in enumerate(DAYS):
        if day in MISSING_DAYS:
            continue
        rows: list[Row] = []
        for item, (members, ordered_by, counts) in lists.items():
            listed = members[np.argsort(-ordered_by[members, d], kind="stable")][:LIST_LENGTH]
            for rank, n in enumerate(listed, start=1):
                repo, owner = tracked[n], tracked[n].owner_on(day)
                is_bad = (day, item, repo.name) == (BAD_ROW_DAY, BAD_ROW_ITEM, BAD_ROW_NAME)
                figure = "n/a" if is_bad else counts[n, d]
                url, issues = f"https://github.com/{owner}/{repo.name}", 3 + n % 40 + (d + n) // 7 % 5
                cells = (
                    *(rank, item, repo.name, figure, forks[n, d], repo.language_on(day)),
                    *(url, owner, issues, commits[n, d], repo.description_on(day)),
                )
                rows.append(tuple(map(str, cells)))
            if (day, item) == (DUPLICATES_DAY, DUPLICATES_ITEM):
                rows += rows[-LIST_LENGTH:][:DUPLICATES]
        yield day, rows


def write_sample(target: Path = DEFAULT_TARGET) -> None:
    """Write every ranking file into `target` and remove older ranking files."""
    target.mkdir(parents=True, exist_ok=True)
    for stale in target.glob("github-ranking-*.csv"):
        stale.unlink()
    for day, rows in daily_rows():
        with (target / f"github-ranking-{day}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\r\n" if day == CRLF_DAY else "\n").writerows([HEADER, *rows])


def main() -> None:
    from reposignal_pipeline.sample import github_sample

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", type=Path, default=SAMPLE, help="folder to write to")
    target = parser.parse_args().target
    write_sample(target / DEFAULT_TARGET.name)
    github_sample.write_sample(target)


if __name__ == "__main__":
    main()
