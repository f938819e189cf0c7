"""The published folder on the loopback: the site, and the files that it links to.

Here: a server of files for one machine. Not here: anything for the open network.
"""

from __future__ import annotations

import io
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

from reposignal_pipeline.config import Settings


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".html": "text/html; charset=utf-8",
        ".md": "text/markdown; charset=utf-8",
        ".json": "application/json; charset=utf-8",
        ".csv": "text/csv; charset=utf-8",
        ".xml": "application/atom+xml; charset=utf-8",
    }

    def do_GET(self) -> None:
        if self.path == "/":
            self.send_response(302)
            self.send_header("Location", "/site/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        try:
            return super().send_head()
        except ValueError:  # an address with a NUL, or with what no file system can name
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # the next release has the same addresses
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal belongs to the command."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = False

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a browser that leaves in the middle of an answer is no error of the command."""


def server(settings: Settings, port: int) -> ThreadingHTTPServer:
    """Return a server of the published folder that is bound; each request follows the link to the current release.

    Raises:
        OSError: if the port cannot be had.
    """
    return _Server(("127.0.0.1", port), partial(_Handler, directory=str(settings.published_dir)))
