"""A real HTTP server on the loopback with faults on demand."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, upstream: UpstreamServer, *args: Any) -> None:
        self.upstream = upstream
        super().__init__(*args, directory=str(upstream.folder))

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        self.upstream.requests.append(self.path)
        self.upstream.ranges.append(self.headers.get("Range"))
        fault = self.upstream.next_fault(name)
        if fault:
            fault(self)
        else:
            super().do_GET()

    def content(self) -> bytes:
        return Path(self.translate_path(self.path)).read_bytes()

    def begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


Fault = Callable[[_Handler], None]


def answers(status: int, body: bytes = b"", **headers: str) -> Fault:
    """A fault: this status instead of the file. `_` in a header's name becomes `-`."""

    def fault(handler: _Handler) -> None:
        handler.begin(status, len(body), **headers)
        handler.wfile.write(body)

    return fault


def resets(handler: _Handler) -> None:
    """A fault: the connection is reset before any response."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def cuts_short(handler: _Handler) -> None:
    """A fault: half of the body that Content-Length promises, then the end of the connection."""
    content = handler.content()
    handler.begin(200, len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True


def stalls(seconds: float) -> Fault:
    """A fault: a pause in the middle of the body."""

    def fault(handler: _Handler) -> None:
        content = handler.content()
        handler.begin(200, len(content))
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        time.sleep(seconds)
        handler.close_connection = True
        with suppress(OSError):
            handler.wfile.write(content[len(content) // 2 :])

    return fault


def resumable(
    etag: str | None = '"1"', breaks_after: int | None = None, content: bytes | None = None, obeys: bool = True
) -> Fault:
    """A fault: the file, or the requested rest of it, and a reset after a number of bytes.

    Args:
        etag: of this version.
        breaks_after: bytes of this response, after which the connection is reset.
        content: instead of the file's.
        obeys: whether the server honours `If-Range`.
    """

    def fault(handler: _Handler) -> None:
        whole = handler.content() if content is None else content
        asked = handler.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if obeys and handler.headers.get("If-Range") != etag:
            begin = 0
        headers = {"ETag": etag} if etag else {}
        if begin >= len(whole):
            handler.begin(416, 0, **headers)
            return
        if begin:
            headers["Content_Range"] = f"bytes {begin}-{len(whole) - 1}/{len(whole)}"
        handler.begin(206 if begin else 200, len(whole) - begin, **headers)
        handler.wfile.write(whole[begin:][:breaks_after])
        if breaks_after is not None:
            handler.wfile.flush()
            time.sleep(0.05)  # a reset takes back what was not read yet
            resets(handler)

    return fault


class UpstreamServer:
    """A real HTTP server on the loopback that serves `folder`, with faults that a test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        """path and query of every request, in order of arrival"""
        self.ranges: list[str | None] = []
        """the byte range of every request, None for all"""
        self._always: dict[str, Fault] = {}
        self._next: dict[str, deque[Fault]] = defaultdict(deque)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def base(self) -> str:
        return f"http://{self.address}"

    def put(self, name: str, content: bytes) -> None:
        """Serve `content` as `name`."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def fail(self, name: str, fault: Fault, times: int | None = None) -> None:
        """Answer the next `times` requests for `name` with `fault`, or all of them."""
        if times is None:
            self._always[name] = fault
        else:
            self._next[name].extend([fault] * times)

    def next_fault(self, name: str) -> Fault | None:
        return self._next[name].popleft() if self._next[name] else self._always.get(name)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
