"""The embedded sample is what its generator writes, and contains what data/README.md promises."""

import csv
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import pytest

from reposignal_pipeline.sample import generate

SAMPLE = generate.DEFAULT_TARGET
Rows = list[dict[str, str]]


def read(day: date) -> Rows:
    with (SAMPLE / f"github-ranking-{day}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def of(rows: Rows, name: str, item: str | None = None) -> Rows:
    return [row for row in rows if row["repo_name"] == name and item in (None, row["item"])]


@pytest.fixture(scope="module")
def files() -> dict[date, Rows]:
    return {day: read(day) for day in generate.DAYS if day not in generate.MISSING_DAYS}


def test_regenerating_gives_the_same_bytes_and_removes_stale_files(tmp_path: Path) -> None:
    (tmp_path / "github-ranking-2025-11-12.csv").write_text("stale")
    (tmp_path / "mine.csv").write_text("kept")
    generate.write_sample(tmp_path)
    (tmp_path / "mine.csv").unlink()
    again = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in SAMPLE.iterdir()}
    assert again.keys() == kept.keys()
    assert [name for name in kept if kept[name] != again[name]] == []


def test_the_whole_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in generate.SAMPLE.rglob("*") if path.is_file()) < 5_000_000


def test_the_missing_days_are_absent_and_no_other() -> None:
    published = {date.fromisoformat(path.stem.removeprefix("github-ranking-")) for path in SAMPLE.iterdir()}
    missing = {date(2025, 11, 12), date(2025, 12, 19), *(date(2026, 1, d) for d in (20, 21, 22))}
    span = {date(2025, 10, 20) + timedelta(n) for n in range(131)}
    assert max(span) == date(2026, 2, 27)
    assert published == span - missing


@pytest.mark.parametrize(
    ("full_name", "language", "stars"),
    [
        ("linkedin/Liger-Kernel", "Python", 6142),
        ("ItzCrazyKns/Perplexica", "TypeScript", 28892),
        ("hyperbrowserai/HyperAgent", "TypeScript", 1046),
        ("launchbadge/sqlx", "Rust", 16524),
        ("TimmyOVO/deepseek-ocr.rs", "Rust", 2127),
        ("microsoft/magentic-ui", "Python", 9642),
        ("modelscope/ms-agent", "Python", 3974),
        ("fatedier/frp", "Go", 104480),
        ("sunmh207/AI-Codereview-Gitlab", "Python", 1404),
        ("oslook/cursor-ai-downloads", "TypeScript", 3152),
    ],
)
def test_published_totals_hold(files: dict[date, Rows], full_name: str, language: str, stars: int) -> None:
    owner, name = full_name.split("/")
    rows = of(files[date(2026, 2, 27)], name)
    seen = {(row["username"], row["language"], row["stars"]) for row in rows}
    assert seen == {(owner, language, str(stars))}
    assert {row["repo_url"] for row in rows} == {f"https://github.com/{full_name}"}


def test_chitu_alone_of_the_named_moves_on_the_last_day(files: dict[date, Rows]) -> None:
    gained = {}
    for full_name in generate.PUBLISHED:
        name = full_name.split("/")[1]
        before, after = (int(of(files[date(2026, 2, d)], name)[0]["stars"]) for d in (26, 27))
        gained[name] = after - before
        assert all(of(rows, name) for rows in files.values()), name
    assert gained.pop("chitu") == 513
    assert int(of(files[date(2026, 2, 27)], "chitu")[0]["stars"]) < 3000
    assert max(map(abs, gained.values())) < 50


def test_every_list_is_contiguous_and_ordered(files: dict[date, Rows]) -> None:
    items = {"top-100-stars", "top-100-forks", *generate.LANGUAGE_LISTS}
    for day, rows in files.items():
        lists: dict[str, dict[int, str]] = defaultdict(dict)
        for row in rows:
            figure = row["forks" if row["item"] == "top-100-forks" else "stars"]
            assert lists[row["item"]].setdefault(int(row["rank"]), figure) == figure
        assert lists.keys() == items
        for item, ranked in lists.items():
            assert list(ranked) == list(range(1, 26)), (day, item)
            figures = [int(figure) for figure in ranked.values() if figure != "n/a"]
            assert figures == sorted(figures, reverse=True), (day, item)
        assert len(rows) == (303 if day == date(2025, 11, 5) else 300)


