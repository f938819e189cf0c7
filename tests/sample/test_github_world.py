"""The world behind the embedded GitHub API adds up at any instant, and resolves names to their holder at the time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reposignal_pipeline.sample.github_world import ALWAYS, Repository, World, generated_world, node_id, sunday_of
from reposignal_pipeline.sources.star_days import STAR_DAYS

FIRST_DAY = date(2025, 11, 3)
MIDNIGHT = STAR_DAYS.begins_at(FIRST_DAY)
"""when the first day begins for GitHub: 08:00 UTC"""


def repository(repo_id: int = 1, name: str = "a/b", **given: object) -> Repository:
    settings: dict[str, object] = {
        "repo_id": repo_id,
        "names": ((ALWAYS, name),),
        "created_at": MIDNIGHT - timedelta(30),
        "first_day": FIRST_DAY,
        "base": 10,
        "given": np.array([1, 0, 2], np.int32),
    }
    return Repository(**{**settings, **given})  # type: ignore[arg-type]


def held_naively(base: list[int], given: list[int], taken: list[int]) -> list[int]:
    """Days before and days of the arrays, each star taken back from the youngest earlier day that has one."""
    held = list(base)
    for stars, less in zip(given, taken, strict=True):
        for _ in range(less):
            youngest = max(n for n, left in enumerate(held) if left)
            held[youngest] -= 1
        held.append(stars)
    return held


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, list[int], list[int]]:
    """Age in days, stars before, and for each day: given, taken back; never more than there are."""
    age = draw(st.integers(1, 40))
    held = base = draw(st.integers(0, 30))
    given, taken = [], []
    for _ in range(draw(st.integers(1, 25))):
        less = draw(st.one_of(st.just(0), st.integers(0, held)))
        stars = draw(st.one_of(st.just(0), st.integers(0, 9)))
        given.append(stars)
        taken.append(less)
        held += stars - less
    return age, base, given, taken


@given(histories(), st.integers(-40 * 24 * 60, 35 * 24 * 60))
def test_the_days_held_add_up_to_the_total_at_any_instant(
    history: tuple[int, int, list[int], list[int]], minutes: int
) -> None:
    age, base, stars, taken = history
    one = repository(
        created_at=MIDNIGHT - timedelta(age, hours=-7),
        base=base,
        given=np.array(stars, np.int32),
        unstarred=np.array(taken, np.int32),
    )
    instant = max(MIDNIGHT + timedelta(minutes=minutes), one.created_at)
    world = World([one])
    weeks = world.held(one, instant)
    assert weeks.cells.sum() == world.total(one, instant)
    assert (weeks.cells >= 0).all()
    assert weeks.first == sunday_of(one.created_at.date())
    today = STAR_DAYS.day_of(instant)
    assert weeks.first + timedelta(7 * len(weeks.cells)) == sunday_of(today) + timedelta(7)
    after_today = (today - weeks.first).days + 1
    assert not weeks.cells.reshape(-1)[after_today:].any()


@given(histories())
def test_a_star_taken_back_leaves_the_youngest_earlier_day(history: tuple[int, int, list[int], list[int]]) -> None:
    age, base, stars, taken = history
    one = repository(
        created_at=MIDNIGHT - timedelta(age),
        base=base,
        given=np.array(stars, np.int32),
        unstarred=np.array(taken, np.int32),
    )
    before = np.diff(one.spread_base()).tolist()
    weeks = World([one]).held(one, MIDNIGHT + timedelta(len(stars)))
    start = (one.created_at.date() - weeks.first).days
    assert sum(before) == base
    assert weeks.cells.reshape(-1)[start : start + age + len(stars)].tolist() == held_naively(before, stars, taken)


def test_the_past_is_restated_and_totals_are_not() -> None:
    one = repository(given=np.array([5, 0, 1], np.int32), unstarred=np.array([0, 0, 2], np.int32))
    world = World([one])
    first_day = (FIRST_DAY - sunday_of(one.created_at.date())).days
    read = [int(world.held(one, MIDNIGHT + timedelta(n)).cells.reshape(-1)[first_day]) for n in (2, 3)]
    assert read == [5, 3]
    assert [world.total(one, MIDNIGHT + timedelta(n)) for n in (1, 2, 3)] == [15, 15, 14]


def test_the_same_stars_are_counted_by_the_days_of_the_worlds_zone() -> None:
    one = repository(given=np.array([24, 0, 24], np.int32))
    shown = {}
    for zone in ("America/Los_Angeles", "UTC", "Asia/Tokyo"):
        world = World([one], arrive=(0, 24), zone=ZoneInfo(zone))
        begins = world.days.begins_at(FIRST_DAY)
        shown[zone] = begins.hour, [world.total(one, begins + timedelta(hours=h)) for h in (0, 6, 24, 60)]
        assert world.held(one, begins + timedelta(hours=6)).cells.sum() == 16
    totals = [10, 16, 34, 46]
    assert shown == {"America/Los_Angeles": (8, totals), "UTC": (0, totals), "Asia/Tokyo": (15, totals)}


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2025, 11, 2), 25)])
def test_no_star_is_lost_or_counted_twice_where_the_clock_is_changed(day: date, hours: int) -> None:
    world = World([repository(first_day=day, given=np.array([hours, 0], np.int32))], arrive=(0, 25))
    begins = world.days.begins_at(day)
    (one,) = world.repositories
    assert [world.total(one, begins + timedelta(hours=h)) for h in range(hours + 2)] == [
        10 + min(h, hours) for h in range(hours + 2)
    ]


def test_a_day_arrives_between_the_given_hours() -> None:
    one = repository(given=np.array([22, 0, 0], np.int32))
    world = World([one])
    assert [world.total(one, MIDNIGHT + timedelta(hours=h)) for h in (0, 1, 12, 23, 24)] == [10, 10, 21, 32, 32]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"unstarred": np.array([11, 0, 0], np.int32)}, "taken back"),
        ({"created_at": MIDNIGHT + timedelta(hours=5)}, "before its creation"),
        ({"created_at": MIDNIGHT + timedelta(1), "base": 0}, "before its creation"),
    ],
)
def test_an_impossible_history_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        repository(**wrong)


def test_names_lead_to_their_holder_of_the_day() -> None:
    moves = MIDNIGHT + timedelta(5)
    back = MIDNIGHT + timedelta(20)
    reused = MIDNIGHT + timedelta(9)
    mover = repository(1, names=((ALWAYS, "old/home"), (moves, "new/home")))
    returner = repository(2, names=((ALWAYS, "Case/x"), (moves, "away/x"), (back, "case/x")))
    namesake = repository(3, "old/home", created_at=reused, base=0, given=np.zeros(30, np.int32))
    world = World([mover, returner, namesake])

    def leads(name: str, day: int) -> tuple[int, bool] | None:
        holder = world.holder(name, MIDNIGHT + timedelta(day))
        return (holder.repository.repo_id, holder.is_current) if holder else None

    assert leads("OLD/home", 4) == (1, True)
    assert leads("old/home", 5) == (1, False)
    assert leads("old/home", 9) == (3, True)
    assert leads("new/home", 4) is None
    assert leads("new/home", 5) == (1, True)
    assert [leads("case/X", day) for day in (0, 6, 20)] == [(2, True), (2, False), (2, True)]
    assert [returner.name(MIDNIGHT + timedelta(day)) for day in (0, 6, 20)] == ["Case/x", "away/x", "case/x"]
    assert world.holder("no/one", MIDNIGHT) is None


def test_a_deleted_repository_leaves_its_name_to_the_next() -> None:
    gone = repository(1, states=((ALWAYS, "public"), (MIDNIGHT + timedelta(1), "not_found")))
    heir = repository(2, created_at=MIDNIGHT + timedelta(2), base=0, given=np.array([0, 0, 2], np.int32))
    world = World([gone, heir])
    found = [world.holder("a/b", MIDNIGHT + timedelta(day)) for day in (0, 1, 2)]
    assert [holder.repository.repo_id for holder in found if holder] == [1, 1, 2]


def test_node_ids_are_githubs_and_unique() -> None:
    assert node_id(1_296_269) == "R_kgDOABPHjQ"
    assert len({node_id(n) for n in range(2000)}) == 2000


def test_a_world_of_arrays_keeps_them() -> None:
    gains = np.arange(12).reshape(2, 6)
    world = World.from_gains(gains, FIRST_DAY, [0, 40], unstars=np.ones((2, 6)) * [[0], [2]])
    young, old = world.repositories
    end = MIDNIGHT + timedelta(6)
    assert [world.total(one, end) for one in (young, old)] == [15, 40 + 51 - 12]
    assert world.held(young, end).cells.reshape(-1)[1:7].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_generated_world_is_as_skewed_as_the_real_one() -> None:
    first, last = date(2025, 1, 1), date(2025, 12, 31)
    world = generated_world(2000, first, last, seed=1)
    gains = np.stack([one.given for one in world.repositories])
    change = np.diff(np.stack([one.totals for one in world.repositories]), axis=1)
    assert 0.35 < (gains == 0).mean() < 0.55
    assert 0.04 < (change < 0).mean() < 0.12
    assert gains.max() > 300
    again = generated_world(2000, first, last, seed=1)
    assert all((a.given == b.given).all() for a, b in zip(world.repositories, again.repositories, strict=True))
    for one in world.repositories[:50]:
        assert world.held(one, datetime(2025, 7, 1, 12)).cells.sum() == world.total(one, datetime(2025, 7, 1, 12))
