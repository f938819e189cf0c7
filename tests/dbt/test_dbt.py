"""The dbt project follows its own rules, its tests can fail, and a day is built from its past only."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from built_homes import BuiltHome, window

from reposignal_pipeline.sample import generate

DAILY_MARTS = ("fct_repo_day", "fct_repo_signal_day", "fct_language_day")
MARTS = (
    *DAILY_MARTS, "fct_star_vintage", "dim_repo", "dim_repo_alias", "dim_universe", "ops_source_coverage",
    "ops_quarantine", "ops_archive_hour", "ops_source_agreement", "fct_source_disagreement", "signal_weight",
    "ops_star_day_edge",
    "fct_language_vertical_day", "fct_language_reach_day", "dim_topic_vertical",
)  # fmt: skip
LAYER_NAMES = {
    "staging": r"stg_[a-z]+(_[a-z]+)*__[a-z_]+",
    "intermediate": r"int_[a-z]+(_[a-z]+)*__[a-z]+",
    "marts": r"(fct|dim|ops)_[a-z_]+|signal_weight",  # the last one is the seed as analysts see it
}
READABLE_LAYERS = {
    "staging": {"source", "seed", "staging"},
    "intermediate": {"staging", "intermediate"},
    "marts": {"seed", "staging", "intermediate", "marts"},
}


@pytest.fixture(scope="module")
def models(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


def layer_of(node: dict[str, Any]) -> str:
    return str(node["fqn"][1]) if node["resource_type"] == "model" else str(node["resource_type"])


# --- rules of the project


def test_every_unit_test_passes(sample: BuiltHome, tmp_path: Path, manifest: dict[str, Any]) -> None:
    outcomes = sample.copy(tmp_path / "home").dbt(["test", "--select", "test_type:unit"])
    assert outcomes.keys() == manifest["unit_tests"].keys()
    assert {node: message for node, (status, message) in outcomes.items() if status != "pass"} == {}


def test_every_model_with_a_formula_has_a_unit_test(manifest: dict[str, Any], models: dict[str, Any]) -> None:
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    passing_on = {
        *("stg_rankings__days", "stg_rankings__quarantine", "stg_gh_archive__days", "stg_gh_archive__quarantine"),
        *("stg_repositories__days", "stg_repositories__universe_changes"),
        *("stg_star_history__weeks", "stg_star_history__reads", "stg_star_history__quarantine"),
        *("stg_star_history__days", "ops_quarantine", "signal_weight", "dim_topic_vertical"),
        *("stg_clusters__clusters", "stg_clusters__members"),
    }
    assert models.keys() - tested == passing_on


def test_layers_read_only_what_lies_below(manifest: dict[str, Any], models: dict[str, Any]) -> None:
    nodes = manifest["nodes"] | manifest["sources"]
    astray = [
        (name, parent)
        for name, node in models.items()
        for parent in node["depends_on"]["nodes"]
        if layer_of(nodes[parent]) not in READABLE_LAYERS[layer_of(node)]
    ]
    assert astray == []


def test_nothing_depends_on_a_variable_while_it_is_parsed(manifest: dict[str, Any]) -> None:
    """Runs give dbt the project as parsed without variables, so a `where` in a yml file would select all days."""
    conditions = {node["config"].get("where") for node in manifest["nodes"].values()} - {None}
    assert conditions == {"in_window", "in_built_days"}


def test_names_follow_their_layer(models: dict[str, Any]) -> None:
    assert [name for name, node in models.items() if not re.fullmatch(LAYER_NAMES[layer_of(node)], name)] == []


def test_each_model_has_one_yml_with_its_unit_tests(manifest: dict[str, Any], models: dict[str, Any]) -> None:
    ymls = {name: str(Path(node["original_file_path"]).with_suffix(".yml")) for name, node in models.items()}
    assert {name: node["patch_path"].split("://")[1] for name, node in models.items()} == ymls
    tests = manifest["unit_tests"].values()
    assert [test["name"] for test in tests if test["original_file_path"] != ymls[test["model"]]] == []


def test_everything_is_described(sample: BuiltHome, models: dict[str, Any]) -> None:
    columns = sample.query("select table_name, column_name from duckdb_columns() where not internal")
    undescribed = [name for name, node in models.items() if not node["description"]]
    undescribed += [
        f"{table}.{column}"
        for table, column in columns
        if table in models and not models[table]["columns"].get(column, {}).get("description")
    ]
    assert undescribed == []
    stale = [
        f"{name}.{column}"
        for name, node in models.items()
        for column in node["columns"]
        if (name, column) not in set(columns)
    ]
    assert stale == []


def test_comments_are_in_the_database(sample: BuiltHome) -> None:
    with duckdb.connect(str(sample.marts_db), read_only=True) as connection:
        assert connection.execute("select table_name from duckdb_tables() where comment is null").fetchall() == []
        silent = "select table_name, column_name from duckdb_columns() where comment is null and not internal"
        assert connection.execute(silent).fetchall() == []


def test_every_mart_has_an_enforced_contract(models: dict[str, Any]) -> None:
    marts = {name: node for name, node in models.items() if layer_of(node) == "marts"}
    assert marts.keys() == set(MARTS)
    assert [name for name, node in marts.items() if not node["config"]["contract"]["enforced"]] == []
    assert [name for name, node in marts.items() if not node["description"].startswith("Grain: ")] == []


# --- the tests are tested

SINGULAR_PLANTS = {
    "assert_points_add_up_to_the_score": [
        "update {signal} set signal_score = signal_score - 0.02 where {first_of_signal} signal_score > 1)",
        "update {signal} set breadth_points = 1 where {first_of_signal} signal_score is null)",
    ],
    "assert_authenticity_of_every_repo_day": ["delete from {authenticated} where rowid = 0"],
    "assert_language_shares_add_up": [
        "update {language} set share = share + 0.001 where rowid = 0",
        "update {language} set repos = repos + 1 where {first_of_language} universe = 'all')",
        "update {language} set repos = repos + 50 where {first_of_language} universe = 'top50')",
        "delete from {repo} where {first_of_repo} stars_total is not null)",
    ],
    "assert_vertical_shares_add_up": [
        "update {vertical} set share = share / 2 where rowid = 0",
        "update {vertical} set repos_split = repos_split + 0.1 where rowid = 0",
        "update {vertical} set repos = repos + 1 where rowid = 0",
        "insert into {vertical} from {vertical} where rowid = 0",
    ],
    "assert_repo_days_are_the_readings": [
        *(
            plant + " where {first_of_repo} source = '" + source + "')"
            for source in ("rankings", "repositories")
            for plant in (
                "update {repo} set stars_total = stars_total + 1",
                "delete from {repo}",
                "insert into {repo} from {repo}",
                "update {repo} set full_name = 'never/read'",
            )
        ),
        "insert into {repo} select * replace (5 as stars_total) from {repo}"
        " where {first_of_repo} source = 'star_history')",
    ],
    "assert_archive_stars_are_counted_once": [
        "update {repo} set archive_stars_gained = archive_stars_gained + 1"
        " where {first_of_repo} archive_stars_gained is not null)",
        "delete from {repo} where {first_of_repo} source = 'gh_archive')",
        "insert into {repo} from {repo} where {first_of_repo} source = 'gh_archive')",
        "update {repo} set archive_stars_gained = 1 where {first_of_repo} day = date '2026-04-01')",
        "insert into {stars} select * replace (event_id + 1 as event_id) from {stars} where rowid = 0",
    ],
    "assert_the_better_source_speaks": [
        "update {repo} set source = 'star_history' where {first_of_repo} source = 'gh_archive')",
        "update {repo} set source = 'gh_archive' where {first_of_repo} source = 'star_history')",
        "update {repo} set source = 'gh_archive' where {first_of_repo} source = 'rankings')",
        "update {repo} set source = 'rankings' where {first_of_repo} source = 'gh_archive')",
        "update {repo} set stars_gained = archive_stars_gained, stars_gained_source = 'gh_archive'"
        " where {first_of_repo} stars_gained_source = 'star_history' and archive_stars_gained > stars_gained)",
        "update {repo} set stars_gained = 1 where {first_of_repo} stars_gained is null)",
        "update {repo} set stars_gained = stars_gained + 1 where {first_of_repo} stars_gained_source = 'gh_archive')",
        "update {repo} set stars_gained = null, stars_gained_source = null"
        " where {first_of_repo} stars_gained_source = 'gh_archive' and source = 'rankings')",
        "update {repo} set stars_gained_coverage = 1 where {first_of_repo} stars_gained_source = 'star_history')",
    ],
    "assert_sources_agree_on_most_repositories": [
        "update {agreement} set repos = 20, repos_disagreeing = 5 where rowid = 0",
    ],
    "assert_every_repo_day_has_an_observed_source_day": [
        "update {coverage} set status = 'missing' where {first_of_coverage} source = 'rankings')",
        "update {coverage} set status = 'not_observed' where {first_of_coverage} source = 'repositories')",
        "delete from {coverage} where {first_of_coverage} source = 'star_history')",
        "update {coverage} set status = 'missing' where {first_of_coverage} source = 'gh_archive')",
        "insert into {repo} select * replace (date '2026-03-16' as day) from {repo}"
        " where {first_of_repo} source = 'rankings')",
    ],
    "assert_every_observed_day_has_repo_days": [
        "delete from {repo} where day = date '2026-03-03' and source = 'rankings'",
        "delete from {repo} where day = date '2026-04-03' and source = 'repositories'",
        "update {coverage} set status = 'observed' where source = 'rankings' and status = 'missing'",
    ],
    "assert_repo_versions_do_not_overlap": [
        "update {dim} set valid_to = valid_to + 1 where {first_of_dim} valid_to is not null)",
        "update {dim} set valid_to = valid_from where {first_of_dim} valid_to is not null)",
        "update {dim} set is_current = false where {first_of_dim} is_current)",
        "insert into {dim} select * replace (valid_from + 1 as valid_from) from {dim} where is_current limit 1",
    ],
    "assert_stars_gained_are_the_latest_vintage": [
        "update {repo} set stars_gained = stars_gained + 1 where {first_of_repo} stars_gained is not null)",
        "update {repo} set stars_gained = null where {first_of_repo} stars_gained is not null)",
        "update {repo} set stars_gained = 1 where {first_of_repo} stars_gained is null)",
        "update {repo} set stars_gained_fetched_at = now()::timestamp where {first_of_repo} stars_gained is not null)",
        "delete from {repo} where {first_of_repo} source = 'star_history')",
        "delete from {vintage} where rowid = 0",
        "update {vintage} set stars_gained = stars_gained + 1 where rowid = 0",
        "insert into {vintage} select * replace (fetched_at + interval 1 day as fetched_at) from {vintage}"
        " where rowid = 0",
    ],
    "assert_one_id_has_one_key": [
        "update {vintage} set repo_key = repo_key + 1 where rowid = 0",
        "update {repo} set repo_id = 999 where {first_of_repo} repo_id is not null)",
        "update {dim} set repo_id = 999 where {first_of_dim} repo_id is not null)",
        "update {alias} set repo_key = repo_key + 1 where {first_of_alias} repo_id is not null)",
        "update {universe} set repo_id = 999 where rowid = 0",
        "update {keyed} set repo_key = repo_key + 1 where {first_of_keyed} repo_id is not null)",
    ],
    "assert_star_days_end_at_the_hour_that_is_set": [
        "insert into {edge} values (date '2026-04-01', 0, false, 1000, 1), (date '2026-04-01', 8, true, 1000, 9000)",
    ],
    "assert_universe_stays_do_not_overlap": [
        "update {universe} set left_on = entered_on - 1 where rowid = 0",
        "insert into {universe} select * replace (entered_on + 1 as entered_on) from {universe} where rowid = 0",
    ],
}  # fmt: skip
SHORT = {
    "vertical": "fct_language_vertical_day",
    "repo": "fct_repo_day", "signal": "fct_repo_signal_day", "language": "fct_language_day",
    "coverage": "ops_source_coverage", "dim": "dim_repo", "alias": "dim_repo_alias", "vintage": "fct_star_vintage",
    "universe": "dim_universe", "agreement": "ops_source_agreement",
    "edge": "ops_star_day_edge",
    "authenticated": "pipeline.intermediate.int_repo_days__authenticated",
    "keyed": "pipeline.intermediate.int_repos__keyed", "stars": "pipeline.gh_archive.gh_archive",
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(deep_story: BuiltHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a copy; planted rows are rolled back."""
    with deep_story.copy(tmp_path_factory.mktemp("planted") / "home").connect(read_only=False) as connection:
        yield connection


