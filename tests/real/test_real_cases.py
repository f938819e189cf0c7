"""Real events must not distort the numbers: each case on the recorded days on which it happened.

Not covered: a dip that returns within days (the recorded rankings hold none of 10 % of a total), a name taken again
by another repository, the purge of 2025-10 (after the recordings). Unit tests of the models cover the first two.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from built_homes import BuiltHome

pytestmark = [pytest.mark.real, pytest.mark.slow]

READINGS = """
    select
        facts.day, facts.repo_key, facts.full_name, facts.stars_total, facts.net_delta_24h, facts.gap_hours,
        list_filter(facts.dq_flags, lambda flag: flag <> 'stars_gained_not_observed') as flags,
        signal.* exclude (day, repo_key, full_name, stars_total)
    from fct_repo_day as facts
    inner join fct_repo_signal_day as signal on facts.day = signal.day and facts.repo_key = signal.repo_key
    where lower(facts.full_name) = $1 and facts.day between $2::date and $3::date
    order by facts.day
"""


def readings(home: BuiltHome, name: str, first: str, last: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a name in the marts, by day."""
    with home.connect() as connection:
        table = connection.execute(READINGS, [name, first, last]).to_arrow_table()
    return {str(row["day"]): row for row in table.to_pylist()}


def days_after(day: str, count: int) -> str:
    return str(dt.date.fromisoformat(day) + dt.timedelta(count))


def test_a_wipe_and_its_restoration_are_neither_crash_nor_breakout(real_home: BuiltHome) -> None:
    """ant-design/ant-design: 66,828 > 797 (2021-02-17) > 70,219 (2021-05-16)."""
    wiped, restored = "2021-02-17", "2021-05-16"
    rows = readings(real_home, "ant-design/ant-design", "2021-02-14", "2021-06-20")
    assert [rows[day]["stars_total"] for day in ("2021-02-14", wiped, "2021-05-15", restored)] == [
        66828,
        797,
        6684,
        70219,
    ]
    assert rows[wiped]["flags"] == ["gap_over_36h", "total_dropped", "below_former_level"]
    assert rows[restored]["flags"] == ["total_restored"]
    assert rows[wiped]["net_delta_24h"] is rows[restored]["net_delta_24h"] is rows[restored]["velocity_24h"] is None
    away = [row for day, row in rows.items() if wiped <= day < restored]
    assert len(away) > 30
    assert all("below_former_level" in row["flags"] for row in away)
    assert all("below_former_level" not in row["flags"] for day, row in rows.items() if day >= restored)
    month = [row for day, row in rows.items() if wiped <= day < days_after(restored, 28)]
    assert all(row["signal_score"] is row["signal_rank"] is row["is_breakout"] is None for row in month)
    # a wipe and its return are not a pace: only stars given count, up to 765 in a night while many gave theirs again
    busiest = max(row["net_delta_24h"] for row in rows.values() if row["net_delta_24h"] is not None)
    assert busiest == 765
    velocities = [
        pace for row in rows.values() for pace in (row["velocity_7d"], row["velocity_28d"]) if pace is not None
    ]
    assert 0 < min(velocities) < max(velocities) < busiest
    for pace in ("velocity_7d", "velocity_28d"):
        assert rows[restored][pace] == pytest.approx(rows["2021-05-15"][pace], rel=0.2)
    # nor do the few stars that were left inflate the month once a score is given again
    later = [row for day, row in rows.items() if day >= days_after(restored, 28)]
    assert later
    assert all(0 < row["growth_28d"] < 0.05 for row in later if row["growth_28d"] is not None)
    assert all(row["signal_score"] is not None and not row["is_breakout"] for row in later)


@pytest.mark.parametrize(
    ("name", "before", "after", "until"),
    [
        ("getlantern/lantern", ("2019-11-17", 46495), ("2019-12-10", 184), "2019-12-20"),
        ("httpie/httpie", ("2022-02-09", 53817), ("2022-04-22", 18331), "2022-05-07"),
    ],
)
def test_all_stars_lost_between_readings(
    real_home: BuiltHome, name: str, before: tuple[str, int], after: tuple[str, int], until: str
) -> None:
    (last_day, last_total), (first_day, first_total) = before, after
    rows = readings(real_home, name, last_day, until)
    assert list(rows)[:2] == [last_day, first_day]  # unobserved in between, not flat and not zero
    assert [rows[day]["stars_total"] for day in (last_day, first_day)] == [last_total, first_total]
    assert rows[first_day]["flags"] == ["gap_over_36h", "total_dropped", "below_former_level"]
    since = [row for day, row in rows.items() if day >= first_day]
    assert all(row["signal_score"] is row["is_breakout"] is None for row in since)
    assert rows[first_day]["net_delta_24h"] is None
    assert all(pace > -1 for row in since for pace in (row["velocity_7d"], row["velocity_28d"]) if pace is not None)


