"""Failures that need no build: invalid homes, closed and full streams, interruptions, files held by others."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from reposignal_pipeline import trouble, warehouse
from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.publishing.site.serving import server
from reposignal_pipeline.warehouse import HeldError, Warehouse
from tests.mounts import mounted
from tests.pipeline.homes import COMMAND, PATIENCE_SECONDS, Home, Ran, assert_one_line

HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print("open", flush=True)
sys.stdin.readline()
"""
INTERRUPTIBLE = """
import signal, sys
from reposignal_pipeline.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
print("begins", flush=True)
sys.exit(main(["sql", sys.argv[1]]))
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold a DuckDB file open."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=-1, stdout=-1, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "open\n"
    try:
        yield holder
    finally:
        holder.communicate("\n")


def settings_of(home: Path) -> Settings:
    return Settings(home=home, profile=Profile.LOCAL, rankings_base="")


def error_line(ran: Ran) -> str:
    """Return the one line with which a command failed."""
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert_one_line(ran.stderr)
    assert len(ran.stderr) < 600
    return ran.stderr


@pytest.fixture
def published(tmp_path: Path) -> Home:
    """A home with a published copy of one table, in a path with characters special to SQL and shells."""
    home = Home(tmp_path / "a (1) home")
    release = home.path / "releases" / "one"
    release.mkdir(parents=True)
    with duckdb.connect(str(release / "reposignal.duckdb")) as connection:
        connection.execute("create table numbers as select range as number from range(1000)")
    (home.path / "published").symlink_to("releases/one")
    return home


# homes


@pytest.mark.parametrize("verb", [("sql", "select 1"), ("run",), ("site",), ("doctor",)], ids=lambda verb: verb[0])
def test_a_home_that_is_a_file_is_reported(tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "home").write_text("mine")
    assert f"REPOSIGNAL_HOME={tmp_path / 'home'} is a file, not a folder" in error_line(
        Home(tmp_path / "home").run(*verb)
    )
    assert (tmp_path / "home").read_text() == "mine"


@pytest.mark.parametrize("place", ["file/home", "/proc/no/home"])
def test_a_home_that_cannot_be_created_is_reported(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / place
    assert f"REPOSIGNAL_HOME={home} cannot be created" in error_line(Home(home).run("run"))
    ready = subprocess.run(
        [sys.executable, "-m", "reposignal_pipeline.home"],
        env=Home(home).environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"REPOSIGNAL_HOME={home} cannot be created" in error_line(ready)


def test_the_home_of_an_unknown_user_is_reported(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("HOME", "WATCHLIST"):
        home.extra = {f"REPOSIGNAL_{name}": "~nosuchuser/x"}
        assert f"REPOSIGNAL_{name}=~nosuchuser/x: there is no user '~nosuchuser'" in error_line(home.run("run"))


@pytest.mark.parametrize("sign", ["?", "%", "'", "#"])
def test_a_home_in_a_path_that_libraries_cannot_use_is_reported(tmp_path: Path, sign: str) -> None:
    home = tmp_path / f"a{sign} b"
    assert f"REPOSIGNAL_HOME={home}: the path must not contain {sign}" in error_line(Home(home).run("run"))
    assert not home.exists()


def test_a_home_that_cannot_be_written_answers_questions_but_loads_nothing(published: Home, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=8m") as disk:
        home = published.copied(disk / "home")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for verb in ("run", "site"):
            assert f"REPOSIGNAL_HOME={home.path} cannot be written" in error_line(home.run(verb))
        ran = home.run("sql", "select count(*) as n from numbers", "--format", "csv")
        assert (ran.returncode, ran.stdout) == (0, "n\n1000\n")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00demo", b"production\n", b"\x00"])
def test_a_profile_mark_with_an_unknown_profile_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "profile").write_bytes(content)
    line = error_line(Home(tmp_path).run("sql", "select 1"))
    assert f"{tmp_path / 'profile'} does not name a profile: delete it and set REPOSIGNAL_PROFILE" in line


def test_a_profile_mark_with_or_without_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    home = Home(tmp_path, profile="")
    (tmp_path / "profile").write_bytes(b"\xef\xbb\xbfdemo\r\n")
    assert "profile demo" in home.run("doctor").stdout
    (tmp_path / "profile").write_bytes(b"")  # a disk was full when it was written
    assert "nothing is published yet" in error_line(home.run("sql", "select 1"))


# streams


def test_a_query_that_is_not_utf_8_is_reported(published: Home) -> None:
    for arguments, stdin, line in (
        ((), b"select \xff", "standard input is not UTF-8: byte 8 is 0xff"),
        ((b"select '\xff'",), b"", "the argument query is not UTF-8"),
    ):
        ran = subprocess.run(
            [COMMAND, "sql", *arguments], env=published.environment, input=stdin, capture_output=True, check=False
        )
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert_one_line(ran.stderr.decode())
        assert line in ran.stderr.decode()


def test_a_query_with_a_byte_order_mark_is_read(published: Home) -> None:
    ran = published.run("sql", "--format", "csv", stdin="\N{ZERO WIDTH NO-BREAK SPACE}select 'ä' as a")
    assert (ran.returncode, ran.stdout) == (0, "a\nä\n")


@pytest.mark.parametrize(
    ("redirection", "line"),
    [(">/dev/full", "standard output: No space left on device"), (">&-", "standard output is closed")],
)
@pytest.mark.parametrize("rows", [1, 1000])
def test_an_answer_that_cannot_be_written_is_reported(published: Home, redirection: str, line: str, rows: int) -> None:
    ran = subprocess.run(
        ["/bin/sh", "-c", f"\"$0\" sql 'from numbers limit {rows}' {redirection}", COMMAND],
        env=published.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert line in error_line(ran)


def test_a_closed_error_stream_changes_nothing(published: Home) -> None:
    ran = subprocess.run(
        ["/bin/sh", "-c", '"$0" sql nonsense 2>&-', COMMAND],
        env=published.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "")


def test_an_interrupted_query_ends_with_130(published: Home) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "select count(*) from range(1000000000000) as r(n) where n * 7 % 13 = 5"],
        env=published.environment, stdout=-1, stderr=-1, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "begins\n"
    while "_duckdb" not in Path(f"/proc/{process.pid}/maps").read_text():  # it is imported last: the query follows
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                process.kill()
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (130, "")
    assert_one_line(err)
    assert "interrupted" in err
    assert "loaded" not in err  # a query loads nothing


def test_an_impossible_file_address_is_not_found(published: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with server(settings_of(published.path), 0) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        for path in ("/site/%00", "/%ed%a0%80", f"/{'x' * 5000}", "/site/none.html"):
            connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=PATIENCE_SECONDS)
            connection.request("GET", path)
            assert connection.getresponse().status == 404
            connection.close()
        served.shutdown()
    assert capfd.readouterr().err == ""


# files


def test_a_writer_names_the_process_it_waits_for_and_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Warehouse(settings_of(tmp_path))
    store.settings.warehouse_dir.mkdir()
    with store.connected():
        pass
    monkeypatch.setattr(trouble, "HOLDER_SECONDS", 1.0)
    monkeypatch.setattr(warehouse, "SAY_AFTER_SECONDS", 0.2)
    for path, opens in (
        (store.settings.pipeline_db, store.connected),
        (store.settings.marts_db, store.connected),
        (store.settings.pipeline_db, store.loading),
    ):
        caplog.clear()
        with held(path) as holder, pytest.raises(HeldError) as raised, opens():
            pass
        assert f"{path} is open in process {holder.pid} (python" in str(raised.value)
        assert "end it, then run the same command again" in str(raised.value)
        assert [f"waiting up to 1 seconds for process {holder.pid}" in text for text in caplog.messages] == [True]


def test_only_a_lock_has_a_holder() -> None:
    lock = 'IO Error: Could not set lock on file "/x": Conflicting lock is held in /a/python3 (PID 7).'
    assert str(trouble.holder_of(lock)) == "process 7 (python3), which holds /x"
    assert trouble.holder_of('IO Error: Could not set lock on file "/x": Resource temporarily unavailable')
    assert trouble.holder_of("IO Error: No such file") is None


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_the_doctor_opens_what_it_reports_as_good(published: Home, damage: str) -> None:
    store = Warehouse(settings_of(published.path))
    store.settings.warehouse_dir.mkdir()
    with store.connected() as connection:
        connection.execute("create table pipeline.large as select range::varchar as text from range(200000)")
    files = [store.settings.pipeline_db, store.settings.marts_db, published.published.resolve()]
    assert "is damaged" not in published.run("doctor").stdout
    for path in files:
        path.chmod(0o644)
        if damage == "truncated":
            os.truncate(path, path.stat().st_size - 4096)
        else:
            path.write_bytes(b"garbage" * 2000 if damage == "garbage" else b"")
    history = published.path / "dagster" / "history" / "runs"
    history.mkdir(parents=True)
    (history / "index.db").write_bytes(b"garbage" * 1000)
    ran = published.run("doctor")
    assert ran.returncode == 1
    assert "Traceback" not in ran.stdout + ran.stderr
    for path in files:
        assert f"{path} is damaged: " in ran.stdout
    assert f"delete the folder {history.parent}; only the record of past runs is lost" in ran.stdout


def test_the_doctor_does_not_wait_for_writers(published: Home) -> None:
    store = Warehouse(settings_of(published.path))
    store.settings.warehouse_dir.mkdir()
    with store.connected():
        ran = published.run("doctor")
    assert f"in use by process {os.getpid()}" in ran.stdout


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("[Errno 28] No space left on device: '/h/x'", "is full"),
        ("(sqlite3.OperationalError) database or disk is full", "is full"),
        ('IO Error: Could not write file "/h/x": No space left on device', "is full"),
        ("Out of Memory Error: failed to offload data block of size 256.0 KiB (1/2 used). This limit was set by the"
         " 'max_temp_directory_size' setting", "is full"),
        ("[Errno 27] File too large: '/h/x'", "/h/x reached the file size limit of the system (ulimit -f"),
        ("(sqlite3.OperationalError) attempt to write a readonly database", "cannot be read or written"),
        ("[Errno 13] Permission denied: '/h/x'", "/h/x cannot be read or written (Permission denied)"),
        ("\x1b[31mConversion Error\x1b[0m: a\n  b", "Conversion Error: a b"),
    ],
)  # fmt: skip
def test_errors_are_recognised_by_their_text(tmp_path: Path, message: str, line: str) -> None:
    found = trouble.line_of_messages(["a framework says: step failed", message], tmp_path)
    assert line in found
    assert "\n" not in found
    assert "\x1b" not in found


def test_a_line_has_an_end() -> None:
    assert len(trouble.one_line("x" * 10_000)) == trouble.MOST_OF_A_CAUSE
