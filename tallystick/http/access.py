"""Who may come in: keys, tokens and sessions as identities; everything else is refused, logged and counted."""

import asyncio
import datetime as dt
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.config.settings import Config
from tallystick.events.decide.permissions import OTHER_PATHS, PATHS, Caller
from tallystick.events.state.keys import Key, Keys
from tallystick.http.answers import refused
from tallystick.http.failures import Failures
from tallystick.http.guard import header
from tallystick.http.identity import BY, Identity, address_of, put_identity
from tallystick.http.link_paths import LINKS, shown_path
from tallystick.http.measures import Measures
from tallystick.http.sessions import Sessions, session_of

TOKEN_MAX: Final = 8_192
"""Characters of a key or token."""
OPERATOR_KEY: Final = "control.operator_key"
SESSION_PATH: Final = "/v1/session"
CYCLES: Final = "/cycles/v1/"
"""Beneath it, what is read is decided message by message, too: an agent reads what is its own."""
_CYCLES_PUBLIC: Final = ("/cycles/v1/evidence/", "/cycles/v1/.well-known/")
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_OPERATOR: Final = "operator"
log = structlog.get_logger("tallystick.http")


class FleetAccess(Protocol):
    """The keys of a fleet, and its settings of telemetry; see `actors.runtime.access`."""

    @property
    def keys(self) -> Keys: ...
    @property
    def operator_key(self) -> str | None: ...
    @property
    def opening(self) -> object: ...
    def has_price(self, model: str) -> bool: ...
    def now(self) -> dt.datetime: ...
    @property
    def config(self) -> Config: ...
    def note_misuse(self, key: Key) -> None: ...


class Tokens(Protocol):
    """Bearer tokens of an OpenID provider."""

    async def identify(self, token: str) -> Identity | None:
        """Whose token it is; None where it is not valid.

        Raises:
            NoRole: it is valid, and says no role.
        """


class NoRole(Exception):
    """A token is valid, and does not say what its holder may do here."""


class Refused(Exception):
    """A request may not come in; ``response`` says so."""

    def __init__(self, code: str, response: Response, name: str | None = None) -> None:
        super().__init__(code)
        self.code, self.response, self.name = code, response, name


class AccessEnded(OSError):
    """What a stream was begun with has ended, and with it the stream."""


