"""A release's contents as files: pages, the feed, JSON and CSV.

Here: what is written where. Not here: what it says (`contents`, `figures`), how it looks (`templates`, `style.css`).
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import duckdb
import jinja2
from markupsafe import Markup

from reposignal_pipeline.publishing.answers import write_csv
from reposignal_pipeline.publishing.site import figures, numerals
from reposignal_pipeline.publishing.site.charts import Chart, Gallery
from reposignal_pipeline.publishing.site.contents import Contents, Repository, Table, Week, read
from reposignal_pipeline.publishing.site.strangers import cleaned, github_url, slugs, told

HERE = Path(__file__).parent
CSV_ROWS = 20_000
"""of a larger table only the newest day or week is written as CSV: a spreadsheet opens no more"""
FEED_ENTRIES = 20
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:reposignal:site")
"""of the feed's identifiers: where a site is shown is not known, and they must stay"""


@dataclass(frozen=True)
class Site:
    """A site that was built."""

    pages: int
    charts: int
    """on all pages"""
    charts_drawn: int
    """of these, not known from before"""


def build(connection: duckdb.DuckDBPyConnection, release: Path, charts: Path) -> Site:
    """Return what was built below `release / "site"` of the release that the connection reads.

    Args:
        release: holds the Parquet files already; they are linked to.
        charts: folder that keeps drawings from one release to the next.
    """
    contents = read(connection)
    gallery = Gallery(charts)
    target = release / "site"
    target.mkdir()
    builder = _Builder(contents, gallery, target)
    builder.draw()
    builder.write_pages()
    builder.write_data(connection, release)
    gallery.prune()
    return Site(builder.pages, len(gallery.shown), gallery.drawn)


