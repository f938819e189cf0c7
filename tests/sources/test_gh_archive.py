"""An hour yields every star in it once, reports what became of the rest, and keeps no account that gave one."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import re
import stat
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast
from unittest import mock

import boto3
import dlt
import duckdb
import numpy as np
import pytest
from archive_files import (
    FIRST_ID,
    HOUR,
    LOGIN,
    MAIL,
    Event,
    event,
    file_of,
    line,
    old_event,
    old_star,
    plain_hour,
    shuffled,
    star,
    text,
    zipped,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from upstream_server import Fault, UpstreamServer, answers, cuts_short, resets, resumable, stalls

from reposignal_pipeline.sources import gh_archive, transport
from reposignal_pipeline.sources.gh_archive import (
    Hour,
    Standing,
    Status,
    actor_key,
    batches,
    file_name,
    gh_archive_source,
    hours_of,
    parse_hour,
    read_hours,
)
from reposignal_pipeline.sources.transport import Upstream, UpstreamError

KEY = b"k" * 32
OLD_HOUR = dt.datetime(2012, 10, 15)
NOT_JSON = "not a JSON object with a type"
CUT_OFF = "cut off or not JSON"
NAMELESS = "not a star: its repository has no full name"
FAR = "not a star: its time is not within days of its file's"
UNREADABLE = "not a star: an id, a name or a time that is none"
Star = tuple[str | None, int | None, str, dt.datetime]
"""id, id of the repository, its name, and when"""


def parsed(content: bytes, file_hour: dt.datetime = HOUR, key: bytes = KEY) -> Hour:
    """Return an hour as read, after checking what holds for every hour."""
    hour = parse_hour(io.BytesIO(content), file_hour, "hour.gz", key)
    assert hour.status in ("observed", "partial", "refused")
    assert (hour.reason is None) == (hour.status == "observed")
    assert (hour.file_hour, hour.file_bytes <= len(content)) == (file_hour, True)
    stars = hour.stars
    assert stars.schema.equals(gh_archive.TABLES["gh_archive"])
    assert len(set(stars["event_id"].to_pylist())) == stars.num_rows
    assert set(stars["file_hour"].to_pylist()) <= {file_hour}
    assert stars["day"].to_pylist() == [at.date() for at in stars["created_at"].to_pylist()]
    assert hour.events >= stars.num_rows + hour.duplicates
    assert len(hour.set_aside) == min(hour.lines_set_aside, gh_archive.LINES_NAMED)
    assert hour.status != "refused" or (hour.events, stars.num_rows, hour.lines_set_aside) == (0, 0, 0)
    kept = f"{stars.to_pydict()} {list(hour.quarantine())} {hour.row(None)} {hour.reason}"
    assert LOGIN not in kept
    assert MAIL not in kept
    return hour


def given_in(hour: Hour) -> list[Star]:
    """Return the stars in order; made-up ids become None."""
    columns = hour.stars.select(["event_id", "repo_id", "full_name", "created_at"]).to_pydict().values()
    return [(str(n) if n > 0 else None, *rest) for n, *rest in zip(*columns, strict=True)]


def expected(number: int = 1, at: dt.datetime = HOUR) -> Star:
    """Return the expected stars for `star(number, at)`."""
    return str(FIRST_ID + number), 100 + number, f"owner/repo-{number}", at


def reasons_of(hour: Hour) -> list[tuple[int, str]]:
    """Return (line, reason) of quarantined lines, after checking that the reason names file and line."""
    for number, reason in hour.set_aside:
        assert reason.startswith(f"hour.gz, line {number}: ")
    return sorted((number, reason.partition(": ")[2]) for number, reason in hour.set_aside)


# Layouts.


def test_an_hour_since_2015_gives_its_stars_and_counts_all_events() -> None:
    hour = parsed(file_of(*plain_hour(stars=3, others=4)))
    assert (hour.status, hour.events, hour.event_mix) == ("observed", 7, {"WatchEvent": 3, "PushEvent": 4})
    assert sorted(given_in(hour)) == [expected(1), expected(2), expected(3)]
    assert (hour.duplicates, hour.set_aside, hour.days) == (0, [], (HOUR.date(), HOUR.date()))


@pytest.mark.parametrize(
    ("time_told", "at"),
    [
        ("2012/03/10 22:36:55 -0800", dt.datetime(2012, 3, 11, 6, 36, 55)),
        ("2012/03/10 22:36:55 -08:00", dt.datetime(2012, 3, 11, 6, 36, 55)),
        ("2012-03-10T22:36:55-08:00", dt.datetime(2012, 3, 11, 6, 36, 55)),
        ("2012-03-10T22:36:55-07:00", dt.datetime(2012, 3, 11, 5, 36, 55)),
        ("2012-03-10T22:36:55Z", dt.datetime(2012, 3, 10, 22, 36, 55)),
    ],
)
def test_an_hour_before_2015_is_filed_under_the_utc_day(time_told: str, at: dt.datetime) -> None:
    file_hour = dt.datetime(2012, 3, 10, 22)
    hour = parsed(file_of(old_star(1, time_told), old_event("PushEvent", 2, time_told)), file_hour)
    assert given_in(hour) == [(None, 101, "owner/repo-1", at)]
    assert (hour.events, hour.days) == (2, (at.date(), at.date()))


def test_a_repository_before_2015_may_have_only_a_name() -> None:
    hour = parsed(file_of(old_star(repository={"name": "thing", "owner": "acme"})), OLD_HOUR)
    assert given_in(hour) == [(None, None, "acme/thing", dt.datetime(2012, 10, 15, 7, 0, 12))]


def test_an_event_of_2011_has_an_id_or_none_and_its_repository_too() -> None:
    at = dt.datetime(2011, 10, 15)
    nameless = {"url": "https://api.github.dev/repos/a/b", "name": "a/b"}
    hour = parsed(file_of(star(1, at, id=None), star(2, at, repo=nameless), star(3, at, repo=nameless | {"id": 0})), at)
    assert given_in(hour) == [
        (None, 101, "owner/repo-1", at),
        (expected(2)[0], None, "a/b", at),
        (expected(3)[0], None, "a/b", at),
    ]


def test_an_id_may_be_a_number() -> None:
    assert given_in(parsed(file_of(star(1) | {"id": FIRST_ID + 1}, star(2)))) == [expected(1), expected(2)]


def test_one_file_may_contain_both_layouts() -> None:
    mixed = [star(1), old_star(2, "2024-12-03T07:30:00-08:00"), star(3), event("PushEvent", 4), star(5)]
    hour = parsed(file_of(*mixed * 3))
    at = dt.datetime(2024, 12, 3, 15, 30)
    assert given_in(hour) == [expected(1), (None, 102, "owner/repo-2", at), expected(3), expected(5)]
    assert (hour.events, hour.duplicates, hour.set_aside) == (15, 8, [])


@given(st.permutations(range(9)), st.permutations(range(9)))
@settings(max_examples=20)
def test_keys_come_in_any_order(modern: list[int], old: list[int]) -> None:
    hour = parsed(file_of(shuffled(star(1), modern), shuffled(old_star(2, "2024-12-03T15:00:00Z"), old)))
    assert given_in(hour) == [expected(1), (None, 102, "owner/repo-2", HOUR)]


# Lines.


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"payload": {"action": "stopped"}}, "not a star: its action is not 'started'", id="action"),
        pytest.param({"payload": {"action": None}}, "not a star: its action is not 'started'", id="no action"),
        pytest.param({"payload": [LOGIN]}, UNREADABLE, id="payload"),
        pytest.param({"repo": {"id": 1, "name": "/"}}, NAMELESS, id="/"),
        pytest.param({"repo": {"id": 1, "name": ""}}, NAMELESS, id="empty name"),
        pytest.param({"repo": {"id": 1, "name": "alone"}}, NAMELESS, id="no owner"),
        pytest.param({"repo": {"id": 1, "name": f"a/b {MAIL}"}}, NAMELESS, id="space"),
        pytest.param({"repo": {"id": 1, "name": "a/b\n"}}, NAMELESS, id="newline"),
        pytest.param({"repo": {"id": 1, "name": f"a/b/{LOGIN}"}}, NAMELESS, id="path"),
        pytest.param({"repo": {"id": 1, "name": None}}, NAMELESS, id="null name"),
        pytest.param({"repo": {"id": LOGIN, "name": "a/b"}}, UNREADABLE, id="repo id is text"),
        pytest.param({"repo": {"id": 1.5, "name": "a/b"}}, UNREADABLE, id="repo id is a fraction"),
        pytest.param({"repo": {"id": True, "name": "a/b"}}, UNREADABLE, id="repo id is true"),
        pytest.param({"repo": {"id": 2**64, "name": "a/b"}}, UNREADABLE, id="repo id is huge"),
        pytest.param({"repo": None}, "not a star: it has no 'repository'", id="no repository"),
        pytest.param({"repo": LOGIN}, UNREADABLE, id="repository is text"),
        pytest.param({"actor": {"id": [LOGIN]}}, UNREADABLE, id="actor is a list"),
        pytest.param({"actor": [LOGIN]}, UNREADABLE, id="actor"),
        pytest.param({"id": LOGIN}, UNREADABLE, id="id is text"),
        pytest.param({"id": "0"}, "not a star: its id is not one of GitHub's", id="id 0"),
        pytest.param({"id": "-7"}, "not a star: its id is not one of GitHub's", id="id below 0"),
        pytest.param({"id": "9" * 30}, UNREADABLE, id="id is huge"),
        pytest.param({"created_at": LOGIN}, UNREADABLE, id="time is text"),
        pytest.param({"created_at": None}, FAR, id="no time"),
        pytest.param({"created_at": "2024-12-03T15:00:00"}, UNREADABLE, id="time without a zone"),
        pytest.param({"created_at": "2024-13-03T15:00:00Z"}, UNREADABLE, id="month 13"),
        pytest.param({"created_at": 1733238000}, UNREADABLE, id="time is a number"),
        pytest.param(
            {"created_at": "2024-11-25T23:59:59Z"}, FAR, id="too late"
        ),
        pytest.param(
            {"created_at": "2024-12-05T00:00:00Z"}, FAR, id="too early"
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_malformed_star_event_is_set_aside_alone(fields: dict[str, Any], reason: str, at: int) -> None:
    events = [star(number) for number in range(1, 6)]
    events[at] = star(9, **fields)
    hour = parsed(file_of(*events))
    assert given_in(hour) == [expected(number) for number in range(1, 6) if number != at + 1]
    assert reasons_of(hour) == [(at + 1, reason)]
    assert (hour.status, hour.events, hour.lines_set_aside) == ("observed", 5, 1)
    [row] = hour.quarantine()
    assert (row["line"], row["is_whole_file"]) == (at + 1, False)


@pytest.mark.parametrize("day", ["2024-11-26T00:00:00Z", "2024-12-04T23:59:59Z"])
def test_a_star_a_few_days_away_is_filed_under_its_own_day(day: str) -> None:
    [(_, _, _, at)] = given_in(parsed(file_of(star(1, created_at=day))))
    assert at == dt.datetime.fromisoformat(day).replace(tzinfo=None)


def test_many_bad_stars_take_no_time() -> None:
    bad = [star(n, repo={"id": n, "name": "/"}) for n in range(6_000)]
    began = time.process_time()
    hour = parsed(file_of(*bad, star(9_000)))
    assert time.process_time() - began < 2
    assert (given_in(hour), hour.lines_set_aside, len(hour.set_aside)) == ([expected(9_000)], 6_000, 100)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" \n"])
def test_line_ends_and_blank_lines_change_nothing(end: bytes) -> None:
    events = plain_hour()
    hour = parsed(zipped(end + text(events, end)))
    assert given_in(hour) == given_in(parsed(file_of(*events)))
    assert (hour.events, hour.set_aside) == (7, [])


@pytest.mark.parametrize("last", [star(9), old_star(9, "2024-12-03T15:00:00Z"), event("PushEvent", 9)])
def test_the_last_line_needs_no_end(last: Event) -> None:
    content = text([*plain_hour(), last])
    assert given_in(parsed(zipped(content[:-1]))) == given_in(parsed(zipped(content)))
    assert parsed(zipped(content[:-1])).events == 8


def test_garbage_lines_are_reported_by_number_without_their_text() -> None:
    garbage = [LOGIN.encode(), b"[]", b"7", b"{", b'{"type":7}', b'{"type":"a b"}', b'{"type":""}', b"\x00\xff", b"{}"]
    garbage.append(b"[" * 100_000)
    lines: list[Event | bytes] = []
    for number, bad in enumerate(garbage, 1):
        lines += [star(number), bad, b""]
    hour = parsed(file_of(*lines))
    assert given_in(hour) == [expected(number) for number in range(1, 11)]
    assert reasons_of(hour) == [(3 * n + 2, NOT_JSON) for n in range(10)]
    assert (hour.status, hour.events) == ("observed", 10)


@pytest.mark.parametrize("keep", [60, 150, -1])
def test_a_star_whose_line_is_cut_off_is_set_aside(keep: int) -> None:
    hour = parsed(file_of(star(1), line(star(2))[:keep], star(3)))
    assert (given_in(hour), reasons_of(hour)) == ([expected(1), expected(3)], [(2, CUT_OFF)])


def test_lines_that_are_valid_only_joined_are_set_aside() -> None:
    opens, closes = line(star(1))[:-1] + b',"z":[1', line(star(2)) + b"]}"
    both = line(star(3)) + b"," + line(star(4))
    hour = parsed(file_of(opens, closes, both, star(5)))
    assert (given_in(hour), reasons_of(hour)) == ([expected(5)], [(1, CUT_OFF), (2, CUT_OFF), (3, CUT_OFF)])


@pytest.mark.parametrize("bad", [b"\\ud83d", b"\xed\xa0\xbd", b"\xff", "\u2028".encode(), b"\\u0000"])
def test_a_broken_description_loses_no_star(bad: bytes) -> None:
    told_before = line(old_star(1, "2024-12-03T15:00:00Z")).replace(b"by ", b"by " + bad)
    modern = line(star(2)).replace(LOGIN.encode(), LOGIN.encode() + bad)
    hour = parsed(file_of(told_before, modern))
    assert (given_in(hour), hour.set_aside) == ([(None, 101, "owner/repo-1", HOUR), expected(2)], [])


def test_a_broken_name_is_not_quoted() -> None:
    hour = parsed(file_of(line(star(1)).replace(b"owner/repo-1", b"a/\\ud83d"), star(2)))
    assert (given_in(hour), reasons_of(hour)) == ([expected(2)], [(1, UNREADABLE)])


SAYS_STAR = {"message": '","type":"WatchEvent","actor":{"id":1 {"id":"1","type":"WatchEvent"', "type": "WatchEvent"}


def test_text_about_stars_does_not_make_an_event_a_star() -> None:
    says = [event("PushEvent", 1, payload=SAYS_STAR), {"payload": SAYS_STAR} | event("ForkEvent", 2, payload=SAYS_STAR)]
    says += [old_event("IssuesEvent", 3, payload=SAYS_STAR)]
    hour = parsed(file_of(*says, star(4, org={"type": "PushEvent"})))
    assert given_in(hour) == [expected(4)]
    assert hour.event_mix == {"PushEvent": 1, "ForkEvent": 1, "IssuesEvent": 1, "WatchEvent": 1}


def test_a_type_counts_only_under_its_own_name() -> None:
    odd = {"id": str(FIRST_ID + 1), "kind": "WatchEvent"} | {"actor": {"id": 1}, "type": "PushEvent"}
    hour = parsed(file_of(*(event("PushEvent", n) for n in range(5)), star(6), odd, star(7), odd, *plain_hour(0, 5)))
    assert (given_in(hour), hour.event_mix) == ([expected(6), expected(7)], {"PushEvent": 12, "WatchEvent": 2})


def test_unknown_types_are_counted_under_their_names() -> None:
    kinds = ["X", "WatchEvents", "WatchEven", "watchevent", "StarEvent", "PullRequestReviewThreadEvent", "Z" * 60]
    hour = parsed(file_of(*(event(kind, n) for n, kind in enumerate(kinds * 3)), star(50)))
    assert hour.event_mix == dict.fromkeys(kinds, 3) | {"WatchEvent": 1}
    assert given_in(hour) == [expected(50)]


def test_ids_of_any_length_fit_in_one_chunk() -> None:
    ids = [str(10**n) for n in range(19)] * 3
    hour = parsed(
        file_of(*(event("PushEvent", id=number) if n % 2 else star(id=number) for n, number in enumerate(ids)))
    )
    assert {number for number, *_ in given_in(hour)} == set(ids)
    assert hour.events == len(ids)


def test_a_file_with_different_line_heads_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "MOST_DIGESTS", 30)
    heads = [b'{"id":"%d","type":"Fork","n":"%d-%080d"}' % (FIRST_ID + n, n, 0) for n in range(500)]
    hour = parsed(file_of(*heads, *plain_hour(stars=200)))
    assert hour.event_mix == {"Fork": 500, "WatchEvent": 200, "PushEvent": 4}
    assert len(given_in(hour)) == 200


# Any file, in any chunks, gives what a plain parser gives.


def plainly(content: bytes) -> tuple[Counter[str], list[Star], list[int]]:
    """Return the types, the stars and the quarantined lines as the standard library reads them, line by line."""
    mix: Counter[str] = Counter()
    stars: list[Star] = []
    bad: list[int] = []
    for number, each in enumerate(content.split(b"\n"), 1):
        if not each.strip():
            continue
        try:
            event = json.loads(each)
            kind = event["type"]
        except (ValueError, TypeError, KeyError):
            bad.append(number)
            continue
        mix[kind] += 1
        if kind != "WatchEvent":
            continue
        repo = event.get("repo") or event["repository"]
        name = repo["name"] if "/" in repo["name"] else f"{repo['owner']}/{repo['name']}"
        at = dt.datetime.fromisoformat(event["created_at"]).astimezone(dt.UTC).replace(tzinfo=None)
        if name == "/" or event["payload"]["action"] != "started":
            bad.append(number)
        else:
            stars.append((event.get("id"), repo.get("id"), name, at))
    return mix, stars, bad


LONG = {"commits": [{"message": "x" * 700 + '\n"type":"WatchEvent"', "author": {"email": MAIL}}]}
POOL: list[Event | bytes] = [
    *(star(n, id=str(7 * 10**n)) for n in (0, 5, 9, 10, 10, 17)),
    star(61, id=str(7 * 10**10 + 1)),
    event("PushEvent", 1),
    event("PushEvent", 2, payload=LONG),
    event("PullRequestReviewCommentEvent", 3, payload=SAYS_STAR),
    event("X", 4, id="5"),
    shuffled(star(7), [6, 1, 3]),
    shuffled(event("ForkEvent", 8), [4, 2, 1]),
    star(9, repo={"id": 1, "name": "/"}),
    star(10, payload={"action": "stopped"}),
    old_star(11, "2024-12-03T08:00:00-07:00"),
    old_event("GollumEvent", 12),
    b"",
    b"\r",
    b"garbage",
    b'{"id":"1","kind":"PushEvent"}',
    line(star(13)) + b"\r",
]  # fmt: skip


@given(st.lists(st.sampled_from(POOL), max_size=40), st.integers(1, 3000), st.integers(1, 5), st.booleans())
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_any_file_in_any_chunks_is_what_a_plain_parser_makes_of_it(
    lines: list[Event | bytes], chunk: int, batch: int, has_end: bool
) -> None:
    content = text(lines)
    content = content if has_end else content[:-1]
    mix, stars, bad = plainly(content)
    with mock.patch.multiple(gh_archive, CHUNK_BYTES=chunk, BATCH_STARS=batch):
        hour = parsed(zipped(content))
    # an id, or its replacement, is used once: the first
    once: dict[Any, Star] = {}
    for each in stars:
        once.setdefault(each[0] or each[1:], each)
    assert given_in(hour) == list(once.values())
    assert (hour.event_mix, hour.duplicates) == (mix, len(stars) - len(once))
    assert [number for number, _ in reasons_of(hour)] == bad
    assert (hour.status, hour.json_bytes) == ("observed", len(content))


FIELDS = st.sampled_from(
    ["id", "actor", "repo", "repository", "payload", "created_at", "name", "action", "owner", "login"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda child: st.lists(child) | st.dictionaries(FIELDS, child),
    max_leaves=4,
)


@given(st.dictionaries(FIELDS, ANY), st.booleans())
@settings(max_examples=100)
def test_no_event_breaks_its_neighbours(fields: dict[str, Any], is_old: bool) -> None:
    odd = json.dumps((old_star(7, "2024-12-03T15:00:00Z") if is_old else star(7)) | fields).encode()
    hour = parsed(file_of(star(1), odd, star(2)))
    assert {expected(1), expected(2)} <= set(given_in(hour))
    assert hour.stars.num_rows + hour.lines_set_aside + hour.duplicates == 3


# Files that break.

EVENTS = plain_hour(stars=4, others=3)
CONTENT = text(EVENTS)
WHOLE = zipped(CONTENT)
STARS = [expected(n) for n in (1, 3, 2, 4)]


def is_beginning(stars: Sequence[Star]) -> bool:
    return list(stars) == STARS[: len(stars)]


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 20])
def test_a_truncated_file_keeps_the_lines_before_the_cut(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "CHUNK_BYTES", chunk)
    most = 0
    for length in range(0, len(WHOLE), 5 if chunk == 1 else 1):
        hour = parsed(WHOLE[:length])
        assert hour.status == "partial"
        assert hour.reason == f"hour.gz: cut short after {hour.events} events; they are kept"
        assert is_beginning(given_in(hour))
        assert (hour.set_aside, hour.events >= most) == ([], True)
        most = hour.events
    assert most == 7
    assert (parsed(WHOLE[:-1]).events, parsed(WHOLE[:4]).events, parsed(b"").events) == (7, 0, 0)


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_changed_bit_never_changes_a_star(bit: int) -> None:
    statuses = Counter[str]()
    for at in range(len(WHOLE)):
        hour = parsed(WHOLE[:at] + bytes([WHOLE[at] ^ 1 << bit]) + WHOLE[at + 1 :])
        statuses[hour.status] += 1
        if hour.status == "observed":
            assert given_in(hour) == STARS
        else:
            assert is_beginning(given_in(hour))
    assert statuses["refused"] > len(WHOLE) * 0.9


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(b"<!DOCTYPE html><html></html>", "not gzip after 0 bytes of JSON", id="html"),
        pytest.param(b"<html>", "not gzip after 0 bytes of JSON", id="a few bytes"),
        pytest.param(CONTENT, "not gzip after 0 bytes of JSON", id="not compressed"),
        pytest.param(b"\0" * 50, "not gzip after 0 bytes of JSON", id="zeros"),
        pytest.param(b"PK\3\4" + b"\0" * 50, "not gzip after 0 bytes of JSON", id="zip"),
        pytest.param(b"\x1f\x8b" + b"\xff" * 50, "damaged after 0 bytes of JSON", id="no header"),
        pytest.param(WHOLE[:-8] + b"\0" * 4 + WHOLE[-4:], "damaged after ", id="checksum"),
        pytest.param(WHOLE[:-4] + b"\0" * 4, "damaged after ", id="length"),
    ],
)
def test_a_corrupt_file_is_refused_as_a_whole(content: bytes, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "CHUNK_BYTES", 64)
    hour = parsed(content)
    assert (hour.status, hour.days) == ("refused", None)
    assert hour.reason is not None
    assert hour.reason.startswith(f"hour.gz: {cause}")
    assert hour.reason.endswith(": none of its events is kept")
    [row] = hour.quarantine()
    assert (row["line"], row["is_whole_file"], row["reason"]) == (None, True, hour.reason)


@pytest.mark.parametrize("chunk", [1, 50, 1 << 20])
@pytest.mark.parametrize("between", [b"", b"\0", b"\0" * 300], ids=["none", "zero", "zeros"])
def test_gzip_members_are_read_as_one(between: bytes, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "CHUNK_BYTES", chunk)
    half = len(CONTENT) // 2
    for parts in (
        [CONTENT[:half], CONTENT[half:]],
        [b"", CONTENT],
        [CONTENT, b""],
        [b"", b"", CONTENT[:9], CONTENT[9:]],
    ):
        hour = parsed(b"".join(zipped(part) + between for part in parts))
        assert (hour.status, given_in(hour), hour.events) == ("observed", STARS, 7)


@pytest.mark.parametrize("chunk", [1, 50, 1 << 20])
@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"\n", id="a byte"),
        pytest.param(b"more than a header of garbage", id="garbage"),
        pytest.param(b"\0\0\0garbage", id="zeros and garbage"),
        pytest.param(b"\x1f\x8b" + b"\xff" * 30, id="a bad header"),
        pytest.param(file_of(star(9))[:-8] + b"\0" * 8, id="a member with a wrong checksum"),
        pytest.param(zipped(b"") + b"garbage", id="an empty member and garbage"),
    ],
)
def test_whole_members_before_what_is_wrong_are_kept(rest: bytes, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "CHUNK_BYTES", chunk)
    hour = parsed(WHOLE + rest)
    assert (hour.status, given_in(hour), hour.events, hour.set_aside) == ("partial", STARS, 7, [])
    assert hour.reason is not None
    assert hour.reason.startswith("hour.gz: cut short after 7 events; they are kept; the rest is ")
    assert list(hour.quarantine()) == []
    in_mid_line = parsed(zipped(CONTENT[:-40]) + rest)
    assert (in_mid_line.status, in_mid_line.events, in_mid_line.set_aside) == ("partial", 6, [])
    assert is_beginning(given_in(in_mid_line))


def test_a_truncated_member_keeps_everything_before() -> None:
    hour = parsed(WHOLE + file_of(star(8), star(9))[:-3])
    assert (hour.status, given_in(hour)) == ("partial", [*STARS, expected(8), expected(9)])


def test_an_hour_of_one_event_and_one_of_none_are_hours() -> None:
    assert [parsed(file_of(one)).events for one in (star(), event("PushEvent"))] == [1, 1]
    none = parsed(zipped(b""))
    assert (none.status, none.events, none.days) == ("observed", 0, None)


# Limits.


@pytest.mark.parametrize("size", [2_001, 5_000, 200_000])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_giant_line_is_set_aside_alone(size: int, is_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "CHUNK_BYTES", 1_000)
    monkeypatch.setattr(gh_archive, "LONGEST_LINE_BYTES", 2_000)
    content = text([star(1), star(2, pad="x" * size)]) + (b"" if is_last else text([star(3)]))
    hour = parsed(zipped(content[:-1] if is_last else content))
    assert given_in(hour) == [expected(1), *([] if is_last else [expected(3)])]
    [(number, reason)] = reasons_of(hour)
    assert number == 2
    assert re.fullmatch(r"[\d,]+ bytes long", reason)


def test_a_giant_line_without_end_is_not_lost_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "LONGEST_LINE_BYTES", 2_000)
    assert [number for number, _ in reasons_of(parsed(zipped(b"x" * 3_000)))] == [1]


@pytest.mark.parametrize("piece", [b"x", b"x\n", b"\n", text([star(1)])], ids=["a line", "lines", "blank", "stars"])
def test_a_decompression_bomb_is_refused_in_little_memory(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "CHUNK_BYTES", 1 << 16)
    monkeypatch.setattr(gh_archive, "LONGEST_LINE_BYTES", 1 << 18)
    monkeypatch.setattr(gh_archive, "LARGEST_HOUR_BYTES", 6 << 20)
    monkeypatch.setattr(gh_archive, "MOST_LINES", 20_000)
    bomb = gzip.compress(piece * ((16 << 20) // len(piece)), 1, mtime=0)
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        hour = parsed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (hour.status, peak < 12 << 20) == ("refused", True)
    assert hour.reason is not None
    assert "a decompression bomb" in hour.reason


def test_a_bomb_behind_a_whole_member_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gh_archive, "LARGEST_HOUR_BYTES", 1 << 20)
    assert parsed(WHOLE + zipped(b" " * (2 << 20))).status == "refused"


# Who gave a star, and stars given twice.


def hashes(hour: Hour) -> list[int | None]:
    return list(hour.stars["actor_hash"].to_pylist())


def test_an_account_is_recognised_only_under_one_key() -> None:
    same: Event = {"actor": {"id": 7, "login": LOGIN}}
    content = file_of(star(1, **same), star(2, **same), star(3, actor={"id": 8, "login": LOGIN}))
    first, again, other = parsed(content), parsed(content), parsed(content, key=b"o" * 32)
    one, two, three = hashes(first)
    assert (one == two, one == three) == (True, False)
    assert hashes(again) == hashes(first)
    assert not set(hashes(other)) & set(hashes(first))
    assert hashes(parsed(file_of(star(9, actor={"id": 7, "login": "renamed"})))) == [one]


def test_an_account_of_the_old_layout_is_identified_by_its_login_in_any_case() -> None:
    events = [old_star(n, "2024-12-03T15:00:00Z", actor=actor) for n, actor in enumerate(["Joe", "joe", "ann", None])]
    joe, joe_again, ann, nobody = hashes(parsed(file_of(*events)))
    assert (joe == joe_again, joe == ann, nobody) == (True, False, None)


def test_a_star_given_twice_counts_once_the_first() -> None:
    hour = parsed(file_of(star(1), star(2), star(1, repo={"id": 101, "name": "new/name"}), star(1)))
    assert (given_in(hour), hour.duplicates, hour.events) == ([expected(1), expected(2)], 2, 4)


def test_of_duplicate_stars_the_first_line_counts_in_any_layout() -> None:
    former = shuffled(star(5, repo={"id": 105, "name": "former/name"}), [6, 1, 3])
    pushes = [event("PushEvent", n) for n in range(10, 20)]
    hour = parsed(file_of(*pushes, star(1), former, star(2), star(5), *pushes))
    assert given_in(hour) == [expected(1), (expected(5)[0], 105, "former/name", HOUR), expected(2)]


def test_a_star_without_id_is_recognised_in_any_time_format() -> None:
    times = "2012-10-15T00:00:12-07:00", "2012/10/15 00:00:12 -0700", "2012-10-15T07:00:12Z"
    hours = [parsed(file_of(old_star(1, each)), OLD_HOUR) for each in times]
    ids = {number for hour in hours for number in hour.stars["event_id"].to_pylist()}
    assert (len(ids), max(ids) < 0) == (1, True)
    others = [old_star(2), old_star(1, "2012-10-15T00:00:13-07:00"), old_star(1, actor="another")]
    assert parsed(file_of(*others, old_star(1)), OLD_HOUR).stars.num_rows == 4
    nameless = [old_star(1, repository={"name": name, "owner": "a"}) for name in ("Thing", "thing", "other")]
    assert parsed(file_of(*nameless), OLD_HOUR).duplicates == 1


def test_the_same_bytes_give_the_same_tables() -> None:
    content = file_of(
        *plain_hour(stars=50), *(old_star(n, "2024-12-03T15:00:00Z") for n in range(60, 80)), b"x", star(2)
    )
    one, two = parsed(content), parsed(content)
    assert one.stars.equals(two.stars)
    assert (one.row(None), list(one.quarantine())) == (two.row(None), list(two.quarantine()))


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "actor.key"
    key = actor_key(path)
    assert (len(key), actor_key(path), path.read_bytes()) == (32, key, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert actor_key(tmp_path / "other.key") != key


def test_the_first_process_makes_the_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def made(_: int) -> bytes:
        barrier.wait()
        return actor_key(tmp_path / "actor.key")

    for _ in range(5):
        with ThreadPoolExecutor(8) as racing:
            assert len(set(racing.map(made, range(8)))) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["actor.key"]
        (tmp_path / "actor.key").unlink()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_an_invalid_key_hashes_no_account(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "actor.key").write_bytes(content)
    with pytest.raises(ValueError, match="not a key of 32 bytes"):
        actor_key(tmp_path / "actor.key")


# Many hours, from real sockets.


def archive_of(hours: Iterable[dt.datetime], put: Any) -> list[dt.datetime]:
    """Put a file for each hour, with as many stars as its hour of day and one more."""
    put_hours = list(hours)
    for hour in put_hours:
        put(file_name(hour), file_of(*plain_hour(hour.hour + 1, 1, hour, first=100 * hour.hour + 1)))
    return put_hours


DAY_HOURS = hours_of(HOUR.date())


@pytest.fixture
def server(upstream_server: UpstreamServer) -> UpstreamServer:
    archive_of(DAY_HOURS, upstream_server.put)
    return upstream_server


def over_http(server: UpstreamServer) -> Upstream:
    return Upstream(server.base, backoff_seconds=0.01)


def threads_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("fetch", "parse"))]


def test_file_names_pad_the_day_and_not_the_hour() -> None:
    assert file_name(dt.datetime(2015, 1, 2, 3)) == "2015-01-02-3.json.gz"
    assert file_name(dt.datetime(2015, 11, 12, 23)) == "2015-11-12-23.json.gz"
    assert [hour.hour for hour in DAY_HOURS] == list(range(24))


def test_a_day_is_read_in_order_and_every_file_once(server: UpstreamServer, tmp_path: Path) -> None:
    through = tmp_path / "through"
    through.mkdir()
    hours = list(read_hours(over_http(server), DAY_HOURS, KEY, through=through))
    assert [hour.file_hour for hour in hours] == DAY_HOURS
    assert [hour.stars.num_rows for hour in hours] == list(range(1, 25))
    assert sorted(server.requests) == sorted(f"/{file_name(hour)}" for hour in DAY_HOURS)
    assert (list(through.iterdir()), threads_left()) == ([], [])


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        pytest.param(answers(404), "missing", id="404"),
        pytest.param(answers(503), "not_reached", id="503"),
        pytest.param(answers(403), "not_reached", id="403"),
        pytest.param(resets, "not_reached", id="reset"),
        pytest.param(cuts_short, "not_reached", id="cut short"),
        pytest.param(stalls(0.5), "not_reached", id="stall"),
        pytest.param(resumable(breaks_after=200), "observed", id="reset in mid-body"),
        pytest.param(stalls(0.05), "observed", id="slow"),
        pytest.param(answers(200, WHOLE[:-9]), "partial", id="cut file"),
        pytest.param(answers(200, b"<html></html>"), "refused", id="html"),
        pytest.param(answers(200, b""), "partial", id="empty"),
        pytest.param(answers(200, WHOLE, Content_Encoding="gzip"), "observed", id="said to be encoded"),
    ],
)
def test_an_hour_that_breaks_leaves_its_neighbours(
    server: UpstreamServer, fault: Fault, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.2)
    monkeypatch.setattr(transport, "COPY_BYTES", 10)
    server.fail(file_name(HOUR), fault)
    before, hour, after = read_hours(over_http(server), DAY_HOURS[14:17], KEY)
    assert (before.status, hour.status, after.status) == ("observed", status, "observed")
    assert (before.stars.num_rows, after.stars.num_rows) == (15, 17)
    assert (hour.reason is None) == (status == "observed")
    assert hour.reason is None or status == "missing" or file_name(HOUR) in hour.reason
    assert (hour.events > 0) == (status == "observed" or (status == "partial" and hour.file_bytes > 0))


def test_a_transfer_that_broke_gives_the_same_hour(server: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "COPY_BYTES", 10)
    [whole] = read_hours(over_http(server), [HOUR], KEY)
    name = file_name(HOUR)
    server.fail(name, resumable(breaks_after=100), times=1)
    server.fail(name, resumable(), times=1)
    [resumed] = read_hours(over_http(server), [HOUR], KEY)
    assert resumed.stars.equals(whole.stars)
    assert server.ranges == [None, None, "bytes=100-"]


def test_unreachable_hours_are_reported_until_there_are_too_many(server: UpstreamServer) -> None:
    for hour in DAY_HOURS[2:7] + DAY_HOURS[8:]:
        server.fail(file_name(hour), answers(403))
    hours = read_hours(over_http(server), DAY_HOURS, KEY)
    statuses = [next(hours).status for _ in range(13)]
    assert statuses == ["observed"] * 2 + ["not_reached"] * 5 + ["observed"] + ["not_reached"] * 5
    with pytest.raises(UpstreamError, match=r"6 hours in a row could not be read, the last: .*2024-12-03-13.*403"):
        next(hours)
    assert threads_left() == []


def test_missing_hours_are_not_a_broken_upstream(upstream_server: UpstreamServer) -> None:
    assert {hour.status for hour in read_hours(over_http(upstream_server), DAY_HOURS, KEY)} == {"missing"}
    assert len(upstream_server.requests) == 24


def test_only_a_few_files_are_requested_ahead(server: UpstreamServer) -> None:
    hours = read_hours(over_http(server), DAY_HOURS, KEY)
    for number, _ in enumerate(hours, 1):
        time.sleep(0.01)
        assert len(server.requests) <= number + gh_archive.HOURS_AHEAD


def test_a_reader_that_stops_early_leaves_nothing_behind(server: UpstreamServer) -> None:
    requested: list[dt.datetime] = []

    def asking() -> Iterator[dt.datetime]:
        for hour in DAY_HOURS:
            requested.append(hour)
            yield hour

    hours = read_hours(over_http(server), asking(), KEY)
    assert isinstance(next(hours), Hour)
    hours.close()  # type: ignore[attr-defined]
    assert threads_left() == []
    assert len(requested) == gh_archive.HOURS_AHEAD
    requests = len(server.requests)
    time.sleep(0.1)
    assert len(server.requests) == requests <= gh_archive.HOURS_AHEAD


def test_an_internal_error_is_not_an_upstream_failure(server: UpstreamServer) -> None:
    with mock.patch.object(gh_archive, "_stars", side_effect=RuntimeError("ours")), pytest.raises(RuntimeError):
        list(read_hours(over_http(server), DAY_HOURS, KEY))
    assert threads_left() == []


def test_a_disk_failure_in_mid_file_is_reported(tmp_path: Path) -> None:
    class Broken(Upstream):
        def open(self, name: str, *, through: Path | None = None) -> BinaryIO | None:
            class File(io.BytesIO):
                def read(self, _: int | None = -1) -> bytes:
                    raise OSError(5, "Input/output error")

            return File()

    [hour] = read_hours(Broken(str(tmp_path)), [HOUR], KEY)
    assert (hour.status, hour.reason) == ("not_reached", f"{tmp_path}/{file_name(HOUR)}: [Errno 5] Input/output error")


def test_folders_and_file_addresses_are_upstreams(tmp_path: Path) -> None:
    archive_of(DAY_HOURS[:3], lambda name, content: (tmp_path / name).write_bytes(content))
    for base in (str(tmp_path), tmp_path.as_uri()):
        hours = list(read_hours(Upstream(base), DAY_HOURS[:4], KEY))
        assert [(hour.status, hour.stars.num_rows) for hour in hours[:3]] == [("observed", n) for n in (1, 2, 3)]
        assert hours[3].status == "missing"


def test_a_bucket_is_an_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    bucket.start()
    try:
        host, port = bucket.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="mirror")
        archive_of(
            DAY_HOURS[:2], lambda name, content: client.put_object(Bucket="mirror", Key=f"gh/{name}", Body=content)
        )
        hours = list(read_hours(Upstream("s3://mirror/gh"), DAY_HOURS[:3], KEY))
        assert [(hour.status, hour.stars.num_rows) for hour in hours] == [
            ("observed", 1),
            ("observed", 2),
            ("missing", 0),
        ]
    finally:
        bucket.stop()


# What is loaded together, and what a reading changes.

DAY = HOUR.date()


def read(hour: int, status: Status = "observed", events: Sequence[Event] | None = None, day: dt.date = DAY) -> Hour:
    """Return an hour as read."""
    at = dt.datetime.combine(day, dt.time(hour))
    if status in ("observed", "partial"):
        content = file_of(*(plain_hour(2, 1, at, first=100 * hour) if events is None else events))
        parsed_hour = parsed(content if status == "observed" else content[:-3], at)
        assert parsed_hour.status == status
        return parsed_hour
    return Hour(at, "hour.gz", status, f"hour.gz: {status}")


def day_of(**statuses: Status) -> list[Hour]:
    """Return the hours of a day; `h7="missing"` replaces some."""
    return [read(hour, statuses.get(f"h{hour}", "observed")) for hour in range(24)]


def loaded(
    hours: Iterable[Hour], standing: dict[dt.datetime, Standing] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables in the batches of some hours."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in gh_archive.TABLES}
    for batch in batches(hours, standing or {}, "run"):
        for name, table in batch.tables.items():
            assert table.schema.equals(gh_archive.TABLES[name])
            rows[name] += table.to_pylist()
    return rows


@pytest.mark.parametrize(
    ("statuses", "status", "reason", "observed"),
    [
        ({}, "observed", None, 24),
        ({"h7": "missing"}, "partial", "missing: hour 7", 23),
        ({"h0": "missing", "h1": "missing", "h5": "missing"}, "partial", "missing: hours 0-1, 5", 21),
        (
            {"h23": "not_reached", "h3": "refused", "h4": "refused", "h9": "partial", "h22": "not_reached"},
            "partial",
            "partial: hour 9; refused: hours 3-4; not reached: hours 22-23",
            19,
        ),
        ({f"h{n}": "missing" for n in range(24)}, "missing", "missing: hours 0-23", 0),
        ({f"h{n}": "not_reached" for n in range(24)}, "not_observed", "not reached: hours 0-23", 0),
        (
            {f"h{n}": "missing" for n in range(24)} | {"h4": "not_reached"},
            "not_observed",
            "missing: hours 0-3, 5-23; not reached: hour 4",
            0,
        ),
        (
            {f"h{n}": "missing" for n in range(24)} | {"h4": "partial"},
            "partial",
            "partial: hour 4; missing: hours 0-3, 5-23",
            0,
        ),
    ],
)
def test_the_state_of_a_day_follows_from_its_hours(
    statuses: dict[str, Status], status: str, reason: str | None, observed: int
) -> None:
    rows = loaded(day_of(**statuses))
    [day] = rows["gh_archive_days"]
    assert (day["day"], day["status"], day["reason"], day["hours_observed"]) == (DAY, status, reason, observed)
    readable = observed + sum(each == "partial" for each in statuses.values())
    assert (day["events"], day["stars"]) == (3 * readable, 2 * readable)
    assert (day["first_day"], day["last_day"]) == ((DAY, DAY) if readable else (None, None))
    assert len(rows["gh_archive_hours"]) == 24
    assert len(rows["gh_archive"]) == 2 * readable
    assert len(rows["gh_archive_quarantine"]) == sum(each == "refused" for each in statuses.values())


def test_the_row_of_an_hour_is_complete() -> None:
    late = star(1, HOUR - dt.timedelta(days=3))
    [row] = loaded([parsed(file_of(star(2), late, star(3), star(2), b"x", event("PushEvent", 4)))])["gh_archive_hours"]
    assert row["fetched_at"] is not None
    told_row = {name: row[name] for name in row if name not in ("fetched_at", "file_bytes", "json_bytes")}
    assert told_row == {
        "file_hour": HOUR,
        "status": "observed",
        "reason": None,
        "events": 5,
        "stars": 3,
        "lines_set_aside": 1,
        "duplicates": 1,
        "event_mix": '{"WatchEvent":4,"PushEvent":1}',
        "first_day": DAY - dt.timedelta(days=3),
        "last_day": DAY,
        "run_id": "run",
    }
    assert row["json_bytes"] > row["file_bytes"] > 0


def test_a_star_in_two_files_of_a_day_is_loaded_once_and_of_two_days_twice() -> None:
    again = star(777)
    hours = day_of()
    hours[3], hours[9] = read(3, events=[again]), read(9, events=[again, star(778)])
    after = [read(hour, events=[again] if hour == 0 else [], day=DAY + dt.timedelta(days=1)) for hour in range(24)]
    rows = loaded([*hours, *after])
    found = [row["file_hour"] for row in rows["gh_archive"] if row["event_id"] == FIRST_ID + 777]
    assert found == [DAY_HOURS[3], DAY_HOURS[0] + dt.timedelta(days=1)]
    assert [(row["stars"], row["duplicates"]) for row in rows["gh_archive_hours"]][9] == (1, 1)
    assert len(rows["gh_archive_days"]) == 2


@pytest.mark.parametrize("again", [star(5), old_star(5, "2024-12-03T15:00:00Z")], ids=["id", "no id"])
def test_the_last_star_of_a_file_may_be_the_first_of_the_next(again: Event) -> None:
    hours = read(0, events=[star(1), again]), read(1, events=[again, star(6)])
    assert [row["stars"] for row in loaded(hours)["gh_archive_hours"]] == [2, 1]


def test_loads_are_of_whole_days_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [DAY + dt.timedelta(n) for n in range(5)]
    hours = [read(hour, day=day) for day in days for hour in range(24)]
    monkeypatch.setattr(gh_archive, "STARS_A_LOAD", 90)
    told_batches = list(batches(iter(hours), {}, "run"))
    assert [batch.hours for batch in told_batches] == [48, 48, 24]
    assert [batch.tables["gh_archive"].num_rows for batch in told_batches] == [96, 96, 48]
    assert [batch.tables["gh_archive_days"].num_rows for batch in told_batches] == [2, 2, 1]
    assert [batch.ends_on for batch in told_batches] == [days[1], days[3], days[4]]
    monkeypatch.setattr(gh_archive, "HOURS_A_LOAD", 24)
    assert [batch.hours for batch in batches(iter(hours), {}, "run")] == [24] * 5
    assert list(batches(iter(()), {}, "run")) == []


def test_whole_days_are_loaded_before_a_broken_upstream_is_told() -> None:
    def breaking(hours: list[Hour]) -> Iterator[Hour]:
        yield from hours
        raise UpstreamError("broken")

    after = [read(hour, day=DAY + dt.timedelta(days=1)) for hour in range(3)]
    told_batches = batches(breaking([*day_of(), *after]), {}, "run")
    batch = next(told_batches)
    assert (batch.hours, batch.ends_on, batch.tables["gh_archive_days"].num_rows) == (24, DAY, 1)
    assert batch.tables["gh_archive"].num_rows == 48
    with pytest.raises(UpstreamError, match="broken"):
        next(told_batches)
    with pytest.raises(UpstreamError, match="broken"):
        next(batches(breaking(after), {}, "run"))


FORMER = Standing("observed", 30, 20, DAY - dt.timedelta(days=2), DAY)


@pytest.mark.parametrize("status", ["not_reached", "missing", "refused", "partial"])
def test_a_worse_reading_leaves_the_previous_one(status: Status) -> None:
    hours = day_of(h5=status)
    [batch] = batches(hours, dict.fromkeys(DAY_HOURS, FORMER), "run")
    assert DAY_HOURS[5] not in batch.tables["gh_archive_hours"]["file_hour"].to_pylist()
    assert DAY_HOURS[5] not in batch.tables["gh_archive"]["file_hour"].to_pylist()
    assert batch.tables["gh_archive_quarantine"].num_rows == 0
    assert batch.replaced == [hour for hour in DAY_HOURS if hour.hour != 5]
    [day] = batch.tables["gh_archive_days"].to_pylist()
    assert (day["status"], day["hours_observed"], day["reason"]) == ("observed", 24, None)
    assert (day["events"], day["stars"]) == (23 * 3 + 30, 23 * 2 + 20)
    assert (day["first_day"], day["last_day"]) == (DAY - dt.timedelta(days=2), DAY)


@pytest.mark.parametrize(
    ("former", "status", "is_replaced"),
    [
        ("missing", "observed", True),
        ("missing", "missing", True),
        ("missing", "not_reached", False),
        ("refused", "missing", False),
        ("refused", "partial", True),
        ("not_reached", "not_reached", True),
        ("partial", "observed", True),
        ("partial", "refused", False),
    ],
)
def test_an_equally_good_reading_replaces_the_previous_one(former: str, status: Status, is_replaced: bool) -> None:
    hour = read(5, status)
    held = Standing(former, 0, 0, DAY - dt.timedelta(days=1), DAY - dt.timedelta(days=1))
    assert hour.is_worse_than(held) is not is_replaced
    assert not hour.is_worse_than(None)
    rows = loaded([hour], {hour.file_hour: held})["gh_archive_hours"]
    assert [row["status"] for row in rows] == ([status] if is_replaced else [])
    for row in rows:  # the days of its previous stars must be counted again
        assert row["first_day"] == DAY - dt.timedelta(days=1)


def test_an_ignored_reading_is_reported() -> None:
    hour = read(5, "not_reached")
    (batch,) = batches([hour], {hour.file_hour: Standing("observed", 9, 1)}, "run")
    assert batch.unheard == [f"{hour.reason}; the earlier reading of this hour is kept"]
    (batch,) = batches([read(5, "not_reached")], {}, "run")
    assert batch.unheard == []


def test_a_file_truncated_earlier_than_before_is_worse() -> None:
    hour = read(5, "partial")
    for events, is_worse in ((hour.events - 1, False), (hour.events, False), (hour.events + 1, True)):
        assert hour.is_worse_than(Standing("partial", events, 0)) is is_worse
        assert not read(5).is_worse_than(Standing("observed", 9, 0))


def test_an_emptied_file_is_worse_and_a_corrected_one_is_not() -> None:
    hour = read(5, events=[star(1), star(2)])
    for events, is_worse in ((2, False), (20, False), (21, True)):
        assert hour.is_worse_than(Standing("observed", events, 0)) is is_worse
    assert hour.finding == "hour.gz: 2 events"


# Repeated readings of one day: the content of the warehouse.

Held = dict[dt.datetime, list[int]]


def read_again(held: Held, standing: dict[dt.datetime, Standing], hours: list[Hour], *, by_id: bool = True) -> None:
    """Load hours as the raw tables do: rows of the hours of a load replace those of the same hours."""

    def kept_ids(kept: Sequence[dt.datetime]) -> np.ndarray:
        return np.array([id for hour in kept for id in held.get(hour, [])], np.int64)

    for batch in batches(hours, standing, "run", kept_ids if by_id else None):
        for row in batch.tables["gh_archive_hours"].to_pylist():
            held[row["file_hour"]] = []
            names = ("status", "events", "stars", "first_day", "last_day")
            standing[row["file_hour"]] = Standing(**{name: row[name] for name in names})
        for row in batch.tables["gh_archive"].to_pylist():
            held[row["file_hour"]].append(row["event_id"])


def stars_of(hour: int) -> list[Event]:
    """Return an hour's stars; the next hour's file has its last three too, and the one after that its last one."""
    own = [star(100 * hour + n) for n in range(9)]
    before = [star(100 * (hour - 1) + n) for n in (6, 7, 8)] if hour else []
    return [*([star(100 * (hour - 2) + 8)] if hour > 1 else []), *before, *own]


def as_read(hour: int, state: str | int) -> Hour:
    """Return an hour in a state; a number gives how many stars precede a cut."""
    at, events = dt.datetime.combine(DAY, dt.time(hour)), stars_of(hour)
    if isinstance(state, int):
        return parsed(file_of(*events[:state])[:-3], at)
    if state in ("observed", "emptied"):
        return parsed(file_of(*events[: 99 if state == "observed" else 0]), at)
    return read(hour, cast("Status", state))


STATES = st.sampled_from(["observed", "emptied", "missing", "refused", "not_reached"]) | st.integers(0, 12)


@given(st.lists(st.tuples(STATES, STATES, STATES), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_after_any_readings_of_a_day_the_best_of_each_hour_is_held_and_each_star_once(
    readings: list[tuple[str | int, ...]],
) -> None:
    held: Held = {}
    standing: dict[dt.datetime, Standing] = {}
    best: dict[dt.datetime, Hour] = {}
    for reading in readings:
        hours = [as_read(hour, state) for hour, state in enumerate(reading)]
        best |= {hour.file_hour: hour for hour in hours if not hour.is_worse_than(standing.get(hour.file_hour))}
        for _ in range(2):  # the same again changes nothing
            read_again(held, standing, [as_read(hour, state) for hour, state in enumerate(reading)])
            ids = [id for of_hour in held.values() for id in of_hour]
            assert len(ids) == len(set(ids))
            assert set(ids) == {id for hour in best.values() for id in hour.stars["event_id"].to_pylist()}
    most = {hour: max(as_read(hour, reading[hour]).events for reading in readings) for hour in range(3)}
    assert {hour.hour: each.events for hour, each in standing.items()} == most


@pytest.mark.parametrize("state", ["missing", "refused", "not_reached", "emptied", 11])
@pytest.mark.parametrize("by_id", [True, False])
def test_a_lost_hour_does_not_count_copies_in_other_hours_again(state: str | int, by_id: bool) -> None:
    held: Held = {}
    standing: dict[dt.datetime, Standing] = {}
    for states in (("observed",) * 3, ("observed", state, "observed"), (state, "observed", state)):
        read_again(held, standing, [as_read(hour, each) for hour, each in enumerate(states)], by_id=by_id)
        assert sorted(id for of_hour in held.values() for id in of_hour) == [
            FIRST_ID + 100 * hour + n for hour in range(3) for n in range(9)
        ]


@pytest.mark.parametrize(
    ("day", "skipped"),
    [((2012, 3, 11), 2), ((2014, 3, 9), 2), ((2012, 11, 4), None), ((2012, 3, 12), None), ((2015, 3, 8), None)],
)
def test_the_hour_that_pacific_clocks_skip_is_not_requested_before_2015(
    day: tuple[int, int, int], skipped: int | None
) -> None:
    assert [hour.hour for hour in hours_of(dt.date(*day))] == [hour for hour in range(24) if hour != skipped]


def test_the_same_load_twice_is_the_same_and_a_new_reading_replaces(tmp_path: Path) -> None:
    pipeline = dlt.pipeline(
        "gh_archive",
        destination=dlt.destinations.duckdb(str(tmp_path / "w.duckdb")),
        dataset_name="raw",
        pipelines_dir=str(tmp_path / "p"),
    )

    def after(hours: list[Hour]) -> list[Any]:
        for batch in batches(hours, {}, "run"):
            pipeline.run(gh_archive_source(batch.tables))
        with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
            connection.execute("set timezone = 'Asia/Tokyo'")
            return [
                connection.execute(f"select {what} from raw.{table} order by all").fetchall()
                for table, what in [
                    ("gh_archive", "file_hour, event_id, repo_id, full_name, actor_hash, created_at, day"),
                    ("gh_archive_hours", "file_hour, status, stars, event_mix"),
                    ("gh_archive_days", "day, status, stars"),
                ]
            ]

    first = after(day_of(h4="missing"))
    assert after(day_of(h4="missing")) == first
    assert (len(first[0]), len(first[1]), first[2]) == (46, 24, [(DAY, "partial", 46)])
    assert first[0][0][5] == dt.datetime.combine(DAY, dt.time())
    second = after(day_of(h5="partial"))
    assert (len(second[0]), second[2]) == (48, [(DAY, "partial", 48)])
