"""The command line as users see it: arguments in, output out, exit status."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from shutil import copytree
from typing import Any

import duckdb
import pytest

from tests.pipeline.homes import (
    COMMAND,
    Home,
    Session,
    assert_one_line,
    day_number,
    run_demo_once,
    served,
    write_upstream,
)

SECRET = "s3cr3t"
BREAKOUT = "synthetic-80/sync-box"
RENAMED = ("synthetic-01/crawl-web", "synthetic-46/crawl-web")  # on 2025-12-15


@pytest.fixture(scope="module")
def demo() -> Home:
    home, ran = run_demo_once()
    assert ran.returncode == 0, ran.stderr
    return home


@pytest.fixture(scope="module")
def demo_session(demo: Home) -> Iterator[Session]:
    """One process that runs many commands on the demo's home."""
    with Home(demo.path, profile="demo", extra={"COLUMNS": "160"}).session() as session:
        yield session


def sql(home: Home | Session, query: str, form: str = "table") -> str:
    ran = home.run("sql", query, "--format", form)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refused(home: Home | Session, *arguments: str) -> str:
    """Return the one line with which a command ends with status 1."""
    ran = home.run(*arguments)
    assert ran.returncode == 1, ran.stdout
    assert ran.stdout == ""
    assert_one_line(ran.stderr)
    return ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["run", "--day", "yesterday"],
        ["run", "--source", "unknown"],
        ["backfill", "rankings"],
        ["backfill", "unknown", "--from", "2024-03-01", "--to", "2024-03-02"],
        ["sql", "select 1", "--format", "yaml"],
        ["explain"],
    ],
)
def test_wrong_usage_ends_with_2(tmp_path: Path, arguments: list[str]) -> None:
    ran = Home(tmp_path).run(*arguments)
    assert ran.returncode == 2
    assert "usage: reposignal" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_help_names_every_verb(tmp_path: Path) -> None:
    ran = Home(tmp_path).run("--help")
    assert ran.returncode == 0
    assert all(verb in ran.stdout for verb in ("demo", "run", "backfill", "sql", "explain", "doctor"))


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    ran = Home(tmp_path).run("--version")
    assert (ran.returncode, ran.stdout) == (0, f"reposignal {version('reposignal')}\n")


@pytest.mark.parametrize(
    "arguments",
    [("run",), ("run", "--day", "2026-02-28"), ("backfill", "rankings", "--from", "2025-10-19", "--to", "2025-10-21")],
)
def test_a_demo_home_refuses_days_beyond_the_sample(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    error = refused(Home(tmp_path / "home", profile="demo"), *arguments)
    assert "holds the demo, whose days are 2025-10-20 to 2026-02-27" in error
    assert "REPOSIGNAL_HOME" in error
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("profile", "command"), [("local", "`reposignal run`"), ("demo", "`reposignal demo`")])
def test_an_unfilled_home_names_only_the_command_that_fills_it(tmp_path: Path, profile: str, command: str) -> None:
    (tmp_path / "profile").write_text(profile)
    error = refused(Home(tmp_path, profile=""), "sql", "select 1")
    assert error.endswith(f": run {command}\n")


def test_an_unknown_profile_is_reported(tmp_path: Path) -> None:
    assert "REPOSIGNAL_PROFILE='prod'" in refused(Home(tmp_path, profile="prod"), "sql", "select 1")


@pytest.mark.parametrize("verb", [("sql", "select 1"), ("explain", "a/b")])
def test_without_a_published_copy_a_query_names_the_command_to_run(tmp_path: Path, verb: tuple[str, ...]) -> None:
    assert "nothing is published yet" in refused(Home(tmp_path), *verb)
    assert list(tmp_path.iterdir()) == []


def test_a_range_that_ends_before_it_begins_is_reported(tmp_path: Path) -> None:
    error = refused(Home(tmp_path), "backfill", "rankings", "--from", "2024-03-02", "--to", "2024-03-01")
    assert "--from 2024-03-02 is after --to 2024-03-01" in error


@pytest.mark.parametrize("day", ["2018-12-17", "2999-01-01"])
def test_an_impossible_day_is_reported(tmp_path: Path, day: str) -> None:
    assert "rankings has days from 2018-12-18 to " in refused(Home(tmp_path), "run", "--day", day)


