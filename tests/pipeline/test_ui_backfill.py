"""The backfill from the UI of docs/operators.md, clicked in a browser to its end: on a demo home, without a network.

Needs Chromium and its driver, like `tests/publishing/test_site_browser.py`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.pipeline.homes import ROOT, Home
from tests.publishing.test_site_browser import CHROMIUM, DRIVER, FLAGS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver on this machine"),
]
RANGE = "[2026-02-26...2026-02-27]"
PATIENCE_SECONDS, LONG_SECONDS = 90, 900
STATE = """
{
  partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } }
  runsOrError { ... on Runs { results { status tags { key } } } }
}
"""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS, pause: float = 0.5) -> Any:
    """Return the value of a condition once it holds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(pause)
    return found


class Ui:
    """Dagster's UI on a home, as `make dev` starts it, and a browser in front of it."""

    def __init__(self, base: str, browser: Chrome) -> None:
        self.base, self.browser = base, browser

    def graphql(self, query: str) -> dict[str, Any]:
        body = json.dumps({"query": query}).encode()
        with urlopen(Request(f"{self.base}/graphql", body, {"Content-Type": "application/json"})) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
        return found

    def visit(self, path: str) -> None:
        self.browser.get(self.base + path)

    def shown(self, xpath: str) -> WebElement:
        def first() -> WebElement | None:
            try:
                found = self.browser.find_elements(By.XPATH, xpath)
                return next((element for element in found if element.is_displayed()), None)
            except StaleElementReferenceException:
                return None

        element: WebElement = wait_for(first, xpath)
        return element


def is_up(base: str) -> bool:
    try:
        with urlopen(f"{base}/server_info"):
            return True
    except URLError:
        return False


@pytest.fixture
def home(demo: Home, tmp_path: Path) -> Home:
    copied = demo.copied(tmp_path / "home")
    # a request to a live address fails at once
    copied.extra |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9") | {"no_proxy": "127.0.0.1"}
    return copied


@pytest.fixture
def ui(home: Home, tmp_path: Path) -> Iterator[Ui]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, "--window-size=1500,1000", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    ready = [sys.executable, "-m", "reposignal_pipeline.home"]
    subprocess.run(ready, env=home.environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    places = {
        "DAGSTER_HOME": str(home.path / "dagster"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    command = ["dagster", "dev", "--workspace", "workspace.yaml", "--host", "127.0.0.1", "--port", port]
    with (tmp_path / "dev.log").open("w") as log:
        server = subprocess.Popen(
            command, env=home.environment | places, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        base = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_up(base), "the UI")
        browser = Chrome(options=options, service=Service(str(DRIVER)))
        try:
            yield Ui(base, browser)
        finally:
            browser.quit()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def test_all_assets_of_a_demo_range_are_materialised_and_published(home: Home, ui: Ui) -> None:
    before = home.published.resolve()
    ui.visit("/asset-groups")
    ui.shown("//button[contains(., 'Materialize all')]").click()
    days = ui.shown("//input[starts-with(@placeholder, 'ex: ')]")
    assert "2025-10-20" in str(days.get_attribute("placeholder")), "the dialog begins with the sample"
    assert ui.shown("//*[text()='2026-02-27']"), "and ends with it"
    days.send_keys(RANGE, Keys.TAB)
    ui.shown("//button[contains(., 'Launch backfill') and not(@disabled)]").click()

    def backfill() -> Any:
        return next(iter(ui.graphql(STATE)["partitionBackfillsOrError"]["results"]), None)

    wait_for(backfill, "the backfill")
    ended = wait_for(lambda: (found := backfill())["status"] != "REQUESTED" and found, "its end", LONG_SECONDS, pause=3)
    assert ended["status"] == "COMPLETED_SUCCESS"
    runs = [
        run["status"]
        for run in ui.graphql(STATE)["runsOrError"]["results"]
        if "dagster/backfill" in {tag["key"] for tag in run["tags"]}
    ]
    assert len(runs) >= 3, "days, what has no days, weeks"
    assert set(runs) == {"SUCCESS"}
    ui.visit(f"/runs/b/{ended['id']}")
    ui.shown("//*[text()='Succeeded']")
    ui.visit("/assets/gh_archive?view=partitions&partition=2026-02-27")
    ui.shown("//*[contains(text(), 'nothing: not configured')]")

    assert home.published.resolve() != before
    assert home.query("select count(*) from ops_archive_hour") == [(0,)]
    assert ("2026-02-23..2026-02-23",) in home.query("select partition from ops_run where status = 'success'")
    ran = home.run("doctor")
    assert ran.returncode == 0, ran.stdout
