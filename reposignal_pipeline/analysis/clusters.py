"""Weekly clusters of repositories with similar topics and descriptions, with labels and ids that persist.

This module defines the published cluster tables (name, type, comment) and computes clusters, labels, ids and measures
from texts. `defs.clusters` reads and writes the warehouse, and dbt compares languages over clusters. docs/clusters.md
lists the alternatives that were tried and how they were judged.
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
"""weight of a topic against a word of a description: owners choose topics to describe the project"""
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
"""Words of praise and general kinds, which do not describe a subject; with them, clusters would reflect style."""
LANGUAGE_ALIASES = frozenset(
    {
        *("c-plus-plus", "c-sharp", "cplusplus", "cpp", "csharp", "golang", "js", "node", "nodejs", "py", "python3"),
        *("rustlang", "ts"),
    }
)
"""Ignored in addition to the languages of the week: a cluster must not be a language, because languages are compared
over clusters."""
WORD = re.compile(r"[a-z0-9][a-z0-9+#.-]*[a-z0-9+#]")
REMARK = re.compile(r"\b\w+://\S+|\([^()]*\)")
"""URLs, and text in brackets, which describes the state of a project rather than its purpose"""
TEXTS_KEPT = 2**14
"""descriptions whose words are cached, about 20 MB; few descriptions change from week to week"""
LONGEST = 35
"""maximum characters of a word, GitHub's limit for a topic; longer words are noise"""
MOST_CHARACTERS = 1000
"""characters of a description that are read; GitHub allows 350"""
MIN_WORDS = 2
"""A repository with a single known word would be equally close to all others that have it."""
RAREST, MOST_COMMON = 2, 0.3
"""A word is known if at least two repositories have it, and at most 30 %; more common words do not distinguish."""

# --- what is a cluster

MIN_REPOS = 30
"""With fewer repositories, partitions of shuffled words agree almost as well as partitions of real words."""
SEEDS = 10
SEEN_LINKS = 0.8
"""Each seed uses a different 80 % of the links, so clusters that depend on a few links break up."""
MOST_NEIGHBOURS = 30
"""maximum links of a repository (the square root of their number below it); with more, clusters merge"""
LEAST_SIMILAR = 0.05
"""least cosine of a link; below it, two repositories share one common word among many"""
RESOLUTION, RESOLVED_REPOS = 2.0, 1000
"""Resolution of the modularity from 1000 repositories on, where it gives 20 to 40 clusters. It falls to 1 for the
fewest: with 2, 50 repositories would give clusters of five."""
ITERATIONS = 4
MIN_STABILITY = 0.45
"""Least mean adjusted Rand index of a week's partitions. Shuffled words give at most 0.40 from 40 repositories on and
0.13 from 300 on; recorded topics give at least 0.46, and about 0.7 from 1000 on (docs/clusters.md)."""
MIN_RECURRENCE = 0.6
"""Least mean best Jaccard overlap over the seeds. Below it a cluster "should not be trusted" (Hennig 2007, quoted by
the R package fpc). A cluster that was published the week before is kept down to 0.5, where it counts as dissolved."""
DISSOLVED = 0.5
MIN_SIZE = 5
MIN_MEMBERSHIP = 0.5
"""least share of the seeds that put a member into its cluster"""

# --- labels, ids and facts

LABEL_TERMS, TERMS = 3, 10
LABEL_REPOS = 3
"""least number of members that use a term of the cluster"""
MIN_OVERLAP = 1 / 3
"""Least Jaccard overlap of a cluster with itself a week later, over repositories read in both weeks: half of the
members if both have the same size."""
MEMORY = dt.timedelta(weeks=13)
"""A cluster keeps its id if it returns within this time; the recordings have gaps of 11 weeks."""
RECENT = dt.timedelta(weeks=4)
CHANGE = 0.2
"""change of a cluster's share of the repositories against its median of four weeks; fluctuation at its edge is less"""
GROWING_PACE = 1.25
"""multiple of the growth of all repositories; by chance half of all clusters exceed 1"""
JUDGED_SIZE = 20
"""least members of a cluster whose coherence is judged: its standard error is then below 0.07"""
COHERENT = 0.65
"""least coherence of a cluster that the article names; clusters with shuffled members reach 0.60 (docs/clusters.md)"""

