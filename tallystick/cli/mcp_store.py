"""A fleet of this machine, as `tallystick send` reaches it: the one that runs, or one that it opens and keeps."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import click

from tallystick.actors.errors import Halted, RefusedConfig, Unanswered
from tallystick.actors.runtime.control_connection import digest_of
from tallystick.actors.runtime.control_peer import own_peer
from tallystick.actors.runtime.intake import Asker
from tallystick.cli.common import open_to_read
from tallystick.cli.send import (
    HALTED,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    NoFleetYet,
    Sending,
    opened_for,
    over_socket,
    where_else,
)
from tallystick.config.errors import ConfigError
from tallystick.events.decide.permissions import Caller
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import decode_answer
from tallystick.events.log.store import NoFleet, Store, StoreError, WriterPresent
from tallystick.events.log.store_place import is_in_memory
from tallystick.events.messages import Command
from tallystick.fleet import Fleet
from tallystick.http.views.endpoints import shown
from tallystick.http.views.readers import Readers
from tallystick.mcp.answers import Answer, answer_of, answer_of_http, refusal

_EXPECTED: Final = (StoreError, BrokenChain, ConfigError, RefusedConfig, Halted, OSError)


class OfStore:
    """Asks the fleet of a store in the name of ``by``; ``key`` is the operator's, where it has one.

    A fleet that was opened stays open until `close`, so that its leases and alerts go on between two calls. Other
    programs of this user reach it over its control socket meanwhile.
    """

    def __init__(self, store_url: str, by: str, key: str | None) -> None:
        self._store_url, self._by, self._key = store_url, by, key
        self._fleet: Fleet | None = None
        self._opening = asyncio.Lock()
        self._begun: asyncio.Task[None] | None = None
        self._readers: Readers | None = None

    async def caller(self, _: Any) -> Caller | None:
        """The user of the machine is not asked who that is."""
        return None

    async def ask(self, _: Any, command: Command, __: bytes) -> Answer:
        """The fleet's answer; or why there is none."""
        try:
            return await self._asked(Sending(command, self._by, self._store_url, None, None, self._key))
        except NoFleetYet as error:
            return refusal({"code": "unknown_fleet", "detail": error.message})
        except click.ClickException as error:
            return refusal({"code": "unavailable", "detail": error.message})
        except Unanswered as error:
            return refusal({"code": "unanswered", "detail": str(error)})
        except _EXPECTED as error:
            return refusal({"code": "unavailable", "detail": str(error)})

    async def _asked(self, sending: Sending) -> Answer:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            fleet = self._fleet
            if fleet is not None and fleet.halted is None:
                asker = Asker(own_peer().encoded(), digest_of(self._key))
                return answer_of(await fleet.ask_async(sending.command, self._by, asker=asker))
            reply = await asyncio.to_thread(over_socket, sending)
            if reply is not None and not reply.startswith(HALTED):
                return answer_of(decode_answer(reply))
            # Also one that has halted: it may be closed by now.
            try:
                await self._open(sending)
            except WriterPresent as error:
                if time.monotonic() > until:
                    if reply is not None:
                        return answer_of(decode_answer(reply))
                    raise click.ClickException(f"{error}; {where_else(self._store_url)}") from None
                await asyncio.sleep(LOOK_SECONDS)

    async def _open(self, sending: Sending) -> None:
        """Open the fleet, unless that is done; one that has stopped is opened anew.

        Raises:
            WriterPresent: another process writes it.
            ClickException: there is none, and the message begins none.
        """
        async with self._opening:
            if self._fleet is None or self._fleet.halted is not None:
                # A call that is cancelled does not leave a fleet behind that no one closes.
                self._begun = asyncio.create_task(self._open_anew(sending))
                await asyncio.shield(self._begun)

    async def _open_anew(self, sending: Sending) -> None:
        halted, self._fleet = self._fleet, None
        if halted is not None:
            await asyncio.to_thread(halted.close)
        self._fleet = await asyncio.to_thread(opened_for, sending)

    async def view(self, _: Any, name: str, asked: Mapping[str, str]) -> Answer:
        """What a view shows of the log."""
        try:
            if self._readers is None:
                self._readers = Readers(await asyncio.to_thread(self._to_read), log_time=False)
        except NoFleet as error:
            return refusal({"code": "unknown_fleet", "detail": str(error)})
        except StoreError as error:
            return refusal({"code": "unavailable", "detail": str(error)})
        response = await shown(self._readers, name, None, asked)
        return answer_of_http(response.status_code, bytes(response.body))

    def _to_read(self) -> Store:
        """The log. One in memory is only in the fleet that was opened.

        Raises:
            NoFleet: there is none yet.
            StoreError: it cannot be read.
        """
        if not is_in_memory(self._store_url):
            return open_to_read(self._store_url)
        if self._fleet is None:
            raise NoFleet("there is no fleet in memory yet: the first message that may begin one opens it")
        return self._fleet.store

    async def close(self) -> None:
        """Close what was opened."""
        if self._begun is not None:
            await asyncio.wait([self._begun])
        if self._readers is not None:
            await self._readers.close()
        if self._fleet is not None:
            await asyncio.to_thread(self._fleet.close)
