"""The site in a browser, opened from its folder: what readers do, and what assistive technology finds.

Needs Chromium and its driver, and axe-core from `make test`. Not here: the content of the pages (`test_site.py`).
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from reposignal_pipeline.publishing.site import pages
from tests.publishing import made_release as made

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
)
DESKTOP, PHONE = (1280, 900), (390, 844)
WEEK = f"weeks/{made.WEEKS[-1]}/index.html"
CHITU = "repositories/thu-pacman--chitu.html"
PAGES = ("index.html", WEEK, CHITU, "clusters/1.html", "languages.html", "track-record.html", "data.html")
PATIENCE_SECONDS = 10

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver on this machine")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browsed") / "release"
    made.release(folder, folder.parent / "charts")
    return folder / "site"


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose first page lists one of each kind and folds the others away."""
    folder = tmp_path_factory.mktemp("folded") / "release"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pages, "LISTED", 1)
        made.release(folder, folder.parent / "charts")
    return folder / "site"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chrome: Chrome) -> Iterator[Chrome]:
    """A desktop in light colours; a message on the console fails the test."""
    shown_as(chrome, DESKTOP, "light")
    yield chrome
    assert chrome.get_log("browser") == []


def shown_as(browser: Chrome, size: tuple[int, int], scheme: str) -> None:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def visit(browser: Chrome, site: Path, page: str) -> None:
    browser.get((site / page).as_uri())


def heading(browser: Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "h1").text


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return the value of a condition once it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


def test_from_the_index_to_a_week_a_cluster_a_repository_and_back(browser: Chrome, site: Path) -> None:
    visit(browser, site, "index.html")
    browser.find_element(By.CSS_SELECTOR, ".lead h1 a").click()
    assert "Python leads" in heading(browser)
    browser.find_element(By.PARTIAL_LINK_TEXT, "agent · llm").click()
    assert heading(browser) == "agent · llm · mcp"
    browser.find_element(By.LINK_TEXT, "thu-pacman/chitu").click()
    assert heading(browser) == "thu-pacman/chitu"
    browser.find_element(By.LINK_TEXT, "Track record").click()
    assert heading(browser) == "Track record"
    browser.find_element(By.LINK_TEXT, "RepoSignal").click()
    assert browser.current_url == (site / "index.html").as_uri()


def test_a_number_leads_to_its_query(browser: Chrome, site: Path) -> None:
    visit(browser, site, WEEK)
    browser.find_element(By.LINK_TEXT, "30 %").click()
    query = browser.find_element(By.CSS_SELECTOR, ".query:target")
    assert "select 0.3" in query.text
    assert 0 <= query.rect["y"] - browser.execute_script("return scrollY") < DESKTOP[1]


def test_the_search_narrows_the_lists(browser: Chrome, site: Path) -> None:
    visit(browser, site, "index.html")

    def listed() -> list[str]:
        return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "main li a") if item.is_displayed()]

    everything = listed()
    box = browser.find_element(By.ID, "find")
    box.send_keys("FRP go")
    assert wait_for(lambda: len(listed()) < len(everything) and listed()) == ["fatedier/frp", "Fatedier/FRP"]
    assert browser.find_element(By.CSS_SELECTOR, "#search output").text == "2 found"
    assert not browser.find_element(By.ID, "weeks").is_displayed()
    box.clear()
    box.send_keys("evil <script>")
    assert wait_for(lambda: len(listed()) == 1 and listed()) == [f"evil/{made.SCRIPT}"]
    box.send_keys(" nothing like it")
    assert wait_for(lambda: not listed())
    box.clear()
    box.send_keys(" ")
    assert wait_for(lambda: listed() == everything)


def test_a_search_looks_into_folded_lists_and_folds_them_again(browser: Chrome, folded: Path) -> None:
    visit(browser, folded, "index.html")

    def listed() -> list[str]:
        return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "main li a") if item.is_displayed()]

    everything = listed()
    assert len(everything) == 3
    assert [" ".join(one.text.split()) for one in browser.find_elements(By.CSS_SELECTOR, "summary")] == [
        "1 more of the weeks", "1 more of the clusters", "6 more of the repositories",
    ]  # fmt: skip
    box = browser.find_element(By.ID, "find")
    box.send_keys("FRP go")
    assert wait_for(lambda: len(listed()) == 2 and listed()) == ["fatedier/frp", "Fatedier/FRP"]
    box.clear()
    box.send_keys(" ")
    assert wait_for(lambda: listed() == everything)


@pytest.mark.parametrize("page", PAGES)
def test_on_a_phone_no_column_lies_beyond_the_edge(browser: Chrome, site: Path, page: str) -> None:
    shown_as(browser, PHONE, "light")
    visit(browser, site, page)
    browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    cells = browser.execute_script(
        """
        return [...document.querySelectorAll("table.stacked :is(th[scope=row], td)")].map((cell) => {
          const box = cell.getBoundingClientRect();
          return [cell.dataset.label, getComputedStyle(cell, "::before").content, box.left, box.right, box.height];
        });
        """
    )
    for label, shown, left, right, height in cells:
        assert height > 0
        assert 0 <= left < right <= PHONE[0], label
        assert shown == (f'"{label}"' if label and label != "Stars a day" else "none")
    assert len(cells) > 3


