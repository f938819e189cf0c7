"""A ranking file yields every good row, reports what became of the rest, and never removes rows loaded before."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rankings_files import COLUMNS, HEADER, file_of, file_of_lines, line, lists, row
from upstream_server import UpstreamServer, answers

from reposignal_pipeline.sources import rankings
from reposignal_pipeline.sources.rankings import Day, file_name, parse_day, rankings_source, read_days, typed_rows
from reposignal_pipeline.sources.transport import Upstream, UpstreamError

DAY = dt.date(2024, 5, 1)
STRAY = "a quote is never closed, or opens inside a field"


def parsed(content: bytes | None) -> Day:
    return parse_day(DAY, content, "day.csv")


def cells_of(day: Day) -> list[list[str]]:
    assert day.text is not None, day.reason
    return [list(cells) for cells in zip(*(day.text[name].to_pylist() for name in COLUMNS), strict=True)]


def rows_of(day: Day) -> list[int]:
    assert day.text is not None, day.reason
    return list(day.text["file_row"].to_pylist())


def reasons_of(day: Day) -> list[tuple[int, str]]:
    """Return (row, reason) of quarantined rows, after checking that the reason names the row."""
    for entry in day.set_aside:
        assert entry["reason"].startswith(f"row {entry['file_row']}: ")
    return [(entry["file_row"], entry["reason"].partition(": ")[2]) for entry in day.set_aside]


def typed(content: bytes) -> tuple[list[dict[str, Any]], Day]:
    days = [parsed(content)]
    return typed_rows(days).to_pylist(), days[0]


# Quirks: kept as they come.


def test_rows_come_in_file_order_with_every_cell_as_text() -> None:
    day = parsed(file_of(lists("top-100-stars", "C")))
    assert (day.status, day.reason, day.set_aside) == ("observed", None, [])
    assert cells_of(day) == lists("top-100-stars", "C")
    assert rows_of(day) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_line_ends_and_a_byte_order_mark_change_nothing(end: str, mark: bytes) -> None:
    rows = [*lists("A"), *lists("B")[:2], row(3, "B", description='a "b", c')]
    assert cells_of(parsed(mark + file_of(rows, end))) == rows


def test_quoted_newlines_stay_in_their_cell_and_count_as_one_row() -> None:
    rows = [row(1, description="a\nb"), row(2, description="\r\nc\r\n"), row(3)]
    day = parsed(file_of(rows))
    assert (cells_of(day), rows_of(day), day.set_aside) == (rows, [2, 3, 4], [])


def test_a_bare_carriage_return_stays_in_its_cell() -> None:
    rows = [line(row(1)), b",".join(cell.encode() for cell in row(2, description="a\rb")) + b"\n", line(row(3))]
    assert cells_of(parsed(file_of_lines(rows)))[1][-1] == "a\rb"


@pytest.mark.parametrize("times", [2, 3])
def test_exact_duplicates_are_kept_and_do_not_look_like_a_cut_off_file(times: int) -> None:
    whole = lists("A", "B", "C")
    for rows in (whole * times, [*whole, *[whole[-1]] * times], [*whole[:3] * times, *whole[3:]]):
        assert cells_of(parsed(file_of(rows))) == rows


def test_an_empty_language_and_no_description_are_empty_text() -> None:
    good, day = typed(file_of([row(1, language="", description="", last_commit="")]))
    assert (good[0]["language"], good[0]["description"], good[0]["last_commit_at"]) == ("", "", None)
    assert day.set_aside == []


@pytest.mark.parametrize("text", ["NULL", "NA", "nan", "None", "#N/A", "true", "0012", "1e3"])
def test_text_that_looks_like_a_value_stays_text(text: str) -> None:
    good, day = typed(file_of([row(1, "NULL", language=text, description=text)]))
    assert (good[0]["item"], good[0]["language"], good[0]["description"]) == ("NULL", text, text)
    assert day.set_aside == []


def test_blank_lines_are_not_rows() -> None:
    day = parsed(file_of_lines([line(row(1)), b"\n", b"\r\n", line(row(2)), b"broken\n", line(row(3)), b"\n"]))
    assert rows_of(day) == [2, 3, 5]
    assert reasons_of(day) == [(4, "1 fields instead of 11")]


def test_a_file_of_sixty_places_a_list_is_whole() -> None:
    assert len(cells_of(parsed(file_of(lists("A", "B", length=60))))) == 120


# Files that are refused as a whole.

WHOLE = file_of(lists("A", "B", "C"))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(b"", "line 1: the file is empty", id="empty"),
        pytest.param(b" \r\n\n", "line 1: the file is empty", id="blank"),
        pytest.param(HEADER.encode(), "line 1: the last line has no newline: the file is cut off", id="header cut"),
        pytest.param(f"{HEADER}\n".encode(), "line 2: no good row: no rows below the header", id="header only"),
        pytest.param(f"{HEADER}\n\n\r\n".encode(), "line 2: no good row: no rows", id="header and blank lines"),
        pytest.param(b"<!DOCTYPE html>\n<html></html>\n", "line 1: the header is '<!DOCTYPE html>'", id="html"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "line 1: the header is", id="LFS pointer"),
        pytest.param(WHOLE.replace(b"stars", b"stargazers", 1), "line 1: the header is", id="changed header"),
        pytest.param(WHOLE.replace(b"rank,", b"", 1), "line 1: the header is", id="a column less"),
        pytest.param(WHOLE.replace(b"\n", b"\r"), "line 1: the header is", id="CR only"),
        pytest.param(WHOLE.decode().encode("utf-16"), "line 1: the header is", id="UTF-16"),
        pytest.param(b"\x1f\x8b\x08\x00\xff\n", "line 1: the header is", id="gzip"),
        pytest.param(
            WHOLE[:-1], "line 10: the last line has no newline: the file is cut off", id="cut before the last newline"
        ),
        pytest.param(WHOLE[:-40], "line 10: the last line has no newline: the file is cut off", id="cut mid-row"),
        pytest.param(
            file_of(lists("A", "B", "C")[:-1]),
            "row 9: the last list, 'C', ends after 2 of 3 rows: cut off",
            id="cut at a row's end",
        ),
        pytest.param(
            file_of([*lists("A", "B"), row(1, "C")]),
            "row 8: the last list, 'C', ends after 1 of 3 rows: cut off",
            id="cut after a list's first row",
        ),
        pytest.param(
            file_of([*lists("A", "B"), row(1, "C")]) + line(row(2, "C", description="x\ny")).split(b"\n")[0] + b"\n",
            "row 9: the last list, 'C', ends after 1 of 3 rows: cut off",
            id="cut inside a quoted newline",
        ),
        pytest.param(
            file_of_lines([b"1,2\n", b"3\n"]), "line 2: no good row: row 2: 2 fields instead of 11", id="no row"
        ),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_with_file_place_and_cause(content: bytes, cause: str) -> None:
    day = parsed(content)
    assert (day.status, day.text) == ("refused", None)
    assert day.reason is not None
    assert "\n" not in day.reason
    assert day.reason.startswith("day.csv, ")
    assert cause in day.reason
    assert [(entry["is_whole_file"], entry["reason"]) for entry in day.set_aside] == [(True, day.reason)]
    assert day.sha256


def test_no_file_is_missing_not_malformed() -> None:
    day = parsed(None)
    assert (day.status, day.sha256, day.text, day.set_aside) == ("missing", None, None, [])


def test_a_file_without_one_good_row_is_refused() -> None:
    good, day = typed(file_of([row(1, stars="n/a"), row(2, stars="n/a")]))
    assert (good, day.status, day.places) == ([], "refused", {})
    assert day.reason == "day.csv, line 2: no good row: row 2: stars is not a number from 0"


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_anywhere_is_never_taken_for_a_whole_one(length: int) -> None:
    day = parsed(WHOLE[:length])
    indistinguishable = [file_of(lists("A", length=length)) for length in (1, 2, 3)] + [file_of(lists("A", "B"))]
    assert day.status == ("observed" if WHOLE[:length] in indistinguishable else "refused")


# Rows that break: only they are set aside.


def broken(at: int, bad: bytes | Sequence[str]) -> tuple[Day, list[list[str]]]:
    """Return a file whose row `at` (of 9, from 0) is replaced, and the other rows."""
    rows = lists("A", "B", "C")
    lines = [line(cells) for cells in rows]
    lines[at] = bad if isinstance(bad, bytes) else line(bad)
    return parsed(file_of_lines(lines)), rows[:at] + rows[at + 1 :]


PLACES = pytest.mark.parametrize("at", [0, 1, 4, 6, 7, 8])
GOOD_LINE = line(row(1, "A"))


@PLACES
@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        pytest.param(b"oops\n", "1 fields instead of 11", id="one cell"),
        pytest.param(GOOD_LINE.replace(b",7,", b","), "10 fields instead of 11", id="a cell less"),
        pytest.param(GOOD_LINE.replace(b"a thing", b"a thing, or two"), "12 fields instead of 11", id="a cell more"),
        pytest.param(
            GOOD_LINE.replace(b"a thing", b'"a\nthing",x'), "12 fields instead of 11", id="more, with newline"
        ),
        pytest.param(GOOD_LINE.replace(b"a thing", b"a \xff"), "not UTF-8 at byte", id="not UTF-8"),
        pytest.param(GOOD_LINE.replace(b"a thing", b'"\nb\xc3("'), "not UTF-8 at byte", id="not UTF-8, with newline"),
        pytest.param(GOOD_LINE.replace(b"a thing", b'"a thing'), STRAY, id="stray quote"),
        pytest.param(GOOD_LINE.replace(b",C,", b',"C,'), STRAY, id="stray quote in an early cell"),
    ],
)
def test_a_row_without_readable_cells_is_set_aside_alone(at: int, bad: bytes, cause: str) -> None:
    day, others = broken(at, bad)
    assert cells_of(day) == others
    [(number, reason)] = reasons_of(day)
    assert number == at + 2
    assert reason.startswith(cause)
    assert rows_of(day) == [number for number in range(2, 11) if number != at + 2]
    assert day.set_aside[0]["row_text"].rstrip("\r\n") == bad.decode(errors="replace").rstrip("\r\n")


@PLACES
@pytest.mark.parametrize(
    ("cells", "cause"),
    [
        ({"stars": "n/a"}, "stars is not a number from 0"),
        ({"stars": "-5"}, "stars is not a number from 0"),
        ({"stars": ""}, "stars is not a number from 0"),
        ({"stars": "12.5"}, "stars is not a number from 0"),
        ({"stars": "1e3"}, "stars is not a number from 0"),
        ({"stars": "9" * 30}, "stars is not a number from 0"),
        ({"rank": "0"}, "rank is not a number from 1"),
        ({"rank": "n/a"}, "rank is not a number from 1"),
        ({"rank": "9" * 12}, "rank is not a number from 1"),
        ({"item": ""}, "item is empty"),
        ({"repo_name": "a b"}, "repo_name is not a GitHub name"),
        ({"username": ""}, "username is not a GitHub name"),
        ({"username": "https://github.com/a"}, "username is not a GitHub name"),
    ],
)
def test_a_row_with_an_unusable_cell_is_set_aside_alone(at: int, cells: dict[str, str], cause: str) -> None:
    plain = row(at % 3 + 1, "ABC"[at // 3])
    bad = [cells.get(name, cell) for name, cell in zip(COLUMNS, plain, strict=True)]
    day, others = broken(at, bad)
    good = typed_rows([day]).to_pylist()
    assert [(str(one["rank"]), one["item"]) for one in good] == [(rank, item) for rank, item, *_ in others]
    assert reasons_of(day) == [(at + 2, cause)]
    assert day.set_aside[0]["row_text"] == ",".join(bad)
    assert day.places["distinct_places"] == 8


@pytest.mark.parametrize("bad", ["n/a", "-1", "", "1.5"])
def test_an_unreadable_side_count_is_unknown_and_its_row_is_kept(bad: str) -> None:
    good, day = typed(file_of([row(1, forks=bad, issues=bad), row(2)]))
    assert [(one["stars"], one["forks"], one["issues"]) for one in good] == [(9999, None, None), (9998, 7, 3)]
    causes = "forks is not a number from 0: kept as unknown; issues is not a number from 0: kept as unknown"
    assert reasons_of(day) == [(2, causes)]


@pytest.mark.parametrize("bad", ["yesterday", "2024-13-01T00:00:00Z", "infinity", "1"])
def test_an_unreadable_time_is_unknown_and_its_row_is_kept(bad: str) -> None:
    good, day = typed(file_of([row(1, last_commit=bad), row(2)]))
    assert [one["last_commit_at"] for one in good] == [None, dt.datetime(2024, 1, 1, 12, 30)]
    assert reasons_of(day) == [(2, "last_commit is not a time: kept as unknown")]


def test_whole_numbers_written_as_fractions_are_numbers() -> None:
    good, day = typed(file_of([row(1, stars="1234.0", forks="0")]))
    assert (good[0]["stars"], good[0]["forks"], day.set_aside) == (1234, 0, [])


def test_several_stray_quotes_lose_only_their_own_rows() -> None:
    rows = lists("A", "B", length=50)
    lines = [line(cells) for cells in rows]
    at = [3, 4, 20, 49, 50, 98, 99]
    for number in at:
        lines[number] = lines[number].replace(b"a thing", b'"a thing')
    day = parsed(file_of_lines(lines))
    assert cells_of(day) == [cells for number, cells in enumerate(rows) if number not in at]
    assert reasons_of(day) == [(number + 2, STRAY) for number in at]


@pytest.mark.parametrize("name", COLUMNS)
def test_two_stray_quotes_do_not_make_one_row_of_two(name: str) -> None:
    lines = [line(cells) for cells in lists("A", "B", "C")]
    for number in (1, 2):
        cells = row(number + 1, "A")
        cells[COLUMNS.index(name)] = '"' + cells[COLUMNS.index(name)]
        lines[number] = ",".join(cells).encode() + b"\n"
    day = parsed(file_of_lines(lines))
    assert rows_of(day) == [2, 5, 6, 7, 8, 9, 10]
    assert reasons_of(day) == [(3, STRAY), (4, STRAY)]


@pytest.mark.parametrize("closing", ['say ""hi""', "x", ", x", ""])
def test_a_stray_quote_closed_by_a_later_one_loses_no_row(closing: str) -> None:
    """The joined text has eleven cells, so a reader that only counts cells would take it for one row."""
    lines = [line(cells) for cells in lists("A", "B", "C")]
    lines[1] = lines[1].replace(b"a thing", b'"a thing')
    lines[4] = lines[4].replace(b"a thing", f'"{closing}"'.encode())
    day = parsed(file_of_lines(lines))
    assert rows_of(day) == [2, 4, 5, 6, 7, 8, 9, 10]
    assert cells_of(day)[3][-1] == closing.replace('""', '"')
    assert reasons_of(day) == [(3, STRAY)]


def test_a_quote_at_the_end_of_a_row_does_not_close_a_stray_one() -> None:
    lines = [line(cells) for cells in lists("A", "B", "C")]
    lines[1] = lines[1].replace(b"a thing", b'"a thing')
    lines[4] = lines[4].replace(b"a thing", b'7" screen"')
    day = parsed(file_of_lines(lines))
    assert rows_of(day) == [2, 4, 5, 6, 7, 8, 9, 10]
    assert cells_of(day)[3][-1] == '7" screen"'


def test_a_quote_in_the_middle_of_a_cell_is_text() -> None:
    day, _ = broken(1, GOOD_LINE.replace(b"a thing", b'a 7" screen'))
    assert cells_of(day)[1][-1] == 'a 7" screen'
    assert day.set_aside == []


def test_row_numbers_count_rows_not_lines() -> None:
    lines = [line(row(1, description="a\nb\nc")), line(row(2)).replace(b"a thing", b"\xff"), line(row(3)), b"x\n"]
    day = parsed(file_of_lines(lines))
    assert rows_of(day) == [2, 4]
    assert [number for number, _ in reasons_of(day)] == [3, 5]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(line(row()).replace(b"a thing", b'"' + b"a" * 150), id="stray quotes"),
        pytest.param(b'1,"a\nb"\n' * 10, id="two cells and a newline"),
        pytest.param(b'1,"a,' * 40 + b"\n", id="quotes that open everywhere"),
        pytest.param(b"," * 400 + b"\n", id="empty cells"),
    ],
)
def test_a_file_of_bad_rows_does_not_take_long(bad: bytes) -> None:
    began = time.process_time()
    day = parsed(file_of_lines([*[bad] * 4000, line(row(4000))]))
    assert time.process_time() - began < 10
    assert cells_of(day) == [row(4000)]


# No good row is lost, for any content of the cells.

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
FRAGMENTS = st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "\r", " ", "🚀", "é", "\u2028", "\ufeff", "'", "\\", "a", "1"]
)


def begins_no_row(text: str) -> bool:
    return re.search(r'\n"?[0-9]+"?,', text) is None


TEXTS = st.lists(FRAGMENTS | CHARACTERS, max_size=12).map("".join).filter(begins_no_row)
NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
COUNTS = st.integers(0, 10**9).map(str)
ENDS = st.sampled_from(["\n", "\r\n"])


@st.composite
def well_formed(draw: st.DrawFn, min_rows: int = 1, texts: st.SearchStrategy[str] = TEXTS) -> list[list[str]]:
    """Rows of lists of one length."""
    length = draw(st.integers(min_rows, 5))
    return [
        row(
            rank,
            item,
            repo_name=draw(NAMES),
            stars=draw(COUNTS),
            language=draw(texts),
            repo_url=draw(texts),
            last_commit=draw(texts),
            description=draw(texts),
        )
        for item in ["A", "C++", "top-100-stars"][: draw(st.integers(1, 3))]
        for rank in range(1, length + 1)
    ]


@given(well_formed(), ENDS)
def test_what_a_csv_writer_writes_is_read_back_cell_by_cell(rows: list[list[str]], end: str) -> None:
    day = parsed(file_of(rows, end))
    assert cells_of(day) == rows
    assert rows_of(day) == list(range(2, len(rows) + 2))
    assert day.set_aside == []


def _plain(cells: list[str]) -> list[str]:
    return row(int(cells[0]), cells[1])


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda plain: plain[:25] + b"\n",
    "cell more": lambda plain: plain.replace(b"a thing", b"a,thing"),
    "cell less": lambda plain: plain.replace(b",owner,", b","),
    "not UTF-8": lambda plain: plain.replace(b"a thing", b"\xc3("),
    "stray quote": lambda plain: plain.replace(b"a thing", b'"a thing'),
    "stray quote, early": lambda plain: plain.replace(b",C,https", b',"C,https'),
    "stars": lambda plain: re.sub(rb",\d+,7,", b",n/a,7,", plain),
    "noise": lambda _: b'%PNG\x00\x01"\xfe\n',
}


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_corrupted_rows_affect_no_other_row(data: st.DataObject) -> None:
    rows = data.draw(well_formed(min_rows=2))
    at = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1, max_size=len(rows) - 1))
    lines = [line(cells) for cells in rows]
    for number in at:
        corrupt = CORRUPTIONS[data.draw(st.sampled_from(sorted(CORRUPTIONS)))]
        lines[number] = corrupt(line(_plain(rows[number])))
    days = [parsed(file_of_lines(lines))]
    good = [
        (one["repo_name"], one["stars"], one["language"], one["description"]) for one in typed_rows(days).to_pylist()
    ]
    assert days[0].status == "observed", days[0].reason
    assert good == [
        (cells[2], int(cells[3]), cells[5], cells[10]) for number, cells in enumerate(rows) if number not in at
    ]
    set_aside = "\n".join(entry["row_text"] for entry in days[0].set_aside)
    assert [number for number in at if lines[number].decode(errors="replace").rstrip() not in set_aside] == []


# Many days.


def test_days_come_in_the_requested_order_in_any_state(upstream_server: UpstreamServer) -> None:
    days = [DAY + dt.timedelta(offset) for offset in range(20)]
    for number, day in enumerate(days):
        if number % 3 == 0:
            upstream_server.put(file_name(day), file_of([row(1, stars=str(number))]))
        if number % 3 == 1:
            upstream_server.put(file_name(day), b"<html>\n")
    upstream_server.fail(file_name(days[0]), answers(503), times=2)
    readings = read_days(Upstream(upstream_server.base, backoff_seconds=0.01), days)
    assert [reading.day for reading in readings] == days
    assert [reading.status for reading in readings] == (["observed", "refused", "missing"] * 7)[:20]
    assert [reading.file for reading in readings] == [f"{upstream_server.base}/{file_name(day)}" for day in days]
    typed_days = [one["snapshot_date"] for one in typed_rows(readings).to_pylist()]
    assert typed_days == days[::3]


def test_one_file_that_cannot_be_read_fails_the_reading_of_all(upstream_server: UpstreamServer) -> None:
    upstream_server.fail(file_name(DAY), answers(403))
    with pytest.raises(UpstreamError, match="answered 403"):
        read_days(Upstream(upstream_server.base), [DAY, DAY + dt.timedelta(1)])


def test_the_name_is_the_upstreams() -> None:
    assert file_name(dt.date(2019, 1, 9)) == "github-ranking-2019-01-09.csv"


# Into a warehouse.


class Loads:
    """A DuckDB file and loads into it, as a run does them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "pipeline.duckdb"
        self.folder = folder

    def load(self, *readings: Day, run_id: str = "run") -> None:
        observed = frozenset(day for (day,) in self.rows("snapshot_date", "rankings_days", "status = 'observed'"))
        pipeline = dlt.pipeline(
            "rankings",
            destination=dlt.destinations.duckdb(str(self.file)),
            dataset_name="rankings",
            pipelines_dir=str(self.folder / "dlt"),
        )
        pipeline.run(rankings_source(readings, observed=observed, run_id=run_id)).raise_on_failed_jobs()

    def rows(self, columns: str, table: str, where: str = "true") -> list[tuple[Any, ...]]:
        if not self.file.exists():
            return []
        with duckdb.connect(str(self.file), read_only=True) as connection:
            return connection.execute(f"select {columns} from rankings.{table} where {where} order by all").fetchall()


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loads:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    return Loads(tmp_path)


