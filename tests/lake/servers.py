"""A PostgreSQL and an S3 server for the tests, on the loopback: real processes and sockets, with faults on demand.

Here: starting, stopping and querying them. Not here: fixtures (`conftest.py`), what is stored in them (the tests).
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3  # type: ignore[import-untyped]
import psycopg2
from moto.server import ThreadedMotoServer

HOST = "127.0.0.1"
SERVER_USER = "postgres"
PROGRAMS = ("initdb", "pg_ctl", "pg_dump", "pg_restore", "postgres")
SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Later.</Message></Error>'


def find_postgres() -> Path | None:
    """Return the folder with the programs of the newest installed PostgreSQL; None if there is none."""
    candidates = []
    if shutil.which("pg_config"):
        found = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        candidates.append(Path(found.stdout.strip()))
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(packaged, key=lambda path: float(path.parent.name), reverse=True)
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    whole = (path for path in candidates if all((path / program).is_file() for program in PROGRAMS))
    return next(whole, None)


class Postgres:
    """A PostgreSQL cluster in a folder of its own, which requires a password from every user.

    `lake` owns the databases and is not a superuser, as in a managed PostgreSQL. Crash safety is left on.
    """

    user = "lake"

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="reposignal-postgres-"))
        self.port = _free_port()
        # characters that a URL has to escape, and that would break a shell or SQL
        self.password = f"p@ss/w:rd%'{secrets.token_hex(8)}"
        self._superuser_password = secrets.token_hex(16)
        self._as_server: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam(SERVER_USER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as_server = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        password_file = self.folder / "password"
        password_file.write_text(self._superuser_password)
        if self._as_server:
            os.chown(password_file, account.pw_uid, account.pw_gid)
        self._program(
            "initdb",
            *("--username=postgres", "--auth=scram-sha-256", f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata", str(self.data)),
        )
        password_file.unlink()
        self.start()
        self.execute("create role lake login password %s", [self.password])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server; return when it accepts connections."""
        options = f"-p {self.port} -c listen_addresses={HOST} -c unix_socket_directories= -c max_connections=200"
        self._program("pg_ctl", "start", "-w", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        """Stop the server; connections are closed cleanly."""
        self._program("pg_ctl", "stop", "-w", "-m", "fast")

    def kill(self) -> None:
        """Stop the server as a crash does: data that is not in its log is lost, and it recovers when it starts."""
        self._program("pg_ctl", "stop", "-w", "-m", "immediate")

    def restart(self) -> None:
        """Stop the server and start it."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop the server and remove its data."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str, *, like: str = "template1") -> str:
        """Return the name of a new database owned by `lake`, with the content of another."""
        self.execute(f"create database {name} owner lake template {like}")
        return name

    def url(self, database: str, *, user: str = user, password: str | None = None) -> str:
        """Return a database's URL, with the password."""
        word = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{word}@{HOST}:{self.port}/{database}"

    def execute(self, sql: str, parameters: list[Any] | None = None, *, database: str = "postgres") -> list[Any]:
        """Return the rows of a statement that the superuser runs, outside of a transaction."""
        with self.session(database) as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def session(self, database: str = "postgres") -> Iterator[Any]:
        """Yield a cursor of the superuser, each statement its own transaction."""
        connection = psycopg2.connect(self.url(database, user="postgres", password=self._superuser_password))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def dump(self, database: str) -> str:
        """Return the content of a database as text."""
        return self._client("pg_dump", "--inserts", self._url_of_superuser(database)).decode()

    def save(self, database: str, file: Path) -> None:
        """Write a database to a file."""
        file.write_bytes(self._client("pg_dump", "--format=custom", self._url_of_superuser(database)))

    def restore(self, database: str, file: Path) -> None:
        """Fill an empty database owned by `lake` from a file."""
        where = f"--dbname={self._url_of_superuser(database)}"
        self._client("pg_restore", "--no-owner", "--role=lake", "--exit-on-error", where, str(file))

    def _url_of_superuser(self, database: str) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def _client(self, name: str, *arguments: str) -> bytes:
        environment = {**os.environ, "PGPASSWORD": self._superuser_password}
        command = [str(self.programs / name), *arguments]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout

    def _program(self, name: str, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        subprocess.run(
            [self.programs / name, *arguments],
            env=environment | {"PGDATA": str(self.data), "LC_ALL": "C"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a server that inherits a pipe keeps it open
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=True,
            **self._as_server,
        )


class S3:
    """An S3 server behind a gate that can refuse everything for a while.

    The server does not check keys; the tests still treat them as secrets and check that they appear nowhere.
    """

    def __init__(self) -> None:
        self.key, self.secret = f"KEY{secrets.token_hex(8).upper()}", secrets.token_hex(20)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise one log line per request
        self._server = ThreadedMotoServer(HOST, port=0, verbose=False)
        self._server.start()
        _, self._behind = self._server.get_host_and_port()
        self.refused = 0
        self.requests = 0
        self._closed_until = 0.0
        self._gate = ThreadingHTTPServer((HOST, 0), self._handler())
        self._gate.daemon_threads = True
        threading.Thread(target=self._gate.serve_forever, daemon=True).start()
        self.address = f"http://{HOST}:{self._gate.server_port}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": self.address,
        }

    def stop(self) -> None:
        self._gate.shutdown()
        self._gate.server_close()
        self._server.stop()

    def refuse(self, seconds: float) -> None:
        """Answer every request with 503 for a number of seconds."""
        self._closed_until = time.monotonic() + seconds

    def client(self) -> Any:
        """Return a client that bypasses the gate."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://{HOST}:{self._behind}",
            region_name="eu-central-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )

    def create_bucket(self, name: str) -> str:
        """Return the name of a new bucket."""
        self.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        return name

    def keys(self, bucket: str, prefix: str = "") -> set[str]:
        """Return the names of a bucket's objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {item["Key"] for page in pages for item in page.get("Contents", ())}

    def contents(self, bucket: str) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents of a bucket's objects."""
        client = self.client()
        for key in sorted(self.keys(bucket)):
            yield key, client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def upload(self, folder: Path, bucket: str, prefix: str) -> None:
        """Copy the files below a folder to objects below a prefix."""
        client = self.client()
        for path in folder.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")

    def download(self, bucket: str, prefix: str, folder: Path) -> None:
        """Copy the objects below a prefix to files below a folder."""
        client = self.client()
        for key in self.keys(bucket, f"{prefix}/"):
            path = folder / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(path))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        s3 = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                s3.requests += 1
                if time.monotonic() < s3._closed_until:
                    s3.refused += 1
                    self.answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
                    return
                behind = http.client.HTTPConnection(HOST, s3._behind, timeout=60)
                try:
                    behind.request(self.command, self.path, body or None, dict(self.headers.items()))
                    response = behind.getresponse()
                    self.answer(response.status, dict(response.getheaders()), response.read())
                finally:
                    behind.close()

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                for name, value in headers.items():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])
