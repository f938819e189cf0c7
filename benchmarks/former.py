"""`python -m benchmarks.former CHECKOUT`: compares this commit with a former one, on recorded rankings.

CHECKOUT is a worktree of the former commit with its own environment in `.venv`; REPOSIGNAL_REAL_DATA names the
recordings. Both sides load the same days into an empty home, then alternate with the following days one by one, and run
`sql "select 1"`. Prints a table for BENCHMARKS.md: medians, and ratios of this commit to the former one. `__main__`
measures a single commit.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.__main__ import REPOSIGNAL, Cost, measured, write_upstream

SIDES = ("former", "this")
DAY = dt.timedelta(days=1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.former", description=__doc__)
    parser.add_argument("checkout", type=Path, help="worktree of the former commit, with its .venv")
    parser.add_argument("--first", type=dt.date.fromisoformat, default=dt.date(2024, 5, 1))
    parser.add_argument("--last", type=dt.date.fromisoformat, default=dt.date(2025, 6, 20))
    parser.add_argument("--rounds", type=int, default=3, help="rounds of one more day, and of sql")
    given = parser.parse_args(arguments)
    programs = {"former": given.checkout.resolve() / ".venv" / "bin" / "reposignal", "this": REPOSIGNAL}
    with tempfile.TemporaryDirectory(prefix="reposignal-former-") as folder:
        base = Path(folder)
        (base / "upstream").mkdir()
        write_upstream(Path(os.environ["REPOSIGNAL_REAL_DATA"]), base / "upstream")

        def backfill(side: str, home: Path, first: dt.date, last: dt.date) -> Cost:
            command = [str(programs[side]), "backfill", "rankings", "--from", str(first), "--to", str(last)]
            return _measured(command, home, base / "upstream")

        newest = dict.fromkeys(SIDES, given.last)

        def one_more_day(side: str) -> Cost:
            # in place, because a copied home writes its whole site again
            newest[side] += DAY
            return backfill(side, base / side, newest[side], newest[side])

        print("| what | former: wall s, CPU s, peak MB | this: wall s, CPU s, peak MB | CPU | wall |")
        print("|---|---|---|---|---|")
        days = (given.last - given.first).days + 1
        _row(f"{days} days from an empty home", 1, lambda side: backfill(side, base / side, given.first, given.last))
        _row("one more day", given.rounds, one_more_day)
        sql = ["sql", "select 1"]
        _row("`sql`", given.rounds, lambda side: _measured([str(programs[side]), *sql], base / side, base / "upstream"))
        floor = [measured([sys.executable, "-c", "import duckdb"]) for _ in range(given.rounds)]
        print(f"\n`import duckdb` alone: {_shown(_median(floor))}")


def _measured(command: list[str], home: Path, upstream: Path) -> Cost:
    return measured(
        command, REPOSIGNAL_HOME=str(home), REPOSIGNAL_PROFILE="local", REPOSIGNAL_RANKINGS_URL=str(upstream)
    )


def _row(what: str, rounds: int, cost: Callable[[str], Cost]) -> None:
    """Print the medians of both sides, which alternate so that other load on the machine affects both."""
    costs: dict[str, list[Cost]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            costs[side].append(cost(side))
    former, this = (_median(costs[side]) for side in SIDES)
    ratios = f"{this.cpu / former.cpu:.2f} | {this.wall / former.wall:.2f}"
    print(f"| {what} | {_shown(former)} | {_shown(this)} | {ratios} |", flush=True)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "peak_mb")))


def _shown(cost: Cost) -> str:
    return f"{cost.wall:,.1f}, {cost.cpu:,.1f}, {cost.peak_mb:,.0f}"


if __name__ == "__main__":
    main()