TOO_FEW = "too few repositories have topics or a description"
UNSTABLE = "the partitions differ too much from seed to seed"
NONE_RECURS = "no cluster recurs from seed to seed"

# --- tables

_WEEK = ("DATE", "Monday that begins the week, UTC.")
_CLUSTER = ("INTEGER", "Cluster id, from 1; persists while most members stay, and is never reused.")
_LABEL = (
    "VARCHAR",
    "The terms that distinguish the cluster, joined by ' · '; kept until half of them or more are no longer among its "
    "terms. Otherwise only a-z, 0-9, + # . -, so that text by strangers cannot inject markup.",
)
_AS_OF = ("DATE", "UTC day of the last reading of the week; nothing later is used.")
_GAINED = (
    "BIGINT",
    "Sum of weekly_repo_trends.stars_gained over the members, stars; NULL if unknown for all of them.",
)
_GROWTH = (
    "DOUBLE",
    "Stars gained over the stars held a week before, as a share, over members with a known gain; NULL without any.",
)
_STATUS = (
    "VARCHAR",
    "forming: the id is at most three weeks old; growing: its stars grow a quarter faster than those of all "
    "repositories; shrinking: not growing, and its share of the repositories with text is a fifth or more below its "
    "median of the four weeks before; consolidating: neither, and that share is a fifth or more above or another "
    "cluster merged into it since then; steady: none of these. NULL in the first week with clusters.",
)

CLUSTERINGS = WeeklyTable(
    "fct_clustering_week",
    "Grain: week with readings. Whether the clusters of the week are better than chance, and if not, why. "
    "Source: weekly_repo_trends, dim_repo.",
    {
        "week": _WEEK,
        "as_of_date": _AS_OF,
        "repos": (
            "BIGINT",
            "Repositories read in the week with enough words in topics or description; only tracked ones if there are "
            "any.",
        ),
        "repos_without_text": (
            "BIGINT",
            "Repositories without topics and description, or only with words that no other has. They are in no "
            "cluster.",
        ),
        "clustered": ("BIGINT", "Repositories in a cluster; 0 without stable clusters."),
        "clusters": ("BIGINT", "Clusters of the week; 0 without stable clusters."),
        "seeds": ("INTEGER", "Number of partitions that were compared; NULL if the week has too few repositories."),
        "stability": (
            "DOUBLE",
            "Mean adjusted Rand index over pairs of these partitions: 1 if all are equal, 0 by chance; NULL "
            "with seeds.",
        ),
        "is_stable": ("BOOLEAN", "True if the week's clusters are published."),
        "reason": ("VARCHAR", "Why the week has no clusters; NULL if it has."),
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
        "universe_growth": ("DOUBLE", "growth over all repositories read in the week, in a cluster or not."),
        "entrants": (
            "BIGINT",
            "Members that were not in the cluster in its last published week; all members if it is new; NULL in the "
            "first week with clusters.",
        ),
        "leavers": (
            "BIGINT",
            "Members of its last published week that are no longer members, because they moved or were not read; 0 if "
            "it is new; NULL with entrants.",
        ),
        "stability": (
            "DOUBLE",
            "Best Jaccard overlap of this cluster with a cluster of a seed, 0-1, mean over the seeds.",
        ),
        "coherence": (
            "DOUBLE",
            "Intruder test on words other than the cluster's first three terms: probability that a member is closer to "
            "the other members than a repository outside is. 0.5 or less by chance; below 0.65 the members have "
            "little in common beyond these terms. NULL with fewer than 20 members, which are too few to judge, and in "
            "weeks that an earlier version clustered.",
        ),
        "status": _STATUS,
        "born_on": ("DATE", "Week in which the id was assigned."),
        "split_from": (
            "INTEGER",
            "Surviving cluster of the week before that contributed half of the members or more; NULL if there is none, "
            "and after the first week.",
        ),
        "merged_from": (
            "INTEGER[]",
            "Clusters that ended this week with half of their members or more now in this one; empty if none.",
        ),
    },
)

