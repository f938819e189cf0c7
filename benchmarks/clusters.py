"""Evaluates clusters: `python -m benchmarks.clusters REAL_DATA [--home HOME] [--plots FOLDER]`.

Prints the tables of docs/clusters.md and draws its two plots. Compares partitions of the recorded topics with the
curated verticals, with shuffled words and with other methods. With the published copy of a home that has the recorded
rankings, also evaluates the weeks from 2024-07 to 2025-06. The clusters are computed in `analysis.clusters`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import TruncatedSVD
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
from sklearn.preprocessing import normalize

from reposignal_pipeline.analysis import clusters
from reposignal_pipeline.analysis.clusters import CLUSTER_TABLES, MIN_RECURRENCE, partition, vectors, word_lists
from reposignal_pipeline.config import PROJECT_ROOT
from reposignal_pipeline.defs.clusters import week_of_clusters
from reposignal_pipeline.warehouse import append_rows, replace_weeks

SIZES = (40, 50, 70, 100, 200, 300, 1000, 3000)
DRAWS = 20
FIRST, LAST = dt.date(2024, 7, 1), dt.date(2025, 6, 23)


@dataclass(frozen=True)
class Scored:
    """The scores of a partition against the curated verticals of the clustered repositories."""

    clusters: int
    clustered: float
    stability: float
    purity: float
    mutual: float
    """adjusted mutual information"""
    seconds: float


def recorded_topics(real_data: Path) -> pd.DataFrame:
    """Return the recorded repositories with topics, and their descriptions from the rankings of that month."""
    return duckdb.execute(
        """
        select topics.repo_id as repo_key, topics.full_name, topics.language, topics.topics, names.description
        from (
            select repo_id, any_value(full_name) as full_name, any_value(language) as language,
                any_value(topics) as topics
            from read_parquet($topics) group by repo_id having len(any_value(topics)) > 0
        ) as topics
        left join (
            select lower(username || '/' || repo_name) as name, arg_max(description, snapshot_date) as description
            from read_parquet($rankings) where snapshot_date < '2022-05-01' group by all
        ) as names on lower(topics.full_name) = names.name
        order by repo_key
        """,
        {
            "topics": str(real_data / "topics" / "repo-topics-2022-04.parquet"),
            "rankings": str(real_data / "rankings" / "rankings-2022.parquet"),
        },
    ).df()


def curated() -> dict[str, str]:
    """Return topic -> vertical from the dbt seed."""
    return dict(
        duckdb.execute(
            "select topic, vertical from read_csv($1)", [str(PROJECT_ROOT / "dbt_project/seeds/verticals.csv")]
        ).fetchall()
    )


def main_vertical(topics: Sequence[str], verticals: dict[str, str]) -> str | None:
    """Return the vertical of most of a repository's topics; ties are broken by name."""
    counts = Counter(verticals[topic.lower()] for topic in topics if topic.lower() in verticals)
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


def shuffled(texts: Sequence[Sequence[str]], luck: np.random.Generator) -> list[list[str]]:
    """Return texts of the same lengths with all words shuffled between them."""
    words = iter(luck.permutation([word for text in texts for word in text]).tolist())
    return [[next(words) for _ in text] for text in texts]


def publishable_clusters(matrix: Any, keys: Any) -> tuple[Any, float]:
    """Return (clusters that would be published, -1 for none; stability of the partition)."""
    found = partition(matrix, keys)
    recurring = [name for name, recurs in found.recurrence.items() if recurs >= MIN_RECURRENCE]
    return np.where(np.isin(found.cluster, recurring), found.cluster, -1), found.stability


def scored(cluster: Any, stability: float, verticals: Sequence[str | None], seconds: float) -> Scored:
    inside = [place for place, vertical in enumerate(verticals) if vertical and cluster[place] >= 0]
    names, places = [verticals[place] for place in inside], [int(cluster[place]) for place in inside]
    table = pd.crosstab(pd.Series(places), pd.Series(names))
    return Scored(
        clusters=int(cluster.max()) + 1 if len(inside) == 0 else len(set(cluster.tolist()) - {-1}),
        clustered=float((cluster >= 0).mean()),
        stability=stability,
        purity=float(table.max(axis=1).sum() / len(inside)),
        mutual=float(adjusted_mutual_info_score(names, places)),
        seconds=seconds,
    )


