"""Processes that start with the libraries imported: forks of one process per worker, which imports them once.

Importing Dagster, dbt and dlt costs four seconds, more than most commands take. A fork has its own environment, folder
and files, and imports the package itself. Not here: the installed command, which other tests start as a user does.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from tempfile import TemporaryFile
from typing import IO, Any

COMMAND = "import sys; from reposignal_pipeline.cli import main; sys.exit(main())"
"""the program behind `reposignal`"""

_SERVER = """
import contextlib, json, os, socket, sys, time
import dagster, dagster_dbt, dagster_dlt, dbt.cli.main, dlt, pandas, pyarrow
# a fork has the threads of no library: DuckDB starts one when it is imported, and ends the process that lacks it
assert "duckdb" not in sys.modules
requests = socket.socket(fileno=int(sys.argv[1]))
while True:
    request, files, _, _ = socket.recv_fds(requests, 1_000_000, 4)
    if not request:
        break
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    if os.fork():
        for file in files:
            os.close(file)
        continue
    # from here on: a process that waits for the requested one
    requests.close()
    job = json.loads(request)
    if pid := os.fork():
        os.write(files[3], f"{pid}\\n".encode())
        for file in files[:3]:
            os.close(file)
        _, status = os.waitpid(pid, 0)
        os.write(files[3], str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    sys.argv = ["reposignal", *job["arguments"]]
    break
if not request:
    sys.exit()
exec(compile(job["program"], "<program>", "exec"), {"__name__": "__main__"})
"""


class Process:
    """A running program; its output is kept in files, so that nothing has to read along.

    With `is_piped`, its input and output are pipes, as text in lines.
    """

    def __init__(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str], *, is_piped: bool = False
    ) -> None:
        request = {"program": program, "arguments": list(arguments), "environment": dict(environment)}
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self._status, status = os.pipe()
        self._kept: list[IO[bytes]] = []
        if is_piped:
            read_in, write_in = os.pipe()
            read_out, write_out = os.pipe()
            self.stdin, self.stdout = os.fdopen(write_in, "w", buffering=1), os.fdopen(read_out)
            given = [read_in, write_out, os.dup(2), status]
        else:
            self._kept = [TemporaryFile(), TemporaryFile()]  # noqa: SIM115 - closed when they are read
            given = [os.open(os.devnull, os.O_RDONLY), *(os.dup(file.fileno()) for file in self._kept), status]
        socket.send_fds(_server(), [json.dumps(request).encode()], given)
        for file in given:
            os.close(file)
        answer = b""
        while not answer.endswith(b"\n"):
            byte = os.read(self._status, 1)
            assert byte, "no process was started"
            answer += byte
        self.pid = int(answer)

    def wait(self, timeout: float | None = None) -> int:
        """Return the status with which the program ended, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: if it did not end in time.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("reposignal", timeout or 0)
            self.returncode = int(os.read(self._status, 100))
            os.close(self._status)
        return self.returncode

    def kill(self) -> None:
        """Kill the program without warning if it still runs."""
        if self.returncode is None and not select.select([self._status], [], [], 0)[0]:
            os.kill(self.pid, 9)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what the program wrote, after its end; nothing of what went to a pipe."""
        self.wait(timeout)
        for pipe in (self.stdin, self.stdout):
            if pipe:
                pipe.close()
        out = [_text(file) for file in self._kept] or ["", ""]
        return out[0], out[1]


def run(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Return the result and the output of a program.

    Raises:
        subprocess.TimeoutExpired: if it did not end in time, after it was killed.
    """
    process = Process(program, arguments, environment)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(list(arguments), process.wait(), out, err)


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment: dict[str, Any] = {
        name: value for name, value in os.environ.items() if not name.startswith(("REPOSIGNAL_", "DAGSTER_", "DBT_"))
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(theirs.fileno())], env=environment, pass_fds=[theirs.fileno()]
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours
