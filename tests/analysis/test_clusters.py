"""Clusters of generated fields: found where they exist, rejected where they do not, matched from week to week."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from reposignal_pipeline.analysis.clusters import (
    CLUSTER_TABLES,
    COHERENT,
    MEMORY,
    MIN_REPOS,
    MIN_STABILITY,
    NONE_RECURS,
    SEEDS,
    TOO_FEW,
    UNSTABLE,
    Past,
    Week,
    clusters_of,
    coherences,
    growth,
    terms_of,
    vectors,
    word_lists,
)

MONDAY = dt.date(2024, 3, 4)
WEEK = dt.timedelta(weeks=1)
FIELDS = {
    "agents": ["ai-agents", "llm", "automation", "tool-use", "prompts", "planning"],
    "databases": ["sql", "storage-engine", "transactions", "query-planner", "replication", "indexes"],
    "proxies": ["reverse-proxy", "tunnel", "http", "load-balancer", "nat", "dns"],
    "games": ["game-engine", "physics", "shaders", "sprites", "voxel", "multiplayer"],
    "audio": ["speech", "synthesizer", "midi", "tts", "waveform", "podcast"],
    "maps": ["gis", "routing", "tiles", "geocoding", "satellite", "elevation"],
}
FIVE = list(FIELDS)[:5]
Fields = Mapping[int, str]
"""repo_key -> its field"""


def fields(size: int = 20, names: Iterable[str] = FIVE) -> dict[int, str]:
    """Return fields of equal size, with keys in arbitrary order."""
    names = list(names)
    return {key: names[key * 7 % len(names)] for key in range(1, size * len(names) + 1)}


def repo(key: int, words: list[str], week: dt.date = MONDAY, **known: Any) -> dict[str, Any]:
    usual = {
        "full_name": f"owner/{key}",
        "language": ("Go", "Rust", "Python")[key % 3],
        "as_of_date": pd.Timestamp(week + dt.timedelta(days=6)),
        "stars_total": 1100,
        "stars_gained": 100,
        "stars_gained_basis": "net_change",
        "growth_pct": 10.0,
        "description": f"A {words[-1]} thing written in Rust",
        "topics": words[:-1],
    }
    return {"repo_key": key, **usual, **known}


def repos_of(assigned: Fields, week: dt.date = MONDAY, **known: Any) -> pd.DataFrame:
    """Return repositories that choose four words of their field, the same ones every week."""
    rows = [repo(key, random.Random(key).sample(FIELDS[field], 4), week, **known) for key, field in assigned.items()]
    return pd.DataFrame(rows).astype({"stars_gained": "Int64", "growth_pct": "Float64"})


def past_of(weeks: list[Week], week: dt.date) -> Past:
    """Return what the warehouse would return for the weeks before a week."""
    clusters = pd.concat(
        [found.clusters.assign(repos=found.clustering["repos"].max()) for found in weeks]
        or [pd.DataFrame(columns=["week", "cluster", "label", "size", "born_on", "merged_from", "repos"])]
    ).astype({"week": "datetime64[us]", "born_on": "datetime64[us]"})
    clusters = clusters[clusters["week"] < pd.Timestamp(week)]
    recent = clusters[clusters["week"] >= pd.Timestamp(week - MEMORY)]
    members = pd.concat([found.members for found in weeks] or [pd.DataFrame(columns=["week", "cluster", "repo_key"])])
    members = members.astype({"week": "datetime64[us]"})
    last = recent.groupby("cluster", as_index=False)["week"].max()
    return Past(
        clusters=recent,
        members=members.merge(last, on=["week", "cluster"])[["cluster", "repo_key"]],
        first_week=clusters["week"].min().date() if len(clusters) else None,
        newest=int(clusters["cluster"].max()) if len(clusters) else 0,
    )


def history(*assigned: Fields | None) -> list[Week]:
    """Return the clusters of successive weeks; None is a week that was not observed."""
    weeks: list[Week] = []
    for number, of_week in enumerate(assigned):
        week = MONDAY + number * WEEK
        repos = repos_of(of_week or {1: "audio"}, week)
        weeks.append(clusters_of(week, repos if of_week else repos.head(0), past_of(weeks, week)))
    return weeks


def field_ids(week: Week, assigned: Fields) -> dict[str, int]:
    """Return the cluster that contains most of each field."""
    held = week.members.assign(field=week.members["repo_key"].map(assigned)).groupby("field")["cluster"]
    return {str(field): int(cluster) for field, cluster in held.agg(lambda ids: ids.mode().iloc[0]).items()}


def fact(week: Week, cluster: int) -> dict[str, Any]:
    rows = week.clusters[week.clusters["cluster"] == cluster].to_dict("records")
    return {str(name): value for name, value in rows[0].items()}


# --- which clusters are found


def test_fields_are_found_and_labelled_by_their_words() -> None:
    assigned = fields()
    (week,) = history(assigned)
    (clustering,) = week.clustering.to_dict("records")
    assert clustering["is_stable"] is True
    assert clustering["reason"] is None
    assert (clustering["clusters"], clustering["seeds"]) == (5, SEEDS)
    assert clustering["repos"] + clustering["repos_without_text"] == len(assigned)
    assert clustering["stability"] > 0.9
    found = week.members["repo_key"].map(assigned)
    assert adjusted_rand_score(found, week.members["cluster"]) == 1
    assert len(week.members) > 0.95 * len(assigned)
    for field, cluster in field_ids(week, assigned).items():
        terms = fact(week, cluster)["terms"]
        assert set(terms) <= {*FIELDS[field], *(part for word in FIELDS[field] for part in word.split("-")), "thing"}
        assert fact(week, cluster)["label"] == " · ".join(terms[:3])


def test_words_without_fields_make_no_clusters() -> None:
    words = [f"word{number}" for number in range(300)]
    for seed in range(3):
        chosen = random.Random(seed)
        repos = pd.DataFrame([repo(key, chosen.sample(words, 6)) for key in range(1, 101)])
        week = clusters_of(MONDAY, repos, past_of([], MONDAY))
        (clustering,) = week.clustering.to_dict("records")
        assert clustering["is_stable"] is False
        assert clustering["reason"] in (UNSTABLE, NONE_RECURS)
        assert clustering["stability"] < MIN_STABILITY
        assert (clustering["clusters"], clustering["clustered"]) == (0, 0)
        assert [len(frame) for _, frame in week] == [1, 0, 0, 0]


def test_too_few_and_silent_repositories_make_no_clusters() -> None:
    few = repos_of(fields(5)).head(MIN_REPOS - 1)
    silent = repos_of(fields()).assign(topics=None, description=None)
    in_no_common_words = repos_of(fields()).assign(
        topics=None, description=[f"alpha{n} beta{n} gamma{n}" for n in range(100)]
    )
    for repos in (few, silent, in_no_common_words):
        week = clusters_of(MONDAY, repos, past_of([], MONDAY))
        (clustering,) = week.clustering.to_dict("records")
        assert (clustering["is_stable"], clustering["reason"]) == (False, TOO_FEW)
        assert (clustering["seeds"], clustering["stability"]) == (None, None)
        assert clustering["repos"] + clustering["repos_without_text"] == len(repos)
    assert not re.search(r"\d", TOO_FEW + UNSTABLE + NONE_RECURS)


def test_a_week_without_readings_has_no_row() -> None:
    week = clusters_of(MONDAY, repos_of(fields()).head(0), past_of([], MONDAY))
    assert [(len(frame), list(frame)) for _, frame in week] == [(0, table.column_names) for table in CLUSTER_TABLES]


def test_a_language_is_not_a_field() -> None:
    repos = repos_of(fields()).assign(topics=[["rust", "golang"]] * 100, description="Python in Rust, Go and py")
    assert {word for words in word_lists(repos) for word in words} == set()


def test_the_order_of_rows_changes_nothing() -> None:
    repos = repos_of(fields())
    one = clusters_of(MONDAY, repos, past_of([], MONDAY))
    other = clusters_of(MONDAY, repos.sample(frac=1, random_state=1), past_of([], MONDAY))
    for (_, first), (_, second) in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(first, second)


HOSTILE = (
    "<script>alert(1)</script> script alert",
    '=HYPERLINK("http://example.invalid","x") hyperlink formula',
    "\u202egnp.exe reversed",
    "\U0001f600" * 2500,
    "'; drop table fct_cluster_week; -- drop",
    "[click me](http://example.invalid) [click](javascript:alert(1))",
    "x" * 5000,
    "- -- --- .. ++ ## a- -b 123 4567",
)


def test_text_by_strangers_does_not_break_out_of_labels() -> None:
    assigned = fields()
    repos = repos_of(assigned)
    repos["description"] = [HOSTILE[key % len(HOSTILE)] for key in repos["repo_key"]]
    repos["topics"] = [[*topics, "<b>", "a b", "x" * 60, "-x", "", "=1+1"] for topics in repos["topics"]]
    week = clusters_of(MONDAY, repos, past_of([], MONDAY))
    assert len(week.clusters) >= 5
    for label, terms in zip(week.clusters["label"], week.clusters["terms"], strict=True):
        assert re.fullmatch(r"[a-z0-9][a-z0-9+#.\- ·]*", label)
        assert [term for term in terms if len(term) > 35 or not re.search("[a-z]", term)] == []


def test_labels_of_a_week_differ() -> None:
    (week,) = history(fields(30))
    assert week.clusters["label"].is_unique


# --- from week to week


def test_ids_stay_and_the_first_week_has_no_change() -> None:
    assigned = fields()
    first, second = history(assigned, assigned)
    assert field_ids(first, assigned) == field_ids(second, assigned)
    assert set(first.clusters["status"]) == {None}
    assert first.clusters["entrants"].isna().all()
    assert first.members["is_entrant"].isna().all()
    assert set(second.clusters["status"]) == {"steady"}
    assert second.clusters[["entrants", "leavers"]].sum().tolist() == [0, 0]
    assert set(second.clusters["born_on"]) == {pd.Timestamp(MONDAY)}
    assert not second.members["is_entrant"].any()


def test_a_repository_that_moves_leaves_one_cluster_and_enters_another() -> None:
    assigned = fields()
    moved = [key for key, field in assigned.items() if field == "agents"][:2]
    after = assigned | dict.fromkeys(moved, "games")
    first, second = history(assigned, after)
    ids = field_ids(first, assigned)
    assert fact(second, ids["games"])["entrants"] == 2
    assert fact(second, ids["agents"])["leavers"] == 2
    entered = second.members[second.members["is_entrant"].astype(bool)]
    assert sorted(entered["repo_key"]) == sorted(moved)
    assert set(entered["cluster"]) == {ids["games"]}


def test_a_new_field_is_forming_for_four_weeks_and_ids_are_not_given_twice() -> None:
    old = fields(names=["agents", "databases", "proxies", "games"])
    more = old | dict.fromkeys(range(1000, 1020), "audio")
    weeks = history(old, more, more, more, more, more, old, old)
    new = field_ids(weeks[1], more)["audio"]
    assert new == 5
    states = [fact(week, new)["status"] for week in weeks[1:6]]
    assert states == ["forming"] * 4 + ["steady"]
    assert fact(weeks[1], new)["entrants"] == fact(weeks[1], new)["size"]
    assert fact(weeks[5], new)["born_on"] == pd.Timestamp(MONDAY + WEEK)
    assert new not in set(weeks[6].clusters["cluster"])
    later = old | dict.fromkeys(range(2000, 2020), "audio")  # the same words, but other repositories
    week = MONDAY + 8 * WEEK
    again = clusters_of(week, repos_of(later, week), past_of(weeks, week))
    assert field_ids(again, later)["audio"] == 6


@pytest.mark.parametrize(("away", "known"), [(3, True), (11, True), (13, False)])
def test_a_cluster_is_recognised_after_weeks_without_it(away: int, known: bool) -> None:
    assigned = fields()
    weeks = history(assigned, *[None] * away, assigned)
    assert (field_ids(weeks[0], assigned) == field_ids(weeks[-1], assigned)) is known


def test_a_split_and_a_merger_are_recorded() -> None:
    old = fields(20, ["agents", "databases", "proxies", "games", "maps"])
    agents, games = ([key for key, field in old.items() if field == name] for name in ("agents", "games"))
    apart = old | dict.fromkeys(agents[:8], "audio")
    together = {key: field for key, field in apart.items() if key not in games[10:]}
    together |= dict.fromkeys(games[:10], "proxies")
    first, second, third = history(old, apart, together)
    ids = field_ids(first, old)
    audio = field_ids(second, apart)["audio"]
    assert field_ids(second, apart)["agents"] == ids["agents"]
    assert fact(second, audio)["split_from"] == ids["agents"]
    assert pd.isna(fact(third, audio)["split_from"])
    proxies = field_ids(third, together)["proxies"]
    assert proxies == ids["proxies"]
    assert fact(third, proxies)["merged_from"] == [ids["games"]]
    assert fact(third, proxies)["status"] == "consolidating"
    assert fact(third, ids["maps"])["merged_from"] == []
    assert set(third.clusters["cluster"]) == {ids["agents"], ids["databases"], ids["maps"], audio, proxies}


def test_shares_distinguish_consolidating_from_shrinking() -> None:
    old = fields()
    kept = [key for key, field in old.items() if field == "games"][:12]
    after = {key: field for key, field in old.items() if field != "games" or key in kept}
    after |= dict.fromkeys(range(1000, 1010), "audio")
    first, second = history(old, after)
    ids = field_ids(first, old)
    states = {field: fact(second, ids[field])["status"] for field in FIVE}
    assert states == {
        "agents": "steady", "databases": "steady", "proxies": "steady", "games": "shrinking", "audio": "consolidating",
    }  # fmt: skip


def test_a_label_stays_as_long_as_its_terms() -> None:
    assigned = fields()
    first, second = history(assigned, assigned)
    changed = past_of([first], MONDAY + WEEK)
    labels = first.clusters.set_index("cluster")["terms"].map(lambda terms: " · ".join([terms[3], terms[1], "former"]))
    changed.clusters["label"] = changed.clusters["cluster"].map(labels)
    third = clusters_of(MONDAY + WEEK, repos_of(assigned, MONDAY + WEEK), changed)
    assert dict(zip(third.clusters["cluster"], third.clusters["label"], strict=True)) == labels.to_dict()
    changed.clusters["label"] = "never · heard · of"
    fourth = clusters_of(MONDAY + WEEK, repos_of(assigned, MONDAY + WEEK), changed)
    assert list(fourth.clusters["label"]) == list(second.clusters["label"])


# --- coherence


def test_members_that_share_more_than_the_label_are_coherent_and_others_are_not() -> None:
    assigned = fields(30)
    repos = repos_of(assigned)
    is_game = repos["repo_key"].map(assigned) == "games"
    # of one field only three words are left in common; the rest of each text is drawn from all fields
    everything = sorted({word for words in FIELDS.values() for word in words} - set(FIELDS["games"]))
    repos.loc[is_game, "topics"] = pd.Series(
        [[*FIELDS["games"][:3], *random.Random(key).sample(everything, 3)] for key in repos["repo_key"][is_game]],
        index=repos.index[is_game],
    )
    week = clusters_of(MONDAY, repos, past_of([], MONDAY))
    ids = field_ids(week, assigned)
    coherence = {field: fact(week, ids[field])["coherence"] for field in FIVE}
    assert coherence["games"] < COHERENT, coherence
    assert min(value for field, value in coherence.items() if field != "games") > COHERENT, coherence


def test_shuffled_members_recognise_one_another_by_chance() -> None:
    assigned = fields(60)
    texts = vectors(word_lists(repos_of(assigned)))
    cluster = np.random.default_rng(7).integers(0, 5, len(texts.kept))
    terms = terms_of(texts.counts, texts.words, cluster)
    assert coherences(texts, cluster, terms).keys() == terms.keys()
    assert max(coherences(texts, cluster, terms).values()) < 0.6


# --- stars


def test_growth_is_of_those_whose_growth_is_known() -> None:
    known = repos_of({1: "games", 2: "games"})
    assert growth(known) == 0.1
    assert growth(known.assign(growth_pct=[10.0, None])) == 0.1
    assert growth(known.assign(stars_gained=pd.array([100, 0], dtype="Int64"))) == round(100 / 2100, 9)
    assert growth(known.assign(growth_pct=None)) is None


def test_stars_add_up_and_momentum_is_against_the_universe() -> None:
    assigned = fields()
    repos = repos_of(assigned)
    is_game = repos["repo_key"].map(assigned) == "games"
    repos.loc[is_game, ["stars_gained", "stars_total"]] = 300, 1300
    repos.loc[repos["repo_key"].map(assigned) == "audio", ["stars_gained", "growth_pct", "stars_gained_basis"]] = None
    repos.loc[repos["repo_key"] == repos["repo_key"][is_game].iloc[0], "stars_gained_basis"] = "star_history"
    first = clusters_of(MONDAY, repos, past_of([], MONDAY))
    ids = field_ids(first, assigned)
    games, audio = fact(first, ids["games"]), fact(first, ids["audio"])
    assert games["stars_gained"] == 300 * games["size"]
    assert (games["growth"], games["stars_gained_basis"]) == (0.3, "mixed")
    assert games["universe_growth"] == round((300 * 20 + 100 * 60) / 80_000, 9)
    assert pd.isna(audio["stars_gained"])
    assert pd.isna(audio["growth"])
    assert pd.isna(audio["stars_gained_basis"])
    trends = first.trends.set_index("cluster")
    assert trends["momentum_rank"].dropna().tolist() == [1, 2, 3, 4]
    assert trends.loc[ids["games"], "momentum_rank"] == 1
    assert trends.loc[ids["games"], "momentum"] == pytest.approx(0.15)
    assert pd.isna(trends.loc[ids["audio"], "momentum_rank"])
    second = clusters_of(MONDAY + WEEK, repos, past_of([first], MONDAY + WEEK))
    assert fact(second, ids["games"])["status"] == "growing"
    assert fact(second, ids["agents"])["status"] == "steady"


def test_members_add_up_to_the_clusters() -> None:
    (week,) = history(fields(30))
    sizes = week.members.groupby("cluster").size()
    assert sizes.to_dict() == dict(zip(week.clusters["cluster"], week.clusters["size"], strict=True))
    assert week.members["repo_key"].is_unique
    assert week.members["membership"].between(0.5, 1).all()
    assert week.clusters["stability"].between(0.6, 1).all()
    assert np.array_equal(week.trends["repos"].sort_values(), week.clusters["size"].sort_values())
