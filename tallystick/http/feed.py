"""The newest part of the log as frames of server-sent events, made once for all listeners.

The manager's thread leaves the records of each commit here and wakes the event loop; it never waits for a listener.
Frames are kept up to a bound. A listener that is not as far as what is kept reads the store by position.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from tallystick.events.log.store import Record
from tallystick.http.events import LogReader

CHUNK_BYTES: Final = 256 * 1024
"""Of frames that are sent at once. A single larger record is a chunk of its own."""
KEPT_BYTES: Final = 8 * 1024 * 1024
KEPT_BATCHES: Final = 64
"""Commits that wait for the event loop; where there are more, the oldest are read from the store again."""
PACE_SECONDS: Final = 0.05
"""Least time between two wake-ups of the listeners. What comes in between is sent together."""
WAKES_PER_SECOND: Final = 1_000
"""Of all listeners together: where there are many, more comes together, and the writer keeps its processor."""
_PAGE: Final = 500


class Chunk(NamedTuple):
    """Frames of consecutive records: the first position, the last, the bytes, and whether the store was read for it."""

    first: int
    last: int
    frames: bytes
    was_read: bool = False


class Feed:
    """Frames for listeners, in the event loop. It follows the log as long as there are any."""

    def __init__(self, reader: LogReader, pace_seconds: float = PACE_SECONDS) -> None:
        self._reader, self._pace = reader, pace_seconds
        self._loop = asyncio.get_running_loop()
        self._listeners: set[Callable[[], None]] = set()
        self._new: deque[Sequence[Record]] = deque(maxlen=KEPT_BATCHES)
        self._woken = False
        self._next_wake = 0.0
        self._chunks: deque[Chunk] = deque()
        self._by_first: dict[int, Chunk] = {}
        self._bytes = 0
        self._last = 0
        """The position of the last record that is kept as a frame."""

    @property
    def kept_bytes(self) -> int:
        """How much of the log is kept as frames."""
        return self._bytes

    def add(self, wake: Callable[[], None]) -> None:
        """From now on, call ``wake`` where there is something new."""
        if not self._listeners:
            self._reader.records.follow(self._take)
            # What was left from before may have a gap behind it: `reached` says what is to be read from the store.
            self._new.clear()
        self._listeners.add(wake)

    def remove(self, wake: Callable[[], None]) -> None:
        """A listener has gone. Without any, nothing is kept."""
        self._listeners.discard(wake)
        if not self._listeners:
            self._reader.records.unfollow(self._take)
            self._chunks.clear()
            self._by_first.clear()
            self._bytes = 0

    def wake_all(self) -> None:
        """Let every listener look again."""
        for wake in tuple(self._listeners):
            wake()

    async def after(self, position: int) -> Chunk | None:
        """The frames that follow a position; None where there are none yet.

        Raises:
            StoreError: the store could not be read.
        """
        chunk = self._by_first.get(position + 1)
        if chunk is None and position < self._last:
            # Up to the end of a chunk at most, so that the next ones fit.
            limit = min(_PAGE, self._last - position)
            chunk = next(chunks(await self._reader.page(position, limit, CHUNK_BYTES)), None)
            return None if chunk is None else chunk._replace(was_read=True)
        return chunk

    def reached(self, position: int) -> None:
        """The log was seen to reach so far: what is behind that comes here."""
        if not self._chunks and position > self._last:
            self._last = position
            self.wake_all()

    # --- what comes from the manager ----------------------------------------------------------------------------------

    def _take(self, records: Sequence[Record]) -> None:
        """In the manager's thread: leave what was committed, and wake the loop unless it is woken already."""
        self._new.append(records)
        if not self._woken:
            self._woken = True
            # Where the loop is closed, there are no listeners any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._plan)

    def _plan(self) -> None:
        self._loop.call_at(max(self._next_wake, self._loop.time()), self._flush)

    def _flush(self) -> None:
        self._next_wake = self._loop.time() + max(self._pace, len(self._listeners) / WAKES_PER_SECOND)
        # Before it is emptied: what is left from now on wakes the loop again.
        self._woken = False
        self._keep(chunks(self._taken()))
        self.wake_all()

    def _taken(self) -> Iterator[Record]:
        while self._new:
            yield from self._new.popleft()

    def _keep(self, made: Iterable[Chunk]) -> None:
        if not self._listeners:
            return
        # Where batches were dropped there is a gap between two chunks: listeners read it from the store.
        for chunk in made:
            if chunk.last <= self._last:
                continue
            self._chunks.append(chunk)
            self._by_first[chunk.first] = chunk
            self._bytes += len(chunk.frames)
            self._last = chunk.last
        while self._bytes > KEPT_BYTES:
            old = self._chunks.popleft()
            del self._by_first[old.first]
            self._bytes -= len(old.frames)


def chunks(records: Iterable[Record]) -> Iterator[Chunk]:
    """Records as chunks of frames, each without a gap."""
    parts: list[bytes] = []
    first = last = size = 0
    for record in records:
        if parts and (size >= CHUNK_BYTES or record.position != last + 1):
            yield Chunk(first, last, b"".join(parts))
            parts, size = [], 0
        if not parts:
            first = record.position
        last = record.position
        parts.append(b"id: %d\ndata: %b\n\n" % (last, record.data))
        size += len(parts[-1])
    if parts:
        yield Chunk(first, last, b"".join(parts))
