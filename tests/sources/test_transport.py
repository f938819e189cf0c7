"""A file exists, does not exist, or cannot be read: three results, from every kind of base."""

from __future__ import annotations

import gzip
import io
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from moto.server import ThreadedMotoServer
from upstream_server import Fault, UpstreamServer, answers, cuts_short, resets, resumable, stalls

from reposignal_pipeline.sources import transport
from reposignal_pipeline.sources.transport import ATTEMPTS, Upstream, UpstreamError, shown

CONTENT = bytes(range(256)) * 40
SECRETS = ("hunter2", "t0ken", "alice")


@pytest.fixture
def server(upstream_server: UpstreamServer) -> UpstreamServer:
    upstream_server.put("day.csv", CONTENT)
    return upstream_server


def over_http(server: UpstreamServer) -> Upstream:
    return Upstream(server.base, backoff_seconds=0.01)


def error_of(base: str, name: str = "day.csv") -> str:
    """Return the message of the error that reading raises, after checking what holds for every message."""
    with pytest.raises(UpstreamError) as raised:
        Upstream(base, backoff_seconds=0.01).read(name)
    message = str(raised.value)
    assert message
    assert "\n" not in message
    traced = "".join(traceback.format_exception(raised.value))
    assert not [secret for secret in SECRETS if secret in traced]
    return message


def test_http_gives_the_bytes_as_they_are(server: UpstreamServer) -> None:
    assert over_http(server).read("day.csv") == CONTENT
    assert server.requests == ["/day.csv"]


def test_http_reads_below_a_folder_with_or_without_a_last_slash(server: UpstreamServer) -> None:
    server.put("a/b/day.csv", b"deep")
    assert Upstream(f"{server.base}/a/b").read("day.csv") == b"deep"
    assert Upstream(f"{server.base}/a/b/").read("day.csv") == b"deep"


def test_an_empty_file_is_a_file(server: UpstreamServer) -> None:
    server.put("empty.csv", b"")
    assert over_http(server).read("empty.csv") == b""


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_file_is_requested_once(server: UpstreamServer, status: int) -> None:
    server.fail("day.csv", answers(status))
    assert over_http(server).read("day.csv") is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 451])
def test_a_refusal_is_an_error_at_once(server: UpstreamServer, status: int) -> None:
    server.fail("day.csv", answers(status))
    assert error_of(server.base) == f"{server.base}/day.csv: answered {status}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(answers(429), id="429"),
        pytest.param(answers(500), id="500"),
        pytest.param(answers(502), id="502"),
        pytest.param(answers(503), id="503"),
        pytest.param(resets, id="reset"),
        pytest.param(cuts_short, id="short body"),
    ],
)
def test_a_transient_error_is_retried(server: UpstreamServer, fault: Fault) -> None:
    server.fail("day.csv", fault, times=ATTEMPTS - 1)
    assert over_http(server).read("day.csv") == CONTENT
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        pytest.param(answers(429), "answered 429", id="429"),
        pytest.param(answers(502), "answered 502", id="502"),
        pytest.param(resets, f"ConnectionError after {ATTEMPTS} attempts", id="reset"),
        pytest.param(cuts_short, f"ChunkedEncodingError after {ATTEMPTS} attempts", id="short body"),
    ],
)
def test_a_lasting_error_is_raised_after_the_last_attempt(server: UpstreamServer, fault: Fault, cause: str) -> None:
    server.fail("day.csv", fault)
    assert cause in error_of(server.base)
    assert len(server.requests) == ATTEMPTS


def test_retry_after_is_obeyed(server: UpstreamServer) -> None:
    server.fail("day.csv", answers(429, Retry_After="1"), times=1)
    began = time.monotonic()
    assert over_http(server).read("day.csv") == CONTENT
    assert time.monotonic() - began >= 1


def test_a_stalled_body_is_abandoned_and_requested_again(
    server: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.2)
    server.fail("day.csv", stalls(1.0), times=1)
    assert over_http(server).read("day.csv") == CONTENT
    assert len(server.requests) == 2


def test_a_slow_body_is_a_body(server: UpstreamServer) -> None:
    server.fail("day.csv", stalls(0.3))
    assert over_http(server).read("day.csv") == CONTENT
    assert len(server.requests) == 1


