"""Reads a named file below a base address, wherever the base is.

Here: http(s), s3, file and plain-folder bases; retries, time-outs, and the difference between "not there" and "broken".
Not here: what the bytes mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import requests
from dlt.sources.helpers.requests import Client
from dlt.sources.helpers.requests.retry import DEFAULT_RETRY_EXCEPTIONS
from pyarrow import fs

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
ATTEMPTS = 5


class UpstreamError(Exception):
    """An upstream that could not be read; the message is one line and carries no credentials."""


_T = TypeVar("_T")


def sort_out(answers: Sequence[_T | BaseException]) -> tuple[list[_T], UpstreamError | None]:
    """Return what was answered, and the first reason why the rest was not; what is no upstream's fault is raised."""
    good: list[_T] = []
    failure: UpstreamError | None = None
    for answer in answers:
        if isinstance(answer, UpstreamError):
            failure = failure or answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            good.append(answer)
    return good, failure


def shown(address: str) -> str:
    """Return the address without user, password, query and fragment: fit for logs and tables.

    Holds for addresses that are wrong as well, such as one with a raw `/` in its password.
    """
    scheme, colon, rest = address.partition(":")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) or not colon:
        return address
    if not rest.startswith("//"):
        return f"{scheme}:..."
    place = re.sub(r"^(?:[^/?#]*|[^/:]+:(?!\d*(?:[/?#]|$)).*)@", "", rest.removeprefix("//"))
    return f"{scheme}://{re.split('[?#]', place)[0]}"


class Upstream:
    """A base address from which files are read whole.

    Args:
        base: `http://`, `https://`, `s3://`, `file://` or a folder. S3 credentials, region and endpoint come
            from the standard AWS variables.
        backoff_seconds: first wait between attempts over HTTP; it doubles.

    Raises:
        UpstreamError: if the base itself is unusable (unknown scheme, no such folder).
    """

    def __init__(self, base: str, *, backoff_seconds: float = 1.0) -> None:
        self.base = base.rstrip("/")
        try:
            parts = urlsplit(base)
        except ValueError as error:
            raise UpstreamError(f"the base address is not one: {_one_line(error)}") from None
        scheme = parts.scheme.lower()
        self._http: Client | None = None
        if scheme in ("http", "https"):
            if not parts.hostname:
                raise UpstreamError(f"{shown(base)}: no host")
            # dlt's client retries 429, 5xx, resets, time-outs and short bodies, and obeys retry-after.
            self._http = Client(
                request_timeout=(CONNECT_SECONDS, READ_SECONDS),
                request_max_attempts=ATTEMPTS,
                request_backoff_factor=backoff_seconds,
                raise_for_status=False,
            )
        elif scheme in ("s3", "file", ""):
            try:
                location = base if scheme else str(Path(base).expanduser().absolute())
                self._files, self._root = fs.FileSystem.from_uri(location)
            except (OSError, ValueError) as error:
                raise UpstreamError(f"{shown(base)}: {_one_line(error).replace(base, shown(base))}") from None
            self._container = self._root.partition("/")[0] if scheme == "s3" else self._root
            if not self._container:
                raise UpstreamError(f"{shown(base)}: no bucket")
            if scheme != "s3":
                self._require_container()
        else:
            raise UpstreamError(f"{shown(base)}: the scheme {scheme!r} is none of http, https, s3, file")

    def read(self, name: str) -> bytes | None:
        """Return the bytes of the file `name`, or None where the upstream says that there is no such file.

        Raises:
            UpstreamError: anything else, after the retries.
        """
        return self._read_http(name) if self._http else self._read_file(name)

    def address(self, name: str) -> str:
        """Return where `name` is read from, fit for logs and tables."""
        return f"{shown(self.base)}/{name}"

    def _read_http(self, name: str) -> bytes | None:
        assert self._http
        base, question, query = self.base.partition("?")
        try:
            response = self._http.get(f"{base}/{quote(name)}{question}{query}")
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an HTTP error"
            raise UpstreamError(f"{self.address(name)}: answered {status} {ATTEMPTS} times") from None
        except requests.RequestException as error:
            tried = f" after {ATTEMPTS} attempts" if isinstance(error, DEFAULT_RETRY_EXCEPTIONS) else ""
            raise UpstreamError(f"{self.address(name)}: {type(error).__name__}{tried}") from None
        if response.status_code in (404, 410):
            return None
        if response.status_code != 200:
            raise UpstreamError(f"{self.address(name)}: answered {response.status_code}")
        return bytes(response.content)

    def _read_file(self, name: str) -> bytes | None:
        try:
            with self._files.open_input_file(f"{self._root}/{name}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            self._require_container()
            return None
        except OSError as error:
            raise UpstreamError(f"{self.address(name)}: {_one_line(error)}") from None

    def _require_container(self) -> None:
        """Raise unless the folder or bucket is there: without it, a file that is not there says nothing."""
        try:
            kind = self._files.get_file_info(self._container).type
        except OSError as error:
            raise UpstreamError(f"{shown(self.base)}: {_one_line(error)}") from None
        if kind != fs.FileType.Directory:
            raise UpstreamError(f"{shown(self.base)}: no such folder or bucket")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
