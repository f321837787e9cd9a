"""A client that costs little: requests over kept connections, one after the other on each; and listeners to a stream.

``python -m benchmarks.http_client PORT COUNT`` opens so many streams, says when they are open, and reads until its
input ends.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import cast

import uvloop

HOST = "127.0.0.1"


def request(path: str, body: bytes) -> bytes:
    """A request, as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Caller(asyncio.Protocol):
    """One connection: the next request goes out when the last is answered, until the time is over."""

    def __init__(self, make: Callable[[], bytes], until: float, seen: list[float], done: asyncio.Future[None]) -> None:
        self._make, self._until, self._seen, self._done = make, until, seen, done
        self._found, self._sent = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        found = self._found = self._found + data
        end = found.find(b"\r\n\r\n")
        if end < 0:
            return
        at = found.lower().index(b"content-length: ", 0, end) + 16
        if len(found) < end + 4 + int(found[at : found.index(b"\r", at)]):
            return
        assert found.startswith(b"HTTP/1.1 200"), found[:400]
        now = time.perf_counter()
        self._seen.append(now - self._sent)
        self._found = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._make())


def call(port: int, clients: int, make: Callable[[], bytes], seconds: float) -> tuple[float, list[float]]:
    """Requests per second of so many clients, and the seconds that each took."""

    async def run() -> float:
        loop, seen_from = asyncio.get_running_loop(), time.perf_counter()
        ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(clients)]
        for end in ends:
            await loop.create_connection(lambda end=end: Caller(make, seen_from + seconds, seen, end), HOST, port)  # type: ignore[misc]
        await asyncio.gather(*ends)
        return len(seen) / (time.perf_counter() - seen_from)

    seen: list[float] = []
    return uvloop.run(run()), seen


class Listener(asyncio.Protocol):
    """One stream: what comes is counted and thrown away."""

    received = 0

    def __init__(self, opened: asyncio.Future[None]) -> None:
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(f"GET /v1/stream HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        Listener.received += len(data)
        if not self._opened.done():
            assert data.startswith(b"HTTP/1.1 200"), data[:400]
            self._opened.set_result(None)


async def listen(port: int, count: int) -> None:
    """Open streams, and read them until the input of this process ends."""
    loop = asyncio.get_running_loop()
    opened: list[asyncio.Future[None]] = [loop.create_future() for _ in range(count)]
    for one in opened:
        await loop.create_connection(lambda one=one: Listener(one), HOST, port)  # type: ignore[misc]
    await asyncio.gather(*opened)
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(Listener.received, flush=True)


if __name__ == "__main__":
    uvloop.run(listen(int(sys.argv[1]), int(sys.argv[2])))
