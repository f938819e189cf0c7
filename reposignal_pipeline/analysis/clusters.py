"""Clusters of repositories that say the same of themselves: a week's partition, its labels, and ids carried on.

Here: the published cluster tables (name, type, comment), and how texts become clusters, labels, ids and facts.
Not here: reading and writing the warehouse (`defs.clusters`), and what clusters say of languages (dbt). What was tried
and how it is judged: docs/clusters.md.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reposignal_pipeline.analysis.weekly import WeeklyTable

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Array = npt.NDArray[Any]

# --- what counts as text

TOPIC_WEIGHT = 3
"""A topic is chosen to say what a thing is, a word of a description need not be."""
_BOILERPLATE = """
    app application applications apps awesome based beautiful best better build building built clean code codes
    collection community complete curated developer developers development easily easy efficient elegant fast feature
    features framework frameworks free full good great hacktoberfest help helps high implementation implementations
    include includes including just language languages library libraries lightweight like list lists make makes making
    minimal modern need new nice official open opensource performance powerful production programming
    project projects provide provides pure ready real repo repository rich simple simply small software source support
    supported supports tiny tool toolkit tools use used uses using various want way work works world write written
"""
BOILERPLATE = frozenset(_BOILERPLATE.split())
"""Words of praise and kind, which say nothing of what a repository is about; with them clusters are of style."""
LANGUAGE_ALIASES = frozenset(
    {
        *("c-plus-plus", "c-sharp", "cplusplus", "cpp", "csharp", "golang", "js", "node", "nodejs", "py", "python3"),
        *("rustlang", "ts"),
    }
)
"""Beside the languages of the week. A cluster must not be a language: languages are compared over clusters."""
WORD = re.compile(r"[a-z0-9][a-z0-9+#.-]*[a-z0-9+#]")
REMARK = re.compile(r"\b\w+://\S+|\([^()]*\)")
"""Addresses, and what stands in brackets: of what state a thing is rather than what it is for."""
TEXTS_KEPT = 2**14
"""descriptions whose words are remembered, about 20 MB: from week to week few of them change"""
LONGEST = 35
"""characters of a word, as GitHub allows in a topic; longer ones are noise"""
MOST_CHARACTERS = 1000
"""of a description that are read: GitHub allows 350"""
MIN_WORDS = 2
"""A repository with one known word is as near to all that have it as any can be."""
RAREST, MOST_COMMON = 2, 0.3
"""A word is known if two repositories have it or more, and at most 30 %: what all have tells nothing."""

# --- what is a cluster

MIN_REPOS = 30
"""With fewer, partitions of shuffled words agree nearly as well as those of real ones."""
SEEDS = 10
SEEN_LINKS = 0.8
"""Each seed sees another 80 % of the links: what stands on a few of them falls apart."""
MOST_NEIGHBOURS = 30
"""Links of a repository: the root of their number up to this many. More, and clusters swallow one another."""
LEAST_SIMILAR = 0.05
"""cosine; below it a link is one common word among many"""
RESOLUTION, RESOLVED_REPOS = 2.0, 1000
"""of the modularity, from 1000 repositories on, where it makes 20 to 40 clusters; down to 1 for the fewest: of 50
repositories it would leave clusters of five"""
ITERATIONS = 4
MIN_STABILITY = 0.45
"""Mean adjusted Rand index of a week's partitions. With shuffled words it is at most 0.40 from 40 repositories on, and
0.13 from 300; of recorded topics 0.46 and more, about 0.7 from 1000 on (docs/clusters.md)."""
MIN_RECURRENCE = 0.6
"""Mean best Jaccard overlap over the seeds. Below it a cluster "should not be trusted" (Hennig 2007, as the R package
fpc says); a cluster that was told of the week before stays down to 0.5, where it counts as dissolved."""
DISSOLVED = 0.5
MIN_SIZE = 5
MIN_MEMBERSHIP = 0.5
"""A member is where most seeds put it."""

# --- labels, ids and facts

LABEL_TERMS, TERMS = 3, 10
LABEL_REPOS = 3
"""members that say a term of the cluster"""
MIN_OVERLAP = 1 / 3
"""Jaccard, of repositories that are there in both weeks: half of the members, where both clusters are of one size."""
MEMORY = dt.timedelta(weeks=13)
"""So long a cluster is known again after weeks without it; the recordings have gaps of 11 weeks."""
RECENT = dt.timedelta(weeks=4)
CHANGE = 0.2
"""of a cluster's share of the repositories, against its median of four weeks: what comes and goes on the rim is less"""
CONSOLIDATING_PACE = 1.25
"""times the growth of the universe: by chance half of all clusters are above it"""