@pytest.mark.parametrize("profile", ["lake", "lake-demo"])
def test_a_demo_in_files_is_refused_under_a_profile_of_a_lake(profile: str, tmp_path: Path) -> None:
    place = {
        "REPOSIGNAL_LAKE_CATALOG": "postgresql://nobody@127.0.0.1:1/none",
        "REPOSIGNAL_LAKE_DATA": str(tmp_path / "data"),
    }
    output = refused(Home(tmp_path / "home", profile=profile, extra=place), "demo")
    assert f"REPOSIGNAL_PROFILE={profile}" in output
    assert "--lake" in output
    assert not (tmp_path / "home").exists()


# sql


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with only a published file with a small table."""
    home = Home(tmp_path_factory.mktemp("small"), extra={"COLUMNS": "160"})
    (home.path / "releases" / "one").mkdir(parents=True)
    (home.path / "published").symlink_to("releases/one")
    with duckdb.connect(str(home.published)) as connection:
        connection.execute("create table parts as select range as n, 'part ' || range as name from range(5000)")
    return home


@pytest.fixture(scope="module")
def small_session(small: Home) -> Iterator[Session]:
    with small.session() as session:
        yield session


VALUES = {
    "170141183460469231731687303715884105727::hugeint": "170141183460469231731687303715884105727",
    "12345678901234567890.123456789::decimal(38, 9)": "12345678901234567890.123456789",
    "9007199254740993::bigint": "9007199254740993",
    "0.1::double": "0.1",
    "'nan'::double": "null",
    "'-inf'::double": "null",
    "[1.25::double, 'nan'::double, null]": "[1.25, null, null]",
    "{'z': 'inf'::double, 'quoted': 'NaN \"Infinity\"'}": '{"z": null, "quoted": "NaN \\"Infinity\\""}',
    "map {'k': [1.50::decimal(9, 2)]}": '{"k": [1.50]}',
    "'a\\x00b'::blob": '"a\\\\x00b"',
    "interval '1 month 2 days'": '"1 month 2 days"',
    "'2024-01-01 00:00:00+02'::timestamptz at time zone 'UTC'": '"2023-12-31 22:00:00"',
    "'2024-01-01 00:00:00.123456789'::timestamp_ns": '"2024-01-01 00:00:00.123456789"',
    "'-infinity'::date": '"-infinity"',
    "true": "true",
    "null": "null",
}


def test_json_holds_every_digit_and_duckdbs_text_of_what_json_has_no_type_for(small_session: Session) -> None:
    found = sql(small_session, "select " + ", ".join(f"{value} as v{n}" for n, value in enumerate(VALUES)), "json")

    def read(text: str) -> Any:
        return json.loads(text, parse_float=Decimal, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    (row,) = read(found)
    assert list(row.values()) == [read(text) for text in VALUES.values()]


def test_duckdb_reads_json_and_csv_values_back(small_session: Session) -> None:
    """Also blobs and nested values, which DuckDB cannot read in Python's notation."""
    query = (
        "select 'a\\x00=\"b'::blob as b, [{'d': 1.50::decimal(9, 2)}] as s, '2024-01-01 00:00:00+02'::timestamptz as t"
    )
    (row,) = json.loads(sql(small_session, query, "json"), parse_float=Decimal)
    ((blob, nested, time),) = list(csv.reader(io.StringIO(sql(small_session, query, "csv"))))[1:]
    kind = "struct(d decimal(9, 2))[]"
    with duckdb.connect() as connection:
        for found in ((row["b"], json.dumps(row["s"], default=str), row["t"]), (blob, nested, time)):
            back = f"select $1::blob, $2::{kind}, epoch($3::timestamptz)"
            if found[1].startswith('[{"'):
                back = back.replace("$2", "$2::json")
            assert connection.execute(back, list(found)).fetchone() == (
                b'a\x00="b', [{"d": Decimal("1.50")}], 1704060000,
            )  # fmt: skip


