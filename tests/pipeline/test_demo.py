"""The main job on the embedded sample: one command, a published warehouse."""

import datetime as dt
from pathlib import Path

import duckdb
import pytest

from tests.pipeline.homes import Demo, Home, assert_alike

# the contract, as far as the rankings can fill it
POINTS = ("growth_28d", "growth_year", "growth_7d", "breadth", "surprise", "authenticity")
CONTRACT = {
    "dim_repo": "repo_key repo_id full_name owner name language topics description is_archived is_fork created_at state"
    " valid_from valid_to is_current",
    "dim_repo_alias": "repo_key full_name seen_from seen_to",
    "fct_repo_day": "repo_key day full_name stars_total stars_gained net_delta_24h gap_hours coverage source dq_flags",
    "fct_star_vintage": "repo_key day fetched_at stars_gained",
    "fct_repo_signal_day": "repo_key day full_name language stars_total velocity_24h velocity_7d velocity_28d"
    " acceleration surprise persistence authenticity signal_score signal_rank is_breakout model_version "
    + " ".join(f"{component}_points" for component in POINTS),
    "fct_language_day": "universe language day repos share share_low share_high stars_gained stars_gained_share",
    "fct_language_vertical_day": "language vertical day repos share rca",
    "fct_cluster_week": "week cluster label size stars_gained growth entrants leavers stability",
    "fct_cluster_member_week": "week cluster repo_key",
    "fct_forecast": "forecast_id issued_on repo_key event threshold horizon_days probability model_version",
    "fct_forecast_outcome": "forecast_id resolved_on happened brier",
    "weekly_cluster_trends": "week cluster label repos stars_gained growth momentum_rank",
    "weekly_breakouts": "week repo_key first_flagged_on probability threshold",
    "weekly_track_record": "week model_version resolved hit_rate brier brier_skill mean_lead_days",
    "fct_article_claim": "week claim text sql_text value as_of run_id",
    "weekly_language_trends": "week language repos share share_change stars_gained rank",
    "weekly_repo_trends": "week repo_key full_name stars_gained growth_pct signal_score rank rank_change is_breakout",
    "ops_source_coverage": "source day expected observed coverage status reason",
    "ops_run": "run_id started_at finished_at job partition rows_per_source status",
}