TOO_FEW = "too few repositories tell topics or a description"
UNSTABLE = "the partitions differ too much from seed to seed"
NONE_RECURS = "no cluster comes back from seed to seed"

# --- tables

_WEEK = ("DATE", "Monday that begins the week, UTC.")
_CLUSTER = ("INTEGER", "Cluster: an id from 1 on that stays while most members do; never given twice.")
_LABEL = (
    "VARCHAR",
    "The terms that set it apart, joined by ' · '; stays with the id until half of them or more are not among its "
    "terms. Beside that only a-z, 0-9, + # . -, so that nothing by strangers can break out of it.",
)
_AS_OF = ("DATE", "UTC day of the last reading of the week; nothing later is used.")
_GAINED = (
    "BIGINT",
    "Sum of weekly_repo_trends.stars_gained of its members, stars; NULL if unknown for all of them.",
)
_GROWTH = (
    "DOUBLE",
    "Stars gained over the stars held a week before, share, over members whose gain is known; NULL if none is.",
)
_STATUS = (
    "VARCHAR",
    "forming: its id is at most three weeks old; growing or shrinking: its share of the repositories with text is a "
    "fifth or more above or below its median of the four weeks before; consolidating: neither, and it took another "
    "cluster in since then or its stars grow by a quarter faster than the universe's; steady: none of these. NULL in "
    "the first week with clusters.",
)

CLUSTERINGS = WeeklyTable(
    "fct_clustering_week",
    "Grain: week with readings. Whether the week has clusters that stand on more than chance, and if not, why. "
    "Source: weekly_repo_trends, dim_repo.",
    {
        "week": _WEEK,
        "as_of_date": _AS_OF,
        "repos": (
            "BIGINT",
            "Repositories read in the week that tell enough of themselves, in topics or a description; of the tracked "
            "ones where there are any.",
        ),
        "repos_without_text": (
            "BIGINT",
            "Those that do not: without topics and description, or in words that no other has. They are in no cluster.",
        ),
        "clustered": ("BIGINT", "Of repos, those in a cluster; 0 without stable clusters."),
        "clusters": ("BIGINT", "Clusters of the week; 0 without stable clusters."),
        "seeds": ("INTEGER", "Partitions that were compared; NULL if the week was too small to try."),
        "stability": (
            "DOUBLE",
            "Mean adjusted Rand index of the pairs of these partitions, 1 if all are the same, 0 as by chance; NULL "
            "with seeds.",
        ),
        "is_stable": ("BOOLEAN", "True if the week's clusters are published."),
        "reason": ("VARCHAR", "Why there are none; NULL if there are."),
    },
)

CLUSTERS = WeeklyTable(
    "fct_cluster_week",
    "Grain: week x cluster, only weeks with stable clusters. Source: fct_cluster_member_week, weekly_repo_trends.",
    {
        "week": _WEEK,
        "cluster": _CLUSTER,
        "label": _LABEL,
        "terms": ("VARCHAR[]", "Terms of this week's members by class-based TF-IDF, highest first."),
        "as_of_date": _AS_OF,
        "size": ("BIGINT", "Member repositories."),
        "stars_gained": _GAINED,
        "stars_gained_basis": (
            "VARCHAR",
            "As in weekly_repo_trends; mixed: a sum of both; NULL with stars_gained.",
        ),
        "growth": _GROWTH,
        "universe_growth": ("DOUBLE", "The same over all repositories read in the week, in a cluster or not."),
        "entrants": (
            "BIGINT",
            "Members that were not in it the last time it was told of; all of them when it is new; NULL in the first "
            "week with clusters.",
        ),
        "leavers": (
            "BIGINT",
            "Members of the last time that are not now, moved or no longer read; 0 when it is new; NULL with entrants.",
        ),
        "stability": (
            "DOUBLE",
            "Mean over the seeds of the best Jaccard overlap of this cluster with one of theirs, 0-1.",
        ),
        "status": _STATUS,
        "born_on": ("DATE", "Week in which the id was given."),
        "split_from": (
            "INTEGER",
            "Cluster, of the week before and living on, that half of its members or more come from; NULL if there is "
            "none, and after its first week.",
        ),
        "merged_from": (
            "INTEGER[]",
            "Clusters that ended this week and have half of their members or more in this one; empty if none.",
        ),
    },
)

