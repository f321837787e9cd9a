"""Asks readers, which compute beside the event loop: one knows the present, and one walks through the past."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog

from tallystick.events.log.store import Store
from tallystick.events.log.store_place import is_in_memory
from tallystick.http.views.limit import ReaderLimit
from tallystick.http.views.reader import LOG_TIME, STORE_VARIABLE, Question, Reader

ANSWER_MAX: Final = 64 * 1024 * 1024
ASKERS_MAX: Final = 64
"""So many may wait for one reader."""
KEPT_SECONDS: Final = 2.0
"""For so long an answer is kept for those who have waited since before it was begun."""
_CLOSING_SECONDS: Final = 2.0
_encode = msgspec.json.encode
log = structlog.get_logger("tallystick.http")


class Busy(Exception):
    """More wait for an answer than may wait."""


class Failed(Exception):
    """The reader has ended; the next question starts another."""


class NotStarted(Exception):
    """The system does not let the reader start now: files, processes or memory are used up."""


class _Answering(Protocol):
    async def ask(self, line: bytes) -> bytes: ...
    async def close(self) -> None: ...


class _InThread:
    """For a store in memory, which no other process can read."""

    def __init__(self, store: Store, *, log_time: bool) -> None:
        self._reader = Reader(store, log_time=log_time)

    async def ask(self, line: bytes) -> bytes:
        return await asyncio.to_thread(self._reader.answer, line)

    async def close(self) -> None:
        """There is nothing to end."""


class _InProcess:
    """A process, which is started when it is first asked."""

    def __init__(self, store: Store, *, log_time: bool) -> None:
        self._time = LOG_TIME if log_time else "clock"
        # Not an argument, which every user of the machine can read: a URL may have a password.
        self._environment = {**os.environ, STORE_VARIABLE: store.url}
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, line: bytes) -> bytes:
        process = self._process
        if process is None or process.returncode is not None:
            try:
                process = self._process = await self._started()
            except OSError as error:
                # uvloop does not say why: its error has neither a number nor words of the system.
                log.warning("reader_not_started", error=str(error))
                text = "the system let the server start no reader of the log: open files or processes may be used up"
                raise NotStarted(text) from error
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line + b"\n")
            await process.stdin.drain()
            answer = await process.stdout.readline()
        except (OSError, ValueError):
            answer = b""
            log.exception("reader_failed")
        if not answer.endswith(b"\n"):
            await self.close()
            raise Failed("the process that reads the log has ended; the server's log may say why")
        return answer[:-1]

    async def _started(self) -> asyncio.subprocess.Process:
        # In a session of its own: Ctrl-C in the terminal is the server's to hear, and it ends its readers.
        return await asyncio.create_subprocess_exec(
            # -P: no file of the folder in which the server was started is taken for a module.
            *(sys.executable, "-P", "-m", "tallystick.http.views.reader", self._time),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_MAX,
            start_new_session=True,
        )

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _CLOSING_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class _Limited:
    """A reader that runs where there is place for it."""

    def __init__(self, reader: _InProcess, limit: ReaderLimit) -> None:
        self._reader, self._limit = reader, limit

    async def ask(self, line: bytes) -> bytes:
        async with self._limit.place_for(self._reader):
            return await self._reader.ask(line)

    async def close(self) -> None:
        self._limit.forget(self._reader)
        await self._reader.close()


class _Queued:
    """One reader and those who wait for it: it answers one question at a time."""

    def __init__(self, reader: _Answering) -> None:
        self._reader = reader
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._kept: dict[bytes, tuple[float, bytes]] = {}

    async def ask(self, line: bytes, *, shared: bool) -> bytes:
        if self._waiting >= ASKERS_MAX:
            raise Busy(f"{ASKERS_MAX} others wait for an answer already")
        self._waiting += 1
        try:
            # Shielded: an answer that is not waited for any more must still be read off the pipe.
            return await asyncio.shield(asyncio.ensure_future(self._in_turn(line, time.monotonic(), shared=shared)))
        finally:
            self._waiting -= 1

    async def _in_turn(self, line: bytes, asked_at: float, *, shared: bool) -> bytes:
        """One answer. Where it is ``shared``, all who asked the same before it was begun get it: many open pages cost
        as much as one, and none gets an answer that is older than its question.
        """
        async with self._lock:
            if not shared:
                return await self._reader.ask(line)
            now = time.monotonic()
            self._kept = {asked: kept for asked, kept in self._kept.items() if now - kept[0] < KEPT_SECONDS}
            if line in self._kept and self._kept[line][0] >= asked_at:
                return self._kept[line][1]
            answer = await self._reader.ask(line)
            self._kept[line] = (now, answer)
            return answer

    async def close(self) -> None:
        await self._reader.close()


def _reader_of(store: Store, limit: ReaderLimit | None, *, log_time: bool) -> _Answering:
    if is_in_memory(store.url):
        return _InThread(store, log_time=log_time)
    reader = _InProcess(store, log_time=log_time)
    return reader if limit is None else _Limited(reader, limit)


class Readers:
    """The readers of one store. Must be made in the event loop that asks them.

    ``limit``: how many run at the same time, of these and of other stores.
    """

    def __init__(self, store: Store, *, log_time: bool, limit: ReaderLimit | None = None) -> None:
        self._present, self._past = (_Queued(_reader_of(store, limit, log_time=log_time)) for _ in range(2))

    async def ask(self, view: str, at: str | None, asked: Mapping[str, Any]) -> bytes:
        """The answer of a view, now or at a moment: ``{"ok": …}`` or ``{"error": …}`` as bytes.

        Raises:
            Busy: too many wait already.
            Failed: the reader has ended.
            NotStarted: it could not be started.
        """
        line = _encode(Question(view, at, asked))
        if at is None:
            return await self._present.ask(line, shared=True)
        return await self._past.ask(line, shared=False)

    async def close(self) -> None:
        """End the readers."""
        await self._present.close()
        await self._past.close()
