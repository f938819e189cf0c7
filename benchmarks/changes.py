"""Compares the results of two versions of the models: `python -m benchmarks.changes BEFORE AFTER [--first DAY]`.

BEFORE and AFTER are two homes whose marts two commits built from the same loads. For the given days, prints how many
rows, flags, links of names, breakouts and scores differ and why, and P@50 of both. Rows are matched by day and name,
because a commit that links names differently assigns other keys. `backtest` compares the score with other rules.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import duckdb

from benchmarks.backtest import HORIZON_DAYS, LEAST_ELIGIBLE, PLACES

TABLES = (
    "fct_repo_day",
    "fct_repo_signal_day",
    "fct_language_day",
    "dim_repo",
    "dim_repo_alias",
    "ops_source_coverage",
)
PLATFORM_FLAGS = ("platform_purge", "purge_returned", "star_wave", "total_doubtful")
SIDES = ("before", "after")

FLAGS = """
    select flag, count(*) filter (side = 'before') as before, count(*) filter (side = 'after') as after
    from (
        {sides}
    )
    group by flag order by flag
"""
FLAGS_OF = """
    select '{side}' as side, unnest(dq_flags) as flag from {side}.main.fct_repo_day
    where day between $first and $last
"""
LINKS = """
    select link, count(*) filter (side = 'before') as before, count(*) filter (side = 'after') as after
    from (
        select 'before' as side, link from before.main.dim_repo_alias where seen_to >= $first and seen_from <= $last
        union all
        select 'after' as side, link from after.main.dim_repo_alias where seen_to >= $first and seen_from <= $last
    )
    group by link order by link
"""
# One row per day and name, with the relevant flags of the last 28 days in either home.
PAIRED = f"""
    create temp table paired as
    with

    flagged as (
        select distinct unnest(generate_series(day, day + 27, interval 1 day))::date as day, lower(full_name) as name
        from (
            select day, full_name, dq_flags from before.main.fct_repo_day where day between $first - 27 and $last
            union all
            select day, full_name, dq_flags from after.main.fct_repo_day where day between $first - 27 and $last
        )
        where list_has_any(dq_flags, {list(PLATFORM_FLAGS)})
    ),

    {
    ", ".join(
        f"{side} as (select *, lower(full_name) as name from {side}.main.fct_repo_signal_day"
        " where day between $first and $last)"
        for side in SIDES
    )
}

    select
        coalesce(before.day, after.day) as day,
        before.signal_score as score_before,
        after.signal_score as score_after,
        before.is_breakout as breakout_before,
        after.is_breakout as breakout_after,
        case
            when before.day is null then 'row only after'
            when after.day is null then 'row only before'
            when before.authenticity is distinct from after.authenticity
                then 'authenticity ' || coalesce(before.authenticity, 'NULL')
                || ' > ' || coalesce(after.authenticity, 'NULL')
            when flagged.day is not null then 'purge, return, wave or doubtful total in 28 days'
            when before.growth_28d is distinct from after.growth_28d then 'growth of 28 days'
            when before.growth_7d is distinct from after.growth_7d then 'growth of 7 days'
            when before.growth_year is distinct from after.growth_year then 'growth of up to a year'
            when before.fork_growth_28d is distinct from after.fork_growth_28d then 'growth of forks'
            when before.surprise is distinct from after.surprise then 'surprise'
            when before.is_breakout is distinct from after.is_breakout then 'confirmation of a surprise'
            else 'other'
        end as reason
    from before
    full join after on before.day = after.day and before.name = after.name
    left join flagged
        on coalesce(before.day, after.day) = flagged.day and coalesce(before.name, after.name) = flagged.name
"""
SCORES = """
    select
        reason,
        count(*) as changed,
        count(*) filter (score_before is null) as only_after,
        count(*) filter (score_after is null) as only_before,
        count(*) filter (abs(score_after - score_before) >= 1) as by_1,
        count(*) filter (abs(score_after - score_before) >= 5) as by_5
    from paired
    where score_before is distinct from score_after
    group by reason order by changed desc
