"""Writes the files of the site: pages, the feed, JSON and CSV.

The contents come from `contents` and `figures`, the layout from `templates` and `style.css`; `shelf` reuses files of
the former release.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import duckdb
import jinja2
from markupsafe import Markup

from reposignal_pipeline.publishing import numbers
from reposignal_pipeline.publishing.answers import write_csv
from reposignal_pipeline.publishing.site import figures, numerals
from reposignal_pipeline.publishing.site.charts import EDITION, Chart, Gallery
from reposignal_pipeline.publishing.site.contents import (
    DAILY_WEEKS,
    Cluster,
    Contents,
    Repository,
    Row,
    Table,
    Week,
    read,
)
from reposignal_pipeline.publishing.site.shelf import Links, Shelf, digest
from reposignal_pipeline.publishing.site.sparklines import sparkline
from reposignal_pipeline.publishing.site.strangers import cleaned, github_url, one_line, slugs

HERE = Path(__file__).parent
CSV_ROWS = 20_000
"""of a larger table, the CSV contains only the newest day or week, because spreadsheets cannot open more"""
FEED_ENTRIES = 20
LISTED = 8
"""weeks, clusters and repositories that the first page lists; the others are folded away"""
BESIDES = ("answers.py", "numbers.py")
"""modules outside this folder that format what pages show"""
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:reposignal:site")
"""namespace of the feed's ids, which must be permanent although the URL of the site is unknown"""


@dataclass(frozen=True)
class Site:
    """Counts of a site that was built."""

    pages: int
    charts: int
    """charts on all pages"""
    charts_drawn: int
    """charts that had no drawing yet"""
    files_written: int
    """files that are not linked from the former release"""


def build(
    connection: duckdb.DuckDBPyConnection,
    release: Path,
    charts: Path,
    former: Path | None = None,
    site_url: str | None = None,
) -> Site:
    """Build the site below `release / "site"` and return its counts.

    Files with unchanged inputs are hard-linked from the former release, so a settled week is written only once.

    Args:
        connection: connection to the DuckDB file of the release.
        release: folder of the release, which already contains the Parquet files.
        charts: folder that keeps drawings from one release to the next.
        former: the release whose files may be linked.
        site_url: address of the site with a slash at the end, for absolute links; None if unknown.
    """
    contents = read(connection)
    gallery = Gallery(charts)
    target = release / "site"
    target.mkdir()
    builder = _Builder(contents, gallery, Shelf(target, former, edition(site_url)), site_url)
    builder.write_pages()
    builder.write_data(connection, release)
    builder.shelf.close(release)
    gallery.prune()
    return Site(builder.pages, len(gallery.shown), gallery.drawn, builder.shelf.written)