def test_a_redirect_is_followed_and_a_loop_is_an_error(server: UpstreamServer) -> None:
    server.fail("moved.csv", answers(301, Location="/day.csv"))
    server.fail("ring.csv", answers(302, Location="/ring.csv"))
    assert over_http(server).read("moved.csv") == CONTENT
    assert error_of(server.base, "ring.csv") == f"{server.base}/ring.csv: TooManyRedirects"


def test_a_refused_connection_is_an_error(server: UpstreamServer) -> None:
    server.stop()
    assert f"ConnectionError after {ATTEMPTS} attempts" in error_of(server.base)


def test_credentials_reach_the_upstream_and_no_message(server: UpstreamServer) -> None:
    base = f"http://alice:hunter2@{server.address}?token=t0ken"
    assert Upstream(base).read("day.csv") == CONTENT
    assert server.requests == ["/day.csv?token=t0ken"]
    assert Upstream(base).address("day.csv") == f"{server.base}/day.csv"
    for fault in (answers(403), answers(502), resets, cuts_short):
        server.fail("day.csv", fault)
        error_of(base)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("http://alice:hunter2@host:8080/a/b?token=t0ken#part", "http://host:8080/a/b"),
        ("https://alice@host", "https://host"),
        ("https://host:443/@scope/a?mail=alice@b", "https://host:443/@scope/a"),
        ("s3://AKIA:hun/ter2+x@bucket/a", "s3://bucket/a"),
        ("https://alice:hun#ter2@host/a", "https://host/a"),
        ("https:/alice:hunter2@host/a", "https:..."),
        ("file:///a/b", "file:///a/b"),
        ("/data/a@b", "/data/a@b"),
        ("data/rankings", "data/rankings"),
    ],
)
def test_shown_is_the_address_without_its_secrets(address: str, text: str) -> None:
    assert shown(address) == text


@pytest.mark.parametrize(
    "base",
    [
        "ftp://alice:hunter2@host/a?token=t0ken",
        "http://",
        "http:/alice:hunter2@host",
        "http://[alice",
        "http://alice:hunter2@host:99999/a?token=t0ken",
        "s3://",
        "s3://alice:hunter2@/a",
        "s3://alice:hun ter2 hunter2@bucket",
        "s3://alice:a/hunter2@bucket",
        "s3://alice:hunter2@bucket?unknown=t0ken",
        "file://alice:hunter2@host/a",
        "file://",
    ],
)
def test_an_invalid_base_is_an_error_without_its_secrets(base: str) -> None:
    error_of(base)


def test_an_unknown_scheme_is_an_error_that_lists_the_valid_ones() -> None:
    assert "unknown scheme 'ftp'; use http, https, s3 or file" in error_of("ftp://host/a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mirror with space"
    path.mkdir()
    (path / "day.csv").write_bytes(CONTENT)
    return path


def test_a_folder_is_a_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Upstream(str(folder)).read("day.csv") == CONTENT
    assert Upstream(f"{folder}/").read("day.csv") == CONTENT
    assert Upstream(str(folder)).read("other.csv") is None
    assert Upstream(str(folder)).address("day.csv") == f"{folder}/day.csv"
    monkeypatch.chdir(folder.parent)
    assert Upstream(folder.name).read("day.csv") == CONTENT


def test_a_file_address_is_a_base(folder: Path) -> None:
    assert Upstream(folder.as_uri()).read("day.csv") == CONTENT
    assert Upstream(folder.as_uri()).read("other.csv") is None


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for base in (str(tmp_path / "none"), (tmp_path / "none").as_uri(), str(tmp_path / "file")):
        assert "no such folder" in error_of(base)


def test_a_folder_that_disappears_does_not_make_its_files_missing(folder: Path) -> None:
    upstream = Upstream(str(folder))
    folder.rename(folder.parent / "unmounted")
    with pytest.raises(UpstreamError, match="no such folder"):
        upstream.read("day.csv")


def test_a_file_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "day.csv").unlink()
    (folder / "day.csv").mkdir()
    error_of(str(folder))


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    variables = {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="mirror")
    client.put_object(Bucket="mirror", Key="rankings/day.csv", Body=CONTENT)
    return "mirror"


def test_s3_gives_the_bytes_as_they_are(bucket: str) -> None:
    assert Upstream(f"s3://{bucket}/rankings").read("day.csv") == CONTENT
    assert Upstream(f"s3://{bucket}/rankings/").read("day.csv") == CONTENT
    assert Upstream(f"s3://{bucket}").read("rankings/day.csv") == CONTENT