def test_columns_of_one_name_are_all_there(small_session: Session) -> None:
    query = 'select 1 as a, 2 as a, 3 as a_1, 4 as A, 5 as "it\'s"'
    assert json.loads(sql(small_session, query, "json")) == [{"a": 1, "a_2": 2, "a_1": 3, "A": 4, "it's": 5}]
    assert sql(small_session, query, "csv") == "a,a,a_1,A,it's\n1,2,3,4,5\n"


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_long_results_keep_rows_and_order(small_session: Session, form: str) -> None:
    found = sql(small_session, "from parts order by n desc", form)
    numbers = [int(number) for number in re.findall(r"part (\d+)", found)]
    assert numbers == [*reversed(range(5000))]
    assert form != "table" or found.endswith("(5,000 rows)\n")
    assert form != "json" or [row["n"] for row in json.loads(found)] == numbers


@pytest.mark.parametrize(
    ("form", "empty"),
    [("table", "n  name\n-  ----\n(0 rows)\n"), ("csv", "n,name\n"), ("json", "[]\n")],
)
def test_a_result_without_rows_is_valid(small_session: Session, form: str, empty: str) -> None:
    assert sql(small_session, "from parts where false", form) == empty


def test_a_wider_row_late_in_a_table_is_shown_whole(small_session: Session) -> None:
    found = sql(small_session, "select if(range < 3000, 'x', 'a much longer text') as t from range(4000)").splitlines()
    assert (len(found), found[2], found[-2]) == (4003, "x", "a much longer text")


def test_statements_without_rows_may_precede_the_query(small_session: Session) -> None:
    query = "set timezone = 'UTC'; create temp macro twice(x) as 2 * x; select twice(21) as answer -- ; select 1"
    assert sql(small_session, query, "csv") == "answer\n42\n"
    assert "(5 rows)" in sql(small_session, "pivot (select n % 5 as p, n % 2 as q from parts) on q using count(*)")


@pytest.mark.parametrize(
    "query", ["select 1; select 2", "from parts; set threads = 1", "explain from parts; from parts"]
)
def test_rows_of_an_earlier_statement_are_never_dropped_in_silence(small_session: Session, query: str) -> None:
    assert "only the last statement may return rows" in refused(small_session, "sql", query)


def test_a_statement_without_rows_is_reported(small_session: Session) -> None:
    assert "returns no rows" in refused(small_session, "sql", "set threads = 1")


def test_variables_of_the_program_are_not_tables(small_session: Session) -> None:
    assert "does not exist" in refused(small_session, "sql", "from statements")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("read", [1, 1_000_000])