MEMBERS = WeeklyTable(
    "fct_cluster_member_week",
    "Grain: week x repo_key in a cluster; a repository is in one cluster at most. Source: dim_repo, "
    "weekly_repo_trends.",
    {
        "week": _WEEK,
        "cluster": _CLUSTER,
        "repo_key": ("BIGINT", "Repository, stable over renames: join key of every table."),
        "full_name": ("VARCHAR", "owner/name at the last reading of the week; text by strangers."),
        "membership": ("DOUBLE", "Share of the seeds that put it there, 0.5-1: low on the rim of a cluster."),
        "is_entrant": (
            "BOOLEAN",
            "True if it was not in the cluster the last time that was told of; NULL in the first week with clusters.",
        ),
    },
)

CLUSTER_TRENDS = WeeklyTable(
    "weekly_cluster_trends",
    "Grain: week x cluster, only weeks with stable clusters. Source: fct_cluster_week.",
    {
        "week": _WEEK,
        "cluster": _CLUSTER,
        "label": _LABEL,
        "as_of_date": _AS_OF,
        "repos": ("BIGINT", "Member repositories."),
        "stars_gained": _GAINED,
        "growth": _GROWTH,
        "momentum": (
            "DOUBLE",
            "growth less that of all repositories read in the week, share; NULL without growth.",
        ),
        "momentum_rank": (
            "INTEGER",
            "Place by momentum among the week's clusters, from 1; NULL without momentum.",
        ),
        "status": _STATUS,
    },
)

CLUSTER_TABLES = (CLUSTERINGS, CLUSTERS, MEMBERS, CLUSTER_TRENDS)


# --- texts


def word_lists(repos: pd.DataFrame) -> list[list[str]]:
    """Return what each repository says of itself, as words: topics, their parts, and words of the description.

    Left out: stop words, boilerplate, and names of languages (of all repositories given, and a few others).

    Args:
        repos: with topics (lists or missing), description and language.
    """
    ignored = _ignored(frozenset(language.lower() for language in repos["language"].dropna().unique()))
    texts = zip(repos["topics"], repos["description"], strict=True)
    return [[*_topic_words(topics, ignored), *_description_words(text, ignored)] for topics, text in texts]


@lru_cache(maxsize=16)
def _ignored(languages: frozenset[str]) -> frozenset[str]:
    """Return the words that tell nothing: the same object for the same languages, which caches compare at once."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(BOILERPLATE | LANGUAGE_ALIASES | languages | ENGLISH_STOP_WORDS)


def _topic_words(topics: object, ignored: frozenset[str]) -> list[str]:
    words = []
    for topic in topics if isinstance(topics, list | np.ndarray) else []:
        known = str(topic).lower()
        if WORD.fullmatch(known):
            said = _with_parts(known, ignored)
            words += said[:1] * TOPIC_WEIGHT + said[1:]
    return words


def _description_words(text: object, ignored: frozenset[str]) -> tuple[str, ...]:
    return _text_words(text, ignored) if isinstance(text, str) else ()


@lru_cache(maxsize=TEXTS_KEPT)
def _text_words(text: str, ignored: frozenset[str]) -> tuple[str, ...]:
    words = WORD.findall(REMARK.sub(" ", text[:MOST_CHARACTERS].lower()))
    return tuple(said for word in words for said in _with_parts(word, ignored))


def _with_parts(word: str, ignored: frozenset[str]) -> list[str]:
    """Return a word, and the parts of a compound; nothing if it tells nothing."""
    if word in ignored or len(word) > LONGEST:
        return []
    parts = [intern(part) for part in word.split("-") if len(part) > 1 and part not in ignored and not part.isdigit()]
    return [intern(word), *parts] if parts and "-" in word else parts


@dataclass(frozen=True)
class Vectors:
    """Texts as rows of unit length; only of repositories with enough known words."""

    kept: Array
    """places of these repositories among those given"""
    matrix: csr_matrix
    """TF-IDF, repository x word"""
    counts: csr_matrix
    """how often the text says the word, a topic three times; at most that"""
    words: Array


def vectors(texts: Sequence[Sequence[str]]) -> Vectors:
    """Return the TF-IDF vectors of texts; of none if no word is known."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(analyzer=list, min_df=RAREST, max_df=MOST_COMMON)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # no word is left, as scikit-learn says it
        return Vectors(np.arange(0), csr_matrix((0, 0)), csr_matrix((0, 0)), np.array([], dtype=str))
    kept = np.flatnonzero(np.diff(counts.indptr) >= MIN_WORDS)
    counts = counts[kept]
    matrix = TfidfTransformer(sublinear_tf=True).fit_transform(counts) if len(kept) else counts
    return Vectors(kept, matrix, counts.minimum(TOPIC_WEIGHT), counter.get_feature_names_out())


