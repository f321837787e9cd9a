"""Servers that share a fleet: what one of them says of the others, and how its writer hands over to a standby."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.http.access import CYCLES, Access
from tallystick.http.answers import JSON, NO_STORE, refused
from tallystick.http.identity import identity_of

POSITION: Final = "x-tallystick-position"
"""In an answer: the position of the log that it is not older than."""
AGE: Final = "x-tallystick-age-seconds"
"""In an answer of a standby's own: all that was recorded until so long ago is in it."""
BEHIND_SECONDS: Final = 10.0
"""How far behind a standby may be that is ready."""
_READ_THEN: Final = ("/v1/views/", "/v1/events")
"""What is read out of the database for each request, whatever the server has read of it before."""
_encode = msgspec.json.encode


class LogSeen(NamedTuple):
    """How far a server has the log: its position; and, for a standby, that all which was recorded ``age_seconds`` ago
    is in it. None for the writer.
    """

    position: int
    age_seconds: float | None = None


class NotHandedOver(Exception):
    """There was no hand-over; ``code`` and the text say why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Elsewhere(Protocol):
    """The other servers of a fleet, for one of them."""

    @property
    def log_seen(self) -> LogSeen | None:
        """How far this server is; None while its role changes."""

    async def answer(
        self, request: Request, body: bytes, messages: "bytes | list[bytes]", stopping: asyncio.Event
    ) -> Response | None:
        """The writer's answer to a request; None where this server answers itself. ``stopping`` ends what waits.

        Raises:
            starlette.requests.ClientDisconnect: the client went away.
        """

    async def hand_over(self) -> str:
        """Let another server be the writer; where that one is.

        Raises:
            NotHandedOver: the writer is still the one that it was.
        """

    async def close(self) -> None:
        """Close all connections."""


class Marked:
    """Says with each answer of the fleet how new it is, where several servers share it."""

    def __init__(self, app: ASGIApp, elsewhere: Elsewhere) -> None:
        self._app, self._elsewhere = app, elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(("/v1/", CYCLES)):
            await self._app(scope, receive, send)
            return
        # What a standby answers is not older than what it has now; what a writer answers is in what it has then.
        began, before = time.monotonic(), self._elsewhere.log_seen
        if before is not None and before.age_seconds is not None and scope["path"].startswith(_READ_THEN):
            before = before._replace(age_seconds=0.0)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = self._elsewhere.log_seen
                # What has waited for a writer may have been answered by this server as the writer.
                was_standby = before is not None and before.age_seconds is not None
                is_writer = now is not None and now.age_seconds is None and scope["method"] == "POST"
                at = before if was_standby and not is_writer else now
                message["headers"] = _with(message["headers"], at, time.monotonic() - began)
            await send(message)

        await self._app(scope, receive, sending)


def _with(headers: list[tuple[bytes, bytes]], at: LogSeen | None, seconds: float) -> list[tuple[bytes, bytes]]:
    """Headers of an answer with how new it is, unless the writer has said so."""
    if at is None or any(name == POSITION.encode() for name, _ in headers):
        return headers
    more = [(POSITION.encode(), b"%d" % at.position)]
    if at.age_seconds is not None:
        more.append((AGE.encode(), b"%.3f" % (at.age_seconds + seconds)))
    return [*headers, *more]


class HandOver:
    """``POST /v1/hand-over``: the writer finishes what it has accepted, and lets a standby take its place."""

    def __init__(self, access: Access, elsewhere: Elsewhere | None) -> None:
        self._access, self._elsewhere = access, elsewhere

    async def order(self, request: Request) -> Response:
        """``{"writer": URL}`` once another server is the writer. It has no body, and is for operators."""
        identity = identity_of(request)
        if identity.caller is not None and identity.caller.role != "operator":
            self._access.note("access_denied", request.scope, identity.name)
            role = identity.caller.role
            return refused("access_denied", f"the role {role} may not hand over; operator may", role=role)
        if self._elsewhere is None:
            text = "this server has no standbys: only tallystick serve of a fleet in PostgreSQL may have some"
            return refused("no_standby", text)
        try:
            writer = await self._elsewhere.hand_over()
        except NotHandedOver as error:
            return refused(error.code, str(error))
        return Response(_encode({"writer": writer}), 200, NO_STORE, JSON)


def role_in_words(elsewhere: Elsewhere | None) -> str:
    """What health and readiness say behind their word: nothing for a writer."""
    seen = None if elsewhere is None else elsewhere.log_seen
    if elsewhere is None or (seen is not None and seen.age_seconds is None):
        return ""
    if seen is None:
        return ": the role changes"
    return f": standby at position {seen.position}, {seen.age_seconds:.1f} s behind"


def figures(elsewhere: Elsewhere | None) -> Mapping[str, Any]:
    """Whether this server is a standby, and how many seconds it is behind, for the metrics."""
    seen = None if elsewhere is None else elsewhere.log_seen
    age = None if seen is None else seen.age_seconds
    is_writer = elsewhere is None or (seen is not None and age is None)
    return {"standby": int(not is_writer), "behind_seconds": age or 0.0}
