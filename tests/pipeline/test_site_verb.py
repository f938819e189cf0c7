"""`reposignal site`: a run that publishes, and the pages served until Ctrl-C."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from reposignal_pipeline.sample.generate import DESCRIPTIONS, EMOJI, EMOJI_DESCRIPTION
from tests.pipeline.homes import COMMAND, PATIENCE_SECONDS, Demo, Home

# Tests that run in the background ignore Ctrl-C, and so would the command.
_HEARING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


def test_the_demo_ends_with_its_site(demo_run: Demo) -> None:
    home, ran = demo_run
    index = home.path / "published" / "site" / "index.html"
    assert str(index) in ran.stdout
    assert index.is_file()
    assert (index.parent / "weeks" / "2026-02-23" / "index.html").is_file()
    assert (index.parent / "repositories" / "thu-pacman--chitu.html").is_file()


def test_planted_descriptions_are_text_on_a_page_that_is_not_the_first(demo: Home) -> None:
    """On the first page a reader would take them for a break-in."""
    site = demo.path / "published" / "site"
    first, planted = ((site / page).read_text() for page in ("index.html", "repositories/synthetic-15--robot-run.html"))
    assert "(synthetic) &lt;script&gt;alert(1)&lt;/script&gt;" in planted
    assert "<script>alert" not in planted
    names = [name for name in DESCRIPTIONS if name != "test-run"] + [EMOJI]
    for name in names:
        ((full_name,),) = demo.query(f"select distinct full_name from dim_repo where full_name like '%/{name}'")
        assert (site / "repositories" / f"{str(full_name).replace('/', '--')}.html").is_file(), full_name
    described = re.findall(r'class="about"><bdi>(.*?)</bdi>', first)
    assert len(described) == 25
    assert not {html.escape(text) for text in [*DESCRIPTIONS.values(), EMOJI_DESCRIPTION]} & set(described)
    assert "alert(1)" not in first and "drop table" not in first and "HYPERLINK" not in first


def test_a_current_site_is_not_built_again(demo: Home, tmp_path: Path) -> None:
    home = demo.copied(tmp_path / "home")
    site = home.path / "published" / "site"
    former = site.resolve()
    ran = home.run("site")
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, str(site / "index.html"), "")
    assert site.resolve() == former
    assert home.query("select job from ops_run where job = 'publish'") == []


def test_it_publishes_serves_and_succeeds(demo: Home, tmp_path: Path) -> None:
    home = demo.copied(tmp_path / "home")
    site = home.path / "published" / "site"
    former, drawn = site.resolve(), sorted((home.path / "charts").iterdir())
    assert drawn
    os.utime(home.path / "warehouse" / "reposignal.duckdb")  # as if a run had written the marts since
    process = subprocess.Popen(
        [sys.executable, "-c", _HEARING, COMMAND, "site", "--serve", "0"],
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout
        assert process.stdout.readline().strip() == str(site / "index.html")
        address = process.stdout.readline().split()[0]
        with urllib.request.urlopen(f"{address}index.html") as answer:
            assert answer.read() == (site / "index.html").read_bytes()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        watchdog.cancel()
        process.kill()
    assert (process.returncode, error) == (0, "")
    assert site.resolve() != former
    assert sorted((home.path / "charts").iterdir()) == drawn, "what is unchanged is not drawn again"
    assert home.query("select job, status from ops_run order by started_at desc limit 1") == [("publish", "success")]