# --- partitions


@dataclass(frozen=True)
class Partition:
    """What several seeds agree on."""

    cluster: Array
    """of each repository, from 0 on; -1 in none"""
    membership: Array
    """of each repository: share of the seeds that put it there"""
    recurrence: dict[int, float]
    """cluster -> mean over the seeds of the best Jaccard overlap with one of theirs"""
    stability: float
    """mean adjusted Rand index of the seeds' partitions"""


def partition(matrix: csr_matrix, keys: Array) -> Partition:
    """Return the clusters that hold over the seeds.

    Repositories are linked to their nearest by cosine. Leiden divides the links that a seed sees; what most seeds put
    together stays linked, and Leiden divides that.

    Args:
        matrix: rows of unit length.
        keys: of the rows, 64-bit whole numbers; which links a seed sees depends on them, not on places, so that a week
            with a few other repositories is divided alike.
    """
    import igraph

    count = matrix.shape[0]
    links = _links(matrix)
    resolution = 1 + (RESOLUTION - 1) * min(count / RESOLVED_REPOS, 1)
    # igraph reads a list of pairs faster than an array
    graph, near = igraph.Graph(count, list(zip(links.row.tolist(), links.col.tolist(), strict=True))), links.data
    seeds = [_divided(graph, near * _seen(keys, links, seed), resolution, seed) for seed in range(1, SEEDS + 1)]
    together = np.mean([found[links.row] == found[links.col] for found in seeds], axis=0)
    cluster = _divided(graph, near * together * (together > 0.5), resolution, 0)
    shares, recurrence = _recurrence(cluster, seeds)
    cluster = np.where(shares >= MIN_MEMBERSHIP, cluster, -1)
    names, sizes = np.unique(cluster, return_counts=True)
    cluster = np.where(np.isin(cluster, names[(names >= 0) & (sizes >= MIN_SIZE)]), cluster, -1)
    stability = float(np.mean([adjusted_rand(*pair) for pair in itertools.combinations(seeds, 2)]))
    return Partition(cluster, shares, {name: recurrence[name] for name in set(cluster.tolist()) - {-1}}, stability)


def _links(matrix: csr_matrix) -> Any:
    """Return the links to the nearest, each once, with their cosine.

    Most pairs share no word, so the cosines are a sparse matrix. The links are those of scikit-learn's brute
    `NearestNeighbors`, which makes a dense matrix of all pairs.
    """
    from scipy.sparse import coo_matrix, triu
    from sklearn.preprocessing import normalize

    count = matrix.shape[0]
    most = min(round(count**0.5), MOST_NEIGHBOURS, count - 1)
    unit = normalize(matrix)
    pairs = (unit @ unit.T).tocoo()
    row, column = pairs.row, pairs.col
    distance = np.where(row == column, 0, np.clip(1 - pairs.data, 0, 2))
    order = np.lexsort((distance, row))
    row, column, distance = row[order], column[order], distance[order]
    starts = np.searchsorted(row, np.arange(count + 1))
    is_taken = np.arange(len(row)) - starts[row] <= most  # a repository itself is in the first place
    last = starts[:-1] + most
    is_full = last + 1 < starts[1:]
    for one in np.flatnonzero(is_full)[distance[last[is_full]] == distance[last[is_full] + 1]]:
        # which of the equally near are taken is up to the selection among all
        place = slice(starts[one], starts[one + 1])
        distances = np.ones(count)
        distances[column[place]] = distance[place]
        is_taken[place] = np.isin(column[place], np.argpartition(distances, most)[: most + 1])
    is_taken &= 1 - distance >= LEAST_SIMILAR
    is_taken &= row != column
    links = coo_matrix((1 - distance[is_taken], (row[is_taken], column[is_taken])), (count, count)).tocsr()
    return triu(links.maximum(links.T), k=1).tocsr().tocoo()