def reading(rows: Sequence[Sequence[str]] = (), offset: int = 0) -> Day:
    return parse_day(DAY + dt.timedelta(offset), file_of(rows), f"{offset}.csv")


CELLS = "snapshot_date, rank, item, username, repo_name, stars, forks, issues, language, last_commit_at, description"


def test_the_same_day_twice_is_the_same_rows(loads: Loads) -> None:
    rows = [*lists("A"), row(1, "A"), row(9, stars="n/a")]
    loads.load(reading(rows), run_id="one")
    once = [loads.rows(CELLS, "rankings"), loads.rows("file_row, reason, row_text", "rankings_quarantine")]
    loads.load(reading(rows), run_id="two")
    assert [loads.rows(CELLS, "rankings"), loads.rows("file_row, reason, row_text", "rankings_quarantine")] == once
    assert len(once[0]) == 4
    assert once[1] == [(6, "row 6: stars is not a number from 0", ",".join(row(9, stars="n/a")))]
    facts = "status, rows_read, lists, longest_list, distinct_places, rows_quarantined, run_id"
    assert loads.rows(facts, "rankings_days") == [("observed", 5, 1, 3, 3, 1, "two")]


def test_a_later_file_replaces_its_day_and_no_other(loads: Loads) -> None:
    loads.load(reading(lists("A")), reading(lists("A"), 1))
    loads.load(reading([row(1, "B", stars="5")]))
    assert loads.rows("snapshot_date, item, count(*)", "rankings", "true group by all") == [
        (DAY, "B", 1),
        (DAY + dt.timedelta(1), "A", 3),
    ]


