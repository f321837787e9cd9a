"""Sessions of the dashboard: who has logged in with a key has a cookie, which is not the key."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final, NamedTuple

from tallystick.http.identity import Identity

COOKIE: Final = "tallystick_session"
SESSION_SECONDS: Final = 12 * 60 * 60
SESSIONS_MAX: Final = 10_000
"""Sessions that are kept; beyond, the oldest ends."""
_BYTES: Final = 32


class _Session(NamedTuple):
    identity: Identity
    until: float


class Sessions:
    """The sessions of one server: in memory, so that none outlives it. ``clock`` is in seconds, and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_digest: OrderedDict[bytes, _Session] = OrderedDict()

    def begin(self, identity: Identity) -> str:
        """The id of a new session: 256 random bits."""
        id = secrets.token_urlsafe(_BYTES)
        self._by_digest[_digest(id)] = _Session(identity, self._clock() + SESSION_SECONDS)
        if len(self._by_digest) > SESSIONS_MAX:
            self._by_digest.popitem(last=False)
        return id

    def find(self, id: str) -> Identity | None:
        """Whose session it is; None where it has ended, or what it was begun with has."""
        session = self._by_digest.get(_digest(id))
        if session is None:
            return None
        if self._clock() >= session.until or session.identity.ended():
            self.end(id)
            return None
        return session.identity

    def end(self, id: str) -> None:
        """End a session, if it is there."""
        self._by_digest.pop(_digest(id), None)


def _digest(id: str) -> bytes:
    """Sessions are found by a digest, so that how long that takes says nothing about their ids."""
    return hashlib.sha256(id.encode()).digest()


def session_of(cookies: list[str]) -> str | None:
    """The id of the session that the headers ``cookie`` name."""
    for text in cookies:
        try:
            found = SimpleCookie(text).get(COOKIE)
        except CookieError:
            continue
        if found is not None and found.value:
            return found.value
    return None


def set_cookie(id: str, secure: bool, path: str) -> str:
    """The header ``set-cookie`` that begins a session; with an empty id, the one that ends it.

    ``path`` is where the fleet is, without a slash at its end: fleets of one server have sessions of their own.
    """
    lasting = SESSION_SECONDS if id else 0
    parts = [f"{COOKIE}={id}", f"Path={path}/", f"Max-Age={lasting}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if secure else parts)
