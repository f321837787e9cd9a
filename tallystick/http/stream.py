"""``GET /v1/stream``: the log as server-sent events, from any position on, as it grows."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tallystick.http.answers import NO_STORE, refused
from tallystick.http.events import LogReader, behind_the_end
from tallystick.http.feed import Chunk, Feed
from tallystick.http.measures import Measures
from tallystick.http.parameters import POSITION_MAX, BadParameter, check_names, number

STREAMS_MAX: Final = 512
HEARTBEAT_SECONDS: Final = 15.0
"""After so long without an event, a comment is sent: programs in between do not cut the connection."""
BYTES_PER_SECOND: Final = 32 * 1024 * 1024
"""Of all streams together."""
BURST_SECONDS: Final = 1.0
"""So much of it may be sent at once after silence."""
READ_FACTOR: Final = 4
"""So many times its bytes counts what the store must be read for."""
RETRY_SECONDS: Final = 5
"""When one that found no place may try again."""
_RETRY_MS: Final = 1_000
"""After how long a browser comes back."""
_HEADERS: Final = {**NO_STORE, "x-accel-buffering": "no"}
_MEDIA: Final = "text/event-stream"
_HEARTBEAT: Final = b":\n\n"


class Pace:
    """How much all streams may send together, so that many listeners leave the writer its processor.

    What a listener does not get in time waits in the log: it comes later, or from the store. ``clock`` is in seconds.
    """

    def __init__(self, clock: Callable[[], float], bytes_per_second: float = BYTES_PER_SECOND) -> None:
        self._per_second, self._clock = bytes_per_second, clock
        self._taken_until = 0.0

    def wait_for(self, chunk: Chunk) -> float:
        """Take what a chunk needs; in how many seconds it may be sent."""
        needed = len(chunk.frames) * (READ_FACTOR if chunk.was_read else 1)
        now = self._clock()
        self._taken_until = max(self._taken_until, now - BURST_SECONDS) + needed / self._per_second
        return max(0.0, self._taken_until - now)


class Streams:
    """The streams of one fleet's log; they end when ``stopping`` is set."""

    def __init__(
        self,
        reader: LogReader,
        stopping: asyncio.Event,
        measures: Measures,
        streams_max: int = STREAMS_MAX,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.feed, self.pace = Feed(reader), Pace(asyncio.get_running_loop().time)
        self.stopping, self.heartbeat_seconds = stopping, heartbeat_seconds
        self._reader, self._measures, self._max = reader, measures, streams_max
        self._watch: asyncio.Task[None] | None = None

    async def stream(self, request: Request) -> Response:
        """``GET /v1/stream?after=POSITION``: every record behind the position as an event, and those to come."""
        try:
            check_names(request.query_params, ("after",))
            after = _begin(request)
        except BadParameter as wrong:
            return refused("invalid_parameter", str(wrong))
        newest = await self._reader.newest()
        if after is None:
            after = newest
        if after > newest:
            return behind_the_end(after, newest)
        if request.method == "HEAD":
            return Response(b"", 200, _HEADERS, _MEDIA)
        if self._measures.streams >= self._max:
            detail = f"{self._max} streams are open: try again, or read GET /v1/events"
            return refused("too_many_streams", detail, retry_after_seconds=RETRY_SECONDS)
        if self._watch is None:
            self._watch = asyncio.create_task(self._until_stopping())
        return EventStream(self, after)

    async def enter(self, wake: Callable[[], None]) -> None:
        """A stream begins: ``wake`` is called when there is more. `leave` must follow, whatever becomes of this."""
        self._measures.streams += 1
        self.feed.add(wake)
        # What was committed since the stream was asked for is not missed.
        self.feed.reached(await self._reader.newest())

    def leave(self, wake: Callable[[], None]) -> None:
        """A stream has ended."""
        self._measures.streams -= 1
        self.feed.remove(wake)

    async def _until_stopping(self) -> None:
        await self.stopping.wait()
        self.feed.wake_all()


def _begin(request: Request) -> int | None:
    """The position behind which a stream begins; None for what is newest.

    A browser that comes back names the last event that it has, and the address that it began with.
    """
    last = request.headers.get("last-event-id", "")
    if last:
        return number("Last-Event-ID", last, 0, POSITION_MAX)
    after = request.query_params.get("after")
    return None if after is None else number("after", after, 0, POSITION_MAX)


class EventStream(Response):
    """One stream. It holds at most the chunk that is being sent: what comes meanwhile waits in the log."""

    def __init__(self, streams: Streams, after: int) -> None:
        super().__init__(None, 200, _HEADERS, _MEDIA)
        del self.headers["content-length"]
        self._streams, self._position = streams, after
        self._waiter: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes away or the server stops."""
        streams = self._streams
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: self._wake())
        wake = self._wake
        try:
            await streams.enter(wake)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            # An id without data: one that comes back before the first event knows from where on.
            await _send(send, b"retry: %d\nid: %d\n\n" % (_RETRY_MS, self._position))
            while not (gone.done() or streams.stopping.is_set()):
                await self._step(send)
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            streams.leave(wake)
            gone.cancel()

    async def _step(self, send: Send) -> None:
        """Send what is there, or wait for more."""
        # Before it is looked for, so that what comes meanwhile is not missed.
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        chunk = await self._streams.feed.after(self._position)
        if chunk is not None:
            wait = self._streams.pace.wait_for(chunk)
            if wait:
                await asyncio.sleep(wait)
            self._position = chunk.last
            await _send(send, chunk.frames)
            return
        try:
            async with asyncio.timeout(self._streams.heartbeat_seconds):
                await waiter
        except TimeoutError:
            await _send(send, _HEARTBEAT)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
