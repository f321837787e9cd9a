"""The endpoints of the protocol beneath ``/cycles``."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tallystick.actors.errors import Unanswered
from tallystick.cycles.asking import Asking, Fleet, Json, Who
from tallystick.cycles.decisions import Decisions
from tallystick.cycles.errors import FORBIDDEN, INVALID, NOT_FOUND, UNIT_MISMATCH, Fault, fault_of, written
from tallystick.cycles.front import CORRELATION, PREFIX, TENANT
from tallystick.cycles.listing import Listing
from tallystick.cycles.reservations import Reservations
from tallystick.cycles.units import AmountTooLarge, UnitMismatch
from tallystick.cycles.wire import Asked, Commit, Create, Decide, Event, Extend, Release, check_key, read
from tallystick.http.access import Access
from tallystick.http.answers import JSON, NO_STORE, refused
from tallystick.http.elsewhere import Elsewhere
from tallystick.http.identity import BY, identity_of
from tallystick.http.reading import Unreadable, body_of
from tallystick.http.statuses import ABORTED

_METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
_READY_SECONDS: Final = 2.0
_CHANGE, _QUESTION = b'{"type":"Reserve"}', b'{"type":"GetHolds"}'
"""What a standby takes requests for: it passes changes on to the writer, and answers questions itself."""
_encode = msgspec.json.Encoder().encode


class Call(NamedTuple):
    """One request: who sends it, and its body."""

    request: Request
    who: Who
    body: bytes

    @property
    def id(self) -> str:
        """The reservation that its path names."""
        id: str = self.request.path_params["id"]
        return id

    def read(self, kind: type[Asked]) -> Asked:
        """The body as a request.

        Raises:
            Unreadable: it is none.
        """
        return read(self.body, kind)

    def for_tenant(self, tenant: str | None) -> Who:
        """Who sends it; the answer will name the tenant of the key, or otherwise this one."""
        self.request.scope[TENANT] = self.who.tenant or tenant
        return self.who


Answering = Callable[[Call], Awaitable[Json]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Cycles:
    """The protocol over one fleet. ``elsewhere`` are the other servers of the fleet, where it has any."""

    def __init__(self, fleet: Fleet, access: Access, elsewhere: Elsewhere | None, stopping: asyncio.Event) -> None:
        self._fleet, self._access, self._elsewhere, self._stopping = fleet, access, elsewhere, stopping
        asking = Asking(fleet)
        self._reservations, self._listing = Reservations(asking), Listing(asking)
        self._decisions = Decisions(asking, self._reservations)

    def routes(self) -> list[Route]:
        """All paths of the protocol that are served; what is not here is answered ``NOT_FOUND``."""
        one = "/v1/reservations/{id}"
        posts = {
            "/v1/decide": self._decide,
            "/v1/reservations": self._create,
            f"{one}/commit": self._commit,
            f"{one}/release": self._release,
            f"{one}/extend": self._extend,
            "/v1/events": self._event,
        }
        gets = {"/v1/balances": self._balances, "/v1/reservations": self._list, one: self._get}
        health = ("", "/liveness", "/readiness")
        return [
            *(Route(PREFIX + path, self._endpoint(do), methods=["POST"]) for path, do in posts.items()),
            *(Route(PREFIX + path, self._endpoint(do), methods=["GET"]) for path, do in gets.items()),
            *(Route(f"{PREFIX}/actuator/health{name}", self._health, methods=["GET"]) for name in health),
            Route(f"{PREFIX}/v1/evidence/{{id}}", _no_evidence, methods=["GET"]),
            Route(f"{PREFIX}/v1/.well-known/cycles-jwks.json", _no_evidence, methods=["GET"]),
            Route(f"{PREFIX}/{{rest:path}}", _not_served, methods=_METHODS),
        ]

    def _endpoint(self, do: Answering) -> Endpoint:
        async def answer(request: Request) -> Response:
            body, question = b"", request.method != "POST"
            try:
                if not question:
                    body = await body_of(request)
                    check_key(body, request.headers.get("x-idempotency-key"))
                if self._elsewhere is not None:
                    message = _QUESTION if question else _CHANGE
                    sent = await self._elsewhere.answer(request, body, message, self._stopping)
                    if sent is not None:
                        return sent
            except Unreadable as wrong:
                return _written(request, wrong)
            except ClientDisconnect:
                return Response(status_code=ABORTED)
            return await self._answered(request, do, body)

        return answer

    async def _answered(self, request: Request, do: Answering, body: bytes) -> Response:
        """The answer, or the refusal in the protocol's shape. What is refused for who sent it is counted and logged."""
        call = Call(request, Who.of(request), body)
        call.for_tenant(None)
        try:
            answer = await do(call)
        except (Unreadable, UnitMismatch, AmountTooLarge, Fault) as wrong:
            if isinstance(wrong, Fault) and wrong.code == FORBIDDEN:
                self._access.note("access_denied", request.scope, identity_of(request).name)
            return _written(request, wrong)
        except Unanswered as late:
            return refused("unanswered", str(late))
        status = 201 if answer.get("status") == "APPLIED" else 200
        return Response(_encode(answer), status, NO_STORE, JSON)

    # --- the operations ----------------------------------------------------------------------------------------------

    async def _decide(self, call: Call) -> Json:
        asked = call.read(Decide)
        return await self._decisions.decide(call.for_tenant(asked.subject.tenant), asked)

    async def _create(self, call: Call) -> Json:
        asked = call.read(Create)
        who = call.for_tenant(asked.subject.tenant)
        if asked.dry_run:
            return await self._decisions.try_out(who, asked)
        return await self._reservations.create(who, asked)

    async def _commit(self, call: Call) -> Json:
        return await self._reservations.commit(call.who, call.id, call.read(Commit))

    async def _release(self, call: Call) -> Json:
        return await self._reservations.release(call.who, call.id, call.read(Release))

    async def _extend(self, call: Call) -> Json:
        return await self._reservations.extend(call.who, call.id, call.read(Extend))

    async def _event(self, call: Call) -> Json:
        asked = call.read(Event)
        return await self._decisions.event(call.for_tenant(asked.subject.tenant), asked)

    async def _balances(self, call: Call) -> Json:
        query = call.request.query_params
        return await self._listing.balances(call.for_tenant(query.get("tenant")), query)

    async def _list(self, call: Call) -> Json:
        query = call.request.query_params
        return await self._listing.reservations(call.for_tenant(query.get("tenant")), query)

    async def _get(self, call: Call) -> Json:
        return await self._reservations.get(call.who, call.id)

    async def _health(self, _: Request) -> Response:
        """``GET /actuator/health``: whether the fleet answers. It needs no key."""
        up = not self._stopping.is_set() and await self._is_up()
        body = _encode({"status": "UP" if up else "DOWN"})
        headers = NO_STORE if up else {**NO_STORE, "retry-after": "1"}
        return Response(body, 200 if up else 503, headers, JSON)

    async def _is_up(self) -> bool:
        try:
            answer = await self._fleet.ask_async({"type": "GetGlobalStatus", "limit": 0}, BY, _READY_SECONDS)
        except Unanswered:
            return False
        return "ok" in answer


async def _no_evidence(request: Request) -> Response:
    """What was decided is shown by the log, and not by signed envelopes."""
    text = "this server signs no CyclesEvidence: its log is a chain of digests, see GET /v1/events"
    return _written(request, Fault(NOT_FOUND, text))


async def _not_served(request: Request) -> Response:
    """Another operation, such as those of the admin plane."""
    text = f"{request.method[:20]} {request.url.path[:200]} is not served here"
    if "/admin/" in request.url.path:
        text += ": budgets are accounts, which AllocateBudget opens, and keys are made by tallystick key"
    return _written(request, Fault(NOT_FOUND, text))


def _written(request: Request, wrong: Unreadable | UnitMismatch | AmountTooLarge | Fault) -> Response:
    if isinstance(wrong, Unreadable):
        wrong = fault_of({"code": wrong.code, "detail": str(wrong)}, wrong.status)
    elif isinstance(wrong, UnitMismatch):
        wrong = Fault(UNIT_MISMATCH, str(wrong), wrong.details)
    elif isinstance(wrong, AmountTooLarge):
        wrong = Fault(INVALID, str(wrong))
    return written(wrong, request.scope[CORRELATION])
