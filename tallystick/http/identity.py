"""Who sends a request, once it is known: in whose name, in which role, and until when."""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.types import Scope

from tallystick.actors.runtime.intake import Asker
from tallystick.events.decide.permissions import Caller
from tallystick.http.requests_log import TRACE

BY: Final = "http"
"""In whose name the log keeps what an open server was asked."""
_IDENTITY: Final = "tallystick.identity"


def _never() -> bool:
    return False


class Identity(NamedTuple):
    """Who sends a request.

    ``caller`` is None where the server is open, and ``shown`` is then the digest of what was shown. ``name`` is that of
    the key, or the subject of a token. ``ended`` says whether it may send no more. ``token`` is what a session was
    begun with, where it has to be shown to another server.
    """

    by: str
    name: str | None = None
    caller: Caller | None = None
    shown: str | None = None
    ended: Callable[[], bool] = _never
    token: str | None = None


class _Peer(msgspec.Struct, omit_defaults=True):
    """Who asked, as the log keeps it beside the command."""

    address: str | None
    key: str | None = None


def address_of(scope: Scope) -> str | None:
    """The address of the client; None where there is none, as over a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else None


def put_identity(scope: Scope, identity: Identity) -> None:
    """Note who sends a request."""
    scope[_IDENTITY] = identity


def identity_of(request: Request) -> Identity:
    """Who sends a request."""
    identity: Identity = request.scope[_IDENTITY]
    return identity


def asker_of(request: Request) -> Asker:
    """Who sends a request, for the fleet."""
    identity = identity_of(request)
    peer = msgspec.json.encode(_Peer(address_of(request.scope), identity.name))
    return Asker(peer, identity.shown, identity.caller, request.scope.get(TRACE))
