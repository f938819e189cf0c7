"""Serves the published folder, with the site and the files that it links to, on the loopback interface.

This server is for use on one machine, not for the open network.
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
        except ValueError:  # a URL with NUL or another character that a file name cannot have
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # the next release has the same URLs
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing: the terminal belongs to the command."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = False

    def handle_error(self, *_: Any) -> None:
        """Ignore errors: a browser that disconnects during a response is not an error of the command."""


def server(settings: Settings, port: int) -> ThreadingHTTPServer:
    """Return a bound server of the published folder; each request follows the link to the current release.

    Raises:
        OSError: the port is not available.
    """
    return _Server(("127.0.0.1", port), partial(_Handler, directory=str(settings.published_dir)))
