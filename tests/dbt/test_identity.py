"""One repository, one key: whatever names it goes by, whichever source tells of it, and in whatever order.

Random small histories of a few names, ids and ranking files, and the cases by name.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
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
    "dim_repo",
    "dim_repo_alias",
)


@dataclass(frozen=True)
class History:
    """What the rankings listed and GitHub answered, as (day, name) and (day, hour, id, name); day 0 is `START`."""

    listed: tuple[tuple[int, str], ...] = ()
    answered: tuple[tuple[int, int, int, str], ...] = ()
    entered: tuple[tuple[int, int, str], ...] = ()

    def until(self, day: int) -> History:
        return History(*(tuple(row for row in rows if row[0] <= day) for rows in (self.listed, self.answered, self.entered)))

    @property
    def days(self) -> range:
        days = [row[0] for rows in (self.listed, self.answered, self.entered) for row in rows]
        return range(min(days), max(days) + 1)


def day_of(number: int) -> dt.date:
    return START + dt.timedelta(number)


def stage(warehouse: TinyWarehouse, history: History) -> None:
    # all counts are alike: names alone decide what is evidence
    alike = {"stars_total": 1000, "forks_total": 50, "language": "Go", "description": "words"}
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


@pytest.fixture(scope="module")
def warehouse(manifest: dict[str, Any]) -> TinyWarehouse:
    return TinyWarehouse(manifest, MODELS)


IDENTITIES = "select repo_id, repo_key from pipeline.intermediate.int_repos__identified order by all"
READINGS = "select day, repo_key, source, name_key, step, gap_hours, is_renamed from pipeline.intermediate.int_repo_days__stepped where day <= $1 order by all"
VERSIONS = "select * from reposignal.main.dim_repo order by all"
ALIASES = "select * from reposignal.main.dim_repo_alias order by all"
VERSIONS_UNTIL = """
    select * exclude (valid_to, is_current), case when valid_to <= $1 then valid_to end
    from reposignal.main.dim_repo where valid_from <= $1 order by all
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
    history = History(
        tuple(sorted(listed)),
        tuple(sorted((day, hour, id, name) for (day, id), (hour, name) in answers.items())),
        tuple(sorted((day, id, name) for id, (day, name) in entries.items())),
    )
    return history if any((listed, answers, entries)) else History(((0, "a/x"),))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories(), cut=st.integers(0, 9))
def test_one_id_one_key_and_nothing_later_is_used(warehouse: TinyWarehouse, history: History, cut: int) -> None:
    stage(warehouse, history)
    warehouse.build()
    identities = warehouse.query(IDENTITIES)
    ids = {row[-2] for row in history.answered} | {id for _, id, _ in history.entered}
    assert {id for id, _ in identities} == ids
    assert len({key for _, key in identities}) == len(ids)

    # every reading stands once, under the key of its id, or of whoever held the name
    readings = warehouse.query(READINGS, day_of(99))
    assert len({row[:2] for row in readings}) == len(readings)
    observed = {(row[0], row[1]) for row in readings if row[2] == "repositories"}
    keys = dict(identities)
    assert observed == {(day_of(day), keys[id]) for day, _, id, _ in history.answered}
    hidden = {(day_of(day), name.lower()) for day, name in history.listed} - {
        (row[0], row[3]) for row in readings if row[2] == "rankings"
    }
    (dangling,) = warehouse.query(
        """
        select count(*) from unnest($1::struct(day date, name varchar)[]) as hidden (reading)
        where not exists (
            select 1 from pipeline.intermediate.int_repo_names__resolved as names
            inner join pipeline.intermediate.int_repo_days__stepped as observed using (repo_key)
            where names.name_key = reading.name and reading.day >= names.starts_on
                and (names.ends_before is null or reading.day < names.ends_before)
                and observed.day = reading.day and observed.source = 'repositories'
        )
        """,
        [{"day": day, "name": name} for day, name in sorted(hidden)],
    )
    assert dangling == (0,)
    everything = {name: warehouse.query(sql) for name, sql in (("versions", VERSIONS), ("aliases", ALIASES))}
    until = {
        "readings": warehouse.query(READINGS, day_of(cut)),
        "versions": warehouse.query(VERSIONS_UNTIL, day_of(cut)),
        "ids": [row for row in identities if row[0] in {id for _, id in first_days(history) if _ <= cut}],
    }

    # without what came later
    past = history.until(cut)
    stage(warehouse, past)
    warehouse.build()
    assert warehouse.query(READINGS, day_of(cut)) == until["readings"]
    assert warehouse.query(VERSIONS_UNTIL, day_of(cut)) == until["versions"]
    assert warehouse.query(IDENTITIES) == until["ids"]

    # and day by day
    stage(warehouse, History())
    warehouse.build((day_of(-1), day_of(-1)))
    for day in history.days:
        stage(warehouse, history.until(day))
        warehouse.build((day_of(day), day_of(day)), anew=False)
    assert warehouse.query(IDENTITIES) == identities
    assert warehouse.query(READINGS, day_of(99)) == readings
    assert warehouse.query(VERSIONS) == everything["versions"]
    assert warehouse.query(ALIASES) == everything["aliases"]


def first_days(history: History) -> set[tuple[int, int]]:
    days: dict[int, int] = {}
    for day, id in sorted([(row[0], row[2]) for row in history.answered] + [row[:2] for row in history.entered]):
        days.setdefault(id, day)
    return {(day, id) for id, day in days.items()}
