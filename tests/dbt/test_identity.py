"""One repository has one key under all its names, in all sources and in any order of loading.

Random small histories of a few names, ids, ranking files and archive events, and named cases.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_warehouse import TinyWarehouse

START = dt.date(2026, 3, 1)
NAMES = ("a/x", "b/x", "c/x", "A/x", "a/y")
MODELS = (
    "int_rankings_repo_days__merged",
    "int_repo_readings__united",
    "int_rankings_renames__linked",
    "int_repo_names__claimed",
    "int_repo_names__resolved",
    "int_repos__identified",
    "int_repo_days__stepped",
    "int_repo_attributes__changed",
    "int_gh_archive_names__seen",
    "int_repos__keyed",
    "dim_repo",
    "dim_repo_alias",
)


@dataclass(frozen=True)
class History:
    """Rankings and GitHub responses as (day, name) and (day, hour, id, name); day 0 is `START`.

    Stars in the archive as (day, id, name), with id 0 for an event without one.
    """

    listed: tuple[tuple[int, str], ...] = ()
    answered: tuple[tuple[int, int, int, str], ...] = ()
    entered: tuple[tuple[int, int, str], ...] = ()
    starred: tuple[tuple[int, int, str], ...] = ()

    def until(self, day: int) -> History:
        return History(
            *(
                tuple(row for row in rows if row[0] <= day)
                for rows in (self.listed, self.answered, self.entered, self.starred)
            )
        )

    def first_days(self) -> dict[int, int]:
        """Return the first day of every id."""
        days: dict[int, int] = {}
        for day, id in [(row[0], row[2]) for row in self.answered] + [row[:2] for row in self.entered]:
            days[id] = min(day, days.get(id, day))
        return days

    @property
    def days(self) -> range:
        days = [row[0] for rows in (self.listed, self.answered, self.entered, self.starred) for row in rows]
        return range(min(days), max(days) + 1)


def day_of(number: int) -> dt.date:
    return START + dt.timedelta(number)


def stage(warehouse: TinyWarehouse, history: History) -> None:
    # all counts are alike: only names decide what is evidence
    alike = {"stars_total": 1000, "forks_total": 50, "language": "Go", "description": "words that only one has"}
    warehouse.stage(
        "stg_rankings__places",
        [{"day": day_of(day), "full_name": name, "name_key": name.lower(), **alike} for day, name in history.listed],
    )
    warehouse.stage(
        "stg_repositories__observations",
        [
            {
                "day": day_of(day),
                "repo_id": id,
                "full_name": name,
                "name_key": name.lower(),
                "state": "public",
                "observed_at": dt.datetime.combine(day_of(day + 1), dt.time(hour)),
                "topics": [],
                **alike,
            }
            for day, hour, id, name in history.answered
        ],
    )
    warehouse.stage(
        "stg_repositories__universe_changes",
        [
            {"day": day_of(day), "repo_id": id, "full_name": name, "name_key": name.lower(), "change": "entered"}
            for day, id, name in history.entered
        ],
    )
    warehouse.stage(
        "stg_gh_archive__stars",
        [
            {
                "day": day_of(day),
                "repo_ref": id or -sum(map(ord, name.lower())),
                "repo_id": id or None,
                "full_name": name,
                "name_key": name.lower(),
            }
            for day, id, name in history.starred
        ],
    )


@pytest.fixture(scope="module")
def warehouse(manifest: dict[str, Any]) -> TinyWarehouse:
    return TinyWarehouse(manifest, MODELS)


IDENTITIES = "select repo_id, repo_key from pipeline.intermediate.int_repos__identified order by all"
KEYED = "select repo_ref, repo_id, repo_key from pipeline.intermediate.int_repos__keyed order by all"
READINGS = """
    select day, repo_key, source, name_key, step, gap_hours, is_renamed
    from pipeline.intermediate.int_repo_days__stepped where day <= $1 order by all
"""
VERSIONS = """
    select * exclude (valid_to, is_current), case when valid_to <= $1 then valid_to end
    from reposignal.main.dim_repo
    where
        valid_from <= $1
        and repo_key in (select repo_key from pipeline.intermediate.int_repo_attributes__changed where day <= $1)
    order by all
