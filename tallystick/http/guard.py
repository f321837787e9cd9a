"""Who may call at all: a page of another site may not, neither by its own name nor by one that it lets point here."""

from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.http.answers import refused

LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


def header(scope: Scope, name: bytes, lower: bool = True) -> list[str]:
    """The values of a header of a request, in lower case, or as they came."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    values = [value.decode("latin-1") for key, value in pairs if key == name]
    return [value.lower() for value in values] if lower else values


def host_of(authority: str) -> str:
    """The name in an authority (``name:port``, ``[::1]:port``), without its port."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


class Guard:
    """Refuses requests under a name that is not one of ``hosts``, and those of pages of other origins."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            named, origins = header(scope, b"host"), header(scope, b"origin")
            if len(named) != 1 or host_of(named[0]) not in self._hosts:
                allowed = ", ".join(sorted(self._hosts))
                detail = f"host: found {', '.join(named)[:100]!r}, allowed are {allowed}"
                await refused("wrong_host", detail)(scope, receive, send)
                return
            if any(origin.partition("://")[2] != named[0] for origin in origins):
                detail = f"origin: found {origins[0][:100]!r}, allowed is the server's own"
                await refused("wrong_origin", detail)(scope, receive, send)
                return
        await self._app(scope, receive, send)