@pytest.mark.parametrize(
    ("last_before", "first_after"), [("2021-10-01", "2021-12-18"), ("2024-10-23", "2025-01-08")], ids=["2021", "2024"]
)
def test_months_without_a_file_are_missing_not_flat(real_home: BuiltHome, last_before: str, first_after: str) -> None:
    statuses = real_home.query(
        f"""
        select status, count(*), count(expected), count(observed), count(coverage), count(reason)
        from ops_source_coverage
        where day > date '{last_before}' and day < date '{first_after}' group by status
        """
    )
    days = (dt.date.fromisoformat(first_after) - dt.date.fromisoformat(last_before)).days - 1
    assert statuses == [("missing", days, 0, 0, 0, days)]
    rows = real_home.query(
        f"""
        select
            count(*) > 500,
            bool_and((gap_hours is null) = list_contains(dq_flags, 'first_observation')),
            min(gap_hours), bool_and(list_contains(dq_flags, 'gap_over_36h') or gap_hours is null), count(net_delta_24h)
        from fct_repo_day where day = date '{first_after}'
        """
    )
    assert rows == [(True, True, 24.0 * (days + 1), True, 0)]
    paces = f"""
        select count(velocity_24h), count(velocity_7d), count(velocity_28d), count(signal_score), count(is_breakout)
        from fct_repo_signal_day where day between date '{first_after}' and date '{first_after}' + $1::integer
    """
    assert real_home.query(paces, 0) == [(0, 0, 0, 0, 0)]
    assert [row[1:] for row in real_home.query(paces, 6)] == [(0, 0, 0, 0)]  # nothing spans the gap


@pytest.mark.parametrize("missed", ["2019-11-19", "2021-06-10", "2022-01-25", "2024-10-19"])
def test_a_missed_day_does_not_double_the_next_delta(real_home: BuiltHome, missed: str) -> None:
    assert real_home.query(f"select status from ops_source_coverage where day = date '{missed}'") == [("missing",)]
    ((rows, deltas, unflagged, paced),) = real_home.query(
        f"""
        select
            count(*), count(net_delta_24h), count(*) filter (where not list_contains(dq_flags, 'gap_over_36h')),
            count(velocity_24h)
        from fct_repo_day inner join fct_repo_signal_day using (day, repo_key)
        where day = date '{missed}' + 1 and gap_hours = 48
        """
    )
    assert (rows > 400, deltas, unflagged, paced) == (True, 0, 0, 0)
    # the week's pace continues as if nothing had happened
    ((before, after),) = real_home.query(
        f"""
        select
            sum(velocity_7d) filter (where day < date '{missed}'),
            sum(velocity_7d) filter (where day > date '{missed}')
        from fct_repo_signal_day
        where day in (date '{missed}' - 1, date '{missed}' + 1) and repo_key in (
            select repo_key from fct_repo_signal_day
            where day in (date '{missed}' - 1, date '{missed}' + 1) and velocity_7d is not null
            group by repo_key having count(*) = 2
        )
        """
    )
    assert after == pytest.approx(before, rel=0.15)


def test_a_first_observation_is_not_velocity(real_home: BuiltHome) -> None:
    ((firsts, paced),) = real_home.query(
        """
        select
            count(*),
            count(coalesce(net_delta_24h, velocity_24h, velocity_7d, velocity_28d, signal_score, is_breakout::integer))
        from fct_repo_day inner join fct_repo_signal_day using (day, repo_key)
        where list_contains(dq_flags, 'first_observation')
        """
    )
    assert (firsts > 4000, paced) == (True, 0)
    ((scored_in_their_month,),) = real_home.query(
        """
        with firsts as (select repo_key, min(day) as first_day from fct_repo_day group by repo_key)
        select count(*) from fct_repo_signal_day inner join firsts using (repo_key)
        where day < first_day + 28 and (signal_score is not null or is_breakout)
        """
    )
    assert scored_in_their_month == 0