class _Builder:
    def __init__(self, contents: Contents, gallery: Gallery, target: Path) -> None:
        self.contents = contents
        self.gallery = gallery
        self.target = target
        self.pages = 0
        self.slugs = slugs((one.repo_key, one.facts["full_name"]) for one in contents.repositories)
        self.repository_charts = {
            one.repo_key: figures.of_repository(one, contents.components) for one in contents.repositories
        }
        self.cluster_charts = {one.cluster: figures.of_cluster(one) for one in contents.clusters}
        self.week_charts = {
            week.week: {"languages": figures.of_languages_of(week), "clusters": figures.of_clusters_of(week)}
            for week in contents.weeks
        }
        self.language_charts = figures.of_languages(contents.languages)
        self.record_charts = figures.of_track_record(contents.track_record)
        self.languages = {language.language: place for place, language in enumerate(contents.languages, start=1)}
        self.templates = _templates(gallery)
        self.templates.globals |= {
            "slugs": self.slugs,
            "cluster_pages": {one.cluster for one in contents.clusters},
            "language_places": self.languages,
            "as_of": max((week.as_of_date for week in contents.weeks if week.as_of_date), default=None),
        }

    def draw(self) -> None:
        self.gallery.draw(self._charts())

    def _charts(self) -> Iterator[Chart]:
        for charts in (*self.repository_charts.values(), *self.cluster_charts.values(), self.record_charts):
            yield from charts
        for of_week in self.week_charts.values():
            yield from filter(None, of_week.values())
        yield from (chart for _, chart in self.language_charts)

    def write_pages(self) -> None:
        contents = self.contents
        self._page("index.html", "index.html.j2", contents=contents, script=_script())
        for newer, week, older in _neighbours(contents.weeks):
            self._week(week, newer, older)
        for repository in contents.repositories:
            self._repository(repository)
        for cluster in contents.clusters:
            self._page(
                f"clusters/{cluster.cluster}.html",
                "cluster.html.j2",
                cluster=cluster,
                now=cluster.weeks[0],
                charts=self.cluster_charts[cluster.cluster],
            )
        self._page(
            "languages.html",
            "languages.html.j2",
            languages=contents.languages,
            charts=self.language_charts,
        )
        self._page("track-record.html", "track-record.html.j2", record=contents.track_record, charts=self.record_charts)
        self._feed()

    def _week(self, week: Week, newer: Week | None, older: Week | None) -> None:
        folder = f"weeks/{week.week}"
        numbers = {claim["claim"]: number for number, claim in enumerate(week.claims, start=1)}
        self._page(
            f"{folder}/index.html",
            "week.html.j2",
            week=week,
            newer=newer,
            older=older,
            numbers=numbers,
            sentences=_by_sentence(week.claims),
            charts=self.week_charts[week.week],
        )
        if week.markdown is not None:
            self._write(f"{folder}/article.md", week.markdown)
        self._json(
            f"{folder}/article.json",
            {
                "week": week.week,
                "as_of_date": week.as_of_date,
                "title": week.title,
                "summary": week.summary,
                "document": week.document,
                "claims": week.claims,
                "repositories": week.leaders,
                "languages": week.languages,
                "clusters": week.clusters,
                "breakouts": week.breakouts,
            },
        )

    def _repository(self, repository: Repository) -> None:
        readings = repository.readings
        expected = (readings[-1]["week"] - readings[0]["week"]).days // 7 + 1
        self._page(
            f"repositories/{self.slugs[repository.repo_key]}.html",
            "repository.html.j2",
            repository=repository,
            facts=repository.facts,
            now=readings[-1],
            first=readings[0],
            gaps=expected - len(readings),
            expected=expected,
            flagged=[row for row in reversed(readings) if set(row["dq_flags"] or ()) - {"stars_gained_not_observed"}],
            components=self.contents.components,
            charts=self.repository_charts[repository.repo_key],
        )

    def _feed(self) -> None:
        entries = [
            {
                "week": week,
                "urn": uuid.uuid5(NAMESPACE, f"week {week.week}").urn,
                "updated": f"{week.as_of_date or week.week}T23:59:59Z",
                "content": self.templates.get_template("feed-entry.html.j2").render(root="../../", week=week),
            }
            for week in self.contents.weeks[:FEED_ENTRIES]
        ]
        updated = entries[0]["updated"] if entries else "1970-01-01T00:00:00Z"
        feed = self.templates.get_template("feed.xml.j2").render(entries=entries, urn=NAMESPACE.urn, updated=updated)
        self._write("feed.xml", feed)

    def write_data(self, connection: duckdb.DuckDBPyConnection, release: Path) -> None:
        """Write the tables as CSV, the page of all tables, and the index as JSON."""
        downloads = {table.name: self._csv(connection, table) for table in self.contents.tables}
        self._page(
            "data.html",
            "data.html.j2",
            tables=self.contents.tables,
            downloads=downloads,
            parquet={
                table.name: next((path for path in _parquet(table.name) if (release / path).exists()), None)
                for table in self.contents.tables
            },
        )
        self._json(
            "index.json",
            {
                "weeks": [
                    {
                        "week": week.week,
                        "as_of_date": week.as_of_date,
                        "title": week.title,
                        "summary": week.summary,
                        "page": f"weeks/{week.week}/index.html",
                        "json": f"weeks/{week.week}/article.json",
                    }
                    for week in self.contents.weeks
                ],
                "repositories": [
                    {
                        "repo_key": one.repo_key,
                        "full_name": one.facts["full_name"],
                        "page": f"repositories/{self.slugs[one.repo_key]}.html",
                    }
                    for one in self.contents.repositories
                ],
                "clusters": [
                    {
                        "cluster": one.cluster,
                        "label": one.weeks[0]["label"],
                        "page": f"clusters/{one.cluster}.html",
                    }
                    for one in self.contents.clusters
                ],
            },
        )

    def _csv(self, connection: duckdb.DuckDBPyConnection, table: Table) -> tuple[str, str] | None:
        """Return path and extent of a table's CSV, None if it is too large and has no newest part."""
        key = next((column["name"] for column in table.columns if column["name"] in ("day", "week")), None)
        extent, condition = "all rows", ""
        if table.rows > CSV_ROWS:
            if key is None:
                return None
            extent, condition = f"the newest {key}", f' where {key} = (select max({key}) from "{table.name}")'
        found = connection.sql(f'select * from "{table.name}"{condition} order by all')
        path = self.target / "csv" / f"{table.name}.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            write_csv(found, file, cleaned)
        return f"csv/{table.name}.csv", extent

    def _page(self, path: str, template: str, **values: Any) -> None:
        root = "../" * path.count("/")
        self._write(path, self.templates.get_template(template).render(root=root, **values))
        self.pages += 1

    def _json(self, path: str, value: Any) -> None:
        self._write(path, json.dumps(cleaned(_plain(value)), ensure_ascii=False, indent=1) + "\n")

    def _write(self, path: str, text: str) -> None:
        file = self.target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _templates(gallery: Gallery) -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (HERE / "style.css").read_text(encoding="utf-8")
    templates.filters |= {
        "told": told,
        "cleaned": cleaned,
        "exact": numerals.exact,
        "number": numerals.number,
        "signed": numerals.signed,
        "percent": numerals.percent,
        "probability": numerals.probability,
        "day": numerals.day,
        "iso_day": lambda text: numerals.day(dt.date.fromisoformat(text)),
        "words": lambda name: str(name).replace("_", " "),
    }
    templates.globals |= {
        "style": Markup(style),  # the project's own
        "style_hash": _hash(style),
        "script_hash": _hash(_script()),
        "svg": gallery.svg,
        "github_url": github_url,
        "UNKNOWN": numerals.UNKNOWN,
    }
    return templates


def _script() -> Markup:
    return Markup((HERE / "search.js").read_text(encoding="utf-8"))  # the project's own


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _neighbours(weeks: list[Week]) -> Iterator[tuple[Week | None, Week, Week | None]]:
    around = [None, *weeks, None]
    for place, week in enumerate(weeks):
        yield around[place], week, around[place + 2]


def _by_sentence(claims: list[dict[str, Any]]) -> list[tuple[int, str, list[tuple[int, dict[str, Any]]]]]:
    """Return sentences with the claims in them, numbered over the whole article."""
    found: dict[tuple[int, str], list[tuple[int, dict[str, Any]]]] = {}
    for place, claim in enumerate(claims, start=1):
        found.setdefault((claim["sentence"], claim["text"]), []).append((place, claim))
    return [(sentence, text, numbered) for (sentence, text), numbered in found.items()]


def _parquet(table: str) -> tuple[str, str]:
    return f"parquet/{table}.parquet", f"parquet/{table}"


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, int | str | bool) else str(value)
