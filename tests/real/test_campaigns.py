"""Campaigns added to recorded histories, and recorded genuine bursts: which of them get `review`.

Here: which histories, which campaigns, the shares that must hold, and those in docs/authenticity.md.
Not covered: campaigns with forks, which totals cannot distinguish from genuine interest.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import duckdb
import pytest
from built_homes import BuiltHome

from reposignal_pipeline.sources.rankings import HEADER, parse_day

pytestmark = [pytest.mark.real, pytest.mark.slow]

SIZES, LENGTHS = (50, 100, 200, 500, 1000, 2000, 5000), (1, 3, 7, 14)
HOSTS = 30 * len(SIZES) * len(LENGTHS) * 2
PERIODS = ("before", "test")
PERIOD = "case when anchor < date '2024-07-01' then 'before' else 'test' end as period,"
BEFORE, AFTER = 60, 45
DAYS_A_LOAD = 500
# the total broke on the second day, and came back on the third
BREAKS = [
    ("ant-design/ant-design", "2021-01-10", "2021-02-17", "2021-05-16", "2021-10-01"),
    ("getlantern/lantern", "2019-09-01", "2019-12-10", None, "2020-02-01"),
    ("httpie/httpie", "2021-10-01", "2022-04-22", None, "2022-07-01"),
]

# One slice per repository. Bursts: 200 stars in 14 days, at 5 times the pace of the 56 days before. Hosts: any day.
SLICES = f"""
    create table daily as
    select snapshot_date::date as day, lower(username || '/' || repo_name) as name, max(stars::bigint) as stars
    from recorded where item <> '' group by all;

    create table framed as
    select
        *, stars - stars_before as gained, (stars_before - usual_stars) / (day_before - usual_from) as usual
    from (
        select
            *, lag(day, 14) over by_day as day_before, lag(stars, 14) over by_day as stars_before,
            lag(day, 70) over by_day as usual_from, lag(stars, 70) over by_day as usual_stars,
            lag(day, {BEFORE}) over by_day as first_day, lead(day, {AFTER}) over by_day as last_day,
            max(stars) over (partition by name order by day rows 120 preceding) as peak
        from daily
        window by_day as (partition by name order by day)
    )
    where day - usual_from <= 80 and last_day - day <= {AFTER + 5};

    create table breaks as
    from (values {", ".join(f"('{name}', date '{first}', date '{last}')" for name, first, _, _, last in BREAKS)})
        as breaks (name, first_day, last_day);

    create table bursts as
    select name, day as anchor, gained, gained / (14 * greatest(usual, 0.5)) as times_usual
    from framed
    where gained >= 200 and gained >= 5 * 14 * greatest(usual, 0.5) and stars_before >= 0.9 * peak - gained
        and name not in (select name from breaks)
    qualify row_number() over (partition by name order by gained desc, day) = 1;

    create table hosts as
    select *, row_number() over (order by hash(name)) - 1 as number
    from (
        select name, day as anchor, stars from framed anti join bursts using (name) anti join breaks using (name)
        qualify row_number() over (partition by name order by hash(name || day)) = 1
        order by hash(name) limit {HOSTS}
    );

    create table campaigns as
    select
        *, {list(SIZES)}[1 + number % 7] as size, {list(LENGTHS)}[1 + number // 7 % 4] as length,
        number // 28 % 2 = 1 as is_removed, number // 56 % 2 = 1 as is_front_loaded
    from hosts;
"""
# stars given evenly, or half of the rest each day; 90 % of them removed at once two weeks after the end
ROWS = f"""
    with slices as (
        select name, anchor - {BEFORE} as first_day, anchor + {AFTER} as last_day, anchor, size, length, is_removed,
            is_front_loaded
        from campaigns
        union all by name
        select name, anchor - {BEFORE} as first_day, anchor + {AFTER} as last_day from bursts
        union all by name
        select name, first_day, last_day from breaks
    ),
    placed as (
        select recorded.*, slices.* exclude (name), recorded.snapshot_date::date - slices.anchor as place
        from recorded
        inner join slices on lower(recorded.username || '/' || recorded.repo_name) = slices.name
        where recorded.snapshot_date::date between slices.first_day and slices.last_day
    ),
    given as (
        select
            *,
            case
                when size is null or place <= 0 then 0
                when place >= length then size
                when is_front_loaded then size * (1 - 0.5 ** place) / (1 - 0.5 ** length)
                else size * place / length
            end as extra
        from placed
    )
    select snapshot_date::date, {HEADER.replace("stars,", "stars::bigint + extra_stars as stars,")}
    from (
        select
            *,
            round(case when is_removed and place >= length + 14 then 0.1 * extra else extra end)::bigint as extra_stars
        from given
    )
    order by snapshot_date, item, rank
"""


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The judgements of all slices, as the pipeline derives them from files: `judged`, `bursts` and `campaigns`."""
    rankings = Path(os.environ.get("REPOSIGNAL_REAL_DATA", "")) / "rankings"
    if "REPOSIGNAL_REAL_DATA" not in os.environ or not rankings.is_dir():
        pytest.skip("REPOSIGNAL_REAL_DATA names no folder of recordings")
    home = BuiltHome(tmp_path_factory.mktemp("campaigns") / "home")
    with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as connection:
        connection.execute(f"create view recorded as from read_parquet('{rankings}/*.parquet', union_by_name=true)")
        connection.execute(SLICES)
        files: dict[dt.date, io.StringIO] = {}
        for day, *cells in connection.execute(ROWS).fetchall():
            if day not in files:
                files[day] = io.StringIO(HEADER + "\n")
                files[day].seek(0, io.SEEK_END)
            csv.writer(files[day], lineterminator="\n").writerow(cells)
        days = [
            parse_day(day, file.getvalue().encode(), f"github-ranking-{day}.csv") for day, file in sorted(files.items())
        ]
        for start in range(0, len(days), DAYS_A_LOAD):
            home.load(days[start : start + DAYS_A_LOAD])
        home.built(["seed"], ["run", "--select", "+int_repo_days__authenticated"])
        connection.execute(f"attach '{home.pipeline_db}' as pipeline (read_only)")
        connection.execute(
            """
            create table judged as
            select lower(stepped.full_name) as name, judged.*
            from pipeline.intermediate.int_repo_days__authenticated as judged
            inner join pipeline.intermediate.int_repo_days__stepped as stepped using (day, repo_key)
            """
        )
        yield connection


def recall(
    connection: duckdb.DuckDBPyConnection, by: str = "size", where: str = "true", *, period: bool = True
) -> duckdb.DuckDBPyRelation:
    """Return the share of campaigns with `review` on any day from their start to 28 days after their end."""
    return connection.sql(
        f"""
        select {PERIOD if period else ""} {by}, count(*) as campaigns, round(avg(is_reviewed::int), 2) as recall
        from (
            select campaigns.*, bool_or(coalesce(authenticity = 'review', false)) as is_reviewed
            from campaigns inner join judged using (name)
            where judged.day > anchor and judged.day <= anchor + length + 28
            group by all
        )
        where {where}
        group by all order by all
        """
    )


def false_alarms(
    connection: duckdb.DuckDBPyConnection, by: str, where: str = "true", *, period: bool = True
) -> duckdb.DuckDBPyRelation:
    """Return the share of recorded bursts with `review` on any of their days or of the six weeks after."""
    return connection.sql(
        f"""
        select
            {PERIOD if period else ""} {by} count(*) as bursts, round(avg(is_reviewed::int), 3) as in_review,
            round(sum(is_reviewed::int) / nullif(sum(is_told::int), 0), 3) as in_review_of_told
        from (
            select
                bursts.*, bool_or(coalesce(authenticity = 'review', false)) as is_reviewed,
                bool_or(authenticity is not null) as is_told
            from bursts inner join judged using (name)
            where judged.day > anchor - 14
            group by all
        )
        where {where}
        group by all order by all
        """
    )


HOST_SIZE = "case when stars < 2000 then 1 when stars < 10000 then 2 else 3 end as host"
BURST_SIZE = "case when gained < 500 then 1 when gained < 1000 then 2 else 3 end as burst,"


def documented(first_heading: str) -> list[list[str]]:
    """Return the rows of the tables of docs/authenticity.md that begin with a heading, without their first cells."""
    lines = (Path(__file__).parents[2] / "docs" / "authenticity.md").read_text().splitlines()
    rows = []
    for start in (n for n, line in enumerate(lines) if line.startswith(f"| {first_heading} |")):
        for line in takewhile(lambda line: line.startswith("|"), lines[start + 2 :]):
            rows.append([cell.strip() for cell in line.strip("|").split("|")][1:])
    assert rows
    return rows


def test_the_documented_shares_of_campaigns_are_those_of_the_recordings(
    campaigns: duckdb.DuckDBPyConnection,
) -> None:
    by_size = {row[:2]: row[2:] for row in recall(campaigns, "size").fetchall()}
    by_fate = {row[:3]: row[4] for row in recall(campaigns, "is_removed, size").fetchall()}
    by_host = {row[:3]: row[4] for row in recall(campaigns, f"{HOST_SIZE}, size", "not is_removed").fetchall()}
    shares = []
    for size in SIZES:
        (before, caught), (after, caught_after) = by_size["before", size], by_size["test", size]
        of_fates = [f"{by_fate['before', is_removed, size]:.2f}" for is_removed in (False, True)]
        shares.append([f"{before}", f"{caught:.2f}", *of_fates, f"{after}", f"{caught_after:.2f}"])
    shares += [[f"{by_host['before', host, size]:.2f}" for host in (1, 2, 3)] for size in SIZES]
    assert documented("stars") == shares


def test_the_documented_shares_of_bursts_are_those_of_the_recordings(campaigns: duckdb.DuckDBPyConnection) -> None:
    def row(found: dict[str, tuple[int, float]]) -> list[str]:
        cells = [
            (f"{bursts}", f"{100 * share:.1f} %" if share else "0") for bursts, share in map(found.__getitem__, PERIODS)
        ]
        return [cell for pair in cells for cell in pair]

    by_size = false_alarms(campaigns, BURST_SIZE).fetchall()
    groups = [[one for one in by_size if one[1] == size] for size in (1, 2, 3)]
    groups += [false_alarms(campaigns, "", where).fetchall() for where in ("true", "times_usual >= 10")]
    assert documented("stars of the burst") == [row({one[0]: one[-3:-1] for one in group}) for group in groups]


def test_campaigns_are_sent_to_review(campaigns: duckdb.DuckDBPyConnection) -> None:
    shares = {size: (count, share) for size, count, share in recall(campaigns, period=False).fetchall()}
    floors = {50: 0.40, 100: 0.60, 200: 0.70, 500: 0.80, 1000: 0.90, 2000: 0.95, 5000: 0.97}
    assert shares.keys() == floors.keys()
    assert all(count >= 200 for count, _ in shares.values())
    assert {size: share for size, (_, share) in shares.items() if share < floors[size]} == {}


def test_recorded_bursts_are_not_sent_to_review(campaigns: duckdb.DuckDBPyConnection) -> None:
    ((bursts, share, _),) = false_alarms(campaigns, "", period=False).fetchall()
    assert bursts > 350
    assert share < 0.05


def test_ordinary_days_are_not_sent_to_review(campaigns: duckdb.DuckDBPyConnection) -> None:
    """The hosts, before a campaign is added."""
    ((days, judged, in_review),) = campaigns.execute(
        """
        select count(*), count(authenticity), count(*) filter (where authenticity = 'review')
        from judged inner join campaigns using (name) where judged.day between anchor - 14 and anchor
        """
    ).fetchall()
    assert days > 20_000
    assert judged > 0.8 * days
    assert in_review < 0.003 * days


@pytest.mark.parametrize(("name", "broken", "restored"), [(name, broken, back) for name, _, broken, back, _ in BREAKS])
def test_a_break_is_neither_review_nor_ok(
    campaigns: duckdb.DuckDBPyConnection, name: str, broken: str, restored: str | None
) -> None:
    query = "select day::varchar, authenticity, authenticity_reasons, burst_ended_on from judged where name = $1"
    rows = campaigns.execute(f"{query} order by day", [name]).fetchall()
    since = [row for row in rows if row[0] >= broken]
    assert len(since) >= 5
    months = str(dt.date.fromisoformat(restored) + dt.timedelta(120)) if restored else "9999"
    assert all(row[1] is None and "level_break" in row[2] for row in since if row[0] <= months)
    assert {row[1] for row in since if row[0] > months} == ({"ok"} if restored else set())
    assert all(row[3] is None for row in since if row[0] >= (restored or broken))  # what came back is not a burst