def test_the_memory_of_an_answer_does_not_grow_with_its_length(small: Home, form: str, read: int) -> None:
    query = "select range as n, repeat('x', 50) as text from range(10_000_000)"
    with subprocess.Popen(
        [COMMAND, "sql", query, "--format", form], env=small.environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        for _ in range(read):
            assert process.stdout.readline()
        (most,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        process.stdout.close()
    assert process.returncode == 0
    assert int(most) < 200_000  # all rows as Python objects are more than a million


def test_sql_answers_as_a_table(demo_session: Session) -> None:
    assert sql(demo_session, "select 1 as one, 'two' as two, null as none").splitlines() == [
        "one  two  none",
        "---  ---  ----",
        "  1  two  NULL",
        "(1 row)",
    ]


def test_sql_answers_as_csv(demo_session: Session) -> None:
    found = sql(demo_session, "select * from (values ('a,b', 1), ('say \"c\"', null)) as t(text, number)", "csv")
    assert list(csv.reader(io.StringIO(found))) == [["text", "number"], ["a,b", "1"], ['say "c"', ""]]


def test_sql_answers_as_json(demo_session: Session) -> None:
    found = sql(
        demo_session,
        "select day, stars_total, dq_flags from fct_repo_day where source = 'rankings' order by all limit 2",
        "json",
    )
    assert [(row["day"], type(row["stars_total"]), type(row["dq_flags"])) for row in json.loads(found)] == [
        ("2025-10-20", int, list)
    ] * 2


def test_json_is_valid_for_any_number_and_keeps_every_column(demo_session: Session) -> None:
    found = sql(demo_session, "select 'nan'::double as x, 1.50::decimal(9, 2) as y, {'z': 'inf'::double} as s", "json")
    assert json.loads(found, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) == [
        {"x": None, "y": 1.5, "s": {"z": None}}
    ]


@pytest.mark.parametrize("arguments", [("sql",), ("sql", "-")])
def test_sql_reads_standard_input(demo: Home, arguments: tuple[str, ...]) -> None:
    ran = demo.run(*arguments, "--format", "csv", stdin="select 6 * 7 as answer\n")
    assert (ran.returncode, ran.stdout) == (0, "answer\n42\n")


def test_csv_has_no_formula_for_a_spreadsheet(demo_session: Session) -> None:
    texts = "['=1+1', '+1', '-1', '@a', chr(9) || 'a', chr(13) || 'a', 'a=1', 'a' || chr(13) || '=1']"
    found = sql(demo_session, f"select unnest({texts}) as t, -1 as number", "csv")
    rows = list(csv.reader(io.StringIO(found, newline="")))[1:]
    assert [text[0] for text, _ in rows] == ["'"] * 6 + ["a"] * 2
    assert {number for _, number in rows} == {"-1"}
    assert found.endswith('"a\r=1",-1\n')  # quoted: a lone CR ends a row in a spreadsheet
    descriptions = sql(demo_session, "select description from dim_repo where full_name like '%/job-pad'", "csv")
    assert not re.search(r'^"?[=+@-]', descriptions, re.MULTILINE)


def test_a_table_replaces_control_characters(demo_session: Session) -> None:
    codes = [0x00, 0x07, 0x08, 0x0D, 0x1B, 0x7F, 0x9B, 0x061C, 0x200E, 0x200F, 0x202A, 0x202E, 0x2066, 0x2069]
    found = sql(demo_session, f"select 'a' || chr(unnest({codes})) || 'b' as text")
    assert found.count("a\N{REPLACEMENT CHARACTER}b") == len(codes)


def test_names_of_columns_and_errors_are_as_harmless_as_cells(demo_session: Session) -> None:
    assert "\x1b" not in sql(demo_session, 'select 1 as "\x1b[31mred"')
    assert "\x1b" not in refused(demo_session, "sql", "select (chr(27) || '[31m')::integer")


def test_hostile_descriptions_of_the_sample_stay_in_their_rows(demo: Home, demo_session: Session) -> None:
    found = sql(demo_session, "select full_name, description from dim_repo order by full_name")
    (count,) = demo.query("select count(*) from dim_repo")[0]
    assert len(found.splitlines()) == int(str(count)) + 3
    assert "\u202e" not in found


@pytest.mark.parametrize(
    "query",
    [
        "delete from fct_repo_day",
        "drop table fct_repo_day",
        "create table mine as select 1",
        "update dim_repo set name = 'x'",
        "copy fct_repo_day to 'stolen.csv'",
        "attach 'other.duckdb' as other",
        "export database 'stolen'",
    ],
)
def test_sql_only_reads(demo: Home, demo_session: Session, query: str) -> None:
    before = demo.published.read_bytes()
    refused(demo_session, "sql", query)
    assert demo.published.read_bytes() == before


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_text('/etc/hostname')",
        "from '/etc/hostname'",
        "select * from read_csv('/etc/passwd', header = false)",
        "from glob('/*')",
        "set enable_external_access = true; select * from read_text('/etc/hostname')",
        "load httpfs; select 1",
    ],
)
def test_sql_reads_no_other_file(demo_session: Session, query: str) -> None:
    refused(demo_session, "sql", query)


@pytest.mark.parametrize("query", ["", "  \n", ";", "-- nothing"])
def test_an_empty_query_is_reported(demo_session: Session, query: str) -> None:
    refused(demo_session, "sql", query)


@pytest.mark.parametrize("query", ["selec 1", "from no_such_table", "select no_such from dim_repo", "select 'a'::int"])
def test_an_error_of_the_query_is_one_line(demo_session: Session, query: str) -> None:
    assert "Error" in refused(demo_session, "sql", query)