class Access:
    """Turns what a request shows into an identity. ``tokens`` is None where no provider is configured.

    ``keys_needed``: nothing is open, also before the fleet has a key.
    """

    def __init__(
        self,
        fleet: FleetAccess,
        measures: Measures,
        tokens: Tokens | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        keys_needed: bool = False,
    ) -> None:
        self._fleet, self._tokens, self.measures, self._keys_needed = fleet, tokens, measures, keys_needed
        self.sessions, self._failures = Sessions(clock), Failures(clock)

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything: there was never a key, and no provider is configured."""
        return self._tokens is None and not self._keys_needed and not self._fleet.keys

    @property
    def config(self) -> Config:
        """The configuration in force; the default one before there is any."""
        return self._fleet.config

    def now(self) -> dt.datetime:
        """What time it is for the fleet."""
        return self._fleet.now()

    async def identify(self, scope: Scope) -> Identity:
        """Who sends a request.

        Raises:
            Refused: it shows nothing, or nothing that is valid.
        """
        token = _bearer(header(scope, b"authorization", lower=False))
        if self.is_open:
            return Identity(BY, shown=None if token is None else _digest(token))
        if token is not None:
            return await self.login(token, address_of(scope))
        session = session_of(header(scope, b"cookie", lower=False))
        identity = None if session is None else self.sessions.find(session)
        if identity is None:
            raise Refused("unauthenticated", _unauthenticated())
        if scope["method"] not in _SAFE and not _is_of_our_page(scope):
            text = "a session is for pages of this server: send origin, or a key as bearer"
            raise Refused("wrong_origin", refused("wrong_origin", text), identity.name)
        return identity

    async def login(self, token: str, address: str | None) -> Identity:
        """Whose key or token it is.

        Raises:
            Refused: it is not valid, or not any more; or the address has shown too many that were not.
        """
        try:
            identity = self._by_key(token)
            if identity is None and self._tokens is not None and len(token) <= TOKEN_MAX:
                identity = await self._tokens.identify(token)
        except NoRole as error:
            raise Refused("access_denied", refused("access_denied", str(error))) from error
        if identity is not None:
            return identity
        seconds = self._failures.note(address)
        if seconds is None:
            raise Refused("unauthenticated", _unauthenticated())
        text = "too many requests from this address showed no valid key"
        raise Refused("too_many_failures", refused("too_many_failures", text, retry_after_seconds=seconds))

    def _by_key(self, token: str) -> Identity | None:
        fleet, digest = self._fleet, _digest(token)
        needed = fleet.operator_key
        if needed is not None and hmac.compare_digest(needed, f"sha256:{digest}"):
            return Identity(
                _OPERATOR, OPERATOR_KEY, Caller("operator"), ended=lambda: self._fleet.operator_key != needed
            )
        key = fleet.keys.find(digest)
        if key is None:
            return None
        if key.invalid_since(fleet.now()) is not None:
            fleet.note_misuse(key)
            log.warning("key_misused", key=key.name)
            return None
        caller = Caller(key.role, key.agent, key.name, key.approve_up_to_nanos)
        return Identity(key.agent or key.name, key.name, caller, ended=lambda: self._has_ended(key))

    def _has_ended(self, key: Key) -> bool:
        fleet = self._fleet
        return key.invalid_since(fleet.now()) is not None or fleet.keys.by_name.get(key.name) is not key

    def note(self, code: str, scope: Scope, name: str | None, count: int = 1) -> None:
        """Count and log what was refused. Of an address that goes on with wrong keys, not each is a line."""
        self.measures.refuse(code, count)
        if code != "too_many_failures":
            log.warning(
                "access_refused",
                code=code,
                method=scope["method"],
                path=shown_path(scope),
                client=address_of(scope),
                key=name,
                messages=count,
            )


class Gate:
    """Lets in what has an identity, and what needs none: files that are the same for all, health, and a login."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_public(scope):
            await self._app(scope, receive, send)
            return
        try:
            identity = await self._access.identify(scope)
            if scope["method"] in _SAFE and not scope["path"].startswith(CYCLES):
                check_reads(scope["path"], identity)
        except Refused as refusal:
            self._access.note(refusal.code, scope, refusal.name)
            await refusal.response(scope, receive, send)
            return
        put_identity(scope, identity)
        ended = False

        async def sending(message: Message) -> None:
            nonlocal ended
            if message.get("more_body") and identity.ended():
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise AccessEnded("access has ended")
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except (Exception, asyncio.CancelledError):
            if not ended:
                raise


def _is_public(scope: Scope) -> bool:
    """Whether a request needs no identity: those for what is the fleet's do; a link lets in by itself."""
    path: str = scope["path"]
    method: str = scope["method"]
    if path.startswith(LINKS):
        return True  # a link is what lets in
    if path.startswith(CYCLES):
        return path.startswith(_CYCLES_PUBLIC)
    if path.startswith("/v1/"):
        return path == SESSION_PATH and method == "POST"
    return method in _SAFE and path != "/metrics"


def check_reads(path: str, identity: Identity) -> None:
    """What is read at a path is for some roles; what is sent is decided message by message.

    Raises:
        Refused: not for this one.
    """
    caller = identity.caller
    if caller is None:
        return
    roles = PATHS.get(path, OTHER_PATHS)
    if caller.role not in roles:
        text = f"the role {caller.role} may not read this; {', '.join(sorted(roles))} may"
        raise Refused("access_denied", refused("access_denied", text, role=caller.role), identity.name)


def _bearer(headers: list[str]) -> str | None:
    """What is shown in ``authorization``; None where there is none, or it is of another scheme, or twice."""
    if len(headers) != 1:
        return None
    scheme, _, token = headers[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_of_our_page(scope: Scope) -> bool:
    """Whether a page of this server has sent it; that an origin is the server's own was checked before."""
    return header(scope, b"origin") != [] or header(scope, b"sec-fetch-site") == ["same-origin"]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _unauthenticated() -> Response:
    """The same in every case: what was wrong with a key is not said."""
    text = "show a key that is valid: Authorization: Bearer KEY"
    return refused("unauthenticated", text, {"www-authenticate": 'Bearer realm="tallystick"'})