"""
ALL_VERSIONS = "select * from reposignal.main.dim_repo order by all"
ALIASES = "select * from reposignal.main.dim_repo_alias order by all"
# a listed name without rows must belong to an id that was observed on that day
UNHEARD = """
    select listed from unnest($1::struct(day date, name_key varchar)[]) as listings (listed)
    where
        not exists (
            from pipeline.intermediate.int_repo_days__stepped as shown
            where shown.source = 'rankings' and shown.day = listed.day and shown.name_key = listed.name_key
        )
        and not exists (
            from pipeline.intermediate.int_repo_names__resolved as names
            inner join pipeline.intermediate.int_repo_days__stepped as observed on names.repo_key = observed.repo_key
            where
                names.name_key = listed.name_key and listed.day >= names.starts_on
                and (names.ends_before is null or listed.day < names.ends_before)
                and observed.day = listed.day and observed.source = 'repositories'
        )
        -- or one of two names that the file lists for one repository
        and not exists (
            from pipeline.intermediate.int_rankings_renames__linked as links
            where links.old_name_key = listed.name_key and links.day = listed.day and links.given_up_on > links.day
        )
"""


@st.composite
def histories(draw: st.DrawFn) -> History:
    listed = draw(st.sets(st.tuples(st.integers(0, 9), st.sampled_from([*NAMES[:3], NAMES[4]])), max_size=16))
    answers = draw(
        st.dictionaries(
            st.tuples(st.integers(0, 9), st.integers(1, 3)),
            st.tuples(st.integers(0, 9), st.sampled_from(NAMES)),
            max_size=14,
        )
    )
    entries = draw(st.dictionaries(st.integers(1, 3), st.tuples(st.integers(0, 9), st.sampled_from(NAMES)), max_size=2))
    starred = draw(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 5), st.sampled_from(NAMES)), max_size=12))
    history = History(
        tuple(sorted(listed)),
        tuple(sorted((day, hour, id, name) for (day, id), (hour, name) in answers.items())),
        tuple(sorted((day, id, name) for id, (day, name) in entries.items())),
        tuple(sorted(starred)),
    )
    return history if any((listed, answers, entries, starred)) else History(((0, "a/x"),))


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(history=histories(), cut=st.integers(0, 9))
def test_one_id_one_key_and_nothing_later_is_used(warehouse: TinyWarehouse, history: History, cut: int) -> None:
    stage(warehouse, history)
    warehouse.build()
    identities = warehouse.query(IDENTITIES)
    readings = warehouse.query(READINGS, day_of(99))
    versions = warehouse.query(VERSIONS, day_of(99))
    aliases = warehouse.query(ALIASES)
    keyed = warehouse.query(KEYED)
    all_versions = warehouse.query(ALL_VERSIONS)
    readings_until, versions_until = (warehouse.query(sql, day_of(cut)) for sql in (READINGS, VERSIONS))

    ids = history.first_days()
    assert [id for id, _ in identities] == sorted(ids)
    assert len({key for _, key in identities}) == len(ids)
    keys = dict(identities)
    assert len({row[:2] for row in readings}) == len(readings)
    assert {row[:2] for row in readings if row[2] == "repositories"} == {
        (day_of(day), keys[id]) for day, _, id, _ in history.answered
    }
    # the archive's ids also have one key each, the same as in GitHub's responses
    assert {id: key for _, id, key in keyed if id in keys} == keys
    assert {id for _, id, _ in keyed if id} == set(keys) | {id for _, id, _ in history.starred if id}
    assert len({key for _, id, key in keyed if id}) == len({id for _, id, _ in keyed if id})
    assert {(row[1], row[0]) for row in aliases if row[1]} <= {(id, key) for _, id, key in keyed}

    listed = [{"day": day_of(day), "name_key": name.lower()} for day, name in history.listed]
    assert warehouse.query(UNHEARD, listed) == []

    # without later rows
    stage(warehouse, history.until(cut))
    warehouse.build()
    assert warehouse.query(READINGS, day_of(cut)) == readings_until
    assert warehouse.query(VERSIONS, day_of(cut)) == versions_until
    assert warehouse.query(IDENTITIES) == [(id, key) for id, key in identities if ids[id] <= cut]

    # and day by day
    stage(warehouse, History())
    warehouse.build((day_of(-1), day_of(-1)))
    for day in history.days:
        stage(warehouse, history.until(day))
        warehouse.build((day_of(day), day_of(day)), full=False)
    assert warehouse.query(IDENTITIES) == identities
    assert warehouse.query(READINGS, day_of(99)) == readings
    assert warehouse.query(VERSIONS, day_of(99)) == versions
    assert warehouse.query(ALIASES) == aliases
    assert warehouse.query(KEYED) == keyed
    assert warehouse.query(ALL_VERSIONS) == all_versions

    # and without the archive, which adds keys and changes none
    stage(warehouse, replace(history, starred=()))
    warehouse.build()
    assert warehouse.query(IDENTITIES) == identities
    assert warehouse.query(READINGS, day_of(99)) == readings


# --- named cases: rows are (day, name_key, letter of the key, source)

CASES = {
    "a rename": (
        History(((0, "a/x"), (1, "a/x")), ((0, 1, 1, "a/x"), (1, 1, 1, "b/x"), (2, 1, 1, "b/x"))),
        "0 a/x A repositories, 1 b/x A repositories, 2 b/x A repositories",
    ),
    "a transfer between queries, then the id confirms it": (
        History(((0, "a/x"), (1, "b/x"), (2, "b/x")), ((0, 1, 1, "a/x"), (2, 1, 1, "b/x"))),
        "0 a/x A repositories, 1 b/x A rankings, 2 b/x A repositories",
    ),
    "a return": (
        History((), ((0, 1, 1, "a/x"), (1, 1, 1, "b/x"), (2, 1, 1, "a/x"))),
        "0 a/x A repositories, 1 b/x A repositories, 2 a/x A repositories",
    ),
    "a change of case": (
        History(((3, "a/x"),), ((0, 1, 1, "A/x"), (1, 1, 1, "a/x"))),
        "0 a/x A repositories, 1 a/x A repositories, 3 a/x A rankings",
    ),
    "a name taken by another id": (
        History(((3, "a/x"),), ((0, 1, 1, "a/x"), (1, 1, 1, "b/x"), (1, 2, 2, "a/x"), (2, 1, 1, "b/x"))),
        "0 a/x A repositories, 1 a/x B repositories, 1 b/x A repositories, 2 b/x A repositories, 3 a/x B rankings",
    ),
    "a name given up and listed again": (
        History(((0, "a/x"), (1, "a/x"), (3, "a/x")), ((0, 1, 1, "a/x"), (1, 1, 1, "b/x"))),
        "0 a/x A repositories, 1 b/x A repositories, 3 a/x B rankings",
    ),
    "listed for long, then queried": (
        History(((0, "a/x"), (1, "b/x"), (2, "b/x")), ((2, 1, 1, "b/x"), (3, 1, 1, "c/x"))),
        "0 a/x A rankings, 1 b/x A rankings, 2 b/x A repositories, 3 c/x A repositories",
    ),
    "entered, but not answered": (
        History(((0, "a/x"), (1, "a/x")), ((2, 1, 1, "b/x"),), ((1, 1, "a/x"),)),
        "0 a/x A rankings, 1 a/x A rankings, 2 b/x A repositories",
    ),
    "two names in one file": (
        History(((0, "a/x"), (1, "a/x"), (1, "b/x"), (2, "b/x"))),
        "0 a/x A rankings, 1 b/x A rankings, 2 b/x A rankings",
    ),
    "two names in one file, and the old one again": (
        History(((0, "a/x"), (1, "a/x"), (1, "b/x"), (2, "a/x"), (2, "b/x"))),
        "0 a/x A rankings, 1 b/x A rankings, 2 a/x B rankings, 2 b/x A rankings",
    ),
    "two names in one file that are two ids'": (
        History(((0, "a/x"), (1, "a/x"), (1, "b/x")), ((0, 1, 1, "a/x"), (0, 1, 2, "b/x"))),
        "0 a/x A repositories, 0 b/x B repositories, 1 a/x A rankings, 1 b/x B rankings",
    ),
    "evidence between two ids": (
        History(((0, "a/x"), (1, "b/x")), ((0, 1, 1, "a/x"), (0, 1, 2, "b/x"))),
        "0 a/x A repositories, 0 b/x B repositories, 1 b/x B rankings",
    ),
    "evidence, but the old name still answers": (
        History(((0, "a/x"), (1, "b/x")), ((1, 1, 1, "a/x"),)),
        "0 a/x A rankings, 1 a/x A repositories, 1 b/x B rankings",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_identity_cases(warehouse: TinyWarehouse, case: str) -> None:
    history, expected = CASES[case]
    stage(warehouse, history)
    warehouse.build()
    letters: dict[int, str] = {}
    rows = warehouse.query(
        "select day - $1::date, name_key, repo_key, source from pipeline.intermediate.int_repo_days__stepped"
        " order by 1, 2",
        START,
    )
    for row in rows:
        letters.setdefault(row[2], "ABC"[len(letters)])
    assert ", ".join(f"{day} {name} {letters[key]} {source}" for day, name, key, source in rows) == expected
