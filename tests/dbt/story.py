"""One story of a few repositories over 41 days, as seen by the rankings, GitHub and star histories.

Here: what each day's file lists and what each cycle loads; day 0 is a Sunday. Not here: expected results (test
modules).
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from archive_rows import Repo, file_day, star, united
from github_rows import Row, entered, histories, observation, observed_day

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rankings_files import file_of, row

from reposignal_pipeline.sources.rankings import Day, parse_day

START = dt.date(2026, 3, 1)
LAST = 40
TRACKED_FROM = 20
MISSED = 29
STEADY, MOVER, CASEY, TAKER, GONE, LATE = 11, 12, 13, 14, 15, 16


def day(number: int) -> dt.date:
    return START + dt.timedelta(number)


def moment(number: int, hour: float) -> dt.datetime:
    return dt.datetime.combine(day(number), dt.time()) + dt.timedelta(hours=hour)


# --- the rankings: five names at most, one list


def ranked(number: int) -> dict[str, int]:
    """Return the names and totals in the file of a day, most stars first."""
    names = {"own/steady": 9000 + 10 * number}
    if number <= 28 or number >= 34:  # the file of 28 was taken before the transfer; the taker stays below the list
        names["own/mover"] = 8000 + 5 * number
    else:
        names["org/mover"] = 8000 + 5 * number
    names["lists/only"] = 7000 + number
    if number >= 10:
        names["old/late" if number < 25 else "own/late"] = 5000 + 20 * number
    names["own/casey" if number >= 27 else "own/Casey"] = 3000 + number
    return names


def ranking_day(number: int) -> Day:
    file = f"github-ranking-{day(number)}.csv"
    if number == 15:
        return parse_day(day(number), None, file)
    rows = [
        row(rank, "Go", username=name.split("/")[0], repo_name=name.split("/")[1], stars=str(stars), language="Go")
        for rank, (name, stars) in enumerate(ranked(number).items(), 1)
    ]
    return parse_day(day(number), file_of(rows), file)


# --- GitHub: what each cycle loads


def observations(number: int) -> list[Row]:
    """Return GitHub's responses in the cycle of a day."""
    if number < TRACKED_FROM or number == MISSED:
        return []
    late = {"hour": 6.0} if number == 33 else {}
    rows = []
    if number != 34:
        rows.append(observation(day(number), STEADY, "own/steady", 9009 + 10 * number, **late))
    name = "org/mover" if 28 <= number < 33 else "own/mover"
    rows.append(observation(day(number), MOVER, name, 8004 + 5 * number, **late))
    if number < 38:
        spelled = "own/casey" if number >= 27 else "own/Casey"
        topics = '["tool","cli"]' if number >= 30 else '["tool"]'
        rows.append(observation(day(number), CASEY, spelled, 3001 + number, topics=topics, **late))
    if number >= 28:
        rows.append(observation(day(number), TAKER, "own/mover", 40 if number < 32 else None, hour=1.5))
    states: dict[int, Row] = {
        30: {}, 31: {"state": "unreadable", "reason": "502"}, 34: {"state": "dmca", "reason": "451"},
    }  # fmt: skip
    if 30 <= number < 36:
        rows.append(observation(day(number), GONE, "own/gone", None, **(states.get(number) or {})))
    else:
        rows.append(observation(day(number), GONE, "own/gone", 600))
    if number >= 35:
        rows.append(observation(day(number), LATE, "own/late", 5019 + 20 * number, is_archived=number >= 39))
    return rows


def changes(number: int) -> list[Row]:
    if number == TRACKED_FROM:
        first = {STEADY: "own/steady", MOVER: "own/mover", CASEY: "own/Casey", GONE: "own/gone"}
        return [entered(day(number), id, name) for id, name in first.items()]
    if number == 28:
        return [entered(day(number), TAKER, "own/mover", "established")]
    if number == 35:
        return [entered(day(number), LATE, "own/late", "rankings")]
    if number == 38:
        return [entered(day(number), CASEY, "own/casey", change="left", reason="below the rules")]
    return []


def gains(id: int, until: int, *, restated: bool = False) -> dict[dt.date, int]:
    """Return stars given by day, from 60 days before the story; restated once stars are taken back."""
    given = {day(number): {STEADY: 12, MOVER: 6, LATE: 21}.get(id, 1) for number in range(-60, until + 1)}
    if restated:
        given[day(24)] -= 2
        given[day(-50)] -= 1
    return given


