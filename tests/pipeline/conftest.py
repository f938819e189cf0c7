"""Homes that cost a run of the pipeline, each made once. Read them; to write, copy them."""

from shutil import copytree

import pytest

from tests.pipeline.homes import Demo, Home, run_demo_once, write_upstream


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return run_demo_once(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def demo(demo_run: Demo) -> Home:
    home, ran = demo_run
    assert ran.returncode == 0, ran.stderr
    return home


@pytest.fixture(scope="session")
def fresh(demo: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home without data, on a small upstream of fourteen days; dbt's project is parsed already."""
    path = tmp_path_factory.mktemp("fresh")
    copytree(demo.path / "dbt", path / "home" / "dbt")
    return Home(path / "home", str(write_upstream(path / "upstream", range(1, 15))))


@pytest.fixture(scope="session")
def loaded(fresh: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Home]:
    """The first seven days, and all fourteen: loaded forwards in two backfills."""
    path = tmp_path_factory.mktemp("loaded")
    whole = fresh.copied(path / "whole")
    with whole.session() as session:
        ran = session.load(1, 7)
        assert ran.returncode == 0, ran.stderr
        half = whole.copied(path / "half")
        ran = session.load(1, 14)
        assert ran.returncode == 0, ran.stderr
    return half, whole


@pytest.fixture(scope="session")
def half(loaded: tuple[Home, Home]) -> Home:
    return loaded[0]


@pytest.fixture(scope="session")
def whole(loaded: tuple[Home, Home]) -> Home:
    return loaded[1]
