"""Clients of the Model Context Protocol, of the package that others use, against real servers and processes."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

ERAS = ("legacy", "2026-07-28")
"""With the handshake of the versions until 2025-11-25, and without."""
SECONDS = 30
ACCEPT = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
MODERN = "2026-07-28"
VERSIONS = {"legacy": "2025-11-25", "modern": MODERN}
_PREFIX = "io.modelcontextprotocol"


class Called(NamedTuple):
    """What a tool call came to."""

    is_refused: bool
    value: Any


async def call(client: Client, tool: str, /, **arguments: Any) -> Called:
    """Call a tool; what it says as text and as a value is the same."""
    result = await client.call_tool(tool, arguments)
    (text,) = result.content
    assert text.type == "text"
    assert httpx2.Response(200, text=text.text).json() == result.structured_content
    return Called(result.is_error, result.structured_content)


async def read(client: Client, uri: str) -> str:
    """The text of a resource."""
    (content,) = (await client.read_resource(uri)).contents
    text: str = content.text  # type: ignore[union-attr]
    return text


@contextlib.asynccontextmanager
async def over_http(url: str, key: str | None = None, mode: Any = "auto") -> AsyncIterator[Client]:
    """A session with ``/mcp`` of a server."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def over_stdio(folder: Path, *options: str, mode: Any = "auto", **variables: str) -> AsyncIterator[Client]:
    """A session with a ``tallystick mcp`` that is started for it, and ends with it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK")}
    started = StdioServerParameters(
        command=sys.executable, args=["-m", "tallystick", "mcp", *options], env={**kept, **variables}, cwd=folder
    )
    with (folder / "mcp.log").open("a", encoding="utf-8") as log:
        async with Client(stdio_client(started, errlog=log), mode=mode) as client:
            yield client


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test that has an event loop."""

    async def within() -> None:
        async with asyncio.timeout(2 * SECONDS):
            await test()

    asyncio.run(within())


def request_of(method: str, params: dict[str, Any], version: str) -> tuple[bytes, dict[str, str]]:
    """A request, and its headers."""
    headers = {**ACCEPT, "mcp-protocol-version": version}
    if version == MODERN:
        meta = {f"{_PREFIX}/protocolVersion": version, f"{_PREFIX}/clientCapabilities": {}}
        params = {**params, "_meta": meta}
        headers |= {"mcp-method": method} | ({"mcp-name": params["name"]} if "name" in params else {})
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode(), headers