def _seen(keys: Array, links: Any, seed: int) -> Array:
    """Return which links a seed sees: the same ones whatever other links there are."""
    one, other = keys[links.row].astype(np.uint64), keys[links.col].astype(np.uint64)
    low, high = np.minimum(one, other), np.maximum(one, other)
    mixed = pd.util.hash_array(pd.util.hash_array(low + np.uint64(seed)) ^ high)
    return mixed < np.uint64(int(SEEN_LINKS * 2**64))


def _divided(graph: Any, weights: Array, resolution: float, seed: int) -> Array:
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    found = graph.community_leiden(
        objective_function="modularity", weights=weights.tolist(), resolution=resolution, n_iterations=ITERATIONS
    )
    igraph.set_random_number_generator(random)
    return np.array(found.membership)


def _common(one: Array, other: Array) -> tuple[Array, Array, Array]:
    """Return the pairs of clusters of two partitions that share members, in order, and how many they share."""
    codes, counts = np.unique(one * (other.max() + 1) + other, return_counts=True)
    rows, columns = np.divmod(codes, other.max() + 1)
    return rows, columns, counts


def adjusted_rand(one: Array, other: Array) -> float:
    """Return the adjusted Rand index of two partitions, clusters numbered from 0 on: 1 if they are the same.

    scikit-learn's `adjusted_rand_score` gives the same number; its checks take ten times as long as the counts.
    """
    together = int((_common(one, other)[2] ** 2).sum()) - len(one)
    apart, other_apart = (int((np.bincount(of) ** 2).sum()) - len(one) - together for of in (one, other))
    never = len(one) ** 2 - len(one) - together - apart - other_apart
    if not apart and not other_apart:
        return 1.0
    return (
        2.0
        * (together * never - apart * other_apart)
        / ((together + apart) * (apart + never) + (together + other_apart) * (other_apart + never))
    )


def _recurrence(cluster: Array, seeds: Sequence[Array]) -> tuple[Array, dict[int, float]]:
    """Return the share of the seeds that put each repository where it is, and how well each cluster comes back."""
    there, overlaps = np.zeros(len(cluster)), np.zeros(cluster.max() + 1)
    sizes = np.bincount(cluster)
    for found in seeds:
        rows, columns, common = _common(cluster, found)
        jaccard = common / (sizes[rows] + np.bincount(found)[columns] - common)
        highest = np.maximum.reduceat(jaccard, np.searchsorted(rows, np.arange(len(sizes))))
        is_highest = jaccard == highest[rows]
        _, first = np.unique(rows[is_highest], return_index=True)
        overlaps += highest
        there += columns[is_highest][first][cluster] == found
    return there / len(seeds), dict(enumerate((overlaps / len(seeds)).tolist()))


# --- labels


def terms_of(counts: csr_matrix, words: Array, cluster: Array) -> dict[int, list[str]]:
    """Return each cluster's terms by class-based TF-IDF, highest first; what is in no cluster counts as one class.

    Of terms that share a part only the first is there.
    """
    from scipy.sparse import csr_matrix

    names, place = np.unique(cluster, return_inverse=True)
    inside = csr_matrix((np.ones(len(cluster), dtype=np.int64), (place, np.arange(len(cluster)))))
    said, said_by = (inside @ counts).toarray(), (inside @ counts.sign()).toarray()
    rarity = np.log(1 + said.sum() / len(names) / np.maximum(said.sum(axis=0), 1))
    terms = {}
    for name, often, members in zip(names.tolist(), said, said_by, strict=True):
        score = np.round(often / max(often.sum(), 1) * rarity, 9) * (members >= LABEL_REPOS)
        order = np.argsort(-score, kind="stable")[: TERMS * 5]  # the words are in order of the alphabet
        terms[name] = _apart({str(words[place]): int(members[place]) for place in order if score[place] > 0})
    terms.pop(-1, None)
    return terms


def _apart(counts: dict[str, int]) -> list[str]:
    """Return the first terms of those that share no part; of machine and machine-learning the whole, if half say it."""
    parts = {term: _parts(term) for term in counts}
    compounds = [term for term in counts if "-" in term]
    chosen: list[str] = []
    said: set[str] = set()
    for word, count in counts.items():
        part = word.removesuffix("s")
        term = next((term for term in compounds if part in parts[term] and 2 * counts[term] >= count), word)
        if not parts[term] & said:
            chosen.append(term)
            said |= parts[term]
    return chosen[:TERMS]


