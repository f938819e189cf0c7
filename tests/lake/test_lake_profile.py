"""The lake profile: the same tables as the local profile, secrets that stay secret, one-line errors, analysts."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest
from lakes import BUCKET, PATIENCE_SECONDS, LakeHome, impatient, new_lake, plain
from servers import S3, Postgres

from tests import warm
from tests.pipeline.homes import Home, Ran, assert_alike, assert_one_line, backfill

pytestmark = pytest.mark.slow

ANALYST, ANALYST_PASSWORD = "analyst", "analysts-only"


def as_analyst() -> dict[str, str]:
    return {"user": ANALYST, "password": ANALYST_PASSWORD}


@pytest.fixture(scope="module")
def grown(folder_half: LakeHome, tmp_path_factory: pytest.TempPathFactory) -> tuple[LakeHome, list[Ran], list[int]]:
    """A lake in a folder: the first seven days, the same again, the last of them read again, and all fourteen.

    With it: the result of each command, and what was published after it.
    """
    home = folder_half.copied(tmp_path_factory.mktemp("grown") / "home")
    commands = (backfill(1, 7), ("run", "--day", "2024-03-07", "--source", "rankings"), backfill(1, 14))
    ran, releases = [], [home.release()]
    with home.session() as session:
        for command in commands:
            ran.append(session.run(*command))
            assert ran[-1].returncode == 0, ran[-1].stderr
            releases.append(home.release())
    return home, ran, releases


def test_a_bucket_holds_what_the_files_of_the_local_profile_hold(bucket_half: LakeHome, half: Home) -> None:
    assert_alike(half.tables(), bucket_half.tables())


def test_an_export_has_the_rows_of_the_release_in_the_lake(folder_half: LakeHome) -> None:
    at_release = folder_half.lake_tables(f", snapshot_version {folder_half.release()}")
    assert_alike(folder_half.tables(), at_release)


@pytest.mark.parametrize("command", [1, 2])
def test_loading_the_same_again_changes_nothing(
    grown: tuple[LakeHome, list[Ran], list[int]], bucket_half: LakeHome, command: int
) -> None:
    home, _, releases = grown
    assert_alike(bucket_half.tables(), home.lake_tables(f", snapshot_version {releases[command]}"))


def test_more_days_in_a_folder_give_what_the_local_profile_gives(
    grown: tuple[LakeHome, list[Ran], list[int]], whole: Home
) -> None:
    home, _, releases = grown
    assert_alike(whole.tables(), home.lake_tables(f", snapshot_version {releases[3]}"))
    assert_alike(whole.tables(), home.tables())


def test_raw_tables_hold_each_reading_once(grown: tuple[LakeHome, list[Ran], list[int]]) -> None:
    home, _, _ = grown
    with home.attached("pipeline") as connection:
        rows = connection.execute(
            "select count(*), count(distinct (snapshot_date, item, rank)), count(distinct snapshot_date)"
            " from rankings.rankings"
        ).fetchall()
    assert rows == [(13 * 40, 13 * 40, 13)]  # the ninth was never published


def test_no_snapshot_has_a_day_in_the_ledger_without_its_rows(grown: tuple[LakeHome, list[Ran], list[int]]) -> None:
    home, _, _ = grown
    torn = {}
    with home.attached("pipeline") as connection:
        snapshots = connection.execute(
            "select snapshot_id from pipeline.snapshots() where snapshot_id > ("
            "  select min(snapshot_id) from pipeline.snapshots() where changes::varchar like '%rankings._dlt_loads%'"
            ") order by 1"
        ).fetchall()
        assert len(snapshots) > 20
        for (snapshot,) in snapshots:
            if days := connection.execute(
                f"""
                select snapshot_date from rankings.rankings_days at (version => {snapshot}) where status = 'observed'
                except select snapshot_date from rankings.rankings at (version => {snapshot})
                """
            ).fetchall():
                torn[snapshot] = [str(day) for (day,) in days]
    assert torn == {}


# Secrets


def test_no_file_of_the_home_and_no_file_of_the_lake_holds_a_secret(
    grown: tuple[LakeHome, list[Ran], list[int]], bucket_half: LakeHome
) -> None:
    home, _, _ = grown
    files = {
        str(path): path.read_bytes()
        for root in (home.path, bucket_half.path, Path(home.data))
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    files |= dict(home.s3.contents(BUCKET))
    assert any(name.startswith(bucket_half.prefix) for name in files)
    assert len(files) > 100
    assert [name for name, content in files.items() if _has_secret(home, content)] == []


def test_no_table_of_the_catalog_holds_a_secret(
    grown: tuple[LakeHome, list[Ran], list[int]], bucket_half: LakeHome
) -> None:
    for home in (grown[0], bucket_half):
        dump = home.postgres.dump(home.database)
        assert "ducklake_data_file" in dump
        assert not _has_secret(home, dump.encode())


def test_no_output_contains_a_secret(grown: tuple[LakeHome, list[Ran], list[int]]) -> None:
    home, ran, _ = grown
    for command in ran:
        assert not _has_secret(home, (command.stdout + command.stderr).encode())


def _has_secret(home: LakeHome, content: bytes) -> bool:
    return any(secret.encode() in content for secret in home.secrets)


# Errors: one line that names the cause and no secret


def without(home: LakeHome, *names: str) -> Ran:
    """Return the result of a command with missing settings."""
    environment = {name: value for name, value in home.environment.items() if name not in names}
    return _ran(environment)


def with_settings(home: LakeHome, **settings: str) -> Ran:
    """Return the result of a command with other settings and a short timeout."""
    return _ran(home.environment | settings)


def _ran(environment: dict[str, str]) -> Ran:
    return warm.run(impatient(3), backfill(1, 2), environment, PATIENCE_SECONDS)


def assert_refused(home: LakeHome, ran: Ran, *words: str) -> None:
    assert ran.returncode == 1, ran.stderr
    assert_one_line(ran.stderr)
    for word in words:
        assert word in ran.stderr, ran.stderr
    assert not _has_secret(home, (ran.stdout + ran.stderr).encode())


@pytest.mark.parametrize(
    "missing",
    [
        ("REPOSIGNAL_LAKE_CATALOG",),
        ("REPOSIGNAL_LAKE_DATA",),
        ("REPOSIGNAL_LAKE_CATALOG", "REPOSIGNAL_LAKE_DATA"),
        ("AWS_ACCESS_KEY_ID",),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_missing_settings_are_named(bucket_half: LakeHome, missing: tuple[str, ...]) -> None:
    ran = without(bucket_half, *missing)
    assert_refused(bucket_half, ran, *missing)
    given = {"REPOSIGNAL_LAKE_CATALOG", "REPOSIGNAL_LAKE_DATA", "AWS_ACCESS_KEY_ID"} - set(missing)
    assert [name for name in given if name in ran.stderr] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REPOSIGNAL_LAKE_CATALOG", "mysql://lake:hush@127.0.0.1/lake"),
        ("REPOSIGNAL_LAKE_CATALOG", "postgresql://lake:hush@127.0.0.1:port/lake"),
        ("REPOSIGNAL_LAKE_CATALOG", "postgresql://lake@127.0.0.1/lake?password=hush"),
        ("REPOSIGNAL_LAKE_CATALOG", "postgresql://lake:hush@127.0.0.1"),
        ("REPOSIGNAL_LAKE_DATA", "gs://bucket/prefix"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
    ],
)
def test_unusable_settings_are_named(bucket_half: LakeHome, name: str, value: str) -> None:
    ran = with_settings(bucket_half, **{name: value})
    assert_refused(bucket_half, ran, name)
    assert "hush" not in ran.stderr


def test_a_wrong_password_is_reported_at_once(folder_half: LakeHome) -> None:
    url = folder_half.postgres.url(folder_half.database, password="another-word")
    ran = with_settings(folder_half, REPOSIGNAL_LAKE_CATALOG=url)
    assert_refused(folder_half, ran, "password authentication failed")
    assert "another-word" not in ran.stderr


def test_a_silent_catalog_is_reported(folder_half: LakeHome) -> None:
    url = folder_half.postgres.url(folder_half.database).replace(f":{folder_half.postgres.port}/", ":9/")
    assert_refused(folder_half, with_settings(folder_half, REPOSIGNAL_LAKE_CATALOG=url), "Connection refused")


def test_a_missing_database_is_reported(folder_half: LakeHome) -> None:
    url = folder_half.postgres.url("nowhere")
    assert_refused(folder_half, with_settings(folder_half, REPOSIGNAL_LAKE_CATALOG=url), "nowhere", "does not exist")


def test_a_missing_bucket_is_reported(postgres: Postgres, s3: S3, fresh: Home, tmp_path: Path) -> None:
    home = new_lake(tmp_path / "home", postgres, s3, on_s3=True, rankings_url=fresh.rankings_url)
    home.data = "s3://no-such-bucket/lake"
    fresh.copied(home.path)
    assert_refused(home, with_settings(home), "no-such-bucket")


def test_a_folder_that_cannot_be_created_is_reported(postgres: Postgres, s3: S3, fresh: Home, tmp_path: Path) -> None:
    home = new_lake(tmp_path / "home", postgres, s3, on_s3=False, rankings_url=fresh.rankings_url)
    (tmp_path / "file").touch()
    home.data = str(tmp_path / "file" / "lake")
    fresh.copied(home.path)
    assert_refused(home, with_settings(home), "file/lake")


# Analysts


@pytest.fixture(scope="module")
def analyst(folder_half: LakeHome) -> LakeHome:
    """The lake in a folder, with a role that may read the marts and nothing else."""
    postgres, database = folder_half.postgres, folder_half.database
    postgres.execute(f"create role {ANALYST} login password '{ANALYST_PASSWORD}'")
    for sql in (
        f"grant usage on schema reposignal to {ANALYST}",
        f"grant select on all tables in schema reposignal to {ANALYST}",
        # small commits go to tables of the catalog that come with changes of columns
        f"alter default privileges for role lake in schema reposignal grant select on tables to {ANALYST}",
    ):
        postgres.execute(sql, database=database)
    return folder_half


def test_an_analyst_attaches_what_was_published(bucket_half: LakeHome) -> None:
    with bucket_half.attached(options=f", snapshot_version {bucket_half.release()}") as connection:
        found = connection.execute("select count(*), max(day) from fct_repo_day").fetchall()
    assert found == bucket_half.query("select count(*), max(day) from fct_repo_day")


def test_a_read_only_connection_cannot_write(bucket_half: LakeHome) -> None:
    with bucket_half.attached() as connection, pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("delete from fct_repo_day")


def test_time_travel_returns_former_rows(grown: tuple[LakeHome, list[Ran], list[int]]) -> None:
    home, _, releases = grown
    first, *_, last = releases
    query = "select max(day)::varchar from fct_repo_day"
    with home.attached() as connection:
        values = [
            connection.execute(f"{query} at (version => {version})").fetchall()[0][0] for version in (first, last)
        ]
        assert values == ["2024-03-07", "2024-03-14"]
        (instant,) = connection.execute(
            f"select snapshot_time from reposignal.snapshots() where snapshot_id = {first}"
        ).fetchall()[0]
        assert connection.execute(f"{query} at (timestamp => '{instant}')").fetchall() == [("2024-03-07",)]


def test_an_open_transaction_sees_one_state(grown: tuple[LakeHome, list[Ran], list[int]], tmp_path: Path) -> None:
    home = grown[0].copied(tmp_path / "home")
    count = "select count(*) from fct_repo_day"
    with home.attached() as reader, plain(home) as writer:
        writer.execute(home.attach("reposignal", read_only=False))
        reader.begin()
        before = reader.execute(count).fetchall()
        writer.execute("delete from reposignal.main.fct_repo_day")
        assert reader.execute(count).fetchall() == before
        reader.commit()
        assert reader.execute(count).fetchall() == [(0,)]


def test_a_read_only_role_can_read(analyst: LakeHome) -> None:
    with analyst.attached(**as_analyst()) as connection:
        found = connection.execute("select count(*) from fct_repo_day").fetchall()
    assert found == analyst.query("select count(*) from fct_repo_day")


def test_a_read_only_role_cannot_write(analyst: LakeHome) -> None:
    before = analyst.lake_tables()
    with plain(analyst) as connection:
        connection.execute(analyst.attach("reposignal", read_only=False, **as_analyst()))
        with pytest.raises(duckdb.Error, match="permission denied"):
            connection.execute("delete from reposignal.main.fct_repo_day")
    assert_alike(before, analyst.lake_tables())


def test_a_role_for_the_marts_cannot_read_raw_tables(analyst: LakeHome) -> None:
    with (
        pytest.raises(duckdb.Error, match=r"permission denied|does not exist"),
        analyst.attached("pipeline", **as_analyst()) as connection,
    ):
        connection.execute("select count(*) from rankings.rankings")


def test_the_owner_of_the_lake_is_not_a_superuser(postgres: Postgres) -> None:
    assert postgres.execute("select rolsuper from pg_roles where rolname = 'lake'") == [(False,)]


def test_the_tests_do_not_inherit_settings_of_the_caller(folder_half: LakeHome) -> None:
    given = {name for name in folder_half.environment if name.startswith(("PG", "AWS_", "REPOSIGNAL_"))}
    assert given == {
        "REPOSIGNAL_HOME",
        "REPOSIGNAL_PROFILE",
        "REPOSIGNAL_RANKINGS_URL",
        "REPOSIGNAL_LAKE_CATALOG",
        "REPOSIGNAL_LAKE_DATA",
    }
    assert not any(name.startswith("AWS_") for name in os.environ)
