"""What a connection must keep to before its request is a request: a bounded head, and all of it in time.

uvicorn keeps headers however many come, and waits for them without end: who has no key could fill the memory, or take
every connection that the system allows.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX: Final = 65_536
"""Bytes of a request's line and headers; what comes in one piece with its beginning is not counted."""
REQUEST_SECONDS: Final = 60.0
"""Within which a new connection sends its first request, and each request its last byte."""


class Protocol(HttpToolsProtocol):
    """One connection. ``head_max`` and ``request_seconds`` are as above."""

    head_max, request_seconds = HEAD_MAX, REQUEST_SECONDS

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head, self._in_head = 0, False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """From now on, the first request is waited for."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, so long as the head is not too large."""
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > self.head_max:
            self._refuse(b"431 Request Header Fields Too Large", b"the headers: allowed are %d bytes" % self.head_max)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head, self._in_head = 0, True
        self._wait()

    def on_headers_complete(self) -> None:
        """Its head is there; its body may follow."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there: how long its answer takes is another matter."""
        self._end_wait()
        super().on_message_complete()

    def _wait(self) -> None:
        self._end_wait()
        self._deadline = self.loop.call_later(self.request_seconds, self._too_late)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._refuse(b"408 Request Timeout", b"the request: allowed are %d seconds to send it" % self.request_seconds)

    def _refuse(self, status: bytes, why: bytes) -> None:
        if self.transport.is_closing():
            return
        self.logger.warning("%s: the connection of %s is closed", why.decode(), self.client)
        # There is no cycle before the first request. While an answer is under way, nothing is said in between.
        if getattr(self.cycle, "response_complete", True):
            lines = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close" % len(why)
            self.transport.write(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, lines, why))
        self.transport.close()