def test_a_purge_by_the_platform_is_not_a_decline(real_home: BuiltHome) -> None:
    """2024-01-03: 38 % of the repositories lost stars, most of them one to four; few lost more than their own noise."""
    purges = real_home.query(
        """
        select
            day, count(*) filter (where list_contains(dq_flags, 'platform_purge')) as flagged,
            count(*) filter (where net_delta_24h < 0) / count(*) as losers
        from fct_repo_day where day between '2023-11-26' and '2024-01-10' and gap_hours = 24
        group by day having flagged > 0 order by day
        """
    )
    assert [day for day, *_ in purges] == [dt.date(2024, 1, 3)]
    assert purges[0][2] == pytest.approx(0.38, abs=0.01)
    ((flagged, largest_delta, paced, surprised, pace, pace_before),) = real_home.query(
        """
        select
            count(*), max(net_delta_24h), count(today.velocity_24h), count(today.surprise),
            sum(today.velocity_28d), sum(before.velocity_28d)
        from fct_repo_day
        inner join fct_repo_signal_day as today using (day, repo_key)
        inner join fct_repo_signal_day as before on today.day - 1 = before.day and today.repo_key = before.repo_key
        where today.day = '2024-01-03' and list_contains(dq_flags, 'platform_purge')
        """
    )
    assert 16 <= flagged <= 30
    assert largest_delta < 0  # the observed change is shown, and its meaning is not made up
    assert (paced, surprised) == (0, 0)
    assert pace == pytest.approx(pace_before, rel=0.05)
    ((breakouts, judged),) = real_home.query(
        "select count(*) filter (where is_breakout), count(is_breakout) from fct_repo_signal_day"
        " where day = '2024-01-03'"
    )
    assert judged > 500
    assert breakouts < 0.02 * judged


def test_leaving_a_list_is_a_gap(real_home: BuiltHome) -> None:
    """2,000 and more returns to a list after days of absence: no row for a missing day, no pace across."""
    ((returns, deltas, unflagged),) = real_home.query(
        """
        select count(*), count(net_delta_24h), count(*) filter (where not list_contains(dq_flags, 'gap_over_36h'))
        from fct_repo_day
        inner join ops_source_coverage as coverage using (day)
        inner join ops_source_coverage as yesterday on yesterday.day = fct_repo_day.day - 1
        where gap_hours > 24 and coverage.status = 'observed' and yesterday.status = 'observed'
        """
    )
    assert returns > 2000
    assert (deltas, unflagged) == (0, 0)
    ((absent_base,),) = real_home.query(
        """
        select count(*) from fct_repo_signal_day as signal
        where velocity_7d is not null and not exists (
            select 1 from fct_repo_day as base
            where base.repo_key = signal.repo_key and base.day between signal.day - 9 and signal.day - 7
        )
        """
    )
    assert absent_base == 0


def test_a_rename_with_a_new_owner_keeps_the_history(real_home: BuiltHome) -> None:
    """GoogleChrome/puppeteer > puppeteer/puppeteer, 2019-11-23."""
    old = readings(real_home, "googlechrome/puppeteer", "2019-10-10", "2019-12-20")
    new = readings(real_home, "puppeteer/puppeteer", "2019-10-10", "2019-12-20")
    assert (max(old), min(new)) == ("2019-11-22", "2019-11-23")
    assert len({row["repo_key"] for row in (*old.values(), *new.values())}) == 1
    first = new["2019-11-23"]
    assert first["flags"] == ["renamed"]
    assert (first["net_delta_24h"], first["gap_hours"]) == (15, 24)
    assert first["velocity_7d"] == pytest.approx(old["2019-11-22"]["velocity_7d"], rel=0.3)
    assert first["signal_score"] is not None
    aliases = real_home.query(
        "select full_name, seen_from::varchar, link from dim_repo_alias where repo_key = $1 and seen_to < '2020-01-01'"
        " order by 2",
        first["repo_key"],
    )
    assert aliases[0] == ("GoogleChrome/puppeteer", "2019-10-10", "first_name")
    evidence = (
        "select link, link_evidence from dim_repo_alias where repo_key = $1 and full_name = 'puppeteer/puppeteer'"
    )
    assert real_home.query(evidence, first["repo_key"]) == [
        ("evidence", "same language, stars and forks, same name, same description")
    ]


def test_a_change_of_case_is_not_a_rename(real_home: BuiltHome) -> None:
    """willard-yuan/CNN-for-Image-Retrieval > willard-yuan/cnn-for-image-retrieval, 2021-09-19."""
    rows = readings(real_home, "willard-yuan/cnn-for-image-retrieval", "2021-09-17", "2021-09-21")
    assert {row["full_name"] for day, row in rows.items() if day < "2021-09-19"} == {
        "willard-yuan/CNN-for-Image-Retrieval"
    }
    assert {row["full_name"] for day, row in rows.items() if day >= "2021-09-19"} == {
        "willard-yuan/cnn-for-image-retrieval"
    }
    assert len({row["repo_key"] for row in rows.values()}) == 1
    assert "renamed" not in rows["2021-09-19"]["flags"]
    assert rows["2021-09-19"]["net_delta_24h"] is not None
    aliases = "select full_name, link from dim_repo_alias where repo_key = $1 order by seen_from"
    assert real_home.query(aliases, rows["2021-09-19"]["repo_key"]) == [
        ("willard-yuan/CNN-for-Image-Retrieval", "first_name"),
        ("willard-yuan/cnn-for-image-retrieval", "case_only"),
    ]