@pytest.mark.parametrize("content", [None, b"<html>\n", b"", file_of([row(1, stars="n/a")])])
def test_a_missing_or_refused_reading_leaves_a_loaded_day_unchanged(loads: Loads, content: bytes | None) -> None:
    loads.load(reading(lists("A")), run_id="good")
    before = [loads.rows("*", "rankings"), loads.rows("*", "rankings_days")]
    bad = parse_day(DAY, content, "day.csv")
    loads.load(bad, run_id="bad")
    assert [loads.rows("*", "rankings"), loads.rows("*", "rankings_days")] == before
    refused = loads.rows("reason, run_id", "rankings_quarantine", "is_whole_file")
    assert refused == ([] if content is None else [(bad.reason, "bad")])


def test_a_day_never_loaded_is_missing_or_refused_until_it_is_read(loads: Loads) -> None:
    loads.load(parse_day(DAY, None, "0.csv"), parse_day(DAY + dt.timedelta(1), b"<html>\n", "1.csv"))
    assert loads.rows("status, rows_read, lists", "rankings_days") == [("missing", None, None), ("refused", None, None)]
    assert loads.rows("*", "rankings") == []
    loads.load(reading(lists("A")), reading(lists("A"), 1))
    assert loads.rows("status, rows_read, lists", "rankings_days") == [("observed", 3, 1)] * 2


