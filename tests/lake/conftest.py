"""Servers of a lake, started once per worker when the first test needs them, and homes with lakes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import NoReturn

import pytest
from lakes import BUCKET, PATIENCE_SECONDS, LakeHome, new_lake, unpacked
from servers import S3, Postgres, find_postgres

from tests.pipeline import homes
from tests.pipeline.conftest import fresh, half, loaded, parsed, whole  # noqa: F401
from tests.pipeline.homes import Home
from tests.shared import made_once

MakeLake = Callable[..., LakeHome]


def refuse(reason: str) -> NoReturn:
    """Skip the test, or fail it in a run that must not skip anything."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(homes, "PATIENCE_SECONDS", PATIENCE_SECONDS)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server from the installed package."""
    programs = find_postgres()
    if programs is None:
        refuse("no PostgreSQL server is installed: neither pg_config, /usr/lib/postgresql nor the path names one")
    server = Postgres(programs)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    server = S3()
    server.create_bucket(BUCKET)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def make_lake(postgres: Postgres, s3: S3, fresh: Home, tmp_path_factory: pytest.TempPathFactory) -> MakeLake:  # noqa: F811
    """A maker of homes with empty lakes, on the small upstream of fourteen days; dbt's project is parsed already."""

    def make(*, on_s3: bool = False) -> LakeHome:
        path = tmp_path_factory.mktemp("lake") / "home"
        home = new_lake(path, postgres, s3, on_s3=on_s3, rankings_url=fresh.rankings_url)
        copytree(fresh.path, home.path)
        return home

    return make


@pytest.fixture
def lake_home(make_lake: MakeLake) -> LakeHome:
    """A home with an empty lake in a folder."""
    return make_lake()


@pytest.fixture(scope="session")
def packed_half(make_lake: MakeLake) -> Path:
    """The first seven days, loaded into a lake on S3; every worker unpacks them."""

    def make(folder: Path) -> None:
        home = make_lake(on_s3=True)
        with home.session() as session:
            ran = session.load(1, 7)
        assert ran.returncode == 0, ran.stderr
        home.pack(folder / "lake")

    return made_once("lake-half", make) / "lake"


@pytest.fixture(scope="session")
def bucket_half(
    packed_half: Path,
    postgres: Postgres,
    s3: S3,
    fresh: Home,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> LakeHome:
    """The first seven days, in a lake on S3. Read it; to write, copy it."""
    path = tmp_path_factory.mktemp("bucket") / "home"
    return unpacked(packed_half, path, postgres, s3, on_s3=True, rankings_url=fresh.rankings_url)


@pytest.fixture(scope="session")
def folder_half(
    packed_half: Path,
    postgres: Postgres,
    s3: S3,
    fresh: Home,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> LakeHome:
    """The first seven days, in a lake in a folder. Read it; to write, copy it."""
    path = tmp_path_factory.mktemp("folder") / "home"
    return unpacked(packed_half, path, postgres, s3, on_s3=False, rankings_url=fresh.rankings_url)
