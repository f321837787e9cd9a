"""``/v1/session``: the dashboard logs in with a key, and out."""

from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tallystick.http.access import Access, Refused
from tallystick.http.answers import JSON, NO_STORE, problem
from tallystick.http.guard import header
from tallystick.http.identity import Identity, address_of, identity_of
from tallystick.http.reading import Unreadable, body_of
from tallystick.http.sessions import SESSION_SECONDS, session_of, set_cookie
from tallystick.http.statuses import ABORTED

_BODY_MAX: Final = 16_384


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    key: str


_decode = msgspec.json.Decoder(_Login).decode
_encode = msgspec.json.Encoder().encode


class SessionEndpoint:
    """Begins, shows and ends sessions. ``keeps_key``: in memory, for another server of the fleet, which has no sessions
    of this one.
    """

    def __init__(self, access: Access, *, keeps_key: bool = False) -> None:
        self._access, self._keeps_key = access, keeps_key

    async def begin(self, request: Request) -> Response:
        """``POST /v1/session``: ``{"key": KEY}`` for a cookie. An open server needs none, and gives none."""
        if self._access.is_open:
            return Response(_encode(_shown(None)), 200, NO_STORE, JSON)
        try:
            login = _decode(await body_of(request, _BODY_MAX))
            identity = await self._access.login(login.key, address_of(request.scope))
        except Unreadable as wrong:
            return problem({"code": wrong.code, "detail": str(wrong)}, wrong.status)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return problem({"code": "invalid_message", "detail": 'the body: allowed is {"key": KEY}'}, 422)
        except ClientDisconnect:
            return Response(status_code=ABORTED)
        except Refused as refusal:
            self._access.note(refusal.code, request.scope, refusal.name)
            return refusal.response
        id = self._access.sessions.begin(identity._replace(token=login.key) if self._keeps_key else identity)
        headers = {**NO_STORE, "set-cookie": _cookie(id, request)}
        return Response(_encode({**_shown(identity), "expires_in_seconds": SESSION_SECONDS}), 200, headers, JSON)

    async def show(self, request: Request) -> Response:
        """``GET /v1/session``: who sends this."""
        return Response(_encode(_shown(identity_of(request))), 200, NO_STORE, JSON)

    async def end(self, request: Request) -> Response:
        """``DELETE /v1/session``: the session of the cookie ends."""
        id = session_of(header(request.scope, b"cookie", lower=False))
        if id is not None:
            self._access.sessions.end(id)
        return Response(None, 204, {**NO_STORE, "set-cookie": _cookie("", request)})


def _cookie(id: str, request: Request) -> str:
    return set_cookie(id, request.url.scheme == "https", request.scope.get("root_path", ""))


def _shown(identity: Identity | None) -> dict[str, Any]:
    caller = None if identity is None else identity.caller
    if identity is None or caller is None:
        return {"open": True, "role": None, "name": None, "agent": None}
    return {"open": False, "role": caller.role, "name": identity.name, "agent": caller.agent}
