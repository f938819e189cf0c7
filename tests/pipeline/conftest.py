"""Homes that cost a run of the pipeline, each made once. Read them; to write, copy them."""

from pathlib import Path
from shutil import copytree

import pytest

from tests.pipeline.homes import Demo, Home, parsed_once, run_demo_once, write_upstream
from tests.shared import made_once


@pytest.fixture(scope="session")
def demo_run() -> Demo:
    return run_demo_once()


@pytest.fixture(scope="session")
def demo(demo_run: Demo) -> Home:
    home, ran = demo_run
    assert ran.returncode == 0, ran.stderr
    return home


@pytest.fixture(scope="session")
def parsed() -> Path:
    """A home with only dbt's parsed project, which saves a new home the parsing."""
    return parsed_once()


@pytest.fixture(scope="session")
def fresh(parsed: Path) -> Home:
    """A home without data, on a small upstream of fourteen days; dbt's project is parsed already."""

    def make(folder: Path) -> None:
        copytree(parsed / "dbt", folder / "home" / "dbt")
        write_upstream(folder / "upstream", range(1, 15))

    path = made_once("fresh", make)
    return Home(path / "home", str(path / "upstream"))


@pytest.fixture(scope="session")
def loaded(fresh: Home) -> tuple[Home, Home]:
    """The first seven days, and all fourteen: loaded forwards in two backfills."""

    def make(folder: Path) -> None:
        whole = fresh.copied(folder / "whole")
        with whole.session() as session:
            ran = session.load(1, 7)
            assert ran.returncode == 0, ran.stderr
            whole.copied(folder / "half")
            ran = session.load(1, 14)
            assert ran.returncode == 0, ran.stderr

    path = made_once("loaded", make)
    return Home(path / "half", fresh.rankings_url), Home(path / "whole", fresh.rankings_url)


@pytest.fixture(scope="session")
def half(loaded: tuple[Home, Home]) -> Home:
    return loaded[0]


@pytest.fixture(scope="session")
def whole(loaded: tuple[Home, Home]) -> Home:
    return loaded[1]
