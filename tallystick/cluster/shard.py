"""A shard: hosts the fleets whose names fall to its number, opens them when asked, and closes those that are idle."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
from starlette.responses import Response

from tallystick.actors.runtime.clock import SystemClock
from tallystick.cluster.due import DueTimes
from tallystick.cluster.exchange import Exchange, Session
from tallystick.cluster.fleets import Database
from tallystick.cluster.frames import Ask, to_shard
from tallystick.cluster.hosted import Hosted, UnknownFleet, host, open_fleet
from tallystick.cluster.places import shard_of
from tallystick.cluster.waking import SOON, Now, Waking
from tallystick.config.errors import ConfigError
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store_contract import StoreError, WriterPresent
from tallystick.http.answers import refused
from tallystick.http.views.limit import ReaderLimit

IDLE_SECONDS: Final = 300.0
"""A fleet that was not asked for so long is closed, unless it has something to do by itself soon."""
WOKEN_SECONDS: Final = 5.0
"""A fleet that was opened for what it does by itself stays open for so long at least."""
OPENING_SECONDS: Final = 15.0
"""How long a request waits until its fleet is open."""
SNAPSHOT_EVERY: Final = 5_000
"""So many events are read at most when a fleet is opened anew after its shard has failed."""
READERS: Final = 8
"""So many processes read logs for views at most, of all fleets of a shard: each holds the state of one."""
_OPENERS: Final = 8
_AGAIN_SECONDS: Final = 0.3
_LOOK_SECONDS: Final = 1.0
_SESSION_SECONDS: Final = 30.0
"""A front that has not asked for answers for so long has gone."""
_CLOCK: Final = SystemClock()
log = structlog.get_logger("tallystick.shard")


class Shard:
    """The fleets of one number out of ``shards``. All of it runs in one event loop; fleets have threads of their own.

    ``keys_needed``: without a key nothing is let in, also where a fleet has none. ``now``: what is due is compared
    with.
    """

    def __init__(
        self,
        number: int,
        shards: int,
        database: Database,
        *,
        keys_needed: bool,
        idle_seconds: float = IDLE_SECONDS,
        now: Now = _CLOCK.now,
    ) -> None:
        self.number, self.shards = number, shards
        self._database, self._keys_needed, self._idle_seconds = database, keys_needed, idle_seconds
        self._sessions: dict[str, Session] = {}
        self._open: dict[str, asyncio.Task[Hosted]] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._openers = ThreadPoolExecutor(_OPENERS, thread_name_prefix="opener")
        self._reader_limit = ReaderLimit(READERS)
        self._due, self._now = DueTimes(database.place), now
        self.waking = Waking(self._due, self._is_ours, self._wake, now, self._openers)
        self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())

    # --- what fronts call ---------------------------------------------------------------------------------------------

    def begin(self, session: str) -> None:
        """A front begins to ask."""
        self._sessions[session] = Session()

    def take(self, session: str, data: bytes) -> bool:
        """Take frames; whether the session is known. Where it is not, nothing was taken."""
        found = self._sessions.get(session)
        if found is None:
            return False
        for frame in to_shard(data):
            if isinstance(frame, Ask):
                task = asyncio.create_task(self._answer(found, found.begin(frame)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                found.hear(frame)
        return True

    async def give(self, session: str) -> bytes | None:
        """Frames for the front, as soon as there are any; None where the session is not known."""
        found = self._sessions.get(session)
        return None if found is None else await found.give()

    # --- what the starter calls ---------------------------------------------------------------------------------------

    def resize(self, shards: int) -> None:
        """There are so many shards from now on: fleets that are others' now are closed."""
        self.shards = shards
        self._look()

    def open_fleets(self) -> list[str]:
        """The fleets that are open."""
        return sorted(name for name, opening in self._open.items() if _is_open(opening))

    async def close(self) -> None:
        """Close all fleets: what they have taken is finished."""
        self._looking.cancel()
        await self.waking.close()
        for name in list(self._open):
            self._close(name)
        await asyncio.gather(*self._closing.values())
        self._openers.shutdown()
        self._due.close()

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _answer(self, session: Session, exchange: Exchange) -> None:
        try:
            await self._answer_or_refuse(exchange)
        except Exception as error:
            log.exception("request_failed", fleet=exchange.ask.fleet)
            if not exchange.has_begun:
                await _refuse(exchange, "internal_error", f"the shard failed at this request: {type(error).__name__}")
            elif not exchange.has_ended:
                await exchange.send({"type": "http.response.body"})
        finally:
            session.as_ended(exchange)

    async def _answer_or_refuse(self, exchange: Exchange) -> None:
        name = exchange.ask.fleet
        if not self._is_ours(name):
            exchange.elsewhere(self.shards)
            return
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                hosted = await self._hosted(name)
        except UnknownFleet:
            await _refuse(exchange, "unknown_fleet", f"there is no fleet {name!r}: tallystick fleet create {name}")
            return
        except TimeoutError:
            await _refuse(exchange, "is_moving", f"the fleet {name!r} is being opened: try again")
            return
        except (StoreError, BrokenChain, ConfigError) as error:
            await _refuse(exchange, "is_moving", f"the fleet {name!r} cannot be opened: {error}")
            return
        hosted.in_use += 1
        try:
            await hosted.app(exchange.scope, exchange.receive, exchange.send)
        finally:
            hosted.in_use -= 1
            hosted.used_at = asyncio.get_running_loop().time()

    def _is_ours(self, name: str) -> bool:
        return self.number < self.shards and shard_of(name, self.shards) == self.number

    # --- fleets -------------------------------------------------------------------------------------------------------

    async def _hosted(self, name: str) -> Hosted:
        """The fleet, opened where it is not open.

        Raises:
            UnknownFleet: there is none.
            StoreError, BrokenChain: it cannot be opened.
        """
        while True:
            if name in self._closing:
                await asyncio.shield(self._closing[name])
                continue
            if name not in self._open:
                self._open[name] = asyncio.create_task(self._opened(name))
            hosted = await asyncio.shield(self._open[name])
            if not hosted.has_ended:
                return hosted
            self._close(name)

    async def _opened(self, name: str) -> Hosted:
        loop = asyncio.get_running_loop()
        until = loop.time() + OPENING_SECONDS
        while True:
            try:
                opened = await loop.run_in_executor(self._openers, open_fleet, self._database, self._due, name)
                return host(name, opened, self._due, self._reader_limit, self._keys_needed)
            except BaseException as error:
                if isinstance(error, WriterPresent) and loop.time() < until:
                    # The shard that it moves from closes it, or its lease ends.
                    log.info("waiting_for_the_writer", fleet=name, writer=str(error))
                    await asyncio.sleep(_AGAIN_SECONDS)
                    continue
                # So that not every request opens it again where that fails.
                loop.call_later(_AGAIN_SECONDS, self._open.pop, name, None)
                raise

    async def _wake(self, name: str) -> None:
        """Open a fleet for what it has to do by itself.

        Raises:
            UnknownFleet, StoreError, BrokenChain, ConfigError: it cannot be opened.
        """
        if name not in self._open:
            hosted = await self._hosted(name)
            hosted.used_at = asyncio.get_running_loop().time() - self._idle_seconds + WOKEN_SECONDS

    def _close(self, name: str) -> None:
        opening = self._open.pop(name)
        closing = self._closing[name] = asyncio.create_task(self._closed(opening))
        closing.add_done_callback(lambda _: self._closing.pop(name, None))

    async def _closed(self, opening: asyncio.Task[Hosted]) -> None:
        try:
            hosted = await opening
        except (UnknownFleet, StoreError, BrokenChain, ConfigError):
            return
        await hosted.stop()
        await asyncio.get_running_loop().run_in_executor(self._openers, hosted.close)

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        """Close what has ended, is idle or has moved, and forget fronts that have gone."""
        now, soon = asyncio.get_running_loop().time(), self._now() + SOON
        for name, opening in list(self._open.items()):
            if not _is_open(opening):
                continue
            hosted = opening.result()
            hosted.keep_snapshot(SNAPSHOT_EVERY)
            is_idle = not hosted.in_use and now - hosted.used_at > self._idle_seconds and not hosted.is_due(soon)
            if hosted.has_ended or is_idle or not self._is_ours(name):
                log.info("closing", fleet=name, halted=hosted.fleet.halted)
                self._close(name)
        for id, session in list(self._sessions.items()):
            if now - session.used_at > _SESSION_SECONDS:
                del self._sessions[id]
                session.end()


def _is_open(opening: asyncio.Task[Any]) -> bool:
    return opening.done() and not opening.cancelled() and opening.exception() is None


async def _refuse(exchange: Exchange, code: str, detail: str) -> None:
    response: Response = refused(code, detail)
    await response(exchange.scope, exchange.receive, exchange.send)