def test_issues_are_unknown_while_they_counted_pull_requests(real_home: BuiltHome) -> None:
    issues = """
        select count(*) > 0, count(issues_open), bool_and(issues_open is not null)
        from pipeline.staging.stg_rankings__places where day = $1
    """
    assert real_home.query(issues, dt.date(2021, 8, 19)) == [(True, 0, False)]
    assert [row[2] for row in real_home.query(issues, dt.date(2021, 8, 20))] == [True]


def test_another_spelling_is_not_another_language(real_home: BuiltHome) -> None:
    """VimL became Vim script on 2021-08-20 and Vim Script on 2022-08-24."""
    published = "select distinct language from pipeline.rankings.rankings where language ilike 'vim%' order by 1"
    assert real_home.query(published) == [("Vim Script",), ("Vim script",), ("VimL",)]
    shown = "select distinct language from fct_language_day where language ilike 'vim%'"
    assert real_home.query(shown) == [("Vim script",)]
    counts = real_home.query(
        """
        select repos from fct_language_day
        where universe = 'all' and language = 'Vim script' and day between '2021-08-18' and '2021-08-21' order by day
        """
    )
    assert len(counts) == 4
    assert max(counts)[0] - min(counts)[0] <= 3
    versions = "select count(*) from dim_repo where language = 'Vim script' and valid_from = '2021-08-20'"
    assert real_home.query(versions)[0][0] <= 3


def test_new_lists_are_not_breakouts(real_home: BuiltHome) -> None:
    """Rust, TypeScript and six more lists began on 2021-08-20: 750 repositories that nothing had shown before."""
    new = "select repo_key from fct_repo_day group by repo_key having min(day) = '2021-08-20'"
    ((entered,),) = real_home.query(f"select count(*) from ({new})")
    assert entered > 700
    ((judged, scored),) = real_home.query(
        f"""
        select count(is_breakout), count(signal_score) from fct_repo_signal_day
        where repo_key in ({new}) and day < '2021-09-17'
        """
    )
    assert (judged, scored) == (0, 0)
    ((scored, breakouts),) = real_home.query(
        f"""
        select count(signal_score), count(*) filter (where is_breakout) from fct_repo_signal_day
        where repo_key in ({new}) and day = '2021-09-17'
        """
    )
    assert scored > 600
    assert breakouts < 0.02 * scored
    gained = """
        select stars_gained, repos_with_gain from fct_language_day
        where universe = 'all' and language = 'Rust' and day = '2021-08-20'
    """
    ((stars_gained, repos_with_gain),) = real_home.query(gained)
    assert repos_with_gain < 20  # those that other lists had shown before
    assert stars_gained is None or stars_gained < 1000
    coverage = (
        "select count(*), count(*) filter (reason like 'places of lists without%') from ops_source_coverage"
        " where day between '2021-08-19' and '2021-08-21'"
    )
    assert real_home.query(coverage) == [(3, 0)]


def test_shorter_lists_are_whole_lists(real_home: BuiltHome) -> None:
    """48 days in 2022-02 and later have 60 places a list instead of 100."""
    short = real_home.query(
        "select max(expected), count(*), count(*) filter (reason like 'places of lists without%')"
        " from ops_source_coverage where expected < 600 and day between '2021-12-18' and '2022-05-31'"
    )
    assert short == [(480, 7, 0)]


def test_where_lists_disagree_the_largest_total_counts_and_is_flagged(real_home: BuiltHome) -> None:
    compared = real_home.query(
        """
        with read as (
            select
                snapshot_date as day, lower(username || '/' || repo_name) as name_key,
                max(stars) as largest, min(stars) as least
            from pipeline.rankings.rankings group by all
        )
        select
            count(*) filter (where largest > least) > 500,
            count(*) filter (where stars_total <> largest),
            count(*) filter (where list_contains(dq_flags, 'lists_disagree') <> (largest > least))
        from read inner join fct_repo_day as facts on read.day = facts.day and read.name_key = lower(facts.full_name)
        """
    )
    assert compared == [(True, 0, 0)]