class _Builder:
    def __init__(self, contents: Contents, gallery: Gallery, shelf: Shelf, site_url: str | None) -> None:
        self.contents = contents
        self.gallery = gallery
        self.shelf = shelf
        self.pages = 0
        self.slugs = slugs((one.repo_key, one.facts["full_name"]) for one in contents.repositories)
        self.as_of = max((week.as_of_date for week in contents.weeks if week.as_of_date), default=None)
        self.links = Links(
            slugs=self.slugs,
            cluster_pages={one.cluster: True for one in contents.clusters},
            language_places={language.language: place for place, language in enumerate(contents.languages, start=1)},
        )
        self.templates = _templates(gallery)
        self.templates.globals |= {**self.links.tables, "site_url": site_url}

    def write_pages(self) -> None:
        contents = self.contents
        # only the index lists all weeks, and it is written each time
        self._page("index.html", "index.html.j2", None, as_of=self.as_of, contents=contents, script=_script())
        planned = [*self._weeks(), *self._repositories(), *self._clusters(), *self._others()]
        stale = [page for page in planned if not self._is_linked(page)]
        charts = {page.path: page.charts() for page in stale}
        self.gallery.draw(chart for shown in charts.values() for chart in _each(shown))
        for page in stale:
            shown = charts[page.path]
            self._page(page.path, page.template, page.inputs, _keys(shown), charts=shown, **page.values())
        self._feed()

    def _is_linked(self, page: _Planned) -> bool:
        known = self.shelf.known(page.path, page.inputs, self.links)
        # a missing drawing is drawn again, and its page is rendered
        if known is None or not self.gallery.keep(known.charts):
            return False
        self.shelf.link(page.path)
        self.pages += 1
        return True

    def _weeks(self) -> Iterator[_Planned]:
        digests = {week.week: digest(week) for week in self.contents.weeks}
        for newer, week, older in _neighbours(self.contents.weeks):
            folder = f"weeks/{week.week}"
            self._texts_of(week, digests[week.week])
            yield _Planned(
                f"{folder}/index.html",
                "week.html.j2",
                digest([digests[week.week], newer and newer.week, older and older.week]),
                charts=partial(figures.of_week, week),
                values=partial(_values_of_week, week, newer, older),
            )

    def _texts_of(self, week: Week, inputs: str) -> None:
        folder = f"weeks/{week.week}"
        if week.markdown is not None:
            self._file(f"{folder}/article.md", digest(week.markdown), lambda: str(week.markdown))
        self._file(
            f"{folder}/article.json",
            inputs,
            lambda: _json(
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
                }
            ),
        )

    def _repositories(self) -> Iterator[_Planned]:
        components = self.contents.components
        for repository in self.contents.repositories:
            yield _Planned(
                f"repositories/{self.slugs[repository.repo_key]}.html",
                "repository.html.j2",
                digest([repository, components, self.as_of]),
                charts=partial(figures.of_repository, repository, components),
                values=partial(_values_of_repository, repository, components, self.as_of),
            )

    def _clusters(self) -> Iterator[_Planned]:
        for cluster in self.contents.clusters:
            yield _Planned(
                f"clusters/{cluster.cluster}.html",
                "cluster.html.j2",
                digest(cluster),
                charts=partial(figures.of_cluster, cluster),
                values=partial(_values_of_cluster, cluster),
            )

    def _others(self) -> Iterator[_Planned]:
        languages, record = self.contents.languages, self.contents.track_record
        yield _Planned(
            "languages.html",
            "languages.html.j2",
            digest([languages, self.as_of]),
            charts=lambda: figures.of_languages(languages),
            values=lambda: {"languages": languages, "as_of": self.as_of},
        )
        yield _Planned(
            "track-record.html",
            "track-record.html.j2",
            digest([record, self.as_of]),
            charts=lambda: figures.of_track_record(record),
            values=lambda: {"record": record, "as_of": self.as_of},
        )

    def _feed(self) -> None:
        # without an address, links are relative to the feed
        root = self.templates.globals["site_url"] or ""
        entries = [
            {
                "week": week,
                "urn": uuid.uuid5(NAMESPACE, f"week {week.week}").urn,
                "updated": f"{week.as_of_date or week.week}T23:59:59Z",
                "content": self.templates.get_template("feed-entry.html.j2").render(root=root, week=week),
            }
            for week in self.contents.weeks[:FEED_ENTRIES]
        ]
        updated = entries[0]["updated"] if entries else "1970-01-01T00:00:00Z"
        feed = self.templates.get_template("feed.xml.j2").render(
            root=root, entries=entries, urn=NAMESPACE.urn, updated=updated
        )
        self._file("feed.xml", None, lambda: feed)

    def write_data(self, connection: duckdb.DuckDBPyConnection, release: Path) -> None:
        """Write the tables as CSV, the page of all tables, and the index as JSON."""
        downloads = {table.name: self._csv(connection, table) for table in self.contents.tables}
        self._page(
            "data.html",
            "data.html.j2",
            None,
            as_of=self.as_of,
            tables=self.contents.tables,
            downloads=downloads,
            parquet={
                table.name: next((path for path in _parquet(table.name) if (release / path).exists()), None)
                for table in self.contents.tables
            },
        )
        self._file(
            "index.json",
            None,
            lambda: _json(
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
                }
            ),
        )

    def _csv(self, connection: duckdb.DuckDBPyConnection, table: Table) -> tuple[str, str] | None:
        """Write the CSV of a table; return (path, extent), or None if it is too large and has no day or week."""
        key = next((column["name"] for column in table.columns if column["name"] in ("day", "week")), None)
        extent, condition = "all rows", ""
        if table.rows > CSV_ROWS:
            if key is None:
                return None
            extent, condition = f"the newest {key}", f' where {key} = (select max({key}) from "{table.name}")'
        rows = f'from "{table.name}"{condition}'
        path = f"csv/{table.name}.csv"
        inputs = digest([[column["name"] for column in table.columns], _contents_of(connection, rows)])
        if self.shelf.known(path, inputs, self.links):
            self.shelf.link(path)
        else:
            with self.shelf.place(path, inputs).open("w", encoding="utf-8", newline="") as file:
                write_csv(connection.sql(f"select * {rows} order by all"), file, cleaned)
        return path, extent

    def _page(self, path: str, template: str, inputs: str | None, drawn: Sequence[str] = (), **values: Any) -> None:
        """Write a page; with inputs, record them so that later releases can link it."""
        with self.links.looked_up() as looked_up:
            text = self.templates.get_template(template).render(path=path, root="../" * path.count("/"), **values)
        self.shelf.place(path, inputs, looked_up, drawn).write_text(text, encoding="utf-8")
        self.pages += 1

    def _file(self, path: str, inputs: str | None, text: Callable[[], str]) -> None:
        if inputs and self.shelf.known(path, inputs, self.links):
            self.shelf.link(path)
        else:
            self.shelf.place(path, inputs).write_text(text(), encoding="utf-8")


