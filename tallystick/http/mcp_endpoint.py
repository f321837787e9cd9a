"""``/mcp``: the Model Context Protocol over Streamable HTTP. Each request stands for itself, and shows its own key.

What a tool or a resource asks goes the way of a request to ``/v1/``: the same roles, limits, refusals and records.
"""

import asyncio
import contextlib
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.actors.missing import away_answer
from tallystick.actors.runtime.pending import ANSWER_SECONDS
from tallystick.events.decide.permissions import Caller
from tallystick.events.log.codec import decode_answer
from tallystick.events.log.store import StoreAway, StoreError
from tallystick.events.messages import Command
from tallystick.http.access import Access, Refused, check_reads
from tallystick.http.answers import answered, problem, refused
from tallystick.http.identity import identity_of
from tallystick.http.reading import Unreadable, body_of
from tallystick.http.statuses import ABORTED
from tallystick.mcp.answers import Answer, answer_of_http, refusal

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager


_MESSAGES: Final = "/v1/messages"
_VIEWS: Final = "/v1/views/"
_OF_MESSAGES: Final = b"idempotency-key"
"""A header of the other paths: here each call has its own id."""


class Answering(Protocol):
    """What answers requests to ``/v1/``; see `app.Service`."""

    @property
    def access(self) -> Access: ...
    async def answer_to(self, request: Request, body: bytes, messages: "bytes | list[bytes]") -> Response: ...
    async def view(self, request: Request) -> Response: ...


class McpEndpoint:
    """The endpoint of one fleet. What speaks the protocol is loaded, and begun, at the first request."""

    def __init__(self, service: Answering) -> None:
        self._service = service
        self._beginning = asyncio.Lock()
        self._closing = asyncio.Event()
        self._stopping, self._under_way, self._none_under_way = asyncio.Event(), 0, asyncio.Event()
        self._program: ASGIApp | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: its body is read within the bounds of every other."""
        request = Request(scope, receive)
        try:
            body = await body_of(request)
            program = await self._begun()
        except Unreadable as wrong:
            await problem({"code": wrong.code, "detail": str(wrong)}, wrong.status)(scope, receive, send)
        except ClientDisconnect:
            await Response(status_code=ABORTED)(scope, receive, send)
        except ImportError:
            text = "the server needs more packages for this: pip install 'tallystick[mcp]'"
            await refused("not_installed", text)(scope, receive, send)
        else:
            await self._answer(program, scope, _again(body, receive), send)

    async def _answer(self, program: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stopping.is_set():
            await refused("shutting_down", "the server is being stopped")(scope, receive, send)
            return
        self._under_way += 1
        try:
            await program(scope, receive, send)
        finally:
            self._under_way -= 1
            if self._stopping.is_set() and not self._under_way:
                self._none_under_way.set()

    async def close(self) -> None:
        """End what was begun, once what was accepted is answered: what speaks the protocol would end it half-way."""
        self._stopping.set()
        if self._under_way:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_under_way.wait(), ANSWER_SECONDS)
        self._closing.set()
        if self._running is not None:
            await self._running

    async def _begun(self) -> ASGIApp:
        """The program that speaks the protocol.

        Raises:
            ImportError: the packages of the extra are missing.
        """
        async with self._beginning:
            if self._program is None:
                # It is most of a second of work, which other requests need not wait for.
                over_http = await asyncio.to_thread(importlib.import_module, "tallystick.mcp.over_http")
                manager, begun = over_http.manager_of(_Backend(self._service)), asyncio.Event()
                self._running = asyncio.create_task(self._run(manager, begun))
                await begun.wait()
                self._program = manager.handle_request
            return self._program

    async def _run(self, manager: "StreamableHTTPSessionManager", begun: asyncio.Event) -> None:
        async with manager.run():
            begun.set()
            await self._closing.wait()


class _Backend:
    """The fleet as `mcp.server` asks it: by requests to ``/v1/``, within the request that a client has sent."""

    def __init__(self, service: Answering) -> None:
        self._service = service

    async def caller(self, request: Request) -> Caller | None:
        return identity_of(request).caller

    async def ask(self, request: Request, _: Command, message: bytes) -> Answer:
        return await self._of(self._service.answer_to(_instead(request, "POST", _MESSAGES), message, message))

    async def view(self, request: Request, name: str, asked: Mapping[str, str]) -> Answer:
        inner = _instead(request, "GET", f"{_VIEWS}{name}", asked, view=name)
        try:
            check_reads(inner.scope["path"], identity_of(request))
        except Refused as refusal:
            self._service.access.note(refusal.code, request.scope, refusal.name)
            return _answer(refusal.response)
        return await self._of(self._service.view(inner))

    async def _of(self, answering: Any) -> Answer:
        """What a response says; what the store keeps from being answered is said as by every other path."""
        try:
            response = await answering
        except StoreAway as error:
            response = answered(decode_answer(away_answer(str(error))))
        except StoreError as error:
            response = refused("unavailable", f"the log cannot be read now: {error}")
        return _answer(response)


def _answer(response: Response) -> Answer:
    if response.status_code == ABORTED:
        return refusal({"code": "unanswered", "detail": "the client did not wait for the answer"})
    return answer_of_http(response.status_code, bytes(response.body))


def _instead(request: Request, method: str, path: str, asked: Mapping[str, str] | None = None, **named: str) -> Request:
    """A request to another path by the same client, with its key."""
    scope = {
        **request.scope,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(asked or {}).encode(),
        "path_params": named,
        "headers": [(name, value) for name, value in request.scope["headers"] if name != _OF_MESSAGES],
    }
    return Request(scope, request.receive)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read once more; then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
