"""The HTTP API over a running fleet: `application` gives it as an ASGI program."""

import asyncio
import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.applications import Starlette
from starlette.convertors import register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tallystick.actors.errors import Unanswered
from tallystick.actors.missing import away_answer
from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.messages import BudgetNote
from tallystick.cycles.front import Front
from tallystick.cycles.service import Cycles
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import decode_answer
from tallystick.events.log.store import StoreAway, StoreError
from tallystick.http.access import Access, Gate, Tokens
from tallystick.http.answers import NO_STORE, answered, answered_each, problem, refused
from tallystick.http.docs_page import serve_page
from tallystick.http.elsewhere import BEHIND_SECONDS, Elsewhere, HandOver, Marked, figures, role_in_words
from tallystick.http.events import Events, LogReader
from tallystick.http.guard import Guard
from tallystick.http.identity import BY, asker_of, identity_of
from tallystick.http.link_pages import LinkPages
from tallystick.http.mcp_endpoint import McpEndpoint
from tallystick.http.measures import CONTENT_TYPE, Measures, fleet_figures
from tallystick.http.measures_outgoing import webhook_lines
from tallystick.http.openapi import serve_document
from tallystick.http.otlp import Exports
from tallystick.http.otlp_statuses import OtlpStatuses
from tallystick.http.reading import ENDPOINTS, MessageName, Unreadable, body_of, messages_of
from tallystick.http.requests_log import RequestsLog
from tallystick.http.served import Served
from tallystick.http.session_endpoint import SessionEndpoint
from tallystick.http.static_files import StaticFiles
from tallystick.http.statuses import ABORTED
from tallystick.http.stream import Streams
from tallystick.http.views.endpoints import view
from tallystick.http.views.limit import ReaderLimit
from tallystick.http.views.readers import Readers

DENIED: Final = ("access_denied", "operator_key_needed")
"""The codes of what a sender may not do."""
READY_SECONDS: Final = 2.0
"""Within which a fleet that is ready answers."""
_WAITS: Final = b"wait_seconds"
_PARENT_ASKED: Final = "x-tallystick-parent-asked-seconds"
_PARENT_AWAY: Final = "x-tallystick-parent-away-seconds"
_GLOBAL: Final = {"type": "GetGlobalStatus", "limit": 0}
log = structlog.get_logger("tallystick.http")


class Stopping(Exception):
    """The server is being stopped, and does not wait any longer for what may never come."""