def _parts(term: str) -> set[str]:
    return {part.removesuffix("s") for part in term.split("-")}


def _label(terms: Sequence[str], taken: set[str], cluster: int) -> str:
    """Return a label that no other cluster of the week has."""
    for count in range(min(LABEL_TERMS, len(terms)), len(terms) + 1):
        label = " · ".join(terms[:count])
        if label and label not in taken:
            return label
    return " · ".join([*terms[:LABEL_TERMS], f"#{cluster}"])


# --- a week


@dataclass(frozen=True)
class Past:
    """What is stored of the weeks before one."""

    clusters: pd.DataFrame
    """rows of fct_cluster_week of the last 13 weeks, with `repos` of fct_clustering_week"""
    members: pd.DataFrame
    """cluster and repo_key, of each cluster's last week among these"""
    first_week: dt.date | None
    """the first week with clusters that there is"""
    newest: int
    """the highest id ever given before the week; 0 if none"""


@dataclass(frozen=True)
class Week:
    """A week's rows of each table."""

    clustering: pd.DataFrame
    clusters: pd.DataFrame
    members: pd.DataFrame
    trends: pd.DataFrame

    def __iter__(self) -> Any:
        return iter(zip(CLUSTER_TABLES, (self.clustering, self.clusters, self.members, self.trends), strict=True))


def clusters_of(week: dt.date, repos: pd.DataFrame, past: Past) -> Week:
    """Return a week's clusters, known again from the weeks before, or the row that says why there are none.

    Args:
        repos: the tracked repositories read in the week, one row each: repo_key, full_name, language, topics and
            description as known on its last day, and as_of_date, stars_total, stars_gained, stars_gained_basis and
            growth_pct of weekly_repo_trends.
    """
    if repos.empty:
        return Week(*(_rows(table, []) for table in CLUSTER_TABLES))
    repos = repos.sort_values("repo_key").reset_index(drop=True)
    told = vectors(word_lists(repos))
    count = len(told.kept)
    fact: dict[str, Any] = {
        **{"week": week, "as_of_date": repos["as_of_date"].max(), "repos": count},
        **{"repos_without_text": len(repos) - count, "clustered": 0, "clusters": 0},
        **{"seeds": None, "stability": None, "is_stable": False},
    }
    if count < MIN_REPOS:
        return _without_clusters(fact | {"reason": TOO_FEW})
    inside = repos.iloc[told.kept].reset_index(drop=True)
    found = partition(told.matrix, inside["repo_key"].to_numpy())
    fact |= {"seeds": SEEDS, "stability": round(found.stability, 6)}
    if found.stability < MIN_STABILITY:
        return _without_clusters(fact | {"reason": UNSTABLE})
    ids = carried(week, inside["repo_key"], found, past)
    if not ids:
        return _without_clusters(fact | {"reason": NONE_RECURS})
    inside["cluster"] = pd.Series(found.cluster).map(ids).astype("Int64")
    inside["membership"] = found.membership.round(6)
    members = _members(week, inside.dropna(subset="cluster"), past)
    terms = terms_of(told.counts, told.words, inside["cluster"].fillna(-1).to_numpy(dtype=int))
    recurrence = {ids[name]: value for name, value in found.recurrence.items() if name in ids}
    clusters = _facts(members, terms, recurrence, _Universe(week, count, growth(repos)), past)
    fact |= {"clustered": len(members), "clusters": len(clusters), "is_stable": True, "reason": None}
    return Week(
        _rows(CLUSTERINGS, [fact]), clusters, members[MEMBERS.column_names].reset_index(drop=True), _trends(clusters)
    )