def test_every_table_is_there_and_typed_after_a_first_load_of_nothing(loads: Loads) -> None:
    loads.load(parse_day(DAY, None, "day.csv"))
    assert loads.rows("count(*)", "rankings") == [(0,)]
    assert loads.rows("count(*)", "rankings_quarantine") == [(0,)]
    with duckdb.connect(str(loads.file), read_only=True) as connection:
        kinds = dict(
            connection.execute(
                "select concat_ws('.', table_name, column_name), data_type from duckdb_columns()"
                " where schema_name = 'rankings'"
            ).fetchall()
        )
    assert kinds["rankings.last_commit_at"] == kinds["rankings_days.fetched_at"] == "TIMESTAMP"
    assert kinds["rankings.stars"] == "BIGINT"
    assert kinds["rankings_quarantine.is_whole_file"] == "BOOLEAN"


def test_text_arrives_in_the_warehouse_as_it_was(loads: Loads) -> None:
    descriptions = ["", "a\nb", 'say "hi", you', "🚀 é \u2028", "NULL", "\\N", "  spaces  "]
    loads.load(reading([row(rank, description=text) for rank, text in enumerate(descriptions, start=1)]))
    assert [text for _, text in loads.rows("rank, description", "rankings")] == descriptions


@pytest.mark.real
def test_every_recorded_year_begins_with_a_file_that_is_whole(real_data: Path) -> None:
    days: list[Day] = []
    with duckdb.connect() as connection:
        for path in sorted((real_data / "rankings").glob("rankings-*.parquet")):
            rows = connection.execute(
                f"""
                select columns(['{"', '".join(COLUMNS)}'])::varchar from read_parquet('{path}')
                where snapshot_date = (select min(snapshot_date) from read_parquet('{path}'))
                order by case item when 'top-100-stars' then 0 when 'top-100-forks' then 1 else 2 end, item, rank
                """
            ).fetchall()
            content = file_of([[cell or "" for cell in cells] for cells in rows])
            days.append(parse_day(DAY + dt.timedelta(len(days)), content, path.name))
            assert len(cells_of(days[-1])) == len(rows)
    typed_count = typed_rows(days).num_rows
    assert len(days) >= 8
    assert typed_count == sum(day.text.num_rows for day in days if day.text is not None)
    assert [day.set_aside for day in days] == [[]] * len(days)


def test_the_columns_are_the_ones_the_upstream_has_always_had() -> None:
    assert rankings.HEADER == HEADER