def test_a_missing_key_is_a_missing_file(bucket: str) -> None:
    assert Upstream(f"s3://{bucket}/rankings").read("other.csv") is None
    assert Upstream(f"s3://{bucket}/nothing/here").read("day.csv") is None


def test_a_missing_bucket_is_an_error(bucket: str) -> None:
    assert "s3://nobody/rankings: no such" in error_of("s3://nobody/rankings")


def test_credentials_in_an_s3_address_are_in_no_message(bucket: str) -> None:
    base = f"s3://alice:hunter2@{bucket}/rankings"
    assert Upstream(base).read("day.csv") == CONTENT
    assert Upstream(base).address("day.csv") == f"s3://{bucket}/rankings/day.csv"
    error_of("s3://alice:hunter2@nobody/rankings")


# Files through the disk.

LARGE = bytes(range(251)) * 4000


def opened(upstream: Upstream, name: str = "hour.gz", through: Path | None = None) -> bytes | None:
    """Return the content of an open file; its folder stays empty."""
    file = upstream.open(name, through=through)
    if file is None:
        return None
    with file:
        assert file.tell() == 0
        return file.read()


@pytest.fixture
def large(server: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> UpstreamServer:
    monkeypatch.setattr(transport, "COPY_BYTES", 10_000)
    server.put("hour.gz", LARGE)
    return server


def test_a_file_over_http_is_copied_through_a_folder_that_stays_empty(large: UpstreamServer, tmp_path: Path) -> None:
    through = tmp_path / "through"
    through.mkdir()
    file = over_http(large).open("hour.gz", through=through)
    assert file is not None
    assert list(through.iterdir()) == []
    assert file.read() == LARGE
    file.close()
    assert large.requests == ["/hour.gz"]


def test_an_open_file_can_be_empty(server: UpstreamServer) -> None:
    server.put("hour.gz", b"")
    assert opened(over_http(server)) == b""


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_file_is_not_opened(large: UpstreamServer, status: int) -> None:
    large.fail("hour.gz", answers(status, b"not here"))
    assert opened(over_http(large)) is None
    assert len(large.requests) == 1


@pytest.mark.parametrize(
    ("fault", "cause", "requests"),
    [
        pytest.param(answers(403), "answered 403", 1, id="403"),
        pytest.param(answers(206, LARGE), "answered 206", 1, id="a part unasked"),
        pytest.param(answers(416), "answered 416", 1, id="416 unasked"),
        pytest.param(answers(503), "answered 503", ATTEMPTS, id="503"),
        pytest.param(resets, f"ConnectionError after {ATTEMPTS} attempts", ATTEMPTS, id="reset"),
        pytest.param(cuts_short, f"ProtocolError in mid-file {ATTEMPTS} times", ATTEMPTS, id="short body"),
        pytest.param(resumable(breaks_after=0), f"ProtocolError in mid-file {ATTEMPTS} times", ATTEMPTS, id="mid-body"),
    ],
)
def test_a_file_that_cannot_be_opened_is_an_error(
    large: UpstreamServer, fault: Fault, cause: str, requests: int
) -> None:
    large.fail("hour.gz", fault)
    with pytest.raises(UpstreamError) as raised:
        over_http(large).open("hour.gz")
    assert str(raised.value) == f"{large.base}/hour.gz: {cause}"
    assert len(large.requests) == requests


@pytest.mark.parametrize(
    "fault",
    [answers(500), answers(429), resets, cuts_short, stalls(0.4)],
    ids=["500", "429", "reset", "short", "stall"],
)
def test_opening_tries_again(large: UpstreamServer, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.2)
    large.fail("hour.gz", fault, times=2)
    assert opened(over_http(large)) == LARGE
    assert len(large.requests) == 3


def test_a_broken_transfer_resumes_where_it_stopped(large: UpstreamServer) -> None:
    for part in (400_000, 300_000):
        large.fail("hour.gz", resumable(breaks_after=part), times=1)
    large.fail("hour.gz", resumable())
    assert opened(over_http(large)) == LARGE
    assert large.ranges == [None, "bytes=400000-", "bytes=700000-"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param('"1"', resumable('"2"'), id="another version"),
        pytest.param('"1"', resumable('"2"', obeys=False), id="another version, and If-Range is not heeded"),
        pytest.param('"1"', resumable(None, obeys=True), id="no version any more"),
        pytest.param('W/"1"', resumable('W/"1"', obeys=False), id="a weak version"),
        pytest.param(None, resumable(None, obeys=False), id="no version at all"),
        pytest.param('"1"', answers(200, LARGE), id="ranges are not known"),
        pytest.param('"1"', answers(206, LARGE), id="a part that tells not which"),
        pytest.param('"1"', answers(206, LARGE, Content_Range="bytes 0-9/10", ETag='"1"'), id="another part"),
        pytest.param('"1"', answers(416), id="416"),
    ],
)
def test_a_broken_transfer_restarts_unless_the_version_is_the_same(
    large: UpstreamServer, first: str | None, second: Fault
) -> None:
    large.fail("hour.gz", resumable(first, breaks_after=300_000, content=b"former " * 100_000), times=1)
    large.fail("hour.gz", second, times=1)
    large.fail("hour.gz", resumable('"3"'))
    assert opened(over_http(large)) == LARGE