@contextmanager
def constants(**values: Any) -> Iterator[None]:
    """Replace constants of `analysis.clusters` inside a context."""
    before = {name: getattr(clusters, name) for name in values}
    for name, value in values.items():
        setattr(clusters, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(clusters, name, value)


def line(name: str, found: Scored) -> str:
    return (
        f"| {name} | {found.clusters} | {found.clustered:.0%} | {found.stability:.2f} | {found.purity:.3f} |"
        f" {found.mutual:.3f} | {found.seconds:.1f} |"
    )


def as_built(repos: pd.DataFrame, verticals: dict[str, str]) -> tuple[Any, Scored, list[str | None]]:
    started = time.process_time()
    texts = vectors(word_lists(repos))
    cluster, stability = publishable_clusters(texts.matrix, repos["repo_key"].to_numpy()[texts.kept])
    names = [main_vertical(repos["topics"].iloc[place], verticals) for place in texts.kept.tolist()]
    return cluster, scored(cluster, stability, names, time.process_time() - started), names


def density(repos: pd.DataFrame, verticals: dict[str, str], least: int) -> Scored:
    """Return the scores of HDBSCAN on the same vectors in 50 dimensions; the seeds vary the reduction."""
    started = time.process_time()
    texts = vectors(word_lists(repos))
    found = [
        HDBSCAN(min_cluster_size=least, min_samples=5, copy=True).fit_predict(
            normalize(TruncatedSVD(50, random_state=seed).fit_transform(texts.matrix))
        )
        for seed in range(3)
    ]
    pairs = [adjusted_rand_score(found[one], found[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
    names = [main_vertical(repos["topics"].iloc[place], verticals) for place in texts.kept.tolist()]
    return scored(found[0], float(np.mean(pairs)), names, (time.process_time() - started) / 3)


def variants(repos: pd.DataFrame, verticals: dict[str, str]) -> Iterator[tuple[str, Scored]]:
    """Yield (name, scores) of each method for partitioning the recorded topics."""
    cluster, found, names = as_built(repos, verticals)
    yield "**as built**", found
    luck = np.random.default_rng(0)
    dealt = [name for name in names if name]
    order = iter(luck.permutation(dealt).tolist())
    yield (
        "as built, verticals shuffled",
        scored(cluster, found.stability, [next(order) if name else None for name in names], 0.0),
    )
    for name, changed in {
        "topics weigh as words do": {"TOPIC_WEIGHT": 1},
        "words of one repository too": {"RAREST": 1},
        "words of three or more": {"RAREST": 3},
        "10 neighbours": {"MOST_NEIGHBOURS": 10},
        "resolution 1": {"RESOLUTION": 1.0},
        "resolution 4": {"RESOLUTION": 4.0},
        "praise and kinds kept": {"BOILERPLATE": frozenset()},
    }.items():
        with constants(**changed):
            yield name, as_built(repos, verticals)[1]
    for weight in (1, 3):
        spoken = repos.assign(
            topics=[
                [*topics, *([f"in-{language.lower()}".replace(" ", "-")] if isinstance(language, str) else [])]
                for topics, language in zip(repos["topics"], repos["language"], strict=True)
            ]
        )
        if weight == 1:
            spoken = spoken.assign(topics=repos["topics"], description=[
                f"{text if isinstance(text, str) else ''} in-{str(language).lower().replace(' ', '-')}"
                for text, language in zip(repos["description"], repos["language"], strict=True)
            ])  # fmt: skip
        yield f"the language as a {'word' if weight == 1 else 'topic'}", as_built(spoken, verticals)[1]
    for least in (10, 20):
        yield f"HDBSCAN, {least} or more", density(repos, verticals, least)


def stabilities(repos: pd.DataFrame) -> pd.DataFrame:
    """Return the stability of random samples of several sizes, with real and with shuffled words."""
    lists, keys, rows = word_lists(repos), repos["repo_key"].to_numpy(), []
    for size in SIZES:
        for draw in range(DRAWS if size <= 300 else 4):
            luck = np.random.default_rng(draw)
            chosen = np.sort(luck.choice(len(lists), size, replace=False))
            real = [lists[place] for place in chosen.tolist()]
            for words, drawn in (("real", real), ("shuffled", shuffled(real, luck))):
                texts = vectors(drawn)
                if len(texts.kept) >= clusters.MIN_REPOS:
                    found = partition(texts.matrix, keys[chosen][texts.kept])
                    rows.append({"size": size, "words": words, "stability": found.stability})
    return pd.DataFrame(rows)


def year(published: Path) -> pd.DataFrame:
    """Return the clusters of a year of the recorded rankings, computed on a copy of their inputs."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{published}' as published (read_only)")
        connection.execute("create table weekly_repo_trends as from published.weekly_repo_trends")
        connection.execute("create table dim_repo as from published.dim_repo")
        connection.execute("set enable_progress_bar = false")
        for table in CLUSTER_TABLES:
            append_rows(connection, table)
        started, week = time.process_time(), FIRST
        while week <= LAST:
            for table, frame in week_of_clusters(connection, week):
                replace_weeks(connection, table, frame, week, week)
            week += dt.timedelta(weeks=1)
        print(f"\n{FIRST} to {LAST}: {time.process_time() - started:.0f} s of CPU")
        weeks = connection.execute(
            "select count(*), count(*) filter (where is_stable), min(stability), max(stability), min(clusters)"
            " filter (where is_stable), max(clusters), avg(clustered / repos) from fct_clustering_week"
        ).fetchone()
        ids = connection.execute(
            "select count(*), median(weeks), max(weeks) from ("
            "select count(*) as weeks from fct_cluster_week group by cluster)"
        ).fetchone()
        print("weeks, stable, stability from, to, clusters from, to, share in a cluster:", weeks)
        print("ids, weeks of the median one, of the longest:", ids)
        print(connection.execute("select status, count(*) from fct_cluster_week group by all order by 2").fetchall())
        return connection.execute(
            "select week, cluster, label, size, growth, universe_growth from fct_cluster_week order by all"
        ).df()


def plot_stability(found: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for words, colour in (("real", "#1b6ca8"), ("shuffled", "#b0413e")):
        of_words = found[found["words"] == words].groupby("size")["stability"]
        axes.plot(of_words.median().index, of_words.median(), color=colour, marker="o", markersize=3, label=words)
        axes.fill_between(of_words.min().index, of_words.min(), of_words.max(), color=colour, alpha=0.2, linewidth=0)
    axes.axhline(clusters.MIN_STABILITY, color="#555555", linewidth=1, linestyle="--")
    axes.annotate("below: no stable clusters", (1200, clusters.MIN_STABILITY + 0.015), fontsize=8, color="#555555")
    axes.set(xscale="log", ylim=(0, 1), xlabel="repositories", ylabel="mean adjusted Rand index of ten seeds")
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.legend(frameon=False, title="words")
    return figure


def plot_crossing(cluster: Any, names: Sequence[str | None], labels: dict[int, str]) -> Figure:
    """Return a plot of the largest clusters by the curated verticals of their members."""
    frame = pd.DataFrame({"cluster": cluster, "vertical": names}).dropna()
    frame = frame[frame["cluster"] >= 0]
    table = pd.crosstab(frame["cluster"], frame["vertical"], normalize="index")
    table = table.loc[frame["cluster"].value_counts().index[:24].intersection(table.index, sort=False)]
    columns = table.columns[table.max() >= 0.1]
    table = table[columns]
    table = table.loc[table.idxmax(axis=1).sort_values(kind="stable").index]
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(table.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(
        range(len(columns)), [str(name).replace("_", " ") for name in columns], rotation=45, ha="right", fontsize=8
    )
    axes.set_yticks(range(len(table)), [labels[int(name)] for name in table.index], fontsize=8)
    axes.set_xlabel("curated vertical of most of a repository's topics")
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the cluster")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--plots", type=Path)
    asked = parser.parse_args()
    repos, verticals = recorded_topics(asked.real_data), curated()
    print(f"{len(repos)} repositories with topics, {repos['description'].notna().sum()} of them with a description\n")
    print("| | clusters | in one | stability | purity | AMI | CPU s |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, found in variants(repos, verticals):
        print(line(name, found), flush=True)
    drawn = stabilities(repos)
    print("\n| repositories | real, least | median | shuffled, median | most |\n|---:|---:|---:|---:|---:|")
    for size, of_size in drawn.groupby("size"):
        real, dealt = (of_size.loc[of_size["words"] == words, "stability"] for words in ("real", "shuffled"))
        print(f"| {size:,} | {real.min():.2f} | {real.median():.2f} | {dealt.median():.2f} | {dealt.max():.2f} |")
    if asked.home:
        year((asked.home / "published").resolve() / "reposignal.duckdb")
    if asked.plots:
        texts = vectors(word_lists(repos))
        cluster, _ = publishable_clusters(texts.matrix, repos["repo_key"].to_numpy()[texts.kept])
        labels = {
            name: " · ".join(terms[:3]) for name, terms in clusters.terms_of(texts.counts, texts.words, cluster).items()
        }
        names = [main_vertical(repos["topics"].iloc[place], verticals) for place in texts.kept.tolist()]
        for name, figure in (
            ("clusters-stability", plot_stability(drawn)),
            ("clusters-verticals", plot_crossing(cluster, names, labels)),
        ):
            figure.savefig(asked.plots / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
