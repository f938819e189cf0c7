"""Recorded hours, complete and cut to samples, in both layouts: every star is kept, and no account is."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from reposignal_pipeline.sources import gh_archive
from reposignal_pipeline.sources.gh_archive import Hour, parse_hour

KEY = b"k" * 32
OLD = {"sample-2012-10-15.json.gz", "sample-2013-10-15.json.gz"}
NAME = re.compile(r"(?:sample-)?(\d{4})-(\d\d)-(\d\d)(?:-(\d+))?\.json\.gz")


@pytest.fixture(scope="module")
def files(real_data: Path) -> list[Path]:
    found = sorted((real_data / "gharchive").glob("*.json.gz"))
    if not found:
        pytest.skip("no recorded hours")
    return found


def read(path: Path) -> Hour:
    named = NAME.fullmatch(path.name)
    assert named
    year, month, day, hour = (int(part or 0) for part in named.groups())
    with path.open("rb") as file:
        return parse_hour(file, dt.datetime(year, month, day, hour), path.name, KEY)


def events_of(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as lines:
        return [json.loads(line) for line in lines]


def star_of(event: dict[str, Any]) -> tuple[int | None, int, str, dt.datetime]:
    """Return id, repository and time of a star, read with a plain parser."""
    at = dt.datetime.fromisoformat(event["created_at"]).astimezone(dt.UTC).replace(tzinfo=None)
    if "repository" in event:
        repo = event["repository"]
        return None, repo["id"], f"{repo['owner']}/{repo['name']}", at
    return int(event["id"]) if "id" in event else None, event["repo"]["id"], event["repo"]["name"], at


def test_every_star_is_kept_and_every_event_counted(files: list[Path]) -> None:
    total = 0
    for path in files:
        hour, events = read(path), events_of(path)
        stars = [star_of(event) for event in events if event["type"] == "WatchEvent"]
        columns = (hour.stars[name].to_pylist() for name in ("event_id", "repo_id", "full_name", "created_at"))
        kept = [(number if number > 0 else None, *rest) for number, *rest in zip(*columns, strict=True)]
        assert (path.name, kept) == (path.name, stars)
        assert hour.stars["day"].to_pylist() == [at.date() for *_, at in stars]
        assert hour.event_mix == Counter(event["type"] for event in events)
        assert (hour.status, hour.set_aside, hour.duplicates) == ("observed", [], 0)
        assert all(number is None for number, *_ in kept) == (path.name in OLD)
        total += len(kept)
    assert total > 0


def test_chunks_of_any_size_give_the_same(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for path in files[2:8]:
        whole = read(path)
        for size in (3_001, 100_003):
            with monkeypatch.context() as patch:
                patch.setattr(gh_archive, "CHUNK_BYTES", size)
                hour = read(path)
            assert hour.stars.equals(whole.stars)
            assert hour.event_mix == whole.event_mix


def test_no_account_is_kept(files: list[Path]) -> None:
    for path in files:
        hour, events = read(path), events_of(path)
        names = {star_of(event)[2] for event in events if event["type"] == "WatchEvent"}
        assert set(hour.stars["full_name"].to_pylist()) == names
        # a star has no letter in its remaining columns
        rest = pa.BufferOutputStream()
        pa_csv.write_csv(hour.stars.drop_columns("full_name"), rest, pa_csv.WriteOptions(include_header=False))
        assert re.fullmatch(rb"[0-9:., \n-]*", rest.getvalue().to_pybytes())
        actors = [event["actor"] for event in events]
        logins = {actor.get("login") if isinstance(actor, dict) else actor for actor in actors}
        ids = {actor["id"] for actor in actors if isinstance(actor, dict) and "id" in actor}
        assert not ids & set(hour.stars["actor_hash"].to_pylist())
        text = json.dumps([hour.row(None), list(hour.quarantine())], default=str)
        assert "@" not in text
        words = set(re.findall(r"[A-Za-z0-9-]+", text))
        assert words & logins <= {"observed", "null", "status", "reason", "events", "stars"}
        mix = {event["type"] for event in events}
        assert set(re.findall("[A-Za-z]+", json.loads(text)[0]["event_mix"])) == mix