def test_a_version_is_forgotten_with_its_bytes(large: UpstreamServer) -> None:
    large.fail("hour.gz", resumable('"1"', breaks_after=300_000), times=1)
    large.fail("hour.gz", resumable(None, breaks_after=200_000, content=b"other " * 100_000), times=1)
    large.fail("hour.gz", resumable('"1"'))
    assert opened(over_http(large)) == LARGE
    assert large.ranges == [None, "bytes=300000-", None]


def test_a_shorter_file_leaves_no_rest_of_the_previous_one(large: UpstreamServer) -> None:
    large.fail("hour.gz", resumable('"1"', breaks_after=500_000, content=b"former " * 100_000), times=1)
    large.put("hour.gz", b"short")
    large.fail("hour.gz", resumable('"2"'))
    assert opened(over_http(large)) == b"short"


@pytest.mark.parametrize("length", ["10, 10", "many"])
def test_an_invalid_content_length_is_ignored(large: UpstreamServer, length: str) -> None:
    def fault(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(b"0123456789")
        handler.close_connection = True

    large.fail("hour.gz", fault)
    assert opened(over_http(large)) == b"0123456789"


def test_a_gzip_file_stays_compressed_with_any_content_encoding(server: UpstreamServer) -> None:
    content = gzip.compress(b"an hour" * 1000, mtime=0)
    server.fail("hour.gz", answers(200, content, Content_Encoding="gzip"))
    assert opened(over_http(server)) == content


def test_an_oversized_file_is_abandoned(large: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LARGEST_FILE_BYTES", 100_000)
    with pytest.raises(UpstreamError, match="more than 100,000 bytes"):
        over_http(large).open("hour.gz")
    assert len(large.requests) == 1


def test_a_disk_that_cannot_be_written_is_not_an_upstream_failure(large: UpstreamServer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        over_http(large).open("hour.gz", through=tmp_path / "none")

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with (
        mock.patch.object(transport, "_nameless", lambda _: Full()),
        pytest.raises(OSError, match="No space left"),
    ):
        over_http(large).open("hour.gz")
    assert len(large.requests) <= 1


def test_opening_keeps_credentials_from_messages(large: UpstreamServer) -> None:
    upstream = Upstream(f"http://alice:hunter2@{large.address}?token=t0ken", backoff_seconds=0.01)
    for fault in (answers(403), answers(502), resets, cuts_short, resumable(breaks_after=5)):
        large.fail("hour.gz", fault)
        with pytest.raises(UpstreamError) as raised:
            upstream.open("hour.gz")
        traced = "".join(traceback.format_exception(raised.value))
        assert not [secret for secret in SECRETS if secret in traced]


def test_files_of_a_folder_are_opened_where_they_are(folder: Path) -> None:
    for base in (str(folder), folder.as_uri()):
        assert opened(Upstream(base), "day.csv") == CONTENT
        assert opened(Upstream(base), "other.csv") is None
    upstream = Upstream(str(folder))
    folder.rename(folder.parent / "unmounted")
    with pytest.raises(UpstreamError, match="no such folder"):
        upstream.open("day.csv")


def test_files_of_a_bucket_are_opened_through_the_disk(bucket: str, tmp_path: Path) -> None:
    assert opened(Upstream(f"s3://{bucket}/rankings"), "day.csv", tmp_path) == CONTENT
    assert opened(Upstream(f"s3://{bucket}/rankings"), "other.csv", tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UpstreamError, match="no such"):
        Upstream("s3://nobody/rankings").open("day.csv")