def test_a_reader_that_stops_early_is_not_an_error(demo: Home) -> None:
    query = "select * from fct_repo_day"
    ran = subprocess.run(
        f"'{COMMAND}' sql '{query}' --format csv | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env=demo.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.splitlines()) == 1


# explain


def explained(home: Home | Session, *arguments: str) -> str:
    ran = home.run("explain", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def points(text: str) -> list[float]:
    """Return the points of the components, then their sum."""
    names = ("growth_28d", "growth_year", "growth_7d", "breadth", "surprise", "authenticity", "sum")
    found = {line.split()[0]: line.split()[1] for line in text.splitlines() if line.startswith(names)}
    assert set(found) == set(names)
    return [float(found[name]) for name in names]


@pytest.mark.parametrize("full_name", [BREAKOUT, "thu-pacman/chitu", "fatedier/frp"])
def test_components_add_up_to_the_score(demo: Home, demo_session: Session, full_name: str) -> None:
    text = explained(demo_session, full_name)
    *components, total = points(text)
    assert sum(components) == pytest.approx(total, abs=0.005)
    ((score, rank),) = demo.query(
        "select signal_score, signal_rank from fct_repo_signal_day"
        f" where full_name = '{full_name}' and day = '2026-02-27'"
    )
    assert total == pytest.approx(score)
    assert f"signal score {score:.2f} of 100, rank {rank} of " in text


def test_a_name_is_found_in_any_case(demo_session: Session) -> None:
    assert explained(demo_session, BREAKOUT.upper()) == explained(demo_session, BREAKOUT)


def test_a_former_name_leads_to_the_repository(demo_session: Session) -> None:
    former, name = RENAMED
    assert explained(demo_session, former) == explained(demo_session, name)
    assert explained(demo_session, former).startswith(f"{name} on 2026-02-27")
    assert explained(demo_session, name, "--day", "2025-12-14").startswith(f"{former} on 2025-12-14")


def test_a_short_history_is_given_as_the_reason(demo_session: Session) -> None:
    assert "no signal score: less than 28 days of history" in explained(demo_session, BREAKOUT, "--day", "2025-10-25")


def test_an_explanation_gives_the_probability_that_the_article_gives(demo: Home, demo_session: Session) -> None:
    issued = demo.query(
        """
        select made.full_name, claims.shown, made.threshold, made.due_on
        from fct_article_claim as claims
        inner join fct_forecast as made
            on claims.week = made.week
            and starts_with(claims.sql_text, 'select probability from fct_forecast')
            and contains(claims.sql_text, made.issued_on::varchar)
            and contains(claims.sql_text, format('repo_key = {} and threshold = {}', made.repo_key, made.threshold))
        where claims.week = date '2026-02-23' and made.event = 'stars_threshold'
        """
    )
    assert "thu-pacman/chitu" in {full_name for full_name, *_ in issued}
    for full_name, probability, threshold, due_on in issued:
        assert f" {threshold:,} stars by {due_on}: {probability} (issued on 2026-03-02" in explained(
            demo_session, str(full_name)
        )


def test_a_day_without_a_breakout_shows_the_reason(demo_session: Session) -> None:
    rising = explained(demo_session, "synthetic-10/agent-jar")
    assert "breakout: no (44 new stars, 18.4 expected; a breakout needs 10 times the expected number" in rising
    assert "the last breakout was on 2026-02-15)" in rising
    assert "breakout: no (a single surprising day; a breakout needs two out of three)" in explained(
        demo_session, "thu-pacman/chitu"
    )


def test_a_weeks_gain_its_days_and_the_totals_agree(demo: Home, demo_session: Session) -> None:
    """The leap of a day can exceed the week's gain, which is a pace; its number of days reconciles the two."""
    differing = demo.query(
        """
        with before as (
            select trends.*, arg_max(days.stars_total, days.day) as total_before
            from weekly_repo_trends as trends
            inner join fct_repo_signal_day as days
                on days.repo_key = trends.repo_key and days.day between as_of_date - 9 and as_of_date - 7
            where trends.stars_gained_basis = 'net_change' and trends.dq_flags = []
            group by all
        )
        select full_name, week from before
        where abs(stars_total - total_before - stars_gained * velocity_7d_days / 7) > 0.51 * velocity_7d_days / 7
        """
    )
    assert differing == []
    assert "513.0 in the last 24 h, 67.7 in the last 7 days (532 stars in 7.9 days)" in explained(
        demo_session, "thu-pacman/chitu"
    )


def test_a_forecast_with_a_reached_threshold_shows_it_before_it_is_due(demo: Home) -> None:
    """For any total on its page, no forecast of a smaller number waits as if it could still fail."""
    page = (demo.published.parent / "site" / "repositories" / "synthetic-10--agent-jar.html").read_text()
    reached = demo.query(
        """
        select count(*) from fct_forecast as made
        where full_name = 'synthetic-10/agent-jar'
            and not exists (from fct_forecast_outcome as graded where graded.forecast_id = made.forecast_id)
            and exists (
                from fct_repo_signal_day as days
                where days.repo_key = made.repo_key and days.day >= made.issued_on and days.stars_total >= threshold
            )
        """
    )
    assert reached == [(page.count("reached on 2026-02-13, graded when due"),)]
    assert reached != [(0,)]


def test_an_unknown_repository_is_reported(demo_session: Session) -> None:
    assert "no repository was ever seen under the name 'no/such'" in refused(demo_session, "explain", "no/such")


def test_a_day_without_a_reading_is_reported_with_the_last_one_before(demo_session: Session) -> None:
    error = refused(demo_session, "explain", BREAKOUT, "--day", "2025-11-12")
    assert f"{BREAKOUT} was not observed on 2025-11-12; its last reading before that day is from 2025-11-11" in error
    assert "was not observed by 2025-10-01" in refused(demo_session, "explain", BREAKOUT, "--day", "2025-10-01")


def test_the_demo_ends_with_commands_whose_answers_fit_the_terminal(demo: Home) -> None:
    output = run_demo_once()[1].stdout
    _, *suggested = re.split(r"^(?:Next:)? +(?=\S*reposignal )", output[output.index("Next:") :], flags=re.MULTILINE)
    assert len(suggested) == 2
    for command in suggested:
        ran = Home(demo.path, profile="demo", extra={"COLUMNS": "80"}).run(*shlex.split(command)[1:])
        assert ran.returncode == 0, ran.stderr
        if " sql " in command:
            assert "NULL" not in ran.stdout
            assert "…" not in ran.stdout
            assert "(5 rows)" in ran.stdout


# doctor


def test_the_doctor_reports_a_good_home_as_ok(demo: Home) -> None:
    ran = demo.run("doctor")
    assert ran.returncode == 0, ran.stdout
    assert "WRONG" not in ran.stdout
    assert all(word in ran.stdout for word in ("configuration", "upstream", "rate limit", "freshness", "coverage"))


def test_the_doctor_reports_an_empty_home_as_wrong(tmp_path: Path) -> None:
    ran = Home(tmp_path / "home", profile="demo").run("doctor")
    assert ran.returncode == 1
    assert re.search(r"^WRONG +published copy +nothing is published yet", ran.stdout, re.MULTILINE)
    assert "Traceback" not in ran.stderr


def test_the_doctor_reports_an_upstream_that_is_down(demo: Home, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = f"http://user:{SECRET}@127.0.0.1:{closed.getsockname()[1]}"
        ran = Home(demo.path, down, profile="demo").run("doctor")
    assert ran.returncode == 1
    assert re.search(r"^WRONG +rankings upstream +http://127.0.0.1:", ran.stdout, re.MULTILINE)
    assert SECRET not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


# secrets


def test_no_secret_is_printed_logged_or_stored(demo: Home, tmp_path: Path) -> None:
    copytree(demo.path / "dbt", tmp_path / "home" / "dbt")
    home, output = Home(tmp_path / "home"), ""
    with served(write_upstream(tmp_path / "upstream", range(1, 3))) as upstream:
        home.rankings_url = f"http://user:{SECRET}@{upstream.address}/?token={SECRET}"
        with home.session() as session:
            for status, ends in ((None, 0), (403, 1), (502, 1)):
                upstream.status = status
                ran = session.load(1, 2) if status is None else session.run("run", "--day", str(day_number(3)))
                assert ran.returncode == ends, ran.stderr
                output += ran.stdout + ran.stderr
        assert all(f"token={SECRET}" in path for path in upstream.requests)
    assert "403" in output
    assert "502" in output
    assert SECRET not in output
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert {"runs.db", "pipeline.duckdb", "cli.log"} <= {path.name for path in files}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
