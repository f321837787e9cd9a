"""Requests of a front as a shard sees them: a front's session, and each request in it as ASGI has it."""

import asyncio
from typing import Final

from starlette.types import Message, Scope

from tallystick.cluster.frames import Ask, Begin, Elsewhere, Gone, Headers, Part, Sent, ToFront, encode

PREFIX: Final = "/v1/fleets/"
GIVE_SECONDS: Final = 1.0
"""How long `Session.give` waits for something to give."""


class Exchange:
    """One request: ``receive`` and ``send`` of ASGI, over frames."""

    def __init__(self, ask: Ask, session: "Session") -> None:
        self.ask, self._session = ask, session
        self._is_read, self._is_gone = False, False
        self._status, self._headers = 0, Headers()
        self._waiter: asyncio.Future[None] | None = None
        self.has_begun = self.has_ended = False

    @property
    def scope(self) -> Scope:
        """The request; ``root_path`` is where its fleet is."""
        ask = self.ask
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": ask.method,
            "scheme": ask.scheme,
            "root_path": PREFIX + ask.fleet,
            "path": ask.path,
            "query_string": ask.query,
            "headers": ask.headers,
            "client": ask.client,
            "server": None,
        }

    async def receive(self) -> Message:
        """The body at once; then, when its client has gone, that."""
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self.ask.body, "more_body": False}
        while not self._is_gone:
            await self._wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """A part of the answer. After one that others follow, it waits until that was sent."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
            return
        if self._is_gone:
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self.has_ended = not more
        if self.has_begun:
            self._session.push(Part(self.ask.id, body, more))
        else:
            self.has_begun = True
            self._session.push(Begin(self.ask.id, self._status, self._headers, body, more))
        if more:
            await self._session.sent(self.ask.id)

    def elsewhere(self, shards: int) -> None:
        """The fleet is another shard's."""
        self.has_ended = True
        self._session.push(Elsewhere(self.ask.id, shards))

    def leave(self) -> None:
        """Its client has gone."""
        self._is_gone = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


class Session:
    """A front that asks this shard. What is to be given waits here until the front takes it."""

    def __init__(self) -> None:
        self.used_at = asyncio.get_running_loop().time()
        self.exchanges: dict[int, Exchange] = {}
        self._out: list[ToFront] = []
        self._there_is_some = asyncio.Event()
        self._unsent: dict[int, asyncio.Future[None]] = {}

    def begin(self, ask: Ask) -> Exchange:
        """A request has come."""
        exchange = self.exchanges[ask.id] = Exchange(ask, self)
        return exchange

    def hear(self, frame: Gone | Sent) -> None:
        """What the front says of a request that has come."""
        unsent = self._unsent.pop(frame.id, None)
        if unsent is not None and not unsent.done():
            unsent.set_result(None)
        exchange = self.exchanges.get(frame.id)
        if exchange is not None and isinstance(frame, Gone):
            exchange.leave()

    def end(self) -> None:
        """The front has gone, with all who asked it."""
        for id in list(self.exchanges):
            self.hear(Gone(id))

    def push(self, frame: ToFront) -> None:
        """Leave something for the front."""
        self._out.append(frame)
        self._there_is_some.set()

    async def sent(self, id: int) -> None:
        """Wait until the front has sent what was pushed for a request, or its client has gone."""
        unsent = self._unsent[id] = asyncio.get_running_loop().create_future()
        await unsent

    async def give(self) -> bytes:
        """What there is for the front, as soon as there is some; nothing after `GIVE_SECONDS`."""
        loop = asyncio.get_running_loop()
        self.used_at = loop.time()
        if not self._out:
            self._there_is_some.clear()
            timer = loop.call_later(GIVE_SECONDS, self._there_is_some.set)
            await self._there_is_some.wait()
            timer.cancel()
        out, self._out = self._out, []
        return encode(out)

    def as_ended(self, exchange: Exchange) -> None:
        """A request is over."""
        self.exchanges.pop(exchange.ask.id, None)
