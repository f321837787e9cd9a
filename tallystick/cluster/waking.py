"""Opens the fleets of a shard that have something to do by themselves, shortly before their time."""

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog

from tallystick.cluster.due import DueTimes
from tallystick.events.log.store_contract import StoreError

AHEAD: Final = dt.timedelta(seconds=15)
"""So long before its time a fleet is opened."""
SOON: Final = dt.timedelta(minutes=1)
"""A fleet that has something to do within this time is not closed."""
LOOK_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 60.0
"""A fleet that could not be opened is tried again after this time."""
_AT_ONCE: Final = 4
log = structlog.get_logger("tallystick.shard")

Now = Callable[[], dt.datetime]


class Waking:
    """Looks every `LOOK_SECONDS` which of its fleets are due. ``is_ours`` may be asked from another thread.

    ``open_it`` opens a fleet; what it raises is logged, and the fleet is tried again later.
    """

    def __init__(
        self,
        due: DueTimes,
        is_ours: Callable[[str], bool],
        open_it: Callable[[str], Coroutine[Any, Any, None]],
        now: Now,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._due, self._is_ours, self._open_it, self._now, self._threads = due, is_ours, open_it, now, threads
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._not_before: dict[str, float] = {}
        self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())

    async def look(self) -> None:
        """Open what is due.

        Raises:
            StoreError: the database does not say.
        """
        loop = asyncio.get_running_loop()
        names = await loop.run_in_executor(self._threads, self._found, self._now() + AHEAD)
        self._not_before = {name: at for name, at in self._not_before.items() if at > loop.time()}
        await asyncio.gather(*(self._wake(name) for name in names if name not in self._not_before))

    async def close(self) -> None:
        """Wake none any more."""
        self._looking.cancel()
        await asyncio.wait([self._looking])

    def _found(self, until: dt.datetime) -> list[str]:
        return [name for name in self._due.due(until) if self._is_ours(name)]

    async def _wake(self, name: str) -> None:
        async with self._room:
            try:
                await self._open_it(name)
            except Exception as error:  # noqa: BLE001 - one fleet that cannot be opened keeps no other from it
                log.warning("not_opened_in_time", fleet=name, error=f"{type(error).__name__}: {error}")
                self._not_before[name] = asyncio.get_running_loop().time() + _AGAIN_SECONDS

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.warning("due_fleets_unknown", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)
