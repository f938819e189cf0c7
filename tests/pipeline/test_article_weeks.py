"""The articles of the sample: every claim of every week, the week of 2026-02-23, and a week written twice."""

import datetime as dt
import json
import math
from pathlib import Path
from shutil import copyfile

import dagster as dg
import duckdb
import pytest
from markdown_it import MarkdownIt

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.defs.article import newest_article, untrue, write_weeks
from reposignal_pipeline.publishing.article import plain
from tests.pipeline.homes import Home

WEEK = dt.date(2026, 2, 23)


def text_of(home: Home, section: str, week: dt.date = WEEK) -> str:
    """Return a section of an article as a reader sees it."""
    ((document,),) = home.query(f"select document from weekly_article where week = '{week}'")
    (blocks,) = [part["blocks"] for part in json.loads(str(document))["sections"] if part["key"] == section]
    return "\n".join(plain(sentence["parts"]) for block in blocks for sentence in block["sentences"])


def test_every_claim_of_every_week_is_what_its_query_returns(demo: Home) -> None:
    claims = demo.query("select week, claim, sql_text, value from fct_article_claim order by week, sentence")
    assert len({week for week, *_ in claims}) == 19
    assert len(claims) > 1_500
    with duckdb.connect(str(demo.published), read_only=True) as connection:
        for week, claim, sql, value in claims:
            ((found,),) = connection.execute(str(sql)).fetchall()
            assert math.isclose(found, float(str(value))), (week, claim, sql)


def test_every_number_of_a_sentence_is_a_claim_and_every_claim_is_in_its_sentence(demo: Home) -> None:
    claims = {
        (week, claim): text for week, claim, text in demo.query("select week, claim, shown from fct_article_claim")
    }
    shown = {
        (week, part["number"]): part["shown"]
        for week, document in demo.query("select week, document from weekly_article")
        for section in json.loads(str(document))["sections"]
        for block in section["blocks"]
        for sentence in block["sentences"]
        for part in sentence["parts"]
        if "number" in part
    }
    assert shown == claims
    assert demo.query("select week, claim from fct_article_claim where not contains(text, shown)") == []
    assert (
        demo.query(
            """
            select week from weekly_article
            left join (select week, count(*) as claims from fct_article_claim group by week) using (week)
            where numbers <> coalesce(claims, 0)
            """
        )
        == []
    )


# The statements of the article of 2026-02-27, as far as the sample contains them; rules selected them, not fixed names.
SAID = {
    "languages": [
        "This section covers the 50 repositories tracked on GitHub",
        "Python: 20, which is 40 % (28 to 54 %)",
        "TypeScript: 13, which is 26 % (16 to 40 %)",
        "Go: 8, which is 16 % (8 to 29 %)",
        "Rust: 5, which is 10 % (4 to 21 %)",
        "C, C++, Java and Shell have 1 each.",
        *("linkedin/Liger-Kernel", "ItzCrazyKns/Perplexica", "hyperbrowserai/HyperAgent"),
        *("launchbadge/sqlx", "TimmyOVO/deepseek-ocr.rs", "nervosnetwork/ckb"),
        "Rust: 5 repositories in 5 verticals",
        *("blockchain (nervosnetwork/ckb)", "computer vision (TimmyOVO/deepseek-ocr.rs)"),
    ],
    "clusters": ["agents", "hyperbrowserai/HyperAgent"],
    "growers": ["fatedier/frp", "gains 28.4 stars a day and has 104,480"],
    "calls": [
        "thu-pacman/chitu",
        "gained 513 stars in a day, read on 27 February 2026",
        "raises its pace to 67.7 a day over 7.9 days",
        "It has 2,846",
        "to pass 5,000 stars within 42 days",
        "to pass 10,000.",
    ],
    "grades": ["240 forecasts of 12 January 2026 were due"],
    "coverage": ["The last reading of the week is from Friday, 27 February 2026"],
}


@pytest.mark.parametrize("section", SAID)
def test_the_week_of_the_article_repeats_the_article(demo: Home, section: str) -> None:
    text = text_of(demo, section)
    assert [words for words in SAID[section] if words not in text] == [], text


