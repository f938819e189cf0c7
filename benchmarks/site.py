"""`python -m benchmarks.site HOME`: builds the site of a published home with all charts drawn, and with stored charts.

Prints seconds, pages, megabytes and the largest pages for BENCHMARKS.md. The home is only read; the site is built in a
temporary folder. Articles are not measured, because they are written before a release.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from reposignal_pipeline.publishing.site.charts import Gallery, drawing
from reposignal_pipeline.publishing.site.pages import Site, build

FIRST_PAGE_KB = 200
"""maximum size of the first page"""


def built(published: Path, folder: Path) -> tuple[Site, float]:
    """Build the site of a published copy below a folder; return (its counts, seconds)."""
    release = folder / "release"
    shutil.rmtree(release, ignore_errors=True)
    release.mkdir()
    (release / "parquet").symlink_to(published / "parquet")
    started = time.monotonic()
    with duckdb.connect(str(published / "reposignal.duckdb"), read_only=True) as connection:
        connection.execute("set enable_progress_bar = false")
        site = build(connection, release, folder / "charts")
    return site, time.monotonic() - started


def main(home: Path) -> None:
    """Build twice and print the table."""
    published = (home / "published").resolve()
    if not (published / "reposignal.duckdb").exists():
        sys.exit(f"nothing is published below {home}")
    with tempfile.TemporaryDirectory(prefix="reposignal-site-") as name:
        folder = Path(name)
        first, seconds = built(published, folder)
        _, again = built(published, folder)
        files = [path for path in (folder / "release" / "site").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
        index = (folder / "release" / "site" / "index.html").stat().st_size / 1e3
        largest = max((path for path in files if path.suffix == ".html"), key=lambda path: path.stat().st_size)
        print(f"| pages | {first.pages} |")
        print(f"| all files, MB | {size:.1f} |")
        print(f"| first page, kB (at most {FIRST_PAGE_KB}) | {index:.0f} |")
        print(f"| largest page, kB | {largest.stat().st_size / 1e3:.0f} ({largest.name}) |")
        print(f"| charts | {first.charts} |")
        print(f"| every chart drawn, s | {seconds:.1f} |")
        print(f"| no chart drawn, s | {again:.1f} |")
        print(f"| a chart, ms of one process | {_one_drawing(folder):.0f} |")


def _one_drawing(folder: Path) -> float:
    """Return the milliseconds for drawing a long history with a warm engine."""
    from datetime import date, timedelta

    from reposignal_pipeline.publishing.site.charts import over_time

    Gallery(folder / "charts")
    weeks = [date(2019, 1, 7) + timedelta(weeks=number) for number in range(300)]
    chart = over_time("Stars", "1", {"stars": [(week, float(n * n)) for n, week in enumerate(weeks)]}, form="~s")
    drawing(chart.spec)
    started = time.monotonic()
    for _ in range(10):
        drawing(chart.spec)
    return (time.monotonic() - started) * 100


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    main(parser.parse_args().home)