MEMBERS = WeeklyTable(
    "fct_cluster_member_week",
    "Grain: week x repo_key in a cluster; a repository is in at most one cluster. Source: dim_repo, "
    "weekly_repo_trends.",
    {
        "week": _WEEK,
        "cluster": _CLUSTER,
        "repo_key": ("BIGINT", "Repository, stable over renames: join key of every table."),
        "full_name": ("VARCHAR", "owner/name at the last reading of the week; text by strangers."),
        "membership": (
            "DOUBLE",
            "Share of the seeds that assign it to the cluster, 0.5-1; low at the edge of a cluster.",
        ),
        "is_entrant": (
            "BOOLEAN",
            "True if it was not in the cluster in its last published week; NULL in the first week with clusters.",
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
            "growth minus that of all repositories read in the week, share; NULL without growth.",
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
    """Return the words of each repository: topics, their parts, and words of the description.

    Stop words, boilerplate and names of languages (those of `repos` and a few others) are left out.

    Args:
        repos: frame with topics (lists or missing), description and language.
    """
    ignored = _ignored(frozenset(language.lower() for language in repos["language"].dropna().unique()))
    texts = zip(repos["topics"], repos["description"], strict=True)
    return [[*_topic_words(topics, ignored), *_description_words(text, ignored)] for topics, text in texts]


@lru_cache(maxsize=16)
def _ignored(languages: frozenset[str]) -> frozenset[str]:
    """Return the words to ignore; the same object for the same languages, so that cache lookups are fast."""
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
    """Return a word and the parts of a compound; an empty list for an ignored word."""
    if word in ignored or len(word) > LONGEST:
        return []
    parts = [intern(part) for part in word.split("-") if len(part) > 1 and part not in ignored and not part.isdigit()]
    return [intern(word), *parts] if parts and "-" in word else parts


@dataclass(frozen=True)
class Vectors:
    """Texts as vectors of unit length, only of repositories with enough known words."""

    kept: Array
    """positions of these repositories in the input"""
    matrix: csr_matrix
    """TF-IDF, repository x word"""
    counts: csr_matrix
    """occurrences of the word in the text, at most three; a topic counts as three"""
    words: Array


def vectors(texts: Sequence[Sequence[str]]) -> Vectors:
    """Return the TF-IDF vectors of texts; empty if no word is known."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(analyzer=list, min_df=RAREST, max_df=MOST_COMMON)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # scikit-learn raises it if no word is left
        return Vectors(np.arange(0), csr_matrix((0, 0)), csr_matrix((0, 0)), np.array([], dtype=str))
    kept = np.flatnonzero(np.diff(counts.indptr) >= MIN_WORDS)
    counts = counts[kept]
    matrix = TfidfTransformer(sublinear_tf=True).fit_transform(counts) if len(kept) else counts
    return Vectors(kept, matrix, counts.minimum(TOPIC_WEIGHT), counter.get_feature_names_out())


# --- partitions


@dataclass(frozen=True)
class Partition:
    """The consensus of several seeds."""

    cluster: Array
    """cluster of each repository, from 0; -1 for none"""
    membership: Array
    """share of the seeds that put each repository into its cluster"""
    recurrence: dict[int, float]
    """cluster -> best Jaccard overlap with a cluster of a seed, mean over the seeds"""
    stability: float
    """mean adjusted Rand index over pairs of the seeds' partitions"""


def partition(matrix: csr_matrix, keys: Array) -> Partition:
    """Return the consensus clusters of all seeds.

    Each repository is linked to its nearest neighbours by cosine. For each seed, Leiden partitions a sample of the
    links. Links whose ends most seeds put together are kept, and Leiden partitions those.

    Args:
        matrix: rows of unit length.
        keys: 64-bit keys of the rows. The sample of links depends on the keys, not on positions, so that a few new
            repositories hardly change the partition.
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
    """Return the links to the nearest neighbours, each once, with their cosine.

    Most pairs share no word, so the cosines are a sparse matrix. The links equal those of scikit-learn's brute-force
    `NearestNeighbors`, which computes a dense matrix of all pairs.
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
    is_taken = np.arange(len(row)) - starts[row] <= most  # the repository itself comes first
    last = starts[:-1] + most
    is_full = last + 1 < starts[1:]
    for one in np.flatnonzero(is_full)[distance[last[is_full]] == distance[last[is_full] + 1]]:
        # among equal distances, take those that scikit-learn's selection takes
        place = slice(starts[one], starts[one + 1])
        distances = np.ones(count)
        distances[column[place]] = distance[place]
        is_taken[place] = np.isin(column[place], np.argpartition(distances, most)[: most + 1])
    is_taken &= 1 - distance >= LEAST_SIMILAR
    is_taken &= row != column
    links = coo_matrix((1 - distance[is_taken], (row[is_taken], column[is_taken])), (count, count)).tocsr()
    return triu(links.maximum(links.T), k=1).tocsr().tocoo()


def _seen(keys: Array, links: Any, seed: int) -> Array:
    """Return a mask of the links that a seed uses; it does not depend on the other links."""
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
    """Return (clusters of one, clusters of other, shared members) for the pairs that share members, in order."""
    codes, counts = np.unique(one * (other.max() + 1) + other, return_counts=True)
    rows, columns = np.divmod(codes, other.max() + 1)
    return rows, columns, counts


def adjusted_rand(one: Array, other: Array) -> float:
    """Return the adjusted Rand index of two partitions with clusters numbered from 0; 1 if they are equal.

    scikit-learn's `adjusted_rand_score` gives the same number, but its input checks take ten times as long.
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
    """Return (share of the seeds that agree on each repository, cluster -> mean best Jaccard overlap)."""
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
    """Return cluster -> terms by class-based TF-IDF, highest first; repositories in no cluster form one class.

    Of terms that share a part only the first is returned.
    """
    from scipy.sparse import csr_matrix

    names, place = np.unique(cluster, return_inverse=True)
    inside = csr_matrix((np.ones(len(cluster), dtype=np.int64), (place, np.arange(len(cluster)))))
    said, said_by = (inside @ counts).toarray(), (inside @ counts.sign()).toarray()
    rarity = np.log(1 + said.sum() / len(names) / np.maximum(said.sum(axis=0), 1))
    terms = {}
    for name, often, members in zip(names.tolist(), said, said_by, strict=True):
        score = np.round(often / max(often.sum(), 1) * rarity, 9) * (members >= LABEL_REPOS)
        order = np.argsort(-score, kind="stable")[: TERMS * 5]  # words are sorted, so ties are alphabetical
        terms[name] = _apart({str(words[place]): int(members[place]) for place in order if score[place] > 0})
    terms.pop(-1, None)
    return terms


def coherences(texts: Vectors, cluster: Array, terms: dict[int, list[str]]) -> dict[int, float]:
    """Return cluster -> how well its members recognise one another by words that did not name it, if it can be judged.

    The intruder test of topic models, as a probability: a member has a higher mean cosine to the other members than a
    repository outside the cluster has to all of them. Words that share a part with one of the cluster's first terms
    are held out, because these hold any cluster together. Chance gives 0.5 or less.

    Args:
        texts: vectors of the repositories.
        cluster: of each repository; -1 for none.
        terms: of each cluster.
    """
    from sklearn.preprocessing import normalize

    parts = [_parts(str(word)) for word in texts.words]
    found = {}
    for name, of_cluster in terms.items():
        held_out = set().union(*map(_parts, of_cluster[:LABEL_TERMS]))
        unit = normalize(texts.matrix[:, np.array([not part & held_out for part in parts])])
        is_member = cluster == name
        if is_member.sum() < JUDGED_SIZE or is_member.all():
            continue
        of_members = unit[is_member]
        to_all = unit @ np.asarray(of_members.sum(axis=0)).ravel()
        itself = np.asarray(of_members.multiply(of_members).sum(axis=1)).ravel()
        inside = (to_all[is_member] - itself) / (is_member.sum() - 1)
        outside = np.sort(to_all[~is_member] / is_member.sum())
        # ties count half
        below = (np.searchsorted(outside, inside, "left") + np.searchsorted(outside, inside, "right")) / 2
        found[name] = float(below.mean() / len(outside))
    return found


def _apart(counts: dict[str, int]) -> list[str]:
    """Return the first terms that share no part; a compound replaces its part if half of the members use it."""
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
    """The stored clusters of the preceding weeks."""

    clusters: pd.DataFrame
    """rows of fct_cluster_week of the last 13 weeks, with `repos` of fct_clustering_week"""
    members: pd.DataFrame
    """cluster and repo_key, from the last of these weeks that has the cluster"""
    first_week: dt.date | None
    """the first week with clusters; None if there is none"""
    newest: int
    """the highest id assigned before the week; 0 if none"""


@dataclass(frozen=True)
class Week:
    """The rows of one week in each table."""

    clustering: pd.DataFrame
    clusters: pd.DataFrame
    members: pd.DataFrame
    trends: pd.DataFrame

    def __iter__(self) -> Any:
        return iter(zip(CLUSTER_TABLES, (self.clustering, self.clusters, self.members, self.trends), strict=True))


def clusters_of(week: dt.date, repos: pd.DataFrame, past: Past) -> Week:
    """Return the clusters of a week, matched with those of earlier weeks, or a single row with why there are none.

    Args:
        week: Monday that begins the week.
        repos: the tracked repositories read in the week, one row each: repo_key, full_name, language, topics and
            description as known on its last day, and as_of_date, stars_total, stars_gained, stars_gained_basis and
            growth_pct of weekly_repo_trends.
        past: stored clusters of the preceding weeks.
    """
    if repos.empty:
        return Week(*(_rows(table, []) for table in CLUSTER_TABLES))
    repos = repos.sort_values("repo_key").reset_index(drop=True)
    texts = vectors(word_lists(repos))
    count = len(texts.kept)
    fact: dict[str, Any] = {
        **{"week": week, "as_of_date": repos["as_of_date"].max(), "repos": count},
        **{"repos_without_text": len(repos) - count, "clustered": 0, "clusters": 0},
        **{"seeds": None, "stability": None, "is_stable": False},
    }
    if count < MIN_REPOS:
        return _without_clusters(fact | {"reason": TOO_FEW})
    inside = repos.iloc[texts.kept].reset_index(drop=True)
    found = partition(texts.matrix, inside["repo_key"].to_numpy())
    fact |= {"seeds": SEEDS, "stability": round(found.stability, 6)}
    if found.stability < MIN_STABILITY:
        return _without_clusters(fact | {"reason": UNSTABLE})
    ids = carried(week, inside["repo_key"], found, past)
    if not ids:
        return _without_clusters(fact | {"reason": NONE_RECURS})
    inside["cluster"] = pd.Series(found.cluster).map(ids).astype("Int64")
    inside["membership"] = found.membership.round(6)
    members = _members(week, inside.dropna(subset="cluster"), past)
    terms = terms_of(texts.counts, texts.words, inside["cluster"].fillna(-1).to_numpy(dtype=int))
    recurrence = {ids[name]: value for name, value in found.recurrence.items() if name in ids}
    coherence = coherences(texts, inside["cluster"].fillna(-1).to_numpy(dtype=int), terms)
    clusters = _facts(members, terms, recurrence, _AllRepos(week, count, growth(repos)), past)
    clusters["coherence"] = clusters["cluster"].map(coherence).astype(float).round(6)
    fact |= {"clustered": len(members), "clusters": len(clusters), "is_stable": True, "reason": None}
    return Week(
        _rows(CLUSTERINGS, [fact]), clusters, members[MEMBERS.column_names].reset_index(drop=True), _trends(clusters)
    )


def _rows(table: WeeklyTable, facts: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(facts, columns=table.column_names)


def _without_clusters(fact: dict[str, Any]) -> Week:
    return Week(_rows(CLUSTERINGS, [fact]), _rows(CLUSTERS, []), _rows(MEMBERS, []), _rows(CLUSTER_TRENDS, []))


def carried(week: dt.date, keys: pd.Series, found: Partition, past: Past) -> dict[int, int]:
    """Return the ids of the clusters to publish: existing ones by overlap, new ones in order of size.

    Clusters are matched with earlier ones one to one, so that the total overlap is maximal.
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
    alive = set(_last_published(past)["cluster"])
    ids = {
        name: cluster
        for name, cluster in ids.items()
        if found.recurrence[name] >= (DISSOLVED if cluster in alive else MIN_RECURRENCE)
    }
    fresh = [name for name in names if name not in ids and found.recurrence[name] >= MIN_RECURRENCE]
    return ids | {name: past.newest + number for number, name in enumerate(fresh, start=1)}


def _last_published(past: Past) -> pd.DataFrame:
    """Return the clusters of the last week that had any."""
    weeks = past.clusters["week"]
    return past.clusters[weeks.eq(weeks.max())]


def _members(week: dt.date, inside: pd.DataFrame, past: Past) -> pd.DataFrame:
    members = inside.assign(week=week).sort_values(["cluster", "repo_key"])
    before = past.members.assign(was_there=True)
    members = members.merge(before, on=["cluster", "repo_key"], how="left", validate="one_to_one")
    return members.assign(is_entrant=members["was_there"].isna().astype("boolean") if past.first_week else None)


@dataclass(frozen=True)
class _AllRepos:
    """All repositories of a week, in a cluster or not."""

    week: dt.date
    repos: int
    """repositories with enough words"""
    growth: float | None
    """growth of all repositories read in the week, share"""


def _facts(
    members: pd.DataFrame, terms: dict[int, list[str]], recurrence: dict[int, float], everything: _AllRepos, past: Past
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
    recent = _recent(everything, past)
    facts = []
    for cluster in sorted(terms):
        of_cluster = of_clusters.get_group(cluster)
        is_new = cluster not in known.index
        came = None if entrants is None else int(entrants[cluster])
        fact = {
            "week": everything.week,
            "cluster": cluster,
            "label": labels[cluster],
            "terms": terms[cluster],
            "as_of_date": as_of[cluster],
            "size": int(sizes[cluster]),
            "stars_gained": gained[cluster],
            "stars_gained_basis": _basis(gained[cluster], *bases.loc[cluster]),
            "growth": growth(of_cluster),
            "universe_growth": everything.growth,
            "entrants": came,
            # members that are not entrants were members before
            "leavers": None if came is None else int(sizes_before.get(cluster, 0) - (sizes[cluster] - came)),
            "stability": round(recurrence[cluster], 6),
            "born_on": everything.week if is_new else known["born_on"][cluster],
            "split_from": _split_from(of_cluster, set(members["cluster"]), past) if is_new else None,
            "merged_from": merged.get(cluster, []),
        }
        facts.append(fact | {"status": _status(fact, recent, everything, past)})
    return _rows(CLUSTERS, facts).astype(
        {"stars_gained": "Int64", "entrants": "Int64", "leavers": "Int64", "split_from": "Int64"}
        | dict.fromkeys(("growth", "universe_growth"), "Float64")
    )


def _basis(gained: Any, first: Any, bases: int) -> str | None:
    return None if pd.isna(gained) else str(first) if bases == 1 else "mixed"


def _labels(terms: dict[int, list[str]], known: pd.DataFrame) -> dict[int, str]:
    """Return cluster -> label: the former label while most of its terms still apply, else a new one."""
    labels: dict[int, str] = {}
    for cluster in sorted(terms):  # the older of two clusters keeps a label that both could have
        label = str(known["label"][cluster]) if cluster in known.index else ""
        said = label.split(" · ") if label else []
        holds = 2 * sum(term in terms[cluster] for term in said) > len(said)
        taken = set(labels.values())
        labels[cluster] = label if holds and label not in taken else _label(terms[cluster], taken, cluster)
    return labels


def growth(repos: pd.DataFrame) -> float | None:
    """Return stars gained over the stars held a week before, as a share, over repositories with known growth."""
    known = repos[repos["growth_pct"].notna() & repos["stars_gained"].notna()]
    before = (known["stars_total"] - known["stars_gained"]).sum()
    return round(float(known["stars_gained"].sum() / before), 9) if before > 0 else None


def _split_from(of_cluster: pd.DataFrame, living: set[int], past: Past) -> int | None:
    """Return the surviving cluster that contributed half of a new cluster's members or more; None without one."""
    last = past.members[past.members["cluster"].isin(_last_published(past)["cluster"])]
    origin = of_cluster[["repo_key"]].merge(last, on="repo_key").groupby("cluster").size()
    origin = origin[origin.index.isin(living) & (origin * 2 >= len(of_cluster))]
    return int(origin.index[int(origin.argmax())]) if len(origin) else None


def _merged(members: pd.DataFrame, past: Past) -> dict[int, list[int]]:
    """Return cluster -> clusters of the week before that merged into it."""
    ended = _last_published(past)["cluster"]
    ended = ended[~ended.isin(members["cluster"])]
    moved = past.members[past.members["cluster"].isin(ended)].rename(columns={"cluster": "ended"})
    into = moved.merge(members[["repo_key", "cluster"]], on="repo_key").groupby(["ended", "cluster"]).size()
    merged: dict[int, list[int]] = {}
    for end, cluster, count in into.reset_index(name="count").itertuples(index=False):
        if 2 * count >= (moved["ended"] == end).sum():
            merged.setdefault(int(cluster), []).append(int(end))
    return merged


def _recent(everything: _AllRepos, past: Past) -> pd.DataFrame:
    """Return, for each cluster over the last weeks, its median share of the repositories and its number of mergers."""
    recent = past.clusters[past.clusters["week"] >= pd.Timestamp(everything.week - RECENT)]
    of_week = pd.DataFrame(
        {
            "cluster": recent["cluster"],
            "share": recent["size"] / recent["repos"],
            "merged": recent["merged_from"].map(len).astype(int),
        }
    )
    return of_week.groupby("cluster").agg({"share": "median", "merged": "sum"})


def _status(fact: dict[str, Any], recent: pd.DataFrame, everything: _AllRepos, past: Past) -> str | None:
    """Return the status of a cluster; the comment of the column defines it."""
    if past.first_week is None:
        return None
    if pd.Timestamp(fact["born_on"]) > pd.Timestamp(max(past.first_week, everything.week - RECENT)):
        return "forming"
    pace = fact["growth"] or 0
    if pace > 0 and pace > GROWING_PACE * (everything.growth or 0):
        return "growing"
    was_there = fact["cluster"] in recent.index
    change = (fact["size"] / everything.repos) / recent["share"][fact["cluster"]] - 1 if was_there else 0.0
    if change <= -CHANGE:
        return "shrinking"
    has_merged = bool(fact["merged_from"]) or (was_there and recent["merged"][fact["cluster"]] > 0)
    return "consolidating" if has_merged or change >= CHANGE else "steady"


def _trends(clusters: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of weekly_cluster_trends."""
    trends = clusters.rename(columns={"size": "repos"})
    trends["momentum"] = (trends["growth"] - trends["universe_growth"]).round(9)
    trends = trends.sort_values(["momentum", "cluster"], ascending=[False, True], na_position="last")
    rank = pd.Series(range(1, len(trends) + 1), index=trends.index, dtype="Int64")
    trends["momentum_rank"] = rank.where(trends["momentum"].notna())
    return trends[CLUSTER_TRENDS.column_names].reset_index(drop=True)
