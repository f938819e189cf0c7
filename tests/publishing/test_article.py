"""The article: no number without its query, no stranger's text as markup, and prose that also works in thin weeks."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile
from typing import Any

import duckdb
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from reposignal_pipeline.analysis.clusters import CLUSTER_TABLES
from reposignal_pipeline.analysis.forecast import BREAKOUTS, FORECASTS, OUTCOMES
from reposignal_pipeline.analysis.weekly import (
    LANGUAGE_TRENDS,
    REPO_TRENDS,
    WeeklyTable,
    language_trends,
    repo_trends,
)
from reposignal_pipeline.defs.article import untrue, write_weeks
from reposignal_pipeline.defs.trends import CLOSINGS
from reposignal_pipeline.publishing import article, numbers
from reposignal_pipeline.publishing.article import Article, Language, Number, ProseError, Repo, Term, written
from reposignal_pipeline.publishing.findings import findings
from reposignal_pipeline.warehouse import append_rows, replace_weeks

FIRST = dt.date(2024, 1, 1)  # a Monday
WEEK = FIRST + dt.timedelta(weeks=9)
LAST = WEEK + dt.timedelta(days=6)
REPOS = 60
BURST = 7
"""the repository whose last day of the week is exceptional"""
HOSTILE = {
    1: "<script>alert(1)</script>/x",
    2: "[click](javascript:alert(1))/`x`",
    3: "-_*bold*_/www.example.com",
    4: "a'; drop table weekly_article; --/\u202etxt\n# heading",
    5: "# x/" + "\N{ROCKET}" * 10_000,
}

_MARTS = f"""
    create table fct_repo_signal_day as
    select
        day::date as day,
        repo_key,
        coalesce(names.name, 'owner/repo' || repo_key) as full_name,
        ['C', 'Go', 'Rust', 'C''s <b>', null][1 + repo_key % 5] as language,
        (1000 * repo_key + repo_key * (day::date - date '{FIRST}'))::bigint as stars_total,
        case when repo_key = {BURST} and day::date = date '{LAST}' then 400.0 else repo_key end::double as velocity_24h,
        case when day::date >= date '{FIRST}' + 7 then repo_key end::double as velocity_7d,
        case when day::date >= date '{FIRST}' + 28 then repo_key end::double as velocity_28d,
        case when velocity_7d is not null then 'net_change' end as velocity_7d_basis,
        case when velocity_7d is not null then 7.0 end::double as velocity_7d_days,
        velocity_7d * 7 / (stars_total - 7 * repo_key) as growth_7d,
        velocity_28d * 28 / (stars_total - 28 * repo_key) as growth_28d,
        growth_28d as growth_year,
        repo_key::double as expected_change,
        case when velocity_24h = 400 then 9.0 else 0.1 end as surprise,
        0.5 as persistence,
        case when repo_key = 60 then 'review' else 'ok' end as authenticity,
        case when velocity_28d is not null then 100.0 - repo_key end as signal_score,
        case when velocity_28d is not null then false end as is_breakout
    from (select range as repo_key from range(1, {REPOS} + 1)) as repos
    cross join range(date '{FIRST}', date '{LAST}' + 1, interval 1 day) as days (day)
    left join names using (repo_key);
    create table fct_repo_day as
    select day, repo_key, 'rankings' as source, []::varchar[] as dq_flags from fct_repo_signal_day;
    create table fct_language_reach_day (
        day date, language varchar, vertical_basis varchar, repos_in_verticals bigint, verticals bigint,
        verticals_colonised bigint, verticals_colonised_28d_before bigint
    );
    create table fct_language_vertical_day (
        day date, language varchar, vertical_basis varchar, vertical varchar, cluster integer, repos bigint, rca double
    );
    create table dim_repo (
        repo_key bigint, topics varchar[], description varchar, valid_from date, valid_to date
    );
    create table dim_topic_vertical (topic varchar, vertical varchar);
    create table dim_universe (repo_key bigint);
    create table ops_source_coverage as
    select distinct 'rankings' as source, day, 'observed' as status from fct_repo_day;