@dataclass(frozen=True)
class _Planned:
    """A page that is rendered, with its charts, only if its inputs changed."""

    path: str
    template: str
    inputs: str
    charts: Callable[[], Any]
    values: Callable[[], dict[str, Any]]


def _values_of_week(week: Week, newer: Week | None, older: Week | None) -> dict[str, Any]:
    return {
        "week": week,
        "newer": newer,
        "older": older,
        "numbers": {claim["claim"]: number for number, claim in enumerate(week.claims, start=1)},
        "sentences": _by_sentence(week.claims),
        "as_of": week.as_of_date,
    }


def _values_of_cluster(cluster: Cluster) -> dict[str, Any]:
    now = cluster.weeks[0]
    return {"cluster": cluster, "now": now, "as_of": now["as_of_date"]}


def _values_of_repository(repository: Repository, components: list[Row], as_of: dt.date | None) -> dict[str, Any]:
    readings = repository.readings
    expected = (readings[-1]["week"] - readings[0]["week"]).days // 7 + 1
    return {
        "repository": repository,
        "facts": repository.facts,
        "now": readings[-1],
        "breakout": numbers.breakout(readings[-1]),
        "first": readings[0],
        "gaps": expected - len(readings),
        "expected": expected,
        "flagged": [row for row in reversed(readings) if set(row["dq_flags"] or ()) - {"stars_gained_not_observed"}],
        "components": components,
        "as_of": as_of,
    }


def _each(shown: Any) -> Iterator[Chart]:
    """Yield the charts in nested dictionaries and lists."""
    if isinstance(shown, Chart):
        yield shown
    elif isinstance(shown, dict):
        yield from _each(list(shown.values()))
    elif isinstance(shown, list | tuple):
        for inner in shown:
            yield from _each(inner)


def _keys(shown: Any) -> list[str]:
    return [chart.key for chart in _each(shown)]


def _contents_of(connection: duckdb.DuckDBPyConnection, rows: str) -> tuple[Any, ...]:
    """Return a fingerprint of a relation's rows, computed without sorting or fetching them."""
    found = connection.execute(f"select count(*), bit_xor(hash(t)), sum(hash(t)::hugeint) from (select * {rows}) as t")
    return tuple(str(value) for value in found.fetchone() or ())


def edition(site_url: str | None) -> str:
    """Return a digest of everything that all pages depend on: templates, style, these modules and the address."""
    sources = sorted(path for path in HERE.rglob("*") if path.suffix in {".py", ".j2", ".css", ".js"})
    sources += [HERE.parent / name for name in BESIDES]
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in sources]
    return digest([EDITION, site_url, texts])


def _json(value: Any) -> str:
    return json.dumps(cleaned(_plain(value)), ensure_ascii=False, indent=1) + "\n"


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
        "one_line": one_line,
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
        "style": Markup(style),  # trusted: a file of the project
        "style_hash": _hash(style),
        "script_hash": _hash(_script()),
        "svg": gallery.svg,
        "sparkline": sparkline,
        "github_url": github_url,
        "UNKNOWN": numerals.UNKNOWN,
        "LISTED": LISTED,
        "DAILY_WEEKS": DAILY_WEEKS,
    }
    return templates


def _script() -> Markup:
    return Markup((HERE / "search.js").read_text(encoding="utf-8"))  # trusted: a file of the project


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _neighbours(weeks: list[Week]) -> Iterator[tuple[Week | None, Week, Week | None]]:
    around = [None, *weeks, None]
    for place, week in enumerate(weeks):
        yield around[place], week, around[place + 2]


def _by_sentence(claims: list[dict[str, Any]]) -> list[tuple[int, str, list[tuple[int, dict[str, Any]]]]]:
    """Return (sentence, text, its claims) with claims numbered over the whole article."""
    found: dict[tuple[int, str], list[tuple[int, dict[str, Any]]]] = {}
    for place, claim in enumerate(claims, start=1):
        found.setdefault((claim["sentence"], claim["text"]), []).append((place, claim))
    return [(sentence, text, numbered) for (sentence, text), numbered in found.items()]


def _parquet(table: str) -> tuple[str, str]:
    return f"parquet/{table}.parquet", f"parquet/{table}"


def _plain(value: Any) -> Any:
    """Return a value that JSON can represent."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, int | str | bool) else str(value)
