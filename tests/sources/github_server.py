"""A GitHub on the loopback whose responses a test defines, and whose quotas work like the real ones."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2]))

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def resource(self) -> str:
        return {"graphql": "graphql", "search": "search"}.get(self.path.split("/")[1], "core")


@dataclass(frozen=True)
class Reply:
    """One response, or with `resets`, `cuts` or `drips` what happens to it on the way."""

    status: int = 200
    content: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    after_seconds: float = 0.0
    resets: bool = False
    cuts: bool = False
    drips_seconds: float = 0.0


@dataclass
class Account:
    limit: int
    remaining: int
    reset: int
    lowest: int = 0

    def __post_init__(self) -> None:
        self.lowest = self.remaining


class GitHubServer:
    """An asynchronous context: a server that responds with `answer`, and counts what it has granted to each token."""

    def __init__(self, answer: Callable[[Request], Reply] = lambda request: Reply()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        """every request except those for `/rate_limit`, in order of arrival"""
        self.rate_limit_requests: list[Request] = []
        self.accounts: dict[tuple[str, str], Account] = {}
        """by token and resource; without an account the server has no limits"""
        self.revoked: set[str] = set()
        self.skew_seconds = 0.0
        self.in_flight = 0
        self.most_in_flight = 0

    def now(self) -> float:
        return time.time() + self.skew_seconds

    def open_account(
        self, token: str, resource: str, *, limit: int, remaining: int | None = None, seconds: float = 3600
    ) -> Account:
        remaining = limit if remaining is None else remaining
        account = self.accounts[token, resource] = Account(limit, remaining, int(self.now() + seconds))
        return account

    async def __aenter__(self) -> GitHubServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._serve_one(reader, writer):
                pass
        writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(method, target, headers, body, time.monotonic())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if request.path.endswith("/rate_limit"):
                self.rate_limit_requests.append(request)
                reply = self._rate_limits(request)
            else:
                self.requests.append(request)
                reply = self._charged(request, self.answer(request))
            await asyncio.sleep(reply.after_seconds)
            return await self._write(reply, writer)
        finally:
            self.in_flight -= 1

    def _rate_limits(self, request: Request) -> Reply:
        if request.token in self.revoked:
            return Reply(401, {"message": "Bad credentials"})
        resources = {
            resource: {"limit": account.limit, "remaining": account.remaining, "reset": account.reset}
            for (token, resource), account in self.accounts.items()
            if token == request.token
        }
        return Reply(200, {"resources": resources}) if resources else Reply(404, {"message": "not enabled"})

    def _charged(self, request: Request, reply: Reply) -> Reply:
        if request.token in self.revoked:
            return Reply(401, {"message": "Bad credentials"})
        account = self.accounts.get((request.token, request.resource))
        if account is None:
            return reply
        if self.now() >= account.reset:
            account.remaining, account.reset = account.limit, int(self.now()) + 3600
        if account.remaining == 0:
            reply = Reply(403, {"message": "API rate limit exceeded for user ID 1."})
        elif reply.status not in (304, 401):
            account.remaining -= 1
        account.lowest = min(account.lowest, account.remaining)
        headers = {
            "X-RateLimit-Limit": str(account.limit),
            "X-RateLimit-Remaining": str(account.remaining),
            "X-RateLimit-Reset": str(account.reset),
            "X-RateLimit-Resource": request.resource,
        }
        return Reply(**{**vars(reply), "headers": {**headers, **reply.headers}})

    async def _write(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        if reply.resets:
            plain: socket.socket = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        body = json.dumps(reply.content).encode() if reply.body is None else reply.body
        body = b"" if reply.status in (204, 304) else body
        headers = {
            "Date": formatdate(self.now(), usegmt=True),
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body)),
            **reply.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} Said\r\n{head}\r\n".encode("latin-1"))
        if reply.cuts:
            writer.write(body[: len(body) // 2])
        elif reply.drips_seconds:
            for at in range(len(body)):
                writer.write(body[at : at + 1])
                await writer.drain()
                await asyncio.sleep(reply.drips_seconds)
        else:
            writer.write(body)
        await writer.drain()
        return not reply.cuts


def in_turn(*answers: Reply) -> Callable[[Request], Reply]:
    """Give these responses one after the other; the last one repeats."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]
