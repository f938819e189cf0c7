"""The site of a made release: the content of the pages, their completeness, and strangers' text that stays text."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import hashlib
import itertools
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from urllib.parse import unquote

import duckdb
import html5lib
import pytest

from reposignal_pipeline.cli import main
from reposignal_pipeline.config import LakeSettings, Profile, Settings
from reposignal_pipeline.publishing.release import is_current, publish
from reposignal_pipeline.publishing.site import charts, figures, numerals
from reposignal_pipeline.publishing.site import pages as site_pages
from reposignal_pipeline.publishing.site.contents import read
from reposignal_pipeline.publishing.site.pages import CSV_ROWS, Site, build
from reposignal_pipeline.publishing.site.serving import server
from reposignal_pipeline.publishing.site.sparklines import sparkline
from reposignal_pipeline.publishing.site.strangers import github_url, one_line, slugs
from reposignal_pipeline.warehouse import Warehouse
from tests.publishing import made_release as made

ATOM = "{http://www.w3.org/2005/Atom}"
WEEK = f"weeks/{made.WEEKS[-1]}"
CHITU = "repositories/thu-pacman--chitu.html"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a made release; read-only."""
    folder = tmp_path_factory.mktemp("site") / "release"
    made.release(folder, folder.parent / "charts")
    return folder


@pytest.fixture(scope="module")
def site(built: Path) -> Path:
    return built / "site"


def pages(site: Path) -> list[Path]:
    found = sorted(site.rglob("*.html"))
    assert found
    return found


def parsed(page: Path) -> ET.Element:
    """Return a page's tree; an HTML error is a test failure."""
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page.read_bytes())
    assert isinstance(tree, ET.Element)
    return tree


def text_of(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def one(tree: ET.Element, path: str) -> ET.Element:
    found = tree.find(path)
    assert found is not None, path
    return found


def with_class(tree: ET.Element, name: str) -> Iterator[ET.Element]:
    return (element for element in tree.iter() if name in element.get("class", "").split())


# --- whole pages


def test_every_page_is_html_with_one_heading_landmarks_and_a_skip_link(site: Path) -> None:
    for page in pages(site):
        tree = parsed(page)
        assert tree.get("lang") == "en"
        assert len(tree.findall(".//h1")) == 1, page
        for landmark in ("body/header", "body/main", "body/footer", "body/header//nav"):
            assert tree.find(landmark) is not None, (page, landmark)
        ids = Counter(element.get("id") for element in tree.iter() if element.get("id"))
        assert [name for name, count in ids.items() if count > 1] == [], page
        first = one(tree, "body//a")
        assert first.get("href") == "#main"
        assert ids["main"] == 1
        levels = [int(str(e.tag)[1]) for e in tree.iter() if re.fullmatch("h[1-6]", str(e.tag))]
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), page


def test_every_link_leads_somewhere(built: Path, site: Path) -> None:
    ids = {page: {e.get("id") for e in parsed(page).iter() if e.get("id")} for page in pages(site)}
    strangers = set()
    for page in ids:
        for element in parsed(page).iter():
            link = element.get("href") or element.get("src")
            if not link or link.startswith("data:"):
                continue
            if ":" in link:
                strangers.add(link)
                continue
            path, _, fragment = link.partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            assert target.is_relative_to(built), (page, link)
            assert target.exists(), (page, link)
            if fragment:
                assert fragment in ids[target], (page, link)
    assert strangers == {
        f"https://github.com/{name}"
        for name in ("thu-pacman/chitu", "fatedier/frp", "Fatedier/FRP", "a--b/c", "a/b--c", "launchbadge/sqlx")
    }


def test_links_to_strangers_carry_nothing_along(site: Path) -> None:
    for page in pages(site):
        for link in parsed(page).iter("a"):
            if link.get("href", "").startswith("https:"):
                assert set(link.get("rel", "").split()) == {"noopener", "noreferrer", "nofollow"}


def test_a_page_runs_nothing_and_loads_nothing(site: Path) -> None:
    for page in pages(site):
        tree = parsed(page)
        policy = next(
            e.get("content", "") for e in tree.iter("meta") if e.get("http-equiv") == "Content-Security-Policy"
        )
        assert "default-src 'none'" in policy
        scripts = list(tree.iter("script"))
        assert len(scripts) == (page == site / "index.html"), page
        for kind, elements in (("script", scripts), ("style", list(tree.iter("style")))):
            for element in elements:
                digest = base64.b64encode(hashlib.sha256((element.text or "").encode()).digest()).decode()
                assert f"{kind}-src 'sha256-{digest}'" in policy, (page, kind)
        for element in tree.iter():
            assert element.tag not in ("iframe", "object", "embed", "img", "form", "base"), page
            harmful = [name for name in element.attrib if name.startswith("on") or name in ("style", "src")]
            assert harmful == [], (page, element.tag)


def test_the_first_page_is_light(site: Path) -> None:
    """Also with 500 repositories: the page grows by a line of the list for each."""
    tree = parsed(site / "index.html")
    lines = [len(ET.tostring(item)) for item in tree.iter("li") if item.find("a/bdi") is not None]
    assert len(lines) == len(made.REPOSITORIES)
    assert (site / "index.html").stat().st_size + 500 * max(lines) < 200_000


# --- what strangers wrote


def test_text_by_strangers_is_escaped_everywhere(site: Path) -> None:
    controls = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe]")
    for file in site.rglob("*"):
        if file.is_file():
            # Markdown is the article's own, tested there
            content = file.read_text(encoding="utf-8")
            assert not controls.search(content.replace("\r\n", "\n")), file
    page = parsed(site / WEEK / "index.html")
    assert made.SCRIPT in text_of(one(page, ".//h1"))
    assert made.MARKDOWN in text_of(one(page, ".//main"))
    assert made.SCRIPT in text_of(parsed(site / "repositories" / "fatedier--frp-22.html"))


