"""Warehouses that the modules share, as dbt builds them: the embedded rankings sample and a story of three sources."""

from __future__ import annotations

from typing import Any

import pytest
from built_homes import BuiltHome
from story import ARCHIVED, LAST, archive_days, cycles, ranking_day

from reposignal_pipeline.sample import generate
from reposignal_pipeline.sources.rankings import parse_day


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """The embedded sample, all days in one build."""
    home = BuiltHome(tmp_path_factory.mktemp("sample") / "full")
    readings = []
    for day in generate.DAYS:
        path = generate.DEFAULT_TARGET / f"github-ranking-{day}.csv"
        readings.append(parse_day(day, path.read_bytes() if path.exists() else None, path.name))
    home.load(readings)
    return home.built(["build", "--exclude-resource-type", "unit_test"])


@pytest.fixture(scope="session")
def manifest(sample: BuiltHome) -> dict[str, Any]:
    return sample.manifest()


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """The whole story in one build, with every data test."""
    home = BuiltHome(tmp_path_factory.mktemp("story") / "home")
    home.load([ranking_day(number) for number in range(LAST + 1)])
    home.append(**cycles(range(LAST + 1)))
    return home.built(["build", "--exclude-resource-type", "unit_test"])


@pytest.fixture(scope="session")
def deep_story(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """The story with the archive of the time before it, in one build, with every data test."""
    home = BuiltHome(tmp_path_factory.mktemp("deep-story") / "home")
    home.load([ranking_day(number) for number in range(LAST + 1)])
    home.append(**cycles(range(LAST + 1)), **archive_days(ARCHIVED))
    return home.built(["build", "--exclude-resource-type", "unit_test"])
