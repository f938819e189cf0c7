"""Clusters of the recorded topics of April 2022: they are stable over seeds and agree with the curated verticals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.clusters import as_built, curated, recorded_topics, scored, shuffled
from reposignal_pipeline.analysis.clusters import (
    MIN_STABILITY,
    partition,
    terms_of,
    vectors,
    word_lists,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def repos(real_data: Path) -> pd.DataFrame:
    return recorded_topics(real_data)


def test_clusters_are_stable_and_agree_with_the_curated_verticals(repos: pd.DataFrame) -> None:
    cluster, found, names = as_built(repos, curated())
    assert 20 <= found.clusters <= 60
    assert found.clustered >= 0.7  # 0.85 when this was written
    assert found.stability >= 0.65  # 0.74
    assert found.purity >= 0.63  # 0.70
    assert found.mutual >= 0.53  # 0.585
    luck = np.random.default_rng(0)
    order = iter(luck.permutation([name for name in names if name]).tolist())
    by_chance = scored(cluster, found.stability, [next(order) if name else None for name in names], 0.0)
    assert by_chance.purity < 0.2
    assert abs(by_chance.mutual) < 0.02


def test_shuffled_words_make_no_stable_clusters(repos: pd.DataFrame) -> None:
    sample = repos.sample(2000, random_state=1)
    for seed in range(2):
        weighted = vectors(shuffled(word_lists(sample), np.random.default_rng(seed)))
        found = partition(weighted.matrix, sample["repo_key"].to_numpy()[weighted.kept])
        assert found.stability < MIN_STABILITY / 2


def test_known_fields_have_their_words(repos: pd.DataFrame) -> None:
    weighted = vectors(word_lists(repos))
    found = partition(weighted.matrix, repos["repo_key"].to_numpy()[weighted.kept])
    labels = [set(terms) for terms in terms_of(weighted.counts, weighted.words, found.cluster).values()]
    for words in ({"android"}, {"deep-learning"}, {"kubernetes"}, {"database", "sql"}, {"security"}, {"nlp"}):
        assert any(words <= terms for terms in labels), words