def test_ten_kilobytes_of_emoji_are_clipped(site: Path) -> None:
    page = site / "repositories" / "fatedier--frp-33.html"
    shown = text_of(next(with_class(parsed(page), "dek")))
    assert len(shown) <= 280
    assert shown.endswith("…")


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        (None, 9, ""),
        ("plain", 9, "plain"),
        ("two\n lines\t", 9, "two lines"),
        ("abcdefghij", 9, "abcdefgh…"),
        ("a" + " " * 100 + "b", 9, "a…"),
        ("\u202eright", 9, "\N{REPLACEMENT CHARACTER}right"),
        ("\U0001ffff\ufdd0\uffff", 9, "\N{REPLACEMENT CHARACTER}" * 3),
        ("שלום", 9, "שלום"),
    ],
)
def test_text_is_shown_on_one_line_and_short(text: str | None, most: int, shown: str) -> None:
    assert one_line(text, most) == shown


@pytest.mark.parametrize(
    "name",
    [
        None,
        "plain",
        "a/b/c",
        "a/b?x=1",
        "a/b#c",
        "-a/b",
        "a/..",
        "javascript:alert(1)/x",
        "a/b\n",
        "ünder/b",
        "a b/c",
        "a/" + "b" * 101,
    ],
)
def test_only_a_name_as_github_gives_it_is_linked(name: str | None) -> None:
    assert github_url(name) is None
    assert github_url("dotnet/.github") == "https://github.com/dotnet/.github"


def test_file_names_stay_apart_on_every_file_system() -> None:
    names = [(key, name) for key, name, *_ in made.REPOSITORIES] + [(1, "x" * 300 + "/y"), (2, "../../etc/passwd")]
    found = slugs(names)
    assert len({slug.lower() for slug in found.values()}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,110}|-[a-z0-9-]+", slug) for slug in found.values()), found
    assert found[11] == "thu-pacman--chitu"


