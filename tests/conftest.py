"""Fixtures for every test: an empty home, an upstream that fails on request, and the recordings.

The process starts without the caller's settings, so that no test can reach a token or the user's warehouse.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from upstream_server import UpstreamServer

from tests import shared

KEPT = {"REPOSIGNAL_REAL_DATA"}
FOREIGN_PREFIXES = ("REPOSIGNAL_", "AWS_", "DAGSTER_", "DBT_", "DESTINATION__", "RUNTIME__")
FOREIGN_NAMES = {"GITHUB_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
SESSION_HOME = pytest.StashKey[str]()
MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 8 * 2**30

# a busy machine is not a failure, and a run leaves no files in the tree
settings.register_profile("hermetic", deadline=None, database=None)
settings.load_profile("hermetic")


def pytest_configure(config: pytest.Config) -> None:
    """Drop the caller's settings before any module of the package reads them at import."""
    for name in list(os.environ):
        foreign = name.startswith(FOREIGN_PREFIXES) or name.upper() in FOREIGN_NAMES
        if foreign and name not in KEPT:
            del os.environ[name]
    # loading a day into a home waits about 500 times for the disk; no test cuts the power
    if "TMPDIR" not in os.environ and is_memory_enough():
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    home = tempfile.mkdtemp(prefix="reposignal-tests-")
    config.stash[SESSION_HOME] = home
    os.environ["REPOSIGNAL_HOME"] = home
    if shared.VARIABLE not in os.environ:  # otherwise this is a worker, and the controller of the run has a folder
        os.environ[shared.VARIABLE] = tempfile.mkdtemp(dir=home)


def is_memory_enough() -> bool:
    """Return whether the in-memory file system has room for what a run of all tests writes."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ENOUGH_BYTES:
        return False
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(memory["MemAvailable"].split()[0]) * 1024 >= ENOUGH_BYTES


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[SESSION_HOME], ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, named in the environment; no other setting is given."""
    for name in list(os.environ):
        if name.startswith("REPOSIGNAL_") and name not in KEPT:
            monkeypatch.delenv(name)
    path = tmp_path / "home"
    monkeypatch.setenv("REPOSIGNAL_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recordings."""
    given = os.environ.get("REPOSIGNAL_REAL_DATA", "")
    if not Path(given, "rankings").is_dir():
        pytest.skip("REPOSIGNAL_REAL_DATA names no folder of recordings")
    return Path(given)


@pytest.fixture
def upstream_server(tmp_path: Path) -> Iterator[UpstreamServer]:
    """An empty upstream; see `UpstreamServer`."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    server = UpstreamServer(folder)
    yield server
    server.stop()
