"""What a standby does not answer itself goes to the writer, as it came and with the caller's own key, and so does its
answer back.

A request that was sent is never sent again here: it may have been carried out, and only its sender knows its id. One
that could not be sent yet, because the writer's place is just changing hands, waits for a while.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Final

import httpx2
import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tallystick.events.messages import WIRE
from tallystick.http.answers import refused
from tallystick.http.elsewhere import POSITION, LogSeen
from tallystick.http.identity import identity_of
from tallystick.standby.role import Role
from tallystick.standby.shared import ANSWERED_HERE, SharedFleet, WriterSeen

FORWARDED: Final = "x-tallystick-forwarded"
"""In a request: another server of the fleet has taken this one for the writer."""
HOLD_SECONDS: Final = 10.0
"""How long a request waits for a writer: as long as a standby may take to become one."""
HELD_MAX: Final = 1_000
READ_SECONDS: Final = 2.0
"""How long a question waits until what its sender may have seen at the writer is here, too."""
_ANSWER_SECONDS: Final = 35.0
"""How long the writer may take: a little longer than it takes to say that it is late."""
_CONNECT_SECONDS: Final = 2.0
_CONNECTIONS: Final = httpx2.Limits(max_connections=1_000, max_keepalive_connections=100, keepalive_expiry=4.0)
_PASSED_ON: Final = (
    *("authorization", "content-encoding", "content-type", "idempotency-key"),
    *("traceparent", "tracestate"),
)
_KEPT_BACK: Final = frozenset(("connection", "content-encoding", "content-length", "date", "transfer-encoding"))
_TO_THE_WRITER: Final = frozenset(one.__name__ for one in WIRE) - {one.__name__ for one in ANSWERED_HERE}
_WAITS: Final = b"wait_seconds"
_AGAIN: Final = "it may have been carried out: send it again with the same id to learn its outcome"
log = structlog.get_logger("tallystick.standby")


class _Head(msgspec.Struct):
    type: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode


class ToWriter:
    """Forwards for one server. Must be made in the event loop that serves."""

    def __init__(self, fleet: SharedFleet, role: Role) -> None:
        self._fleet, self._role = fleet, role
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._held = 0
        self._seen_position = 0
        """The newest position that the writer was seen to have by who asked through this server."""
        self._client = httpx2.AsyncClient(
            verify=ssl.create_default_context(), trust_env=False, limits=_CONNECTIONS, follow_redirects=False
        )
        fleet.on_change(self._tell)

    @property
    def log_seen(self) -> LogSeen | None:
        """How far this server is; None while its role changes."""
        return self._fleet.log_seen

    async def close(self) -> None:
        """Close all connections to the writer."""
        await self._client.aclose()

    async def answer(
        self, request: Request, body: bytes, messages: "bytes | list[bytes]", stopping: asyncio.Event
    ) -> Response | None:
        """The writer's answer to a request; None where this server answers itself.

        Raises:
            ClientDisconnect: the client went away.
        """
        fleet, until = self._fleet, self._loop.time() + HOLD_SECONDS
        here = _is_answered_here(messages)
        while True:
            changed = self._changed
            if fleet.fleet is not None or (here and await self._has_read()):
                return None
            writer = fleet.writer
            if fleet.followed is not None and writer is not None and writer.valid and writer.url is not None:
                if FORWARDED in request.headers:
                    return refused("no_writer", f"this server stands by; the writer is {writer.url}")
                sent = await self._sent(writer, writer.url, request, body, stopping)
                if sent is not None:
                    return sent
            if not await self._held_until(changed, until):
                return refused("no_writer", _why(writer))

    async def hand_over(self) -> str:
        """See `Role.hand_over`."""
        return await asyncio.to_thread(self._role.hand_over)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no one waits any more
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _held_until(self, changed: asyncio.Event, until: float) -> bool:
        """Wait for another role or writer; whether there may be one to ask now."""
        if self._held >= HELD_MAX:
            return False
        self._held += 1
        try:
            async with asyncio.timeout_at(until):
                await changed.wait()
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._held -= 1

    async def _has_read(self) -> bool:
        """Whether this standby has what was seen at the writer through it, within a moment."""
        followed, wanted = self._fleet.followed, self._seen_position
        if followed is None or followed.position >= wanted:
            return followed is not None
        reached = asyncio.Event()

        def look(_: object) -> None:
            if followed.position >= wanted:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(reached.set)

        self._fleet.records.follow(look)
        try:
            look(None)
            async with asyncio.timeout(READ_SECONDS):
                await reached.wait()
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._fleet.records.unfollow(look)

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _sent(
        self, writer: WriterSeen, url: str, request: Request, body: bytes, stopping: asyncio.Event
    ) -> Response | None:
        """The writer's answer; None where it could not be reached, so that nothing was sent.

        It is waited for as long as the writer is the writer; for what asks to wait, also as long as the client is there
        and this server is not being stopped.
        """
        sending = self._loop.create_task(self._post(url, request, body))
        others = [self._loop.create_task(self._until_other(writer))]
        if _WAITS in body:
            others += [self._loop.create_task(_gone(request)), self._loop.create_task(_is_set(stopping))]
        try:
            await asyncio.wait((sending, *others), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return self._heard(request, sending.result())
            if len(others) > 1 and others[1].done():
                raise ClientDisconnect
            if len(others) > 1 and others[2].done():
                return refused("shutting_down", "the server is being stopped: send it again with the same id")
            return refused("unanswered", f"the writer at {url} went away before it answered; {_AGAIN}")
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            log.warning("writer_not_reached", url=url, error=str(error) or type(error).__name__)
            return None
        except httpx2.TransportError as error:
            why = str(error) or type(error).__name__
            return refused("unanswered", f"the writer at {url} gave no answer ({why}); {_AGAIN}")
        finally:
            for task in (sending, *others):
                task.cancel()
            await asyncio.gather(sending, *others, return_exceptions=True)

    async def _post(self, url: str, request: Request, body: bytes) -> httpx2.Response:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        token = identity_of(request).token
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        headers[FORWARDED] = "1"
        if request.client is not None:
            headers["x-forwarded-for"] = request.client.host
        seconds = None if _WAITS in body else _ANSWER_SECONDS
        timeout = httpx2.Timeout(seconds, connect=_CONNECT_SECONDS)
        query = f"?{request.url.query}" if request.url.query else ""
        there = f"{url}{request.url.path}{query}"
        return await self._client.request(request.method, there, content=body, headers=headers, timeout=timeout)

    async def _until_other(self, writer: WriterSeen) -> None:
        """Wait until the writer is another, or its lease has ended."""
        while (seen := self._fleet.writer) is not None and seen.epoch == writer.epoch and seen.valid:
            await self._changed.wait()

    def _heard(self, request: Request, answer: httpx2.Response) -> Response:
        position = answer.headers.get(POSITION, "")
        if position.isdigit():
            self._seen_position = max(self._seen_position, int(position))
        headers = {name: value for name, value in answer.headers.items() if name not in _KEPT_BACK}
        return Response(answer.content, answer.status_code, headers)


def _is_answered_here(messages: "bytes | list[bytes]") -> bool:
    """Whether a standby answers all of it: questions, and what is no message at all."""
    for one in messages if isinstance(messages, list) else (messages,):
        try:
            if _decode_head(one).type in _TO_THE_WRITER:
                return False
        except (msgspec.MsgspecError, RecursionError, UnicodeError, TypeError):
            continue  # what is wrong with it is said where messages are read
    return True


def _why(writer: WriterSeen | None) -> str:
    again = "send it again with the same id"
    if writer is None or not writer.valid:
        return f"the fleet has no writer at the moment: {again}"
    if writer.url is None:
        return f"the fleet is written by {writer.holder}, which cannot be reached over HTTP: {again}"
    return f"the writer at {writer.url} cannot be reached from here: {again}"


async def _is_set(event: asyncio.Event) -> None:
    await event.wait()


async def _gone(request: Request) -> None:
    """Wait until the client has gone away; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