def weeks(number: int) -> list[Row]:
    """Return the star-history weeks that the cycle of a day loads: those with changed counts or more known days."""
    read = moment(number + 1, 9.25)
    if number == TRACKED_FROM:
        ids = (STEADY, MOVER, CASEY, GONE)
        return [week for id in ids for week in histories(id, gains(id, number), read)]
    if number == 30:  # weekly: stars of the mover were taken back on a recent day and on one long past
        recent = histories(STEADY, gains(STEADY, number), read, since=day(number - 14))
        restated = histories(MOVER, gains(MOVER, number, restated=True), read)
        return recent + [week for week in restated if week["week"] in (sunday(-50), sunday(24), sunday(28), sunday(30))]
    if number == 35:
        return histories(LATE, gains(LATE, number), read)
    if number in (36, 37, 38, 39, 40):  # every day from here
        return histories(STEADY, gains(STEADY, number), read, since=day(number)) + histories(
            LATE, gains(LATE, number), read, since=day(number)
        )
    return []


def sunday(number: int) -> dt.date:
    return day(number - number % 7)


def cycle(number: int) -> dict[str, list[Row]]:
    """Return what the cycle of a day appends, by raw table."""
    rows = observations(number)
    public = sum(row["state"] == "public" for row in rows)
    tables = {
        "repositories": rows,
        "repositories_days": [observed_day(day(number), len(rows), public)] if rows else [],
        "universe_changes": changes(number),
        "star_history": weeks(number),
        "star_history_days": [],
        "star_history_quarantine": [],
    }
    if number >= TRACKED_FROM:
        tables["star_history_days"] = [
            {
                "day": day(number),
                "status": "partial",
                "reason": "2 quiet ones left for later",
                "expected": 4,
                "left_out": 2,
            }
        ]
    if number == 30:
        tables["star_history_quarantine"] = [
            {"repo_id": CASEY, "full_name": "own/casey", "week": sunday(28), "reason": "days add up to 4, total 5",
             "row_text": "{}", "fetched_at": moment(31, 1)}
        ]  # fmt: skip
    return tables


def cycles(numbers: range) -> dict[str, list[Row]]:
    """Return what several cycles append."""
    loaded: dict[str, list[Row]] = {}
    for number in numbers:
        for table, rows in cycle(number).items():
            loaded.setdefault(table, []).extend(rows)
    return loaded


# --- the archive: the time before the story, and its first ten days

ARCHIVED = range(-40, 10)
DEEP, LISTED = 901, 902
SWAPPED = -12


def archive_day(number: int) -> dict[str, list[Row]]:
    """Return what the load of an archive day appends.

    A mover without an id, renames, a day with missing hours, a night whose events are in the neighbour's file, stars
    that no history contains any more, and a decay.
    """
    stars: dict[Repo, range] = {
        (STEADY, "own/steady"): range(0, 24, 2),
        (LATE, "first/late" if number < -30 else "old/late"): range(0, 24, 1),
        (LISTED, "lists/only"): range(0, 24, 6),
        (DEEP, "deep/one" if number < SWAPPED else "deep/two"): range(3, 12),
        (None, "own/Mover"): range(20, 24) if number < -35 else range(0),
    }
    if number >= 5:  # no file is missing
        stars = {repo: hours[:: 4 if repo[0] == LATE else 3] for repo, hours in stars.items()}
    load = file_day(day(number), stars, states={5: "missing", 6: "refused"} if number == -3 else None)
    if number == -2:  # the last event of the night is only in the next day's file, and one event is in both
        load["gh_archive"].append(star(moment(number - 1, 23.9), 7, (DEEP, "deep/two"), moment(number, 0)))
        again = archive_day(number - 1)["gh_archive"][0]
        load["gh_archive"].append(again | {"file_hour": moment(number, 1)})
        load["gh_archive_days"][0]["first_day"] = day(number - 1)
    if number == 2:
        load["gh_archive"] += [star(moment(number, 12), 100 + nth, (STEADY, "own/steady")) for nth in range(30)]
    return load


def archive_days(numbers: range) -> dict[str, list[Row]]:
    """Return what the loads of several archive days append."""
    return united(*(archive_day(number) for number in numbers))
