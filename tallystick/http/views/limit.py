"""How many readers run at the same time, where one process serves many fleets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol


class Ending(Protocol):
    """A reader that can be ended; it is started again when it is asked."""

    async def close(self) -> None: ...


class ReaderLimit:
    """At most ``most`` readers. Where one more is asked, the one that was asked longest ago is ended or waited for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answering = asyncio.Semaphore(most)
        self._busy = 0
        self._resting: dict[Ending, None] = {}
        """Those that run and answer nobody, the one that was asked longest ago first."""

    @asynccontextmanager
    async def place_for(self, reader: Ending) -> AsyncIterator[None]:
        """Let a reader run and answer."""
        async with self._answering:
            self._resting.pop(reader, None)
            self._busy += 1
            try:
                while self._busy + len(self._resting) > self._most:
                    await self._end(next(iter(self._resting)))
                yield
            finally:
                self._busy -= 1
                self._resting[reader] = None

    def forget(self, reader: Ending) -> None:
        """A reader is not asked any more."""
        self._resting.pop(reader, None)

    async def _end(self, reader: Ending) -> None:
        del self._resting[reader]
        await reader.close()