def _rows(table: WeeklyTable, facts: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(facts, columns=table.column_names)


def _without_clusters(fact: dict[str, Any]) -> Week:
    return Week(_rows(CLUSTERINGS, [fact]), _rows(CLUSTERS, []), _rows(MEMBERS, []), _rows(CLUSTER_TRENDS, []))


def carried(week: dt.date, keys: pd.Series, found: Partition, past: Past) -> dict[int, int]:
    """Return the ids of the clusters that are worth telling: known ones by overlap, new ones in order of size.

    A known cluster is what it was by the most of it, one to one, over all clusters together.
    """
    from scipy.optimize import linear_sum_assignment

    names = sorted(found.recurrence, key=lambda name: (-(found.cluster == name).sum(), name))
    before = past.members[past.members["repo_key"].isin(keys)]
    known = sorted(before["cluster"].unique().tolist())
    now = pd.DataFrame({"name": found.cluster, "repo_key": keys})
    common = now.merge(before, on="repo_key").groupby(["name", "cluster"]).size()
    sizes, sizes_before = now.groupby("name").size(), before.groupby("cluster").size()
    both = common.unstack(fill_value=0).reindex(index=names, columns=known, fill_value=0).to_numpy(float)
    overlap = both / (sizes.reindex(names).to_numpy()[:, None] + sizes_before.reindex(known).to_numpy() - both)
    overlap[overlap < MIN_OVERLAP] = 0
    pairs = zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
    ids = {names[row]: int(known[column]) for row, column in pairs if overlap[row, column] > 0}
    alive = set(_last_told(past)["cluster"])
    ids = {
        name: cluster
        for name, cluster in ids.items()
        if found.recurrence[name] >= (DISSOLVED if cluster in alive else MIN_RECURRENCE)
    }
    fresh = [name for name in names if name not in ids and found.recurrence[name] >= MIN_RECURRENCE]
    return ids | {name: past.newest + number for number, name in enumerate(fresh, start=1)}


def _last_told(past: Past) -> pd.DataFrame:
    """Return the clusters of the last week that had any."""
    weeks = past.clusters["week"]
    return past.clusters[weeks.eq(weeks.max())]


def _members(week: dt.date, inside: pd.DataFrame, past: Past) -> pd.DataFrame:
    members = inside.assign(week=week).sort_values(["cluster", "repo_key"])
    before = past.members.assign(was_there=True)
    members = members.merge(before, on=["cluster", "repo_key"], how="left", validate="one_to_one")
    return members.assign(is_entrant=members["was_there"].isna().astype("boolean") if past.first_week else None)


@dataclass(frozen=True)
class _Universe:
    week: dt.date
    repos: int
    """that tell something of themselves"""
    growth: float | None
    """of all of them"""


def _facts(
    members: pd.DataFrame, terms: dict[int, list[str]], recurrence: dict[int, float], universe: _Universe, past: Past
) -> pd.DataFrame:
    """Return the rows of fct_cluster_week."""
    merged = _merged(members, past)
    known = past.clusters.sort_values("week").groupby("cluster").last()
    labels = _labels(terms, known)
    of_clusters = members.groupby("cluster")
    gained = of_clusters["stars_gained"].sum(min_count=1)
    bases = of_clusters["stars_gained_basis"].agg(["first", "nunique"])
    sizes, as_of = of_clusters.size(), of_clusters["as_of_date"].max()
    sizes_before = past.members.groupby("cluster").size()
    entrants = of_clusters["is_entrant"].sum() if past.first_week else None
    recent = _recent(universe, past)
    facts = []
    for cluster in sorted(terms):
        of_cluster = of_clusters.get_group(cluster)
        is_new = cluster not in known.index
        came = None if entrants is None else int(entrants[cluster])
        fact = {
            "week": universe.week,
            "cluster": cluster,
            "label": labels[cluster],
            "terms": terms[cluster],
            "as_of_date": as_of[cluster],
            "size": int(sizes[cluster]),
            "stars_gained": gained[cluster],
            "stars_gained_basis": _basis(gained[cluster], *bases.loc[cluster]),
            "growth": growth(of_cluster),
            "universe_growth": universe.growth,
            "entrants": came,
            # who is no entrant was there before
            "leavers": None if came is None else int(sizes_before.get(cluster, 0) - (sizes[cluster] - came)),
            "stability": round(recurrence[cluster], 6),
            "born_on": universe.week if is_new else known["born_on"][cluster],
            "split_from": _split_from(of_cluster, set(members["cluster"]), past) if is_new else None,
            "merged_from": merged.get(cluster, []),
        }
        facts.append(fact | {"status": _status(fact, recent, universe, past)})
    return _rows(CLUSTERS, facts).astype(
        {"stars_gained": "Int64", "entrants": "Int64", "leavers": "Int64", "split_from": "Int64"}
        | dict.fromkeys(("growth", "universe_growth"), "Float64")
    )


def _basis(gained: Any, first: Any, bases: int) -> str | None:
    return None if pd.isna(gained) else str(first) if bases == 1 else "mixed"


def _labels(terms: dict[int, list[str]], known: pd.DataFrame) -> dict[int, str]:
    """Return every cluster's label: its former one while most of its terms still hold, else one of its terms of now."""
    labels: dict[int, str] = {}
    for cluster in sorted(terms):  # who was first keeps a label that two might have
        label = str(known["label"][cluster]) if cluster in known.index else ""
        said = label.split(" · ") if label else []
        holds = 2 * sum(term in terms[cluster] for term in said) > len(said)
        taken = set(labels.values())
        labels[cluster] = label if holds and label not in taken else _label(terms[cluster], taken, cluster)
    return labels


def growth(repos: pd.DataFrame) -> float | None:
    """Return stars gained over the stars held a week before, share, of repositories whose growth is known."""
    known = repos[repos["growth_pct"].notna() & repos["stars_gained"].notna()]
    before = (known["stars_total"] - known["stars_gained"]).sum()
    return round(float(known["stars_gained"].sum() / before), 9) if before > 0 else None


def _split_from(of_cluster: pd.DataFrame, living: set[int], past: Past) -> int | None:
    """Return the living cluster that most members of a new one were in."""
    last = past.members[past.members["cluster"].isin(_last_told(past)["cluster"])]
    origin = of_cluster[["repo_key"]].merge(last, on="repo_key").groupby("cluster").size()
    origin = origin[origin.index.isin(living) & (origin * 2 >= len(of_cluster))]
    return int(origin.index[int(origin.argmax())]) if len(origin) else None


def _merged(members: pd.DataFrame, past: Past) -> dict[int, list[int]]:
    """Return cluster -> clusters of the week before that ended in it."""
    ended = _last_told(past)["cluster"]
    ended = ended[~ended.isin(members["cluster"])]
    moved = past.members[past.members["cluster"].isin(ended)].rename(columns={"cluster": "ended"})
    into = moved.merge(members[["repo_key", "cluster"]], on="repo_key").groupby(["ended", "cluster"]).size()
    merged: dict[int, list[int]] = {}
    for end, cluster, count in into.reset_index(name="count").itertuples(index=False):
        if 2 * count >= (moved["ended"] == end).sum():
            merged.setdefault(int(cluster), []).append(int(end))
    return merged


def _recent(universe: _Universe, past: Past) -> pd.DataFrame:
    """Return the median of each cluster's share of the repositories, and how many it took in, in the last weeks."""
    recent = past.clusters[past.clusters["week"] >= pd.Timestamp(universe.week - RECENT)]
    of_week = pd.DataFrame(
        {
            "cluster": recent["cluster"],
            "share": recent["size"] / recent["repos"],
            "merged": recent["merged_from"].map(len).astype(int),
        }
    )
    return of_week.groupby("cluster").agg({"share": "median", "merged": "sum"})


def _status(fact: dict[str, Any], recent: pd.DataFrame, universe: _Universe, past: Past) -> str | None:
    """Return what a cluster does, by the rules in the column's comment."""
    if past.first_week is None:
        return None
    if pd.Timestamp(fact["born_on"]) > pd.Timestamp(max(past.first_week, universe.week - RECENT)):
        return "forming"
    was_there = fact["cluster"] in recent.index
    if was_there:
        change = (fact["size"] / universe.repos) / recent["share"][fact["cluster"]] - 1
        if abs(change) >= CHANGE:
            return "growing" if change > 0 else "shrinking"
    pace = fact["growth"] or 0
    has_pace = pace > 0 and pace > CONSOLIDATING_PACE * (universe.growth or 0)
    has_merged = bool(fact["merged_from"]) or (was_there and recent["merged"][fact["cluster"]] > 0)
    return "consolidating" if has_pace or has_merged else "steady"


def _trends(clusters: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of weekly_cluster_trends."""
    trends = clusters.rename(columns={"size": "repos"})
    trends["momentum"] = (trends["growth"] - trends["universe_growth"]).round(9)
    trends = trends.sort_values(["momentum", "cluster"], ascending=[False, True], na_position="last")
    rank = pd.Series(range(1, len(trends) + 1), index=trends.index, dtype="Int64")
    trends["momentum_rank"] = rank.where(trends["momentum"].notna())
    return trends[CLUSTER_TRENDS.column_names].reset_index(drop=True)
