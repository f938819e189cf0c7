"""The home's logs: old output of runs is deleted, a large log of commands is set aside, the rest stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reposignal_pipeline.config import load_settings
from reposignal_pipeline.home import MOST_LOG_BYTES, OUTPUT_DAYS, prune_logs, ready_dagster_home


def test_logs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPOSIGNAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REPOSIGNAL_PROFILE", "demo")
    dagster = ready_dagster_home()
    prune_logs(load_settings())  # nothing to prune yet
    for name, days in (("old", OUTPUT_DAYS + 1), ("new", OUTPUT_DAYS - 1)):
        output = dagster / "storage" / name / "compute_logs"
        output.mkdir(parents=True)
        (output / "step.out").write_text("text")
        then = time.time() - days * 86_400
        os.utime(output.parent, (then, then))
    stored = dagster / "storage" / "value_of_an_asset"
    stored.mkdir()
    os.utime(stored, (0, 0))
    log = dagster / "cli.log"
    log.write_bytes(b"x" * MOST_LOG_BYTES)
    prune_logs(load_settings())
    assert log.exists()
    assert {path.name for path in (dagster / "storage").iterdir()} == {"new", stored.name}
    with log.open("ab") as file:
        file.write(b"y")
    prune_logs(load_settings())
    assert not log.exists()
    assert (dagster / "cli.log.1").stat().st_size == MOST_LOG_BYTES + 1
