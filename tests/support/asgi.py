"""Requests to an ASGI program in the loop of the test, without a socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message


class Answered(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: ASGIApp,
    method: str,
    path: str,
    message: Any = None,
    *,
    address: str = "127.0.0.1",
    on_body: Callable[[bytes], Awaitable[None]] | None = None,
    **headers: str,
) -> Answered:
    """One request; ``message`` is sent as JSON. ``on_body`` is called with each part of the answer, as it comes."""
    named = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if message is not None:
        named.setdefault("content-type", "application/json")
    body = b"" if message is None else message if isinstance(message, bytes) else json.dumps(message).encode()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": (address, 5),
        "server": ("localhost", 80),
    }
    waiting, parts, started = [{"type": "http.request", "body": body, "more_body": False}], [], {}

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        raise AssertionError("nothing wakes it")

    async def send(sent: Message) -> None:
        if sent["type"] == "http.response.start":
            started.update(sent)
        else:
            parts.append(sent.get("body", b""))
            if on_body is not None:
                await on_body(parts[-1])

    await app(scope, receive, send)
    named = {name.decode(): value.decode() for name, value in started["headers"]}
    return Answered(started["status"], named, b"".join(parts))