"""
BREAKOUTS = """
    select
        case
            when breakout_before and breakout_after then 'both'
            when breakout_after then 'only after'
            else 'only before'
        end as found,
        case when breakout_before and breakout_after then '' else reason end as reason,
        count(*) as breakouts
    from paired
    where breakout_before or breakout_after
    group by all order by all
"""
PRECISION = f"""
    with

    judged as (
        select
            today.day,
            today.signal_score,
            hash(lower(today.full_name), today.day) as tie,
            ln(ahead.stars_total / greatest(today.stars_total, 1)) as growth_ahead
        from {{side}}.main.fct_repo_signal_day as today
        inner join {{side}}.main.fct_repo_signal_day as ahead
            on today.repo_key = ahead.repo_key and ahead.day = today.day + {HORIZON_DAYS}
        inner join {{side}}.main.fct_repo_signal_day as a_month
            on today.repo_key = a_month.repo_key and a_month.day = today.day - 28
        where dayofweek(today.day) = 1 and today.day between $first and $last
        qualify count(*) over (partition by today.day) >= {LEAST_ELIGIBLE}
    ),

    placed as (
        select
            day,
            row_number() over (partition by day order by growth_ahead desc, tie) <= {PLACES} as has_led,
            row_number() over (partition by day order by signal_score desc nulls last, tie) <= {PLACES} as was_chosen
        from judged
    )

    select '{{side}}' as home, year(day) as year, count(distinct day) as mondays, round(avg(has_led::int), 4) as p_at_50
    from placed where was_chosen group by year(day)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.changes", description=__doc__)
    parser.add_argument("before", type=Path, help="home of the former commit")
    parser.add_argument("after", type=Path, help="home of this commit")
    parser.add_argument("--first", type=dt.date.fromisoformat, default=dt.date(2018, 12, 18))
    parser.add_argument("--last", type=dt.date.fromisoformat, default=dt.date(2025, 6, 30))
    given = parser.parse_args(arguments)
    days = {"first": given.first, "last": given.last}
    with duckdb.connect(config={"memory_limit": "4GB"}) as connection:
        for side in SIDES:
            path = getattr(given, side) / "warehouse" / "reposignal.duckdb"
            connection.execute(f"attach '{str(path).replace(chr(39), chr(39) * 2)}' as {side} (read_only)")
        print(f"{given.first} to {given.last}\n")
        _print(["table", *SIDES], [_rows_of(connection, table, days) for table in TABLES])
        flags = "\nunion all\n".join(FLAGS_OF.format(side=side) for side in SIDES)
        _show(connection, FLAGS.format(sides=flags), days)
        _show(connection, LINKS, days)
        connection.execute(PAIRED, days)
        _show(connection, BREAKOUTS, {})
        _show(connection, SCORES, {})
        precision = " union all ".join(f"({PRECISION.format(side=side)})" for side in SIDES)
        _show(connection, f"{precision} order by all", days)


def _rows_of(connection: duckdb.DuckDBPyConnection, table: str, days: dict[str, dt.date]) -> list[object]:
    counts: list[object] = [table]
    for side in SIDES:
        has_days = connection.execute(
            "select count(*) from duckdb_columns() where database_name = ? and table_name = ? and column_name = 'day'",
            [side, table],
        ).fetchone() != (0,)
        where = "where day between $first and $last" if has_days else ""
        found = connection.execute(f"select count(*) from {side}.main.{table} {where}", days if has_days else {})
        counts.extend(found.fetchone() or ())
    return counts


def _show(connection: duckdb.DuckDBPyConnection, sql: str, days: dict[str, dt.date]) -> None:
    found = connection.execute(sql, days)
    _print([name for name, *_ in found.description or ()], found.fetchall())


def _print(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("| " + " | ".join(names) + " |")
    print("| " + " | ".join("---" for _ in names) + " |")
    for row in rows:
        print(
            "| "
            + " | ".join(f"{cell:,}" if isinstance(cell, int) and cell > 9999 else str(cell) for cell in row)
            + " |"
        )
    print(flush=True)


if __name__ == "__main__":
    main()
