"""Reads files by name below a base address: http(s), s3, file or a plain folder.

This module handles retries, time-outs and copies through a temporary file, and distinguishes a missing file from a
failed read. It does not interpret the bytes.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar, cast
from urllib.parse import quote, urlsplit

import requests
import urllib3
from dlt.sources.helpers.requests import Client
from dlt.sources.helpers.requests.retry import DEFAULT_RETRY_EXCEPTIONS
from pyarrow import fs

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
ATTEMPTS = 5
COPY_BYTES = 1 << 20
LARGEST_FILE_BYTES = 4 << 30
"""far above the largest file that is copied through the disk"""


class UpstreamError(Exception):
    """An upstream could not be read. The message is one line and contains no credentials."""


_T = TypeVar("_T")


def sort_out(answers: Sequence[_T | BaseException]) -> tuple[list[_T], UpstreamError | None]:
    """Return (the results, the first `UpstreamError` or None); any other exception is raised."""
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
    """Return the address without user, password, query and fragment, safe for logs and tables.

    Malformed addresses are covered too, such as one with an unescaped `/` in its password.
    """
    scheme, colon, rest = address.partition(":")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) or not colon:
        return address
    if not rest.startswith("//"):
        return f"{scheme}:..."
    place = re.sub(r"^(?:[^/?#]*|[^/:]+:(?!\d*(?:[/?#]|$)).*)@", "", rest.removeprefix("//"))
    return f"{scheme}://{re.split('[?#]', place)[0]}"


class Upstream:
    """A base address from which whole files are read.

    Args:
        base: `http://`, `https://`, `s3://`, `file://` or a folder. S3 credentials, region and endpoint come
            from the standard AWS variables.
        backoff_seconds: first wait between HTTP attempts; it doubles with each attempt.

    Raises:
        UpstreamError: the base is unusable (unknown scheme, no such folder).
    """

    def __init__(self, base: str, *, backoff_seconds: float = 1.0) -> None:
        self.base = base.rstrip("/")
        self._backoff_seconds = backoff_seconds
        try:
            parts = urlsplit(base)
        except ValueError as error:
            raise UpstreamError(f"the base address is not valid: {_one_line(error)}") from None
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
            except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no such user as in ~user
                raise UpstreamError(f"{shown(base)}: {_one_line(error).replace(base, shown(base))}") from None
            self._is_local = scheme != "s3"
            self._container = self._root if self._is_local else self._root.partition("/")[0]
            if not self._container:
                raise UpstreamError(f"{shown(base)}: no bucket")
            if self._is_local:
                self._require_container()
        else:
            raise UpstreamError(f"{shown(base)}: unknown scheme {scheme!r}; use http, https, s3 or file")

    def read(self, name: str) -> bytes | None:
        """Return the bytes of the file `name`; None if the upstream has no such file.

        Raises:
            UpstreamError: any other failure, after the retries.
        """
        return self._read_http(name) if self._http else self._read_file(name)

    def open(self, name: str, *, through: Path | None = None) -> BinaryIO | None:
        """Return the file `name`, open at its beginning; None if the upstream has no such file.

        A remote file is first copied to an unnamed temporary file. This keeps memory small, lets an interrupted
        transfer resume where it stopped, and leaves nothing behind if the process dies.

        Args:
            name: name of the file, relative to the base.
            through: folder of the temporary file (default: the system's).

        Raises:
            UpstreamError: any other failure, after the retries.
        """
        if self._http:
            return self._fetched(name, through)
        file = self._opened(name)
        if file is None or self._is_local:
            return file
        with file:
            copy = _nameless(through)
            try:
                shutil.copyfileobj(file, copy, COPY_BYTES)
            except OSError as error:
                copy.close()
                raise UpstreamError(f"{self.address(name)}: {_one_line(error)}") from None
        copy.seek(0)
        return copy

    def has(self, name: str) -> bool:
        """Return whether the file exists, without reading it.

        Raises:
            UpstreamError: the upstream gave no definite response, after the retries.
        """
        if not self._http:
            file = self._opened(name)
            if file:
                file.close()
            return file is not None
        response = self._got(name, stream=True)
        if response:
            response.close()
        return response is not None

    def address(self, name: str) -> str:
        """Return the address of the file `name`, safe for logs and tables."""
        return f"{shown(self.base)}/{name}"

    def _read_http(self, name: str) -> bytes | None:
        response = self._got(name)
        return None if response is None else bytes(response.content)

    def _got(self, name: str, *, begin: int = 0, version: str = "", stream: bool = False) -> requests.Response | None:
        """Return the response for a file, from byte `begin` on if its version is unchanged; None if there is no file.

        Raises:
            UpstreamError: any other response, after the retries.
        """
        assert self._http
        base, question, query = self.base.partition("?")
        headers = {"Range": f"bytes={begin}-", "If-Range": version} if begin else {}
        try:
            response = self._http.get(f"{base}/{quote(name)}{question}{query}", headers=headers, stream=stream)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an HTTP error"
            raise UpstreamError(f"{self.address(name)}: answered {status} {ATTEMPTS} times") from None
        except requests.RequestException as error:
            tried = f" after {ATTEMPTS} attempts" if isinstance(error, DEFAULT_RETRY_EXCEPTIONS) else ""
            raise UpstreamError(f"{self.address(name)}: {type(error).__name__}{tried}") from None
        # 416: the file has become shorter, or only its end was missing
        if response.status_code == 200 or (begin and response.status_code in (206, 416)):
            return response
        response.close()
        if response.status_code in (404, 410):
            return None
        raise UpstreamError(f"{self.address(name)}: answered {response.status_code}")

    def _fetched(self, name: str, through: Path | None) -> BinaryIO | None:
        """Return a copy of a file; an interrupted transfer resumes, or restarts if the file changed."""
        copy = _nameless(through)
        version, cause = "", None
        try:
            for attempt in range(ATTEMPTS):
                if attempt:
                    time.sleep(self._backoff_seconds * 2 ** (attempt - 1))
                begin = copy.tell() if version else 0
                response = self._got(name, begin=begin, version=version, stream=True)
                if response is None:
                    copy.close()
                    return None
                with response:
                    etag = response.headers.get("etag", "")
                    etag = "" if etag.startswith("W/") else etag
                    if response.status_code != 200 and not _goes_on(response, begin, version, etag):
                        version, cause = "", "sent a part that was not requested"
                        continue
                    begin = begin if response.status_code == 206 else 0
                    copy.truncate(begin)
                    copy.seek(begin)
                    version = etag or (version if begin else "")
                    if cause := self._copied(response, copy):
                        continue
                copy.seek(0)
                return copy
            raise UpstreamError(f"{self.address(name)}: {cause} {ATTEMPTS} times")
        except BaseException:
            copy.close()
            raise

    def _copied(self, response: requests.Response, copy: BinaryIO) -> str | None:
        """Append a response body to the copy; return why it was interrupted, or None."""
        while True:
            try:
                # without decoding, because the file itself is gzip; urllib3 raises on short bodies
                part = response.raw.read(COPY_BYTES, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                return f"{type(error).__name__} in mid-file"
            if not part:
                return None
            copy.write(part)  # outside `try`: a full disk is not an upstream error
            if copy.tell() > LARGEST_FILE_BYTES:
                raise UpstreamError(f"{shown(response.url)}: more than {LARGEST_FILE_BYTES:,} bytes")

    def _read_file(self, name: str) -> bytes | None:
        file = self._opened(name)
        if file is None:
            return None
        try:
            with file:
                return file.read()
        except OSError as error:
            raise UpstreamError(f"{self.address(name)}: {_one_line(error)}") from None

    def _opened(self, name: str) -> BinaryIO | None:
        path = f"{self._root}/{name}"
        try:
            # a local file needs no copy; Arrow's file objects behave like files without the type
            return Path(path).open("rb") if self._is_local else cast(BinaryIO, self._files.open_input_file(path))
        except FileNotFoundError:
            self._require_container()
            return None
        except OSError as error:
            raise UpstreamError(f"{self.address(name)}: {_one_line(error)}") from None

    def _require_container(self) -> None:
        """Raise unless the folder or bucket exists; without it, a missing file proves nothing."""
        try:
            kind = self._files.get_file_info(self._container).type
        except OSError as error:
            raise UpstreamError(f"{shown(self.base)}: {_one_line(error)}") from None
        if kind != fs.FileType.Directory:
            raise UpstreamError(f"{shown(self.base)}: no such folder or bucket")


def _goes_on(response: requests.Response, begin: int, version: str, etag: str) -> bool:
    """Return whether a response continues the file at byte `begin` and has the requested version."""
    part = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return response.status_code == 206 and part is not None and int(part[1]) == begin and etag in ("", version)


def _nameless(folder: Path | None) -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