def test_all_but_the_published_repositories_are_visibly_synthetic(files: dict[date, Rows]) -> None:
    for row in (row for rows in files.values() for row in rows):
        assert "(synthetic" in row["description"]
        full_name = f"{row['username']}/{row['repo_name']}"
        assert full_name in generate.PUBLISHED or row["username"].lower().startswith("synthetic-")


def test_one_file_ends_its_lines_with_crlf() -> None:
    crlf = [path.name for path in SAMPLE.iterdir() if b"\r\n" in path.read_bytes()]
    assert crlf == ["github-ranking-2025-10-24.csv"]


def test_one_row_is_bad(files: dict[date, Rows]) -> None:
    bad = [(day, row["item"]) for day, rows in files.items() for row in rows if not row["stars"].isdigit()]
    assert bad == [(date(2025, 12, 3), "Java")]


def test_owners_change_once_and_keep_the_counts(files: dict[date, Rows]) -> None:
    for name, before, after, changed_on in (
        ("crawl-web", "synthetic-01", "synthetic-46", date(2025, 12, 15)),
        ("sql-jar", "Synthetic-26", "synthetic-26", date(2026, 1, 10)),
    ):
        for day, rows in files.items():
            assert {row["username"] for row in of(rows, name)} == {before if day < changed_on else after}
        eve, morning = (int(of(files[changed_on - timedelta(n)], name)[0]["stars"]) for n in (1, 0))
        assert abs(morning - eve) < 20


def test_a_wipe_is_restored_and_stays_in_the_forks_list(files: dict[date, Rows]) -> None:
    former = int(of(files[date(2025, 11, 16)], "ocr-pad")[0]["stars"])
    for n in range(9):
        (row,) = of(files[date(2025, 11, 17) + timedelta(n)], "ocr-pad")
        assert row["item"] == "top-100-forks"
        assert 0.01 < int(row["stars"]) / former < 0.02
    back = of(files[date(2025, 11, 26)], "ocr-pad")
    assert {row["item"] for row in back} == {"top-100-stars", "top-100-forks", "Python"}
    assert 1 < int(back[0]["stars"]) / former < 1.01


def test_a_repository_is_unlisted_for_three_weeks(files: dict[date, Rows]) -> None:
    absent = {day for day, rows in files.items() if not of(rows, "lint-den")}
    assert absent == {day for day in files if date(2025, 12, 8) <= day <= date(2025, 12, 28)}


def test_labels_change_and_one_language_is_empty(files: dict[date, Rows]) -> None:
    for day, rows in files.items():
        labels = {row["language"] for row in rows if row["item"] == "Vim-script"}
        assert labels == {"Vim Script" if day < date(2025, 12, 1) else "Vim script"}
        assert {row["repo_name"] for row in rows if not row["language"]} == {"memo-rig"}


def test_lists_differ_by_a_few_on_one_repository_only(files: dict[date, Rows]) -> None:
    for rows in files.values():
        seen: dict[str, set[int]] = defaultdict(set)
        for row in rows:
            if row["stars"].isdigit():
                seen[row["repo_name"]].add(int(row["stars"]))
        spread = {name: max(counts) - min(counts) for name, counts in seen.items() if len(counts) > 1}
        assert spread.keys() == {"plot-run"}
        assert spread["plot-run"] <= 4


def test_hostile_descriptions_are_there(files: dict[date, Rows]) -> None:
    described = {row["description"] for row in files[date(2026, 2, 27)]}
    for hostile in (
        "<script>alert(1)</script>",
        '=HYPERLINK("http://example.invalid","x")',
        "\u202e",
        "](http://",
        "'; drop table x; --",
        "\n",
        "\U0001f680" * 200,
    ):
        assert any(hostile in description for description in described), hostile