class Service:
    """The endpoints of one fleet. ``stopping`` is set when the server begins to stop; ``elsewhere`` are the other
    servers of the fleet, where it has any.
    """

    def __init__(
        self,
        fleet: Served,
        access: Access,
        elsewhere: Elsewhere | None = None,
        reader_limit: ReaderLimit | None = None,
    ) -> None:
        self.fleet, self.access, self.measures = fleet, access, access.measures
        self.elsewhere = elsewhere
        self.readers = Readers(fleet.store, log_time=fleet.log_time, limit=reader_limit)
        self.stopping = asyncio.Event()
        self.mcp = McpEndpoint(self)
        reader = LogReader(fleet.records)
        self.events, self.streams = Events(reader), Streams(reader, self.stopping, self.measures)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def one_kind(self, request: Request) -> Response:
        """``POST /v1/<message>``: one message of the kind that the path names."""
        return await self._answer(request, ENDPOINTS[request.path_params["kind"]].__name__)

    async def messages(self, request: Request) -> Response:
        """``POST /v1/messages``: one message, or an array of up to 1,000 that are committed together."""
        return await self._answer(request, None)

    async def _answer(self, request: Request, name: str | None) -> Response:
        try:
            body = await body_of(request)
            messages = messages_of(body, name, request.headers.get("idempotency-key"))
        except Unreadable as wrong:
            return problem({"code": wrong.code, "detail": str(wrong)}, wrong.status)
        except ClientDisconnect:
            return Response(status_code=ABORTED)
        return await self.answer_to(request, body, messages)

    async def answer_to(self, request: Request, body: bytes, messages: "bytes | list[bytes]") -> Response:
        """The answer to messages that were read from a request, ``body`` as it came."""
        note = BudgetNote()
        try:
            if self.elsewhere is not None:
                sent = await self.elsewhere.answer(request, body, messages, self.stopping)
                if sent is not None:
                    return sent
            asker = asker_of(request)._replace(note=note)
            answer = await self._ask(messages, request, asker, waits=_WAITS in body)
        except Unanswered as late:
            return refused("unanswered", str(late))
        except Stopping:
            return refused("shutting_down", "the server is being stopped: send it again with the same id")
        except ClientDisconnect:
            return Response(status_code=ABORTED)
        self._note_denied(answer if isinstance(answer, list) else [answer], request)
        return answered_each(answer) if isinstance(answer, list) else answered(answer, note)

    def _note_denied(self, answers: list[Any], request: Request) -> None:
        """Log and count what the sender may not do."""
        for code in DENIED:
            count = sum(one.get("error", {}).get("code") == code for one in answers)
            if count:
                self.access.note(code, request.scope, identity_of(request).name, count)

    async def _ask(self, messages: "bytes | list[bytes]", request: Request, asker: Asker, waits: bool) -> Any:
        """What the fleet answers. A message that waits is given up with its client, or where the server is stopped.

        Raises:
            Unanswered: nothing was answered in time.
            Stopping: the server is being stopped.
            ClientDisconnect: the client went away.
        """
        asking = self.fleet.ask_async(messages, identity_of(request).by, asker=asker)
        if not waits:
            return await asking
        asked = asyncio.create_task(asking)
        gone, stopping = asyncio.create_task(_gone(request)), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait((asked, gone, stopping), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            if gone.done():
                raise ClientDisconnect
            raise Stopping
        finally:
            for task in (asked, gone, stopping):
                task.cancel()
            # So that the fleet has heard of it before this request is over.
            with contextlib.suppress(asyncio.CancelledError, Unanswered):
                await asked

    # --- the server itself --------------------------------------------------------------------------------------------

    async def health(self, _: Request) -> Response:
        """``GET /healthz``: the process answers."""
        return PlainTextResponse(f"ok{role_in_words(self.elsewhere)}\n", headers=NO_STORE)

    async def ready(self, _: Request) -> Response:
        """``GET /readyz``: the fleet answers, and the server takes more messages."""
        if self.stopping.is_set():
            return refused("shutting_down", "the server is being stopped")
        try:
            answer = await self.fleet.ask_async(_GLOBAL, BY, READY_SECONDS)
        except Unanswered as late:
            return refused("unanswered", str(late))
        if "ok" not in answer:
            return answered(answer)
        if (seconds := figures(self.elsewhere)["behind_seconds"]) > BEHIND_SECONDS:
            return refused("unavailable", f"the log could not be read for {seconds:.0f} s: is the database away?")
        return PlainTextResponse(f"ready{role_in_words(self.elsewhere)}\n", headers=NO_STORE)

    async def view(self, request: Request) -> Response:
        """``GET /v1/views/{view}``: what a command shows, now or at a moment."""
        response = await view(request, self.readers)
        answered = self.fleet.parent_answered
        if answered is not None:
            response.headers[_PARENT_AWAY if answered.is_away else _PARENT_ASKED] = f"{answered.seconds:.1f}"
        return response

    async def close(self) -> None:
        """End what the server has started."""
        await self.mcp.close()
        await self.readers.close()
        if self.elsewhere is not None:
            await self.elsewhere.close()

    async def metrics(self, _: Request) -> Response:
        """``GET /metrics``: the server's counts and the fleet's figures, as Prometheus reads them."""
        try:
            answer = await self.fleet.ask_async(_GLOBAL, BY, READY_SECONDS)
        except Unanswered:
            answer = {}
        text = self.measures.text() + fleet_figures(answer.get("ok"), **figures(self.elsewhere))
        text += webhook_lines(self.fleet.webhook_figures, answer.get("ok", {}).get("position"))
        return Response(text, 200, NO_STORE, CONTENT_TYPE)


async def _gone(request: Request) -> None:
    """Wait until the client has gone away; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def not_found(request: Request) -> Response:
    """There is nothing under this path."""
    return refused("not_found", f"there is nothing at {request.url.path[:200]!r}; POST /v1/<message> takes messages")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers: Mapping[str, str] = error.headers or {}
    match error.status_code:
        case 404:
            return not_found(request)
        case 405:
            allowed = headers.get("Allow", "")
            detail = f"method: found {request.method[:20]!r}, allowed here: {allowed}"
            return refused("method_not_allowed", detail, headers)
    return problem({"code": "internal_error", "detail": HTTPStatus(error.status_code).phrase}, error.status_code)


async def _away(_: Request, error: Exception) -> Response:
    return answered(decode_answer(away_answer(str(error))))


async def _unreadable(_: Request, error: Exception) -> Response:
    log.warning("log_unreadable", error=str(error))
    return refused("unavailable", f"the log cannot be read now: {error}")


async def _failure(_: Request, error: Exception) -> Response:
    log.error("request_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
    return refused("internal_error", "the server failed at this request; its log says how")


def application(
    fleet: Served, hosts: frozenset[str], tokens: Tokens | None = None, elsewhere: Elsewhere | None = None
) -> tuple[ASGIApp, Service]:
    """The API of a fleet, and its `Service`.

    ``hosts`` are the names under which it may be called; ``tokens`` reads the tokens of an OpenID provider;
    ``elsewhere`` are the other servers of the fleet, where it is shared.

    Must be made in the event loop that will run it.
    """
    access = Access(fleet.access, Measures(), tokens)
    gate, service = _gate(Service(fleet, access, elsewhere))
    return RequestsLog(Front(OtlpStatuses(Guard(gate, hosts))), service.measures), service


def inner_application(fleet: Served, *, keys_needed: bool, reader_limit: ReaderLimit) -> tuple[ASGIApp, Service]:
    """`application` for a server in front of it that has looked at the request's ``Host`` and ``Origin``.

    ``keys_needed``: without a key nothing is let in, also where the fleet has none. ``reader_limit``: of all fleets
    that the process serves.
    """
    access = Access(fleet.access, Measures(), keys_needed=keys_needed)
    gate, service = _gate(Service(fleet, access, reader_limit=reader_limit))
    return RequestsLog(Front(OtlpStatuses(gate)), service.measures), service


def _gate(service: Service) -> tuple[ASGIApp, Service]:
    access, elsewhere = service.access, service.elsewhere
    sessions = SessionEndpoint(access, keeps_key=elsewhere is not None)
    register_url_convertor("message", MessageName())
    files, exports = StaticFiles(), Exports(service.fleet, access, elsewhere, service.stopping)
    links = LinkPages(service.fleet, access, elsewhere, service.stopping)
    routes = [
        Route("/v1/messages", service.messages, methods=["POST"]),
        *(Route(path, exports.take, methods=["POST"]) for path in exports.paths),
        Route("/v1/events", service.events.page, methods=["GET"]),
        Route("/v1/snapshot", service.events.snapshot, methods=["GET"]),
        Route("/v1/stream", service.streams.stream, methods=["GET"]),
        Route("/v1/session", sessions.begin, methods=["POST"]),
        Route("/v1/session", sessions.show, methods=["GET"]),
        Route("/v1/session", sessions.end, methods=["DELETE"]),
        Route("/v1/hand-over", HandOver(access, elsewhere).order, methods=["POST"]),
        Route("/v1/views/{view}", service.view, methods=["GET"]),
        Route("/mcp", service.mcp, methods=["POST"]),
        Route("/v1/{kind:message}", service.one_kind, methods=["POST"]),
        Route("/links/{link}", links.show, methods=["GET"]),
        Route("/links/{link}", links.use, methods=["POST"]),
        Route("/openapi.json", serve_document, methods=["GET"]),
        Route("/docs", serve_page, methods=["GET"]),
        Route("/healthz", service.health, methods=["GET"]),
        Route("/readyz", service.ready, methods=["GET"]),
        Route("/metrics", service.metrics, methods=["GET"]),
        *Cycles(service.fleet, access, elsewhere, service.stopping).routes(),
        *(Route(path, files.file, methods=["GET"]) for path in files.paths),
    ]
    handlers = {
        HTTPException: _http_error,
        StoreAway: _away,
        StoreError: _unreadable,
        BrokenChain: _unreadable,
        Exception: _failure,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    # A redirect would name this server as it sees itself: behind a proxy with TLS, that is http.
    app.router.redirect_slashes = False
    return Gate(app if elsewhere is None else Marked(app, elsewhere), access), service