def mart_tests(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the data tests that read a mart."""
    models = {
        id for id, node in manifest["nodes"].items() if node["resource_type"] == "model" and layer_of(node) == "marts"
    }
    tests = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    return [test for test in tests if models & set(test["depends_on"]["nodes"])]


def rows_found(connection: duckdb.DuckDBPyConnection, test: dict[str, Any], plant: str) -> int:
    """Return how many rows a test finds after a statement, which is rolled back."""
    connection.begin()
    try:
        connection.execute(plant)
        return len(connection.execute(test["compiled_code"]).fetchall())
    finally:
        connection.rollback()


def plants_for(test: dict[str, Any]) -> list[str]:
    """Return statements each of which must make a generic test fail."""
    arguments = test["test_metadata"]["kwargs"]
    table = f"{re.search(r'fct_[a-z_]+|dim_[a-z_]+|ops_[a-z_]+|signal_weight', arguments['model'])[0]}"  # type: ignore[index]
    column = arguments.get("column_name")
    match test["test_metadata"]["name"]:
        case "unique_together" | "unique":
            return [f"insert into {table} from {table} where rowid = 0"]
        case "between":
            values = [f"{arguments['low']} - 0.01"] if "low" in arguments else []
            values += [f"{arguments['high']} + 0.01"] if "high" in arguments else []
            whole = f"case when typeof({column}) in ('BIGINT', 'INTEGER') then 1 else 0.01 end"
            return [f"update {table} set {column} = {value.replace('0.01', whole)} where rowid = 0" for value in values]
        case "accepted_values":
            return [f"update {table} set {column} = 'anything else' where rowid = 0"]
        case other:
            raise AssertionError(f"no plant for the generic test {other}")


def test_every_data_test_of_the_marts_finds_what_is_planted(
    manifest: dict[str, Any], planted: duckdb.DuckDBPyConnection
) -> None:
    tests = mart_tests(manifest)
    singular = {test["name"]: test for test in tests if "test_metadata" not in test}
    assert singular.keys() == SINGULAR_PLANTS.keys()
    names = SHORT | {
        f"first_of_{short}": f"rowid = (select min(rowid) from {name} where" for short, name in SHORT.items()
    }
    plants = [(singular[name], plant.format(**names)) for name, given in SINGULAR_PLANTS.items() for plant in given]
    plants += [(test, plant) for test in tests if "test_metadata" in test for plant in plants_for(test)]
    assert len({test["name"] for test, _ in plants}) == len(tests) > 30
    assert [test["name"] for test in tests if rows_found(planted, test, "select 1")] == []
    assert [(test["name"], plant) for test, plant in plants if not rows_found(planted, test, plant)] == []


# --- no look-ahead, and the order of loading does not matter


def rows_of(home: BuiltHome, table: str, day: dt.date | None = None) -> list[tuple[Any, ...]]:
    where = f"where day = date '{day}'" if day else ""
    return home.query(f"select * from {table} {where} order by all")


@pytest.mark.slow
@pytest.mark.parametrize("day", [dt.date(2025, 12, 20), dt.date(2026, 1, 23)], ids=str)
def test_nothing_later_is_used(sample: BuiltHome, tmp_path: Path, day: dt.date) -> None:
    past = sample.raw_copy(tmp_path / "past", day).built(["seed"], ["run"])
    for table in DAILY_MARTS:
        rows = rows_of(past, table, day)
        assert rows
        assert rows == rows_of(sample, table, day), table


@pytest.mark.slow
def test_day_by_day_equals_all_at_once(sample: BuiltHome, tmp_path: Path) -> None:
    days = [day for day in generate.DAYS if day not in generate.MISSING_DAYS]
    home = sample.raw_copy(tmp_path / "daily")
    runs = [["run", *window(day, day)] for day in days[-5:]]
    home.built(["seed"], ["run", *window(days[0], days[-6])], *runs)
    for table in MARTS:
        assert rows_of(home, table) == rows_of(sample, table), table
