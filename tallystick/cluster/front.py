"""The HTTP front of a cluster: an ASGI program that passes requests to fleets on to their shards."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.cluster.exchange import PREFIX
from tallystick.cluster.fleets import NAME, NAMES_ALLOWED
from tallystick.cluster.frames import Ask, Begin, Part
from tallystick.cluster.link import Asked, ClientGone, Link, Moved, Unavailable
from tallystick.cluster.places import shard_of
from tallystick.events.log.codec import BODY_MAX
from tallystick.http.answers import NO_STORE, refused
from tallystick.http.guard import Guard

_MOVES_MAX: Final = 3


class Front:
    """The endpoints of a front. ``link`` gives the way to a shard by its number, out of ``shards``."""

    def __init__(self, shards: int, link: Callable[[int], Link], hosts: frozenset[str]) -> None:
        self.shards, self._link = shards, link
        self.is_stopping = False
        self.app: ASGIApp = Guard(self._answer, hosts)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith(PREFIX):
            await self._pass_on(scope, receive, send)
        else:
            await self._own(path)(scope, receive, send)

    def _own(self, path: str) -> Response:
        match path:
            case "/healthz":
                return PlainTextResponse("ok\n", headers=NO_STORE)
            case "/readyz" if self.is_stopping:
                return refused("shutting_down", "the front is being stopped")
            case "/readyz":
                return PlainTextResponse("ready\n", headers=NO_STORE)
        return refused("not_found", f"there is nothing at {path[:200]!r}; fleets are at {PREFIX}NAME")

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, slash, rest = scope["path"].removeprefix(PREFIX).partition("/")
        if not NAME.fullmatch(name):
            wrong = refused("unknown_fleet", f"fleet: found {name[:100]!r}, allowed is {NAMES_ALLOWED}")
            await wrong(scope, receive, send)
        elif not slash:
            # Beneath its name with a slash, the page of a fleet finds what belongs to it.
            await Response(None, 308, {"location": f"{name}/"})(scope, receive, send)
        else:
            body = await _body_of(scope, receive)
            if body is not None:
                await self._carry(_ask(scope, name, "/" + rest, body), scope, receive, send)

    async def _carry(self, ask: Ask, scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(_MOVES_MAX):
            link = self._link(shard_of(ask.fleet, self.shards))
            try:
                await _answered(link, link.ask(ask), receive, send)
            except Unavailable as why:
                await refused(why.code, why.detail)(scope, receive, send)
            except Moved as moved:
                self.shards = moved.shards
                continue
            return
        await refused("is_moving", f"the fleet {ask.fleet!r} is being moved: try again")(scope, receive, send)


def _ask(scope: Scope, fleet: str, path: str, body: bytes) -> Ask:
    return Ask(
        0,
        fleet,
        scope["method"],
        scope["scheme"],
        path,
        scope["query_string"],
        list(scope["headers"]),
        scope["client"],
        body,
    )


async def _body_of(scope: Scope, receive: Receive) -> bytes | None:
    """The body of a request, of which no more is read than shows that it is too large; None where its client left.

    What is wrong with it is said by the fleet's application, as everywhere.
    """
    declared = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
    parts, size = [], 0
    while not (declared.isdigit() and int(declared) > BODY_MAX):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_MAX or not message.get("more_body", False):
            break
    return b"".join(parts)


async def _answered(link: Link, asked: Asked, receive: Receive, send: Send) -> None:
    """Send what the shard answers, part by part, as long as the client is there.

    Raises:
        Unavailable: there is no answer, and nothing was sent.
        Moved: another shard must be asked.
    """
    gone = asyncio.ensure_future(_gone(receive))
    gone.add_done_callback(lambda _: asked.hear(ClientGone()))
    try:
        await _heard(link, asked, send)
    except ClientGone:
        pass
    finally:
        gone.cancel()
        link.leave(asked)


async def _heard(link: Link, asked: Asked, send: Send) -> None:
    part: Begin | Part = await asked.next()
    assert isinstance(part, Begin), "an answer begins with its status"
    await send({"type": "http.response.start", "status": part.status, "headers": part.headers})
    with contextlib.suppress(Unavailable):
        while part.more:
            await send({"type": "http.response.body", "body": part.body, "more_body": True})
            link.sent(asked)
            part = await asked.next()
        await send({"type": "http.response.body", "body": part.body})
        return
    # The stream ends, and its client comes back for the rest.
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