"""


class World:
    """A small warehouse of ten weeks."""

    def __init__(self, path: Path) -> None:
        self.connection = duckdb.connect(str(path))

    def fill(self) -> None:
        self.sql("create table names (repo_key bigint, name varchar)")
        self.connection.executemany("insert into names values (?, ?)", list(HOSTILE.items()))
        self.sql(_MARTS)
        for table in (FORECASTS, OUTCOMES, BREAKOUTS, *CLUSTER_TABLES):
            append_rows(self.connection, table)
        self.count_weeks()

    def sql(self, sql: str) -> None:
        self.connection.execute(sql)

    def count_weeks(self) -> None:
        """Rebuild the weekly tables from the current days."""
        closings = self.connection.execute(CLOSINGS, {"first": FIRST, "last": LAST + dt.timedelta(days=70)}).df()
        closings["language"] = closings["language"].replace("", None)
        repos = repo_trends(closings)
        for table, rows in ((REPO_TRENDS, repos), (LANGUAGE_TRENDS, language_trends(repos))):
            replace_weeks(self.connection, table, rows, FIRST, LAST + dt.timedelta(days=70))

    def insert(self, table: WeeklyTable, **values: object) -> None:
        row = pd.DataFrame([values])
        self.connection.register("new_row", row)
        self.sql(f"insert into {table.name} by name from new_row")
        self.connection.unregister("new_row")

    def forecast(
        self, repo_key: int, week: dt.date, probability: float, threshold: int = 10_000, **more: object
    ) -> str:
        issued = week + dt.timedelta(days=7)
        name = f"{issued}/{repo_key}/{threshold}"
        row: dict[str, object] = {
            "forecast_id": name, "issued_on": issued, "week": week, "repo_key": repo_key, "full_name": f"x/y{repo_key}",
            "threshold": threshold, "horizon_days": 42, "due_on": issued + dt.timedelta(days=42),
            "event": "stars_threshold", "probability": probability, "stars_total": threshold // 2,
            "model_version": "forecast-9", "is_backtest": False,
        }  # fmt: skip
        self.insert(FORECASTS, **(row | more))
        return name

    def outcome(self, forecast: str, happened: bool, resolved_on: dt.date, probability: float) -> None:
        self.insert(
            OUTCOMES, forecast_id=forecast, happened=happened, resolved_on=resolved_on, is_scored=True,
            crossed_on=resolved_on if happened else None, brier=(probability - happened) ** 2,
        )  # fmt: skip

    def written(self, week: dt.date = WEEK) -> Article:
        """Return the article of a week, after checking everything that must hold for any article."""
        as_of, facts = findings(self.connection, week)
        found = written(week, as_of, facts)
        for claim in found.claims:
            assert self.connection.execute(claim["sql_text"]).fetchall() == [(claim["value"],)], claim
            assert claim["shown"] in claim["text"]
        assert len({claim["claim"] for claim in found.claims}) == len(found.claims)
        sentences = sentences_of(found)
        for number, text in enumerate(sentences.values(), 1):
            assert re.fullmatch(r"[^\s].*[.:]", text), text
            assert "  " not in text and " ." not in text and " ," not in text, text
            assert not re.search(r"\bNone\b|\bnan\b|\bTrue\b|[\U000f0000-\U000ffffd]", text), text
            assert number in sentences
        return found


def sentences_of(found: Article) -> dict[int, str]:
    return {
        sentence["id"]: article.plain(sentence["parts"])
        for section in found.document["sections"]
        for block in section["blocks"]
        for sentence in block["sentences"]
    }


def section(found: Article, key: str) -> str:
    (blocks,) = [part["blocks"] for part in found.document["sections"] if part["key"] == key]
    return " ".join(article.plain(sentence["parts"]) for block in blocks for sentence in block["sentences"])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world") / "marts.duckdb"
    made = World(path)
    made.fill()
    made.connection.close()
    return path


@pytest.fixture
def world(filled: Path, tmp_path: Path) -> Iterator[World]:
    made = World(copyfile(filled, tmp_path / "marts.duckdb"))
    yield made
    made.connection.close()


# --- prose


def prose(template: str, **facts: Any) -> Article:
    """Return an article from a template with one section."""
    markers = article._Markers()
    environment = markers.environment()
    text = environment.from_string(f"# title\n## summary | Summary\n{template}").render(facts)
    _, sections = article._parsed(text, markers.parts)
    ((_, _, blocks),) = sections
    return [article._shown(sentence, "summary.1") for _, sentences in blocks for sentence in sentences]  # type: ignore[return-value]


NUMBER = Number("share", "select 0.4", 0.4, "40 %")


@pytest.mark.parametrize("template", ["About 50 of them.", "Half (½) of them.", "Section Ⅻ.", "{{ n }} of 50."])
def test_a_digit_without_a_query_is_an_error(template: str) -> None:
    with pytest.raises(ProseError, match="a number without a query"):
        prose(template, n=NUMBER)


@pytest.mark.parametrize("value", ["<b>", "40", 40, 0.4, None, ["x"], "a\u202eb"])
def test_only_objects_with_a_query_and_words_of_the_template_enter(value: object) -> None:
    with pytest.raises(ProseError, match="neither a word"):
        prose("It is {{ value }}.", value=value)


def test_an_unknown_variable_is_an_error() -> None:
    from jinja2 import UndefinedError

    with pytest.raises((ProseError, UndefinedError)):
        prose("It is {{ nobody.knows }}.")


def test_a_sentence_has_an_end() -> None:
    with pytest.raises(ProseError, match="without an end"):
        prose("It goes on")


def test_parts_keep_their_order_and_the_spaces_between_them() -> None:
    ((shown, numbers),) = prose(
        "{{ repo }} has {{ n }} ({{ n }}), {{ all | listed }}.",
        repo=Repo(7, "a/b"), n=NUMBER, all=[Language("C"), Term("x y"), dt.date(2024, 1, 2)],
    )  # type: ignore[misc]  # fmt: skip
    assert shown == [
        {"repo": 7, "name": "a/b"},
        {"text": " has "},
        {"number": "summary.1.share", "shown": "40 %"},
        {"text": " ("},
        {"number": "summary.1.share_2", "shown": "40 %"},
        {"text": "), "},
        {"language": "C"},
        {"text": ", "},
        {"text": "x y"},
        {"text": " and "},
        {"day": "2024-01-02"},
        {"text": "."},
    ]
    assert [claim for claim, _ in numbers] == ["summary.1.share", "summary.1.share_2"]
    assert article.plain(shown) == "a/b has 40 % (40 %), C, x y and 2 January 2024."


@pytest.mark.parametrize(
    ("form", "value", "shown"),
    [
        (article.count, 1234.0, "1,234"),
        (article.count, -3, "\N{MINUS SIGN}3"),
        (article.count_or_none, 0, "none"),
        (article.decimal, 28.384, "28.4"),
        (article.decimal, 0.335, "0.34"),
        (article.decimal, 2044.6, "2,045"),
        (article.percent, 0.4, "40 %"),
        (article.percent, 0.0767, "7.7 %"),
        (article.percent, 0.0999, "10 %"),
        (article.percent, 0.00767, "0.77 %"),
        (article.percent, 0.0, "0 %"),
        (article.percent, -0.031, "\N{MINUS SIGN}3.1 %"),
        (article.bare_percent, 0.0434, "4"),
        (article.whole_percent, 0.2136, "21 %"),
        (numbers.probability, 0.0964, "9.6 %"),
        (numbers.probability, 0.4562, "45.6 %"),
        (numbers.probability, 0.0004, "under 0.1 %"),
        (numbers.probability, 0.9996, "over 99.9 %"),
        (numbers.probability, 0.9899, "99.0 %"),
    ],
)
def test_numbers_are_written_with_their_known_digits(form: Any, value: float, shown: str) -> None:
    assert form(value) == shown


# --- weeks


def test_a_full_week_covers_everything(world: World) -> None:
    world.sql(f"update fct_repo_signal_day set is_breakout = true where repo_key = 20 and day > date '{LAST}' - 3")
    world.sql("update fct_repo_signal_day set velocity_24h = 300 where repo_key = 20 and is_breakout")
    world.count_weeks()
    world.insert(BREAKOUTS, week=WEEK, repo_key=20, full_name="owner/repo20", first_flagged_on=LAST, days_flagged=3)
    words = "An *unbreakable* <b>store</b> for 42 nodes."
    world.sql(f"insert into dim_repo values (20, [], '{words}', date '{WEEK}', null)")
    world.forecast(20, WEEK, 0.3)
    world.forecast(21, WEEK, 0.7)
    world.forecast(BURST, WEEK, 0.2)
    world.forecast(BURST, WEEK, 0.004, threshold=20_000, event="further_stars_threshold")
    world.forecast(30, WEEK, 0.5, threshold=20_000)
    before = WEEK - dt.timedelta(weeks=7)
    for key, probability, happened in ((20, 0.8, True), (21, 0.9, False), (22, 0.05, True)):
        world.outcome(world.forecast(key, before, probability), happened, WEEK, probability)
    world.insert(
        BREAKOUTS,
        week=before,
        repo_key=20,
        full_name="x",
        forecast_id=f"{before + dt.timedelta(days=7)}/20/10000",
        rank=1,
    )
    found = world.written()
    assert "broke out on 10 March 2024: 300 stars in a day" in section(found, "calls")
    assert "owner/repo7 gained 400 stars in a day, read on 10 March 2024, 7.0 expected" in section(found, "calls")
    assert (
        "the model gives it 20.0 % to pass 10,000 stars within 42 days, by 22 April 2024, and 0.4 % to pass 20,000."
        in section(found, "calls")
    )
    assert "the model forecast the next threshold of 4 repositories" in section(found, "calls")
    assert "x/y21, at 5,000: 70.0 % to pass 10,000 stars by 22 April 2024" in section(found, "calls")
    grades = section(found, "grades")
    assert "3 forecasts of 22 January 2024 were due: 2 passed their thresholds, 1.8 expected" in grades
    assert "Of 2 calls, which are forecasts at even odds or better, 1 came true" in grades
    assert "Called and passed, from farthest away: x/y20 (80.0 % for 10,000, passed by 4 March 2024)" in grades
    assert "Called and not passed: x/y21 (90.0 % for 10,000)" in grades
    assert "Passed and not foreseen: x/y22 (5.0 % for 10,000" in grades
    assert "was breaking out in the week of 15 January 2024" in grades
    assert "owner/repo60 is number 1 by stars gained, with 420, but its stars are under review" in section(
        found, "contrary"
    )
    # five languages have ten repositories each: their intervals overlap, so there is no order
    assert found.title == "owner/repo20 breaks out: the week to 10 March 2024"
    assert found.summary == (
        "owner/repo20, \u201cAn *unbreakable* <b>store</b> for 42 nodes\u201d, broke out: 300 stars in a day,"
        " 20.0 expected."
        " It gained 140 of the 12,810 stars of the week."
        " The model gives owner/repo20 30.0 % to pass 10,000 stars within 42 days, by 22 April 2024."
        " Of 2 calls due this week, 1 came true."
        " No language leads the 50 repositories with the highest scores: C and C's <b> tie at 10."
    )
    assert (
        "owner/repo20, \u201cAn \\*unbreakable\\* \\<b\\>store\\</b\\> for 42 nodes\u201d, broke out" in found.markdown
    )


def test_a_first_week_states_that_it_has_no_scores(world: World) -> None:
    found = world.written(FIRST)
    assert found.title == "Readings without scores: the week to 7 January 2024"
    assert "60 repositories were read, and none has a score yet" in found.summary
    assert "no language leads" in section(found, "languages")
    assert "No forecasts were issued" in section(found, "calls")
    assert "No forecast was due this week" in section(found, "grades")
    assert "Of 60 repositories, none have a score" in section(found, "coverage")


def test_a_week_without_readings_states_only_that(world: World) -> None:
    after = WEEK + dt.timedelta(weeks=1)
    world.sql(f"insert into ops_source_coverage values ('rankings', date '{after}', 'missing')")
    world.sql(f"insert into ops_source_coverage values ('rankings', date '{after}' + 1, 'missing')")
    found = world.written(after)
    assert found.claims == [] and found.document["as_of_date"] is None
    assert section(found, "coverage") == "The ranking files were never published from 11 March 2024 to 12 March 2024."


def test_an_unfinished_week_states_it_and_names_its_gaps(world: World) -> None:
    for table in ("fct_repo_signal_day", "fct_repo_day"):
        world.sql(f"delete from {table} where day > date '{WEEK}' + 4 or day = date '{WEEK}' + 1")
    world.sql(f"update ops_source_coverage set status = 'refused' where day = date '{WEEK}' + 1")
    world.connection.execute("delete from weekly_repo_trends")
    world.count_weeks()
    coverage = section(world.written(), "coverage")
    assert coverage.startswith("The last reading of the week is from Friday, 8 March 2024;")
    assert "The ranking files were refused on 5 March 2024." in coverage


def test_one_language_and_one_repository_read_well(world: World) -> None:
    for table in ("fct_repo_signal_day", "fct_repo_day"):
        world.sql(f"delete from {table} where repo_key <> 10")
    world.sql("delete from weekly_repo_trends; delete from weekly_language_trends")
    world.count_weeks()
    world.forecast(10, WEEK, 0.5)
    found = world.written()
    assert "C has 1" in section(found, "languages")
    assert "the model forecast the next threshold of 1 repository;" in section(found, "calls")
    assert "popularity and signal do not differ much" in section(found, "contrary")


def test_repositories_without_a_language_are_named_as_such(world: World) -> None:
    world.sql("update fct_repo_signal_day set language = null")
    world.sql("delete from weekly_language_trends")
    world.count_weeks()
    found = world.written()
    assert found.summary.endswith("Of the 50 repositories with the highest scores, 50 have no language.")
    assert '"language":"none"' not in article.as_json(found.document)


def test_tracked_repositories_come_first(world: World) -> None:
    world.sql(
        f"update fct_repo_day set source = 'repositories' where repo_key in (10, 20, 59) and day >= date '{WEEK}'"
    )
    world.count_weeks()
    world.sql("insert into dim_topic_vertical values ('db', 'data_platforms')")
    world.sql(f"insert into dim_repo select unnest([10, 20, 59]), ['db'], null, date '{WEEK}', null")
    world.sql(f"insert into fct_language_reach_day values (date '{LAST}', 'C', 'curated', 3, 1, 1, 0)")
    world.sql(f"insert into fct_language_reach_day values (date '{LAST}', 'C', 'cluster', 3, 2, 1, null)")
    for basis, vertical, cluster in (("curated", "data_platforms", "null"), ("cluster", "sql · engine", "4")):
        world.sql(
            "insert into fct_language_vertical_day values"
            f" (date '{LAST}', 'C', '{basis}', '{vertical}', {cluster}, 3, 2.0)"
        )
    found = world.written()
    languages = section(found, "languages")
    assert "This section covers the 3 repositories tracked on GitHub" in languages
    assert "C: 2, which is 67 % (21 to 94 %); by score: owner/repo10 and owner/repo20." in languages
    assert (
        "it colonises 1 (data platforms), compared with none four weeks before; by name: data platforms"
        " (owner/repo10 and owner/repo20)" in languages
    )
    assert "The same with clusters instead of verticals, from the last clusters known by then:" in languages
    assert "C: 3 repositories in 2 clusters, of which it colonises 1 (sql · engine)." in languages
    assert "Topics are known for 3 of 60" in section(found, "coverage")


@pytest.mark.parametrize(
    ("seeds", "stability", "sentence"),
    [(None, None, "too few to group"), (5, 0.31, "agree by 0.31 on the adjusted Rand index")],
)
def test_no_clusters_are_invented(world: World, seeds: int | None, stability: float | None, sentence: str) -> None:
    clusterings, *_ = CLUSTER_TABLES
    world.insert(
        clusterings, week=WEEK, repos=30, clustered=0, clusters=0, seeds=seeds, stability=stability, is_stable=False,
        reason="for 30 reasons",
    )  # fmt: skip
    found = world.written()
    assert sentence in section(found, "clusters")
    assert "for 30 reasons" not in section(found, "clusters")


@pytest.mark.parametrize("status", ["forming", "consolidating", "steady", None])
def test_clusters_are_described_by_their_status(world: World, status: str | None) -> None:
    clusterings, clusters, members, trends = CLUSTER_TABLES
    world.insert(clusterings, week=WEEK, repos=60, clustered=12, clusters=1, seeds=5, stability=0.9, is_stable=True)
    world.insert(
        clusters, week=WEEK, cluster=4, label="llm · agents2", size=12, status=status, growth=0.05,
        universe_growth=0.01, stars_gained=77, entrants=2,
    )  # fmt: skip
    world.insert(trends, week=WEEK, cluster=4, label="llm · agents2", momentum_rank=1)
    world.insert(members, week=WEEK, cluster=4, repo_key=9, full_name="owner/repo9")
    found = world.written()
    text = section(found, "clusters")
    assert (
        "llm · agents2: 12 repositories, 2 of them new to it, 77 stars gained,"
        " a growth of 5 %; highest by score: owner/repo9." in text
    )
    assert ("1 cluster is " + str(status) in text) == (status in ("forming", "consolidating"))
    assert ("This is the first week with clusters" in text) == (status is None)
    assert ("A cluster is forming around llm · agents2." in found.summary) == (status == "forming")


def test_a_loose_cluster_is_counted_and_not_named(world: World) -> None:
    clusterings, clusters, members, trends = CLUSTER_TABLES
    world.insert(clusterings, week=WEEK, repos=60, clustered=24, clusters=2, seeds=5, stability=0.9, is_stable=True)
    for cluster, label, coherence in ((4, "llm", 0.65), (5, "guide", 0.649)):
        world.insert(
            clusters, week=WEEK, cluster=cluster, label=label, size=12, status="growing", growth=0.05,
            universe_growth=0.01, stars_gained=77, entrants=0, coherence=coherence,
        )  # fmt: skip
        world.insert(trends, week=WEEK, cluster=cluster, label=label, momentum_rank=cluster)
        world.insert(members, week=WEEK, cluster=cluster, repo_key=cluster, full_name=f"owner/repo{cluster}")
    text = section(world.written(), "clusters")
    assert "1 of the clusters is loose" in text
    assert "1 cluster is growing: llm: 12 repositories" in text
    assert "guide" not in text


def test_a_language_leads_only_if_no_other_interval_reaches_its_own(world: World) -> None:
    world.sql(
        "update weekly_language_trends set top50_repos = 25, top50_share = 0.5, top50_share_low = 0.4"
        f" where week = date '{WEEK}' and language = 'Go'"
    )
    found = world.written()
    assert found.title == "owner/repo7 leaps, Go leads: the week to 10 March 2024"
    assert "Go leads with 25 of the 65 repositories with the highest scores, 50 %, ahead of " in found.summary


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("A store.", "A store"),
        (" two\n lines\u202e ", "two lines\N{REPLACEMENT CHARACTER}"),
        ("word " * 40, f"{('word ' * 18).strip()}…"),
        ("x" * 500, "x" * 89 + "…"),
    ],
)
def test_a_description_is_quoted_on_one_line(words: str, shown: str) -> None:
    assert article.quoted(words) == f"\u201c{shown}\u201d"


def test_forecasts_under_an_old_key_are_shown_by_name(world: World) -> None:
    world.forecast(9999, WEEK, 0.8)
    world.outcome(world.forecast(9998, WEEK - dt.timedelta(weeks=7), 0.8), True, WEEK, 0.8)
    found = world.written()
    assert "x/y9999" in section(found, "calls")
    assert "x/y9998" in section(found, "grades")


def test_later_days_are_not_used(world: World) -> None:
    first = world.forecast(20, WEEK - dt.timedelta(weeks=7), 0.8)
    world.outcome(first, True, WEEK, 0.8)
    world.forecast(21, WEEK, 0.8)
    before = world.written()
    late = WEEK + dt.timedelta(weeks=1)
    world.sql(
        f"insert into fct_repo_signal_day select * replace (day + 7 as day, 900.0 as velocity_24h, true as is_breakout)"
        f" from fct_repo_signal_day where day >= date '{WEEK}'"
    )
    world.sql(
        "delete from fct_repo_day;"
        " insert into fct_repo_day select day, repo_key, 'rankings', [] from fct_repo_signal_day"
    )
    world.count_weeks()
    world.outcome(world.forecast(22, WEEK - dt.timedelta(weeks=7), 0.8, is_backtest=True), False, late, 0.8)
    world.forecast(21, late, 0.1)
    world.insert(BREAKOUTS, week=late, repo_key=21, full_name="x", first_flagged_on=late, days_flagged=3)
    world.sql(f"insert into dim_repo values (21, ['db'], 'Later words', date '{late}', null)")
    after = world.written()
    # that a forecast was due is known from its day on; its outcome only later
    kept = [claim for claim in after.claims if claim["claim"] not in ("grades.1.due", "grades.1.graded")]
    assert [claim["value"] for claim in kept if claim["section"] != "grades"] == [
        claim["value"] for claim in before.claims if claim["section"] != "grades"
    ]
    assert "1 of the 2 forecasts" in section(after, "grades")


def test_the_same_tables_give_the_same_bytes(world: World) -> None:
    first, second = world.written(), world.written()
    assert article.as_json(first.document) == article.as_json(second.document)
    assert first.markdown == second.markdown
    world.connection.execute("set threads = 1")
    assert world.written().markdown == first.markdown


def test_a_home_without_a_reading_has_no_article(world: World) -> None:
    world.sql("delete from weekly_repo_trends")
    assert write_weeks(world.connection, FIRST, WEEK, "run") == (0, 0)
    assert world.connection.execute("select count(*) from weekly_article").fetchall() == [(0,)]


def test_weeks_are_replaced_whole_and_begin_with_the_first_reading(world: World) -> None:
    before = FIRST - dt.timedelta(weeks=60)
    articles, claims = write_weeks(world.connection, before, WEEK, "one")
    assert articles == 10 and claims > 100
    assert write_weeks(world.connection, WEEK, WEEK, "two")[0] == 1
    runs = world.connection.execute("select run_id, count(*), min(week) from weekly_article group by 1 order by 1")
    assert runs.fetchall() == [("one", 9, FIRST), ("two", 1, WEEK)]
    assert world.connection.execute("select count(*) from fct_article_claim").fetchall() == [(claims,)]
    assert list(untrue(world.connection, before, WEEK)) == []


# --- strangers


def test_the_text_without_queries_keeps_every_section_and_every_escape(world: World) -> None:
    found = world.written()
    text = article.without_queries(found.markdown)
    assert found.markdown.startswith(text.rstrip())
    for section in found.document["sections"]:
        assert f"## {section['title']}\n" in text
    assert "```" not in text and "\\<script" in text and not re.search(r"(?<!\\)<script", text)
    assert len(text) < len(found.markdown) / 2


def test_text_by_strangers_is_escaped_in_markdown(world: World) -> None:
    world.forecast(4, WEEK, 0.7)
    found = world.written()
    html = MarkdownIt("gfm-like", {"linkify": False}).render(found.markdown)
    prose_html = html.split("<h2>Queries</h2>")[0]
    assert "<script" not in html and "<a " not in html and "<em>" not in html and "<strong>" not in html
    assert "<code>" not in prose_html and prose_html.count("<h1>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;/x" in prose_html
    assert "[click](javascript:alert(1))/`x`" in prose_html
    assert "\u202e" not in found.markdown and "\u202e" not in article.as_json(found.document)
    names = [part["name"] for part in json.loads(json.dumps(_parts(found))) if "repo" in part]
    assert max(map(len, names)) <= article.LONGEST_NAME
    # every query is in a block of its own, for any literals in it
    assert html.count('<code class="language-sql">') == len(found.claims)


def _parts(found: Article) -> list[dict[str, Any]]:
    return [
        part
        for each in found.document["sections"]
        for block in each["blocks"]
        for sentence in block["sentences"]
        for part in sentence["parts"]
    ]


@pytest.mark.parametrize(
    "text", ["- x", "+ x", "> x", "1. x", "2) x", "# x", "=== x", "https://a.b/c", "www.a.b", "@who"]
)
def test_no_sentence_begins_something_else(text: str) -> None:
    shown = article._sentence([{"repo": 1, "name": text}, {"text": " is here."}])
    html = MarkdownIt("gfm-like", {"linkify": False}).render(shown)
    assert html == f"<p>{text.replace('>', '&gt;')} is here.</p>\n"


def test_a_fence_is_longer_than_what_it_holds() -> None:
    html = MarkdownIt().render(article._fenced("select '```\n# x\n````'"))
    assert "<h1>" not in html and html.count("<pre>") == 1
