"""Warehouses that the modules share, as dbt builds them: the embedded rankings sample and a story of three sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from built_homes import BuiltHome
from story import ARCHIVED, LAST, archive_days, cycles, ranking_day

from reposignal_pipeline.sample import generate
from reposignal_pipeline.sources.rankings import parse_day
from tests.shared import made_once

BUILD = ["build", "--exclude-resource-type", "unit_test"]
"""with every data test"""


@pytest.fixture(scope="session")
def sample() -> BuiltHome:
    """The embedded sample, all days in one build."""

    def make(folder: Path) -> None:
        home = BuiltHome(folder)
        readings = []
        for day in generate.DAYS:
            path = generate.DEFAULT_TARGET / f"github-ranking-{day}.csv"
            readings.append(parse_day(day, path.read_bytes() if path.exists() else None, path.name))
        home.load(readings)
        home.built(BUILD)

    return BuiltHome(made_once("sample", make))


@pytest.fixture(scope="session")
def manifest(sample: BuiltHome) -> dict[str, Any]:
    return sample.manifest()


@pytest.fixture(scope="session")
def story() -> BuiltHome:
    """The whole story in one build, with every data test."""

    def make(folder: Path) -> None:
        home = BuiltHome(folder)
        home.load([ranking_day(number) for number in range(LAST + 1)])
        home.append(**cycles(range(LAST + 1)))
        home.built(BUILD)

    return BuiltHome(made_once("story", make))


@pytest.fixture(scope="session")
def deep_story() -> BuiltHome:
    """The story with the archive of the time before it, in one build, with every data test."""

    def make(folder: Path) -> None:
        home = BuiltHome(folder)
        home.load([ranking_day(number) for number in range(LAST + 1)])
        home.append(**cycles(range(LAST + 1)), **archive_days(ARCHIVED))
        home.built(BUILD)

    return BuiltHome(made_once("deep-story", make))