def test_each_name_has_its_language(demo: Home) -> None:
    languages = text_of(demo, "languages")
    python, others = languages.split("Python: 20")[1].split("TypeScript: 13")
    typescript, others = others.split("Go: 8")
    rust = others.split("Rust: 5")[1].split("\n")[0]
    assert "linkedin/Liger-Kernel" in python
    assert all(name in typescript for name in ("ItzCrazyKns/Perplexica", "hyperbrowserai/HyperAgent"))
    assert all(name in rust for name in ("launchbadge/sqlx", "TimmyOVO/deepseek-ocr.rs", "nervosnetwork/ckb"))


def test_a_week_written_again_is_the_same(demo: Home, tmp_path: Path) -> None:
    copy = tmp_path / "marts.duckdb"
    copyfile(demo.published, copy)
    copy.chmod(0o644)
    rows = "select columns(lambda name: name <> 'run_id')::varchar from {} order by all"
    with duckdb.connect(str(copy)) as connection:
        before = {
            table: connection.execute(rows.format(table)).fetchall()
            for table in ("weekly_article", "fct_article_claim")
        }
        for first, last in ((WEEK, WEEK), (WEEK - dt.timedelta(weeks=30), WEEK)):
            write_weeks(connection, first, last, "again")
            after = {table: connection.execute(rows.format(table)).fetchall() for table in before}
            assert after == before
        assert connection.execute("select distinct run_id from weekly_article").fetchall() == [("again",)]


def test_the_ui_shows_the_text_of_the_newest_article_and_leads_to_its_page(demo: Home) -> None:
    with dg.DagsterInstance.from_config(str(demo.path / "dagster")) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("weekly_article"))
    assert event is not None and event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    ((markdown,),) = demo.query(f"select markdown from weekly_article where week = '{WEEK}'")
    shown = str(metadata["article"].value)
    assert isinstance(metadata["article"], dg.MarkdownMetadataValue)
    assert str(markdown).startswith(shown)
    assert "## The contrarian take" in shown and "Queries" not in shown and "select" not in shown
    page = Path(str(metadata["page"].value))
    assert page.parts[-4:] == ("site", "weeks", str(WEEK), "index.html")


def test_with_an_address_the_ui_links_the_page_on_the_web(demo: Home) -> None:
    settings = Settings(demo.path, Profile.DEMO, "", site_url="https://example.org/trends/")
    with duckdb.connect(str(demo.published), read_only=True) as connection:
        shown = newest_article(connection, WEEK - dt.timedelta(weeks=1), WEEK, settings)
        assert newest_article(connection, dt.date(2000, 1, 3), dt.date(2000, 1, 3), settings) == {}
    assert shown["page"] == dg.MetadataValue.url(f"https://example.org/trends/weeks/{WEEK}/index.html")


def test_a_claim_that_does_not_hold_is_found(demo: Home, tmp_path: Path) -> None:
    copy = tmp_path / "marts.duckdb"
    copyfile(demo.published, copy)
    copy.chmod(0o644)
    with duckdb.connect(str(copy)) as connection:
        assert list(untrue(connection, WEEK, WEEK)) == []
        claim = connection.execute(f"select min(claim) from fct_article_claim where week = '{WEEK}'").fetchall()[0][0]
        connection.execute(
            "update fct_article_claim set value = value + 1 where week = ? and claim = ?", [str(WEEK), claim]
        )
        (wrong,) = untrue(connection, WEEK, WEEK)
        assert wrong.startswith(f"2026-02-23 {claim}:")


def test_hostile_names_and_descriptions_are_text(demo: Home) -> None:
    markdown = MarkdownIt("commonmark", {"html": True})
    for week, text in demo.query("select week, markdown from weekly_article"):
        tokens = [child for token in markdown.parse(str(text)) for child in [token, *(token.children or [])]]
        assert [token.content for token in tokens if token.type.startswith("html")] == [], week
    assert demo.query("select week from weekly_article where contains(markdown, '\\<script')") != []  # escaped, as text
    assert (
        demo.query(
            "select week from weekly_article where regexp_matches(title || summary || markdown, '[\u202a-\u202e]')"
        )
        == []
    )