def test_everything_works_without_a_script(browser: Chrome, site: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, site, "index.html")
        assert not browser.find_element(By.ID, "find").is_displayed()
        assert len(browser.find_elements(By.CSS_SELECTOR, "main ul li")) == 2 + 2 + len(made.REPOSITORIES)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_site_works_with_the_keyboard_alone(browser: Chrome, site: Path) -> None:
    visit(browser, site, WEEK)

    def focused() -> Any:
        return browser.switch_to.active_element

    def press(*keys: str) -> None:
        focused().send_keys(*keys)

    press(Keys.TAB)
    assert focused().text == "Skip to the content"
    assert focused().rect["y"] >= 0, "it shows when it has the focus"
    press(Keys.ENTER)
    assert focused().get_attribute("id") == "main"
    press(Keys.TAB)
    assert focused().get_attribute("aria-label") == "Table: Highest signal scores"
    for _ in made.REPOSITORIES[:-1]:
        press(Keys.TAB)
    assert focused().text == f"evil/{made.SCRIPT}", "the last of the ranking that is linked"
    press(Keys.TAB)
    seen = []
    for _ in range(40):
        press(Keys.TAB)
        seen.append(focused())
        outline = focused().value_of_css_property("outline-style")
        assert outline != "none", focused().get_attribute("outerHTML")
        if focused().tag_name == "summary":
            break
    assert [one.text for one in seen[:3]] == ["Python", "20", "50"]
    assert seen[-1].tag_name == "summary"
    numbers = seen[-1].find_element(By.XPATH, "..")
    assert numbers.get_attribute("open") is None
    press(Keys.ENTER)
    assert numbers.get_attribute("open") is not None
    press(Keys.TAB)
    assert focused().get_attribute("role") == "region", "a table that scrolls is reached by keyboard"


def test_a_table_is_downloaded(browser: Chrome, site: Path, downloads: Path) -> None:
    visit(browser, site, "data.html")
    browser.find_element(By.CSS_SELECTOR, 'a[href="csv/dim_repo.csv"]').click()
    file = downloads / "dim_repo.csv"
    wait_for(file.exists)
    assert file.read_text(encoding="utf-8").startswith("repo_key,")


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_a_phone(browser: Chrome, site: Path, page: str) -> None:
    shown_as(browser, PHONE, "light")
    visit(browser, site, page)
    assert browser.execute_script("return document.documentElement.scrollWidth") == PHONE[0]


@pytest.mark.parametrize("page", ["index.html", WEEK, CHITU])
def test_the_layout_does_not_shift(browser: Chrome, site: Path, page: str) -> None:
    shown_as(browser, PHONE, "light")
    visit(browser, site, page)
    shift = browser.execute_async_script(
        """
        const done = arguments[0];
        let sum = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; }))
          .observe({type: "layout-shift", buffered: true});
        requestAnimationFrame(() => setTimeout(() => done(sum), 200));
        """
    )
    assert shift == 0


def test_one_drawing_serves_light_and_dark(browser: Chrome, site: Path) -> None:
    def colours() -> list[str]:
        visit(browser, site, CHITU)
        line = browser.find_element(By.CSS_SELECTOR, "figure svg path[stroke='var(--series-1)']")
        paper = browser.find_element(By.TAG_NAME, "body")
        return [line.value_of_css_property("stroke"), paper.value_of_css_property("background-color")]

    light = colours()
    shown_as(browser, DESKTOP, "dark")
    assert all(one != other for one, other in zip(light, colours(), strict=True))


def test_the_policy_keeps_a_strangers_script_from_running(browser: Chrome, site: Path, tmp_path: Path) -> None:
    """Even if escaping failed."""
    page = site / "broken.html"
    text = (site / "data.html").read_text(encoding="utf-8")
    broken = text.replace("<h1>Data", '<script>document.title = "run"</script><h1 onclick="document.title=1">Data')
    assert broken != text
    page.write_text(broken, encoding="utf-8")
    try:
        visit(browser, site, "broken.html")
        browser.find_element(By.TAG_NAME, "h1").click()
        assert browser.title == "Data · RepoSignal"
        assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))
    finally:
        page.unlink()


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm was not there at `make test`")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_violation(browser: Chrome, site: Path, page: str, size: tuple[int, int], scheme: str) -> None:
    shown_as(browser, size, scheme)
    visit(browser, site, page)
    browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    assert found["passes"]
    assert [
        (violation["id"], violation["impact"], [node["html"][:200] for node in violation["nodes"]][:3])
        for violation in found["violations"]
    ] == []