def test_formulas_are_text_to_a_spreadsheet(site: Path) -> None:
    with (site / "csv" / "dim_repo.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["repo_key"]: row for row in csv.DictReader(file)}
    assert rows["44"]["description"] == "'" + made.FORMULA
    assert len(rows) == len(made.REPOSITORIES)
    assert all(not value.startswith(("=", "+", "-", "@")) for row in rows.values() for value in row.values())


# --- the article


def test_each_number_leads_to_the_query_that_returns_it(site: Path) -> None:
    tree = parsed(site / WEEK / "index.html")
    queries = {element.get("id"): element for element in with_class(tree, "query")}
    led = {}
    for number in with_class(tree, "claim"):
        query = queries[number.get("href", "").removeprefix("#")]
        assert text_of(one(query, "p/strong")) == text_of(number)
        led[text_of(number)] = text_of(one(query, "pre/code"))
    assert led == {shown: sql for _, _, _, shown, _, sql in made.QUERIED}


def test_a_query_leads_back_to_its_sentence(site: Path) -> None:
    tree = parsed(site / WEEK / "index.html")
    backs = [e.get("href", "")[1:] for e in tree.iter("a") if e.get("aria-label") == "Back to the sentence"]
    assert len(backs) == 2
    sentence = next(e for e in tree.iter("span") if e.get("id") == backs[0])
    assert text_of(sentence).startswith("Python has 20 of 50")


def test_the_parts_of_a_sentence_are_links_where_there_is_a_page(site: Path) -> None:
    tree = parsed(site / WEEK / "index.html")
    prose = next(with_class(tree, "prose"))
    links = {text_of(link): link.get("href") for link in prose.iter("a")}
    assert links["Python"] == "../../languages.html#language-1"
    assert links["agent · llm · mcp"] == "../../clusters/1.html"
    assert links["launchbadge/sqlx"] == "https://github.com/launchbadge/sqlx"
    assert links[f"evil/{made.SCRIPT}"].startswith("../../repositories/evil-")
    assert "gone" not in links
    assert "gone" in text_of(prose)


def test_weeks_lead_to_one_another(site: Path) -> None:
    newest, older = (parsed(site / f"weeks/{week}/index.html") for week in (made.WEEKS[-1], made.WEEKS[-2]))
    assert [a.get("href") for a in newest.iter("a") if a.get("rel") == "prev"] == [
        f"../../weeks/{made.WEEKS[-2]}/index.html"
    ]
    assert [a.get("href") for a in newest.iter("a") if a.get("rel") == "next"] == []
    assert len([a for a in older.iter("a") if a.get("rel") == "next"]) == 1


def test_the_index_lists_what_there_is_newest_first(site: Path) -> None:
    tree = parsed(site / "index.html")
    links = [link.get("href", "") for link in one(tree, ".//main").iter("a")]
    weeks = [link for link in dict.fromkeys(links) if link.startswith("weeks/")]
    assert weeks == [f"weeks/{week}/index.html" for week in reversed(made.WEEKS[-2:])]
    ranked = list(next(with_class(tree, "ranking")).iter("a"))
    assert len(ranked) == len(made.REPOSITORIES)
    assert len([link for link in links if link.startswith("repositories/")]) == 2 * len(made.REPOSITORIES)
    assert links.index(ranked[0].get("href", "")) < links.index("clusters/1.html"), "the ranking comes first"
    assert len([link for link in links if link.startswith("clusters/")]) == 2


def rows_of(table: ET.Element) -> list[list[str]]:
    return [[text_of(cell) for cell in row] for row in one(table, "tbody")]


@pytest.mark.parametrize("page", ["index.html", f"{WEEK}/index.html"])
def test_the_ranking_shows_what_a_repository_is_its_score_and_its_change(site: Path, page: str) -> None:
    rows = rows_of(next(with_class(parsed(site / page), "ranking")))
    assert rows[0][:-1] == ["1", "thu-pacman/chituHigh-performance inference", "Python", "2,711", "+100", "89.0", "new"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6", "7"]
    assert [row[6] for row in rows] == ["new", "+3", "0", "\N{MINUS SIGN}2", "new", "new", "new"]
    assert made.SCRIPT in rows[1][1]
    assert rows[4][1] == "a/b--c", "a repository without a description has none"
    assert rows[6][2] == numerals.UNKNOWN


def test_nothing_is_new_in_the_first_week_with_a_ranking(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        made.create_tables(connection)
        made.fill_tables(connection)
        connection.execute("update weekly_repo_trends set rank = null where week = ?", [made.WEEKS[-2]])
        build(connection, tmp_path, tmp_path / "charts")
    rows = rows_of(next(with_class(parsed(tmp_path / "site" / "index.html"), "ranking")))
    assert [row[6] for row in rows] == [numerals.UNKNOWN, "+3", "0", "\N{MINUS SIGN}2", *[numerals.UNKNOWN] * 3]


def test_the_ranking_describes_a_repository_as_it_was_in_the_week() -> None:
    with duckdb.connect() as connection:
        made.create_tables(connection)
        made.fill_tables(connection)
        newest, before = made.WEEKS[-1], made.WEEKS[-2]
        connection.execute("update dim_repo set description = 'then', valid_from = ? where repo_key = 11", [before])
        connection.execute(
            "insert into dim_repo (repo_key, description, valid_from) values (11, 'now', ?), (11, 'later', ?)",
            [newest, newest + dt.timedelta(days=7)],
        )
        connection.execute("update dim_repo set valid_from = ? where repo_key = 22", [newest + dt.timedelta(days=9)])
        connection.execute("update weekly_repo_trends set as_of_date = ? where week = ?", [before, before])
        weeks = read(connection).weeks
    assert [week.leaders[0]["description"] for week in weeks] == ["now", "then"]
    assert weeks[0].leaders[1]["description"] == made.HOSTILE, "of a repository first described later, that description"


def test_the_line_of_a_repository_has_its_days_and_gaps(site: Path, built: Path) -> None:
    with duckdb.connect(str(built / "reposignal.duckdb"), read_only=True) as connection:
        week = read(connection).weeks[0]
    read_days = {6: 12.0, 13: 12.0, 20: 12.0, 27: 12.0}
    assert week.leaders[0]["stars_a_day"] == [read_days.get(day) for day in range(28)]
    drawn = next(with_class(parsed(site / "index.html"), "spark"))
    assert drawn.get("role") == "img"
    assert drawn.get("aria-label") == ("12 to 12 stars a day, 12 on the last day with a number; known on 4 of 28 days")


@pytest.mark.parametrize(
    ("values", "paths", "said"),
    [
        ([0.0, 22.0, 11.0], ["M2.0 24.0L56.0 2.0L110.0 13.0"], "0 to 22 stars a day, 11 on the last day"),
        ([5.0, 5.0, None, 10.0], ["M2.0 13.0L38.0 13.0", "M110.0 2.0h0"], "; known on 3 of 4 days"),
        ([-11.0, 11.0], ["M2.0 24.0L110.0 2.0"], "\N{MINUS SIGN}11 to 11 stars a day"),
        ([0.0, 0.0], ["M2.0 24.0L110.0 24.0"], "0 to 0 stars a day, 0 on"),
        ([7.0], ["M2.0 2.0h0"], "7 to 7 stars a day"),
    ],
)
def test_a_sparkline_begins_at_zero_and_a_missing_day_is_a_gap(
    values: list[float | None], paths: list[str], said: str
) -> None:
    svg = ET.fromstring(str(sparkline(values)))
    assert [path.get("d") for path in svg] == paths
    assert said in svg.get("aria-label", "")


def test_without_a_number_there_is_no_line() -> None:
    assert sparkline([None, None]) == ""


def test_the_queries_are_folded_below_the_text(site: Path) -> None:
    tree = parsed(site / WEEK / "index.html")
    parents = {inner: outer for outer in tree.iter() for inner in outer}
    folded = 0
    for query in with_class(tree, "query"):
        around = query
        while around.tag != "details":
            around = parents[around]
        assert around.get("open") is None
        assert text_of(one(around, "summary")) == f"Query of {text_of(one(query, 'p/strong'))}"
        folded += 1
    assert folded == len(made.QUERIED)
    shown = text_of(one(tree, ".//main"))
    assert shown.index("Highest signal scores") < shown.index("No other language moved") < shown.index("select 20")


def test_on_a_phone_each_cell_carries_the_name_of_its_column(site: Path) -> None:
    seen = set()
    for page in pages(site):
        for table in with_class(parsed(page), "stacked"):
            names = [text_of(cell) for cell in one(table, "thead/tr")]
            for row in one(table, "tbody"):
                labels = [cell.get("data-label") for cell in row]
                named = [(label, name) for label, name in zip(labels, names, strict=True) if label]
                assert all(label == name for label, name in named), (page, named)
                # the row's own name, and its number in a ranking, speak for themselves
                assert len(named) == len(names) - (2 if names[0] == "#" else 1), (page, labels)
                seen |= {label for label, _ in named}
    assert {"Probability", "Outcome", "Probability in 42 days", "Passed", "Score", "Places"} <= seen


def test_json_has_the_content_of_the_pages(site: Path) -> None:
    index = json.loads((site / "index.json").read_text(encoding="utf-8"))
    for kind in ("weeks", "repositories", "clusters"):
        assert index[kind]
        assert all((site / entry["page"]).is_file() for entry in index[kind])
    article = json.loads((site / index["weeks"][0]["json"]).read_text(encoding="utf-8"))
    assert article["week"] == str(made.WEEKS[-1])
    assert [claim["sql_text"] for claim in article["claims"]] == [sql for *_, sql in made.QUERIED]
    assert [row["repo_key"] for row in article["breakouts"]] == [made.BREAKING]
    assert (site / WEEK / "article.md").read_text(encoding="utf-8") == "# Python leads\n"


def test_the_feed_is_atom(site: Path) -> None:
    feed = ET.fromstring((site / "feed.xml").read_bytes())
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 2
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
    for element in (feed, *entries):
        identifier = one(element, f"{ATOM}id").text or ""
        assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", identifier)
        assert stamp.fullmatch(one(element, f"{ATOM}updated").text or "")
        assert (one(element, f"{ATOM}title").text or "").strip()
    assert one(feed, f"{ATOM}author/{ATOM}name").text
    assert {link.get("rel") for link in feed.findall(f"{ATOM}link")} == {"self", "alternate"}
    assert len({one(entry, f"{ATOM}id").text for entry in entries}) == 2
    assert "xml:base" not in (site / "feed.xml").read_text(encoding="utf-8")
    for entry in entries:
        content = one(entry, f"{ATOM}content")
        assert content.get("type") == "html"
        inner = html5lib.parseFragment(content.text or "", namespaceHTMLElements=False)
        assert list(inner.iter("script")) == []
        for link in (one(entry, f"{ATOM}link"), *inner.iter("a")):
            if not link.get("href", "").startswith("https:"):
                assert (site / link.get("href", "").partition("#")[0]).resolve().is_file(), link.get("href")


SITE_URL = "https://example.org/trends/"


@pytest.fixture(scope="module")
def on_the_web(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the same release, with an address."""
    folder = tmp_path_factory.mktemp("web")
    with duckdb.connect(str(built / "reposignal.duckdb"), read_only=True) as connection:
        build(connection, folder, built.parent / "charts", site_url=SITE_URL)
    return folder / "site"


def test_with_an_address_the_links_of_the_feed_are_absolute(on_the_web: Path) -> None:
    feed = ET.fromstring((on_the_web / "feed.xml").read_bytes())
    assert [link.get("href") for link in feed.findall(f"{ATOM}link")] == [
        f"{SITE_URL}feed.xml",
        f"{SITE_URL}index.html",
    ]
    entry = one(feed, f"{ATOM}entry")
    assert one(entry, f"{ATOM}link").get("href") == f"{SITE_URL}{WEEK}/index.html"
    inner = html5lib.parseFragment(one(entry, f"{ATOM}content").text or "", namespaceHTMLElements=False)
    links = {text_of(link): link.get("href", "") for link in inner.iter("a")}
    assert links["agent · llm · mcp"] == f"{SITE_URL}clusters/1.html"
    assert links["launchbadge/sqlx"] == "https://github.com/launchbadge/sqlx"
    for link in links.values():
        assert link.startswith("https://github.com/") or (
            (on_the_web / link.removeprefix(SITE_URL).partition("#")[0]).is_file()
        ), link


def about(page: Path) -> dict[str, str]:
    """Return what a page says about itself to those that show a link to it."""
    tree = parsed(page)
    found = {e.get("property") or e.get("name") or "": e.get("content") or "" for e in tree.iter("meta")}
    return found | {e.get("rel", ""): e.get("href", "") for e in tree.iter("link")}


def test_every_page_says_what_it_is(site: Path) -> None:
    for page in pages(site):
        said = about(page)
        title = text_of(one(parsed(page), "head/title"))
        assert f"{said['og:title']} · RepoSignal" == title
        assert said["og:description"] == said["description"] != ""
        assert said["og:type"] == ("article" if page.parent.parent.name == "weeks" else "website"), page
        assert not {"og:url", "canonical"} & said.keys(), "the address is unknown"
    week, chitu = about(site / WEEK / "index.html"), about(site / CHITU)
    assert week["og:title"].startswith(f'Python leads {made.SCRIPT} "onload="x"')
    assert week["og:description"].startswith(f'Agents form a cluster. {made.SCRIPT} "onload="x"')
    assert chitu["og:title"] == "thu-pacman/chitu"
    assert chitu["og:description"] == "2,711 stars on 1 March 2026, signal score 89.0. High-performance inference"


def test_with_an_address_every_page_names_its_own(on_the_web: Path) -> None:
    for page in pages(on_the_web):
        said = about(page)
        assert said["og:url"] == said["canonical"] == f"{SITE_URL}{page.relative_to(on_the_web)}"


def test_identifiers_of_the_feed_stay(site: Path) -> None:
    """A feed reader recognises an entry by it: a change here would show every week as new."""
    feed = ET.fromstring((site / "feed.xml").read_bytes())
    identifiers = [element.text for element in feed.iter(f"{ATOM}id")]
    assert identifiers == [
        "urn:uuid:0cf482af-ce7e-5596-8c8b-1684c205b3d6",
        "urn:uuid:7f8776a9-0ea6-5858-a6c9-ea77797914df",
        "urn:uuid:22136199-46a5-5bc5-b78c-3edd0536ecee",
    ]


# --- repositories, languages, the record, the tables


def test_a_page_of_a_repository_holds_score_forecasts_and_gaps(site: Path) -> None:
    tree = parsed(site / CHITU)
    text = text_of(one(tree, ".//main"))
    assert "Formerly old/name." in text
    assert "89.0 rank 1" in text
    assert "Read in 7 of the 8 weeks" in text
    assert "gap over 36h" in text
    for outcome in ("passed on 2026-02-16", "not passed", "not due yet"):
        assert outcome in text
    assert [text_of(figure) for figure in tree.iter("figcaption")] == [
        "Stars held",
        "Stars a day",
        "Signal score by component",
    ]


def test_a_gap_is_a_gap_in_the_line_and_a_dash_in_the_table(site: Path) -> None:
    tree = parsed(site / CHITU)
    figure = next(tree.iter("figure"))
    lines = [path.get("d", "") for path in figure.iter() if str(path.tag).endswith("path")]
    drawn = [line for line in lines if line.count("L") > 3]
    assert [line.count("M") for line in drawn] == [2]
    numbers = {text_of(one(row, "th")): text_of(one(row, "td")) for row in one(figure, ".//tbody").iter("tr")}
    assert numbers[str(made.GAP + dt.timedelta(days=6))] == numerals.UNKNOWN
    assert numbers[str(made.WEEKS[-1] + dt.timedelta(days=6))] == "2,711"


def test_a_history_has_its_days_where_days_were_read(tmp_path: Path) -> None:
    """Weeks with one reading, none, six and, to the last day, three of four."""
    monday = dt.date(2026, 1, 5)
    read_on = [monday + dt.timedelta(days=number) for number in (5, 14, 15, 17, 18, 19, 20, 21, 22, 24)]
    totals = {day: 1000 + 10 * (day - monday).days for day in read_on}
    weekly = [monday + dt.timedelta(days=number) for number in (5, 20, 24)]
    with duckdb.connect() as connection:
        made.create_tables(connection)
        for day, total in totals.items():
            row = {"full_name": "a/b", "stars_total": total, "repo_key": 1}
            made.add(connection, "fct_repo_signal_day", day=day, velocity_7d=10.0, **row)
            if day in weekly:
                week = day - dt.timedelta(days=day.weekday())
                made.add(connection, "weekly_repo_trends", week=week, as_of_date=day, rank=1, **row)
        connection.execute(
            "insert into fct_repo_signal_day (repo_key, day, stars_total) values (1, ?, 1), (1, ?, 2)",
            [monday - dt.timedelta(weeks=60), monday - dt.timedelta(weeks=60, days=-1)],
        )
        (repository,) = read(connection).repositories
    assert repository.days["day"] == read_on, "older days are not queried"
    stars, paces = figures.of_repository(repository, [])[:2]
    points = [(row["day"], row["value"], row["alone"]) for row in stars.spec["datasets"]["rows"]]
    days = [monday + dt.timedelta(days=number) for number in (5, 13, *range(14, 25))]
    gaps = {monday + dt.timedelta(days=number) for number in (13, 16, 23)}
    # the drawing ends with the last whole week; the table has the days after it
    drawn = [day for day in days if day <= monday + dt.timedelta(days=20)]
    assert points == [(str(day), None if day in gaps else totals[day], day == read_on[0]) for day in drawn]
    assert stars.columns == ("day", "stars")
    assert stars.cells[:3] == [[days[-1], 1240], [days[-2], None], [days[-3], 1220]]
    assert stars.text == (
        "1,050 on 10 January 2026, 1,240 on 29 January 2026; not read in 1 of 4 weeks."
        " The line ends on 25 January 2026, with the last whole week."
    )
    assert [row["value"] for row in paces.spec["datasets"]["rows"]][:3] == [10.0, None, 10.0]


def test_a_day_of_the_running_week_draws_nothing_again() -> None:
    sunday = dt.date(2026, 1, 25)
    keys: list[set[str]] = []
    with duckdb.connect() as connection:
        made.create_tables(connection)
        for number in range(-400, 8):
            day = sunday + dt.timedelta(days=number)
            week = day - dt.timedelta(days=day.weekday())
            row = {"full_name": "a/b", "stars_total": 5000 + number, "repo_key": 1}
            score = {"signal_score": 50.0, "signal_rank": 1, "growth_28d_points": 40.0 + number % 7}
            made.add(connection, "fct_repo_signal_day", day=day, velocity_7d=10.0 + number % 3, **row, **score)
            connection.execute("delete from weekly_repo_trends where week = ?", [week])
            made.add(connection, "weekly_repo_trends", week=week, as_of_date=day, rank=1, **row)
            if number >= 0:
                (repository,) = read(connection).repositories
                keys.append({chart.key for chart in figures.of_repository(repository, [{"component": "growth_28d"}])})
    assert [len(drawn) for drawn in keys] == [3] * 8
    assert keys[:7] == [keys[0]] * 7  # from one Sunday to the Saturday after it
    assert not keys[7] & keys[0]  # the next Sunday completes a week


def test_every_chart_lists_its_numbers_and_uses_the_colours_of_the_page(site: Path) -> None:
    count = 0
    for page in pages(site):
        for figure in parsed(page).iter("figure"):
            svg = next(element for element in figure.iter() if str(element.tag).endswith("svg"))
            assert svg.get("role") == "img"
            assert re.search(r"\d", svg.get("aria-label", "")), page
            assert {"width", "height", "viewBox"} <= svg.attrib.keys()
            colours = {e.get(name) for e in svg.iter() for name in ("fill", "stroke") if e.get(name)}
            assert all(colour in ("none", "transparent") or "var(--" in str(colour) for colour in colours), colours
            assert len(list(one(figure, "details").iter("td"))) > 1
            count += 1
    assert count > 20


def test_the_track_record_shows_misses(site: Path) -> None:
    tree = parsed(site / "track-record.html")
    tables = {e.get("aria-label", "").removeprefix("Table: "): text_of(e) for e in with_class(tree, "scroll")}
    assert "80.0\N{NO-BREAK SPACE}%".replace("\N{NO-BREAK SPACE}", " ") in tables["Called but not passed"]
    assert "on 2026-03-02" in tables["Passed but not called"]
    assert "98 of 100" in tables["Forecasts by week"]
    assert len(list(tree.iter("figure"))) == 2


def test_languages_show_their_intervals(site: Path) -> None:
    tree = parsed(site / "languages.html")
    assert [text_of(figure) for figure in tree.iter("figcaption")] == ["Python", "Go"]
    rows = {
        text_of(one(row, "th")): [text_of(cell) for cell in row.iter("td")]
        for row in one(tree, ".//section//tbody").iter("tr")
    }
    assert rows["Python"][:3] == ["37", "74 %", "64 % to 84 %"]
    assert rows[made.SCRIPT][:3] == ["0", "0 %", "0 % to 7 %"], "none of fifty is known to be none"


def test_a_cluster_page_shows_its_origin_and_what_it_absorbed(site: Path) -> None:
    taken, split = (text_of(one(parsed(site / f"clusters/{cluster}.html"), ".//main")) for cluster in (1, 2))
    assert "growing, merged with 1" in taken
    assert "split off" not in taken
    assert "It split off another cluster." in split


def test_the_data_page_describes_every_table_and_column(built: Path, site: Path) -> None:
    tree = parsed(site / "data.html")
    text = text_of(one(tree, ".//main"))
    with duckdb.connect(str(built / "reposignal.duckdb"), read_only=True) as connection:
        columns = connection.execute(
            "select table_name, column_name from duckdb_columns() where not internal"
        ).fetchall()
    codes = {text_of(code) for code in tree.iter("code")}
    assert {name for row in columns for name in row} <= codes
    assert "Text by strangers; NULL if none." in text
    links = {link.get("href") for link in tree.iter("a")}
    assert {
        "../reposignal.duckdb",
        "../parquet/dim_repo.parquet",
        "../parquet/fct_repo_day/",
        "csv/dim_repo.csv",
    } <= links


# --- building


def test_the_same_release_gives_the_same_bytes_and_draws_nothing_twice(built: Path, tmp_path: Path) -> None:
    charts_folder = tmp_path / "charts"
    again = made.release(tmp_path / "release", charts_folder)
    files = {file.relative_to(built): file for file in (built / "site").rglob("*") if file.is_file()}
    assert files
    for path, file in files.items():
        assert (tmp_path / "release" / path).read_bytes() == file.read_bytes(), path
    (charts_folder / "left-over.svg").write_text("of a repository that has no page any more")
    (charts_folder / "killed.making").write_text("")
    third = made.release(tmp_path / "third", charts_folder)
    assert again.charts_drawn == again.charts == third.charts
    assert third.charts_drawn == 0
    assert len(list(charts_folder.iterdir())) == third.charts


def test_unchanged_files_are_linked_and_all_others_equal_a_full_build(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        made.create_tables(connection)
        made.fill_tables(connection)

        def release(name: str, former: Path | None = None) -> Path:
            (tmp_path / name).mkdir()
            sites[name] = build(connection, tmp_path / name, tmp_path / "charts", former)
            return tmp_path / name

        sites: dict[str, Site] = {}
        first = release("first")
        second = release("second", first)
        assert written(first, second) == {"index.html", "data.html", "feed.xml", "index.json"}
        assert sites["second"].files_written == 4
        assert (sites["second"].pages, sites["second"].charts) == (sites["first"].pages, sites["first"].charts)
        assert sites["second"].charts_drawn == 0

        connection.execute("update weekly_article set title = 'Corrected' where week = ?", [made.WEEKS[-2]])
        third = release("third", second)
        assert {path for path in written(second, third) if path.startswith(("weeks", "repositories"))} == {
            f"weeks/{made.WEEKS[-2]}/{name}" for name in ("index.html", "article.json")
        }
        # the page of a repository moves, and so do the links of weeks in which nothing else changed
        connection.execute("update fct_repo_signal_day set full_name = 'moved/chitu' where repo_key = 11")
        fourth = release("fourth", third)
        assert f"{WEEK}/index.html" in written(third, fourth)
        assert f"{WEEK}/article.json" not in written(third, fourth)
        assert contents(release("alone")) == contents(fourth)


def written(former: Path, release: Path) -> set[str]:
    """Return the files of a site that are not those of the previous one."""
    files = {file.relative_to(release / "site") for file in (release / "site").rglob("*") if file.is_file()}
    return {
        str(path)
        for path in files
        if not (former / "site" / path).exists() or not (former / "site" / path).samefile(release / "site" / path)
    }


def contents(release: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(release)): file.read_bytes() for file in (release / "site").rglob("*") if file.is_file()
    }


def test_many_charts_are_drawn_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "WORTH_A_POOL", 2)
    week = made.WEEKS[0]
    wanted = [
        charts.over_time("Stars", "1", {"stars": [(week, float(number)), (made.WEEKS[1], 5.0)]}, form="~s")
        for number in range(3)
    ]
    gallery = charts.Gallery(tmp_path / "charts")
    gallery.draw(wanted)
    assert gallery.drawn == 3
    assert [str(gallery.svg(chart)).startswith('<svg role="img" aria-label="Stars. 1"') for chart in wanted] == [
        True
    ] * 3


def test_text_in_a_drawing_is_escaped(tmp_path: Path) -> None:
    rows = [{"name": f'{made.SCRIPT}" role="x', "share": 0.2, "low": 0.1, "high": 0.3}]
    gallery = charts.Gallery(tmp_path / "charts")
    chart = charts.intervals(made.SCRIPT, made.SCRIPT, rows, "language")
    gallery.draw([chart])
    svg = ET.fromstring(str(gallery.svg(chart)).replace("&nbsp;", " "))
    assert [element.tag for element in svg.iter() if "script" in str(element.tag)] == []
    assert svg.get("aria-label") == f"{made.SCRIPT}. {made.SCRIPT}"
    assert any(made.SCRIPT in (element.text or "") for element in svg.iter())


def test_a_number_between_two_gaps_is_a_point() -> None:
    points = [(week, value) for week, value in zip(made.WEEKS, [1.0, None, 5.0, None, 2.0, 3.0], strict=False)]
    chart = charts.over_time("Stars", "1", {"stars": points}, form="~s")
    rows = chart.spec["datasets"]["rows"]
    assert [row["alone"] for row in rows] == [True, False, True, False, False, False]


@pytest.mark.parametrize("articles", [True, False])
def test_a_home_without_weeks_has_an_honest_site(tmp_path: Path, articles: bool) -> None:
    with duckdb.connect() as connection:
        if articles:
            made.create_tables(connection)  # and no rows
        site = build(connection, tmp_path, tmp_path / "charts")
    assert site.charts == 0
    for page in pages(tmp_path / "site"):
        parsed(page)
    assert "No week has been built yet" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "No forecast is due yet" in (tmp_path / "site" / "track-record.html").read_text(encoding="utf-8")
    feed = ET.fromstring((tmp_path / "site" / "feed.xml").read_bytes())
    assert feed.findall(f"{ATOM}entry") == []


def test_a_week_without_an_article_shows_its_tables(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        made.create_tables(connection)
        made.fill_tables(connection)
        connection.execute("drop table weekly_article; drop table fct_article_claim; drop table fct_cluster_week")
        build(connection, tmp_path, tmp_path / "charts")
    tree = parsed(tmp_path / "site" / WEEK / "index.html")
    text = text_of(one(tree, ".//main"))
    assert "There is no article for this week" in text
    assert "thu-pacman/chitu" in text
    assert not (tmp_path / "site" / WEEK / "article.md").exists()


def test_a_week_in_which_nothing_was_read_has_its_page(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        made.create_tables(connection)
        connection.execute(
            "insert into weekly_article (week, title, summary, document) values (?, 'Nothing', 'Nothing.', ?)",
            [made.WEEKS[0], json.dumps({"sections": []})],
        )
        build(connection, tmp_path, tmp_path / "charts")
    assert "Nothing." in text_of(parsed(tmp_path / "site" / f"weeks/{made.WEEKS[0]}/index.html"))
    assert ET.fromstring((tmp_path / "site" / "feed.xml").read_bytes()).find(f"{ATOM}entry") is not None


def test_a_large_table_is_written_as_its_newest_day(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "create table fct_long as"
            f" select date '2026-01-01' + (i // 9)::int as day, i from range({CSV_ROWS + 5}) t(i)"
        )
        connection.execute(f"create table dim_long as select i from range({CSV_ROWS + 1}) t(i)")
        build(connection, tmp_path, tmp_path / "charts")
    lines = (tmp_path / "site" / "csv" / "fct_long.csv").read_text().splitlines()
    assert 2 <= len(lines) <= 10
    assert not (tmp_path / "site" / "csv" / "dim_long.csv").exists()
    assert "the newest day" in text_of(parsed(tmp_path / "site" / "data.html"))


def test_pages_cover_named_repositories_then_breakouts_then_the_highest(built: Path) -> None:
    with duckdb.connect(str(built / "reposignal.duckdb"), read_only=True) as connection:
        contents = read(connection)
    keys = [one.repo_key for one in contents.repositories]
    assert keys[:2] == [made.BREAKING, 11]
    assert set(keys) == {key for key, *_ in made.REPOSITORIES}


def ranking_of(page: Path) -> dict[str, dict[str, str]]:
    """Return link -> rank and cells by column of the ranking of a page."""
    (table,) = [table for table in parsed(page).iter("table") if "ranking" in (table.get("class") or "").split()]
    found = {}
    for row in table.iter("tr"):
        cells = {cell.get("data-label"): text_of(cell) for cell in row.iter("td") if cell.get("data-label")}
        if cells:
            (link,) = row.iter("a")
            found[(page.parent / link.get("href")).resolve().name] = cells | {"rank": text_of(next(row.iter("td")))}
    return found


def test_a_repository_has_the_same_numbers_on_every_page(built: Path) -> None:
    site = built / "site"
    newest = max((site / "weeks").iterdir()) / "index.html"
    front, week = ranking_of(site / "index.html"), ranking_of(newest)
    assert len(front) >= 3
    assert {name: week[name] for name in front} == front
    for name, cells in front.items():
        tiles = {
            text_of(name_of).partition(",")[0]: text_of(value)
            for name_of, value in next(parsed(site / "repositories" / name).iter("dl"))
        }
        assert tiles["Stars"] == cells["Stars"], name
        assert tiles["Signal score"].split() == [cells["Score"], "rank", cells["rank"]], name


def test_what_a_chart_shows_is_rounded_alike(built: Path) -> None:
    with duckdb.connect(str(built / "reposignal.duckdb"), read_only=True) as connection:
        contents = read(connection)
    chart = figures.of_languages_of(contents.weeks[0])
    assert chart
    assert chart.text.startswith("Python leads with 74\N{NO-BREAK SPACE}% of the top 50")


def test_a_language_leads_only_if_no_other_interval_reaches_its_own(built: Path) -> None:
    with duckdb.connect(str(built / "reposignal.duckdb"), read_only=True) as connection:
        week = read(connection).weeks[0]
    week.languages[0]["share_low"] = week.languages[1]["share_high"]
    chart = figures.of_languages_of(week)
    assert chart
    assert chart.text.startswith("Python has the largest share, but no clear lead: 74\N{NO-BREAK SPACE}% of the top 50")


def test_shares_break_where_the_repositories_behind_the_top_50_change(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "marts.duckdb"
    copyfile(built / "reposignal.duckdb", copy)
    copy.chmod(0o644)
    with duckdb.connect(str(copy)) as connection:
        (weeks,) = connection.execute("select list(distinct week order by week) from weekly_repo_trends").fetchall()[0]
        for one, chart in figures.of_languages(read(connection).languages):
            assert {row["ground"] for row in one.shares} == {0}
            assert "chosen among other" not in chart.text
        changed = weeks[-2]
        connection.execute("update weekly_repo_trends set is_tracked = true where week >= ?", [changed])
        charts = figures.of_languages(read(connection).languages)
    assert charts
    for one, chart in charts:
        assert [row["week"] for row in one.shares if row["ground"] == 1] == [changed, weeks[-1]]
        since = f"Since {changed:%-d %B %Y} the top 50 are chosen among other repositories than before."
        assert chart.text.endswith(since)
        assert [row["week"] for row in chart.spec["datasets"]["rows"] if row["breaks"]] == [str(changed)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, numerals.UNKNOWN),
        (0.0004, "under 0.1\xa0%"),
        (0.0, "under 0.1\xa0%"),
        (0.9999, "over 99.9\xa0%"),
        (0.123, "12.3\xa0%"),
    ],
)
def test_a_small_probability_is_not_shown_as_zero(value: float | None, shown: str) -> None:
    assert numerals.probability(value) == shown


def test_a_change_has_a_sign_and_zero_has_none() -> None:
    dash = numerals.UNKNOWN
    changes = [numerals.signed(value) for value in (3, -3, 0, None, float("nan"))]
    assert changes == ["+3", "\N{MINUS SIGN}3", "0", dash, dash]


# --- the release and the server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", profile=Profile.LOCAL, rankings_base="")
    settings.warehouse_dir.mkdir(parents=True)
    with Warehouse(settings).connected() as connection:
        made.create_tables(connection)
        made.fill_tables(connection)
    return settings


def test_a_release_holds_its_site(settings: Settings) -> None:
    first = publish(Warehouse(settings), "one")
    index = settings.published_dir / "site" / "index.html"
    assert index.is_file()
    assert first.site.charts_drawn > 0
    second = publish(Warehouse(settings), "two")
    assert second.site.charts_drawn == 0
    assert index.resolve().is_relative_to(second.path)


def test_a_site_is_current_until_marts_templates_or_address_change(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_current(settings), "nothing is published"
    warehouse = Warehouse(settings)
    publish(warehouse, "one")
    assert is_current(settings)
    assert not is_current(replace(settings, site_url=SITE_URL))
    assert not is_current(replace(settings, lake=LakeSettings("postgresql://host/lake", "/data", {})))
    with monkeypatch.context() as patched:
        patched.setattr(site_pages, "EDITION", "another")
        assert not is_current(settings)
    with warehouse.connected() as connection:
        connection.execute("update weekly_article set title = 'Corrected'")
    assert not is_current(settings)
    publish(warehouse, "two")
    assert is_current(settings)
    (settings.published_dir / ".marts.json").unlink()
    assert not is_current(settings), "a release of an earlier version"


def test_the_address_of_the_settings_is_that_of_the_site(settings: Settings) -> None:
    publish(Warehouse(replace(settings, site_url=SITE_URL)), "one")
    assert about(settings.published_dir / "site" / "index.html")["canonical"] == f"{SITE_URL}index.html"


def test_the_server_shows_the_release_that_is_current(settings: Settings) -> None:
    served = server(settings, 0)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}"
    try:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/site/index.html")
        for name in ("one", "two"):
            publish(Warehouse(settings), name)
            (settings.published_dir / "site" / "edition.md").write_text(name)
            with urllib.request.urlopen(f"{address}/site/edition.md") as answer:
                assert answer.read().decode() == name
                assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
        with urllib.request.urlopen(address) as answer:
            assert answer.url == f"{address}/site/"
        with urllib.request.urlopen(f"{address}/parquet/dim_repo.parquet") as answer:
            assert answer.read(4) == b"PAR1"
    finally:
        served.shutdown()
        served.server_close()


def test_a_taken_port_is_reported_in_one_line_before_anything_is_built(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        started = time.monotonic()
        assert main(["site", "--serve", str(taken.getsockname()[1])]) == 1
    assert time.monotonic() - started < 5
    error = capsys.readouterr().err
    assert error.startswith("reposignal: port ")
    assert len(error.splitlines()) == 1
    assert not (home / "releases").exists()


@pytest.mark.parametrize("port", ["-1", "65536", "x", ""])
def test_an_invalid_port_is_wrong_usage(home: Path, port: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["site", "--serve", port])
    assert ended.value.code == 2
