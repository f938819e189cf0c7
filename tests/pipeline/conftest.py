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
def half(fresh: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The first seven days, loaded and published."""
    home = fresh.copied(tmp_path_factory.mktemp("half") / "home")
    ran = home.load(1, 7)
    assert ran.returncode == 0, ran.stderr
    return home


@pytest.fixture(scope="session")
def whole(half: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """All fourteen days, loaded forwards in two backfills."""
    home = half.copied(tmp_path_factory.mktemp("whole") / "home")
    ran = home.load(1, 14)
    assert ran.returncode == 0, ran.stderr
    return home