@pytest.fixture(scope="module")
def again(demo: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A copy of the demo's home in which the demo ran a second time."""
    home = demo.copied(tmp_path_factory.mktemp("again") / "home")
    ran = home.run("demo")
    assert ran.returncode == 0, ran.stderr
    return home


def test_it_succeeds_and_shows_the_trends_and_paths(demo_run: Demo) -> None:
    home, ran = demo_run
    assert ran.returncode == 0, ran.stderr
    assert "Repositories of the week of 2026-02-23" in ran.stdout
    assert "thu-pacman/chitu" in ran.stdout
    assert "Languages of the week of 2026-02-23" in ran.stdout
    for path in (home.published, home.path / "published" / "parquet", home.path / "dagster"):
        assert str(path) in ran.stdout
        assert path.exists()


def test_the_published_file_opens_read_only_and_cannot_be_written(demo: Home) -> None:
    assert demo.query("select count(*) > 10000 from fct_repo_day") == [(True,)]
    assert not demo.published.stat().st_mode & 0o222
    with (
        duckdb.connect(str(demo.published), read_only=True) as connection,
        pytest.raises(duckdb.InvalidInputException, match="read-only"),
    ):
        connection.execute("delete from fct_repo_day")


@pytest.mark.parametrize("table", CONTRACT)
def test_a_table_of_the_contract_has_its_columns(demo: Home, table: str) -> None:
    found = {name for (name,) in demo.query(f"select column_name from duckdb_columns() where table_name = '{table}'")}
    assert set(CONTRACT[table].split()) - found == set()


def test_every_table_and_column_has_a_comment(demo: Home) -> None:
    assert demo.query("select table_name from duckdb_tables() where coalesce(trim(comment), '') = ''") == []
    bare = (
        "select table_name, column_name from duckdb_columns() where not internal and coalesce(trim(comment), '') = ''"
    )
    assert demo.query(bare) == []


def test_nothing_but_the_tables_is_published(demo: Home) -> None:
    assert demo.query("select distinct schema_name from duckdb_tables()") == [("main",)]
    assert demo.query("select view_name from duckdb_views() where not internal") == []


def test_parquet_files_hold_the_rows_of_the_tables(demo: Home) -> None:
    parquet = demo.published.parent / "parquet"
    tables = [name for (name,) in demo.query("select table_name from duckdb_tables()")]
    assert {path.name.removesuffix(".parquet") for path in parquet.iterdir()} == set(tables)
    with duckdb.connect(str(demo.published), read_only=True) as connection:
        for table in tables:
            files = parquet / table / "*.parquet" if (parquet / table).is_dir() else parquet / f"{table}.parquet"
            here, there = (
                f"select columns(*)::varchar from {source}" for source in (table, f"read_parquet('{files}')")
            )
            differing = f"from (({here} except all {there}) union all ({there} except all {here}))"
            assert connection.execute(differing).fetchall() == [], table


def test_the_runs_are_listed_with_what_they_loaded(demo: Home) -> None:
    runs = demo.query("select job, status, rows_per_source, started_at, finished_at from ops_run order by started_at")
    assert {status for _, status, *_ in runs} == {"success"}
    loaded = {source: count for _, _, rows, *_ in runs for source, count in rows.items()}
    (places,) = demo.query("select sum(observed)::bigint from ops_source_coverage where source = 'rankings'")[0]
    assert loaded == {"rankings": places, "repositories": 7 * 50, "star_history": 50}
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    for *_, started_at, finished_at in runs:
        assert started_at <= finished_at <= now  # UTC, independent of the machine's time zone
        assert now - started_at < dt.timedelta(hours=2)


def test_the_demo_again_changes_nothing(demo: Home, again: Home) -> None:
    assert_alike(demo.tables(), again.tables())


def test_runs_of_the_demo_again_are_added(demo: Home, again: Home) -> None:
    before, after = (set(home.query("select run_id, job, started_at from ops_run")) for home in (demo, again))
    assert before < after


def test_the_link_is_relative_so_that_a_home_can_be_moved(demo: Home) -> None:
    assert not (demo.path / "published").readlink().is_absolute()
    assert Path(demo.published).resolve().is_relative_to(demo.path.resolve())


# The statements of the article of that week, which the sample therefore contains: one query each.
PUBLISHED = {
    "select count(*) from dim_universe where left_on is null": [(50,)],
    "select language, repos, share from fct_language_day where universe = 'top50' and day = '2026-02-27'"
    " and repos > 1 order by repos desc": [
        ("Python", 20, 0.4),
        ("TypeScript", 13, 0.26),
        ("Go", 8, 0.16),
        ("Rust", 5, 0.1),
    ],
    "select language from fct_language_day where universe = 'top50' and day = '2026-02-27' and repos = 1"
    " and language in ('C', 'C++') order by 1": [("C",), ("C++",)],
    "select full_name, stars_gained, net_delta_24h, stars_total < 3000 from fct_repo_day where day = '2026-02-27'"
    " and (stars_gained > 150 or net_delta_24h > 150)": [("thu-pacman/chitu", 513, 513.0, True)],
    "select full_name, velocity_24h from fct_repo_signal_day where day = '2026-02-27' and velocity_24h > 150": [
        ("thu-pacman/chitu", 513.0)
    ],
    "select stars_total, observed_at from fct_repo_day where day = '2026-02-27' and full_name = 'fatedier/frp'": [
        (104_480, dt.datetime(2026, 2, 28, 0, 30))
    ],
    "select full_name, language, stars_total from fct_repo_day join dim_repo using (repo_key, full_name)"
    " where day = '2026-02-27' and is_current and owner not like 'synthetic%' and stars_total is not null"
    " and fct_repo_day.source = 'repositories' and full_name not in ('nervosnetwork/ckb', 'thu-pacman/chitu')"
    " order by 1": [
        ("ItzCrazyKns/Perplexica", "TypeScript", 28_892),
        ("TimmyOVO/deepseek-ocr.rs", "Rust", 2_127),
        ("fatedier/frp", "Go", 104_480),
        ("hyperbrowserai/HyperAgent", "TypeScript", 1_046),
        ("launchbadge/sqlx", "Rust", 16_524),
        ("linkedin/Liger-Kernel", "Python", 6_142),
        ("microsoft/magentic-ui", "Python", 9_642),
        ("modelscope/ms-agent", "Python", 3_974),
        ("oslook/cursor-ai-downloads", "TypeScript", 3_152),
        ("sunmh207/AI-Codereview-Gitlab", "Python", 1_404),
    ],
}


@pytest.mark.parametrize("sql", PUBLISHED)
def test_the_cycle_of_the_article_carries_its_figures(demo: Home, sql: str) -> None:
    assert demo.query(sql) == PUBLISHED[sql]
