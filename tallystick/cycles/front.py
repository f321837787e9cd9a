"""Before the endpoints of the protocol: its header for the key, and its own shape for whatever is refused."""

import re
from typing import Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.cycles.errors import Trace, fault_of, written
from tallystick.cycles.wire import LEVEL
from tallystick.http.answers import PROBLEM
from tallystick.http.requests_log import TRACE

PREFIX: Final = "/cycles"
TENANT: Final = "tallystick.cycles.tenant"
"""Where a request's scope has the tenant that it was answered for."""
CORRELATION: Final = "tallystick.cycles.trace"
"""Where it has how it is found again."""
_KEY: Final = b"x-cycles-api-key"
_TRACE: Final = b"x-cycles-trace-id"
_NAME: Final = re.compile(LEVEL)
"""What may stand in a header; anything may have been asked for."""
_HEX: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")


def is_cycles(path: str) -> bool:
    """Whether a path is the protocol's."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


class Front:
    """Answers what is beneath `PREFIX` as the protocol has it, also what other parts of the server refuse."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_cycles(scope["path"]):
            await self._app(scope, receive, send)
            return
        trace = Trace.fresh(scope.get(TRACE) or _named(scope))
        scope[TRACE] = trace.trace
        inner = {**scope, "headers": _with_bearer(scope["headers"]), CORRELATION: trace}
        await self._app(inner, receive, _Answer(inner, receive, send, trace).send)


class _Answer:
    """An answer on its way: problems are held back until they are whole, and written anew."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, trace: Trace) -> None:
        self._scope, self._receive, self._send, self._trace = scope, receive, send, trace
        self._held: list[bytes] | None = None
        self._status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            if headers.get(b"content-type") == PROBLEM.encode():
                self._held, self._status = [], message["status"]
                return
            await self._send({**message, "headers": self._named(message["headers"])})
        elif self._held is None:
            await self._send(message)
        else:
            self._held.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._written(msgspec.json.decode(b"".join(self._held)))

    async def _written(self, problem: dict[str, object]) -> None:
        response = written(fault_of(problem, self._status), self._trace)
        self._held = None
        await response(self._scope, self._receive, self.send)

    def _named(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        named = {b"x-request-id": self._trace.request, b"x-cycles-trace-id": self._trace.trace}
        tenant = self._scope.get(TENANT)
        if tenant and _NAME.fullmatch(tenant):
            named[b"x-cycles-tenant"] = tenant
        # A writer that answers through a standby has named them already.
        rest = [(name, value) for name, value in headers if name not in named]
        return [*rest, *((name, value.encode()) for name, value in named.items())]


def _named(scope: Scope) -> str | None:
    """The trace id in the protocol's own header; None where it has none that is valid."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == _TRACE), "")
    return given if _HEX.fullmatch(given) else None


def _with_bearer(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers with the key of the protocol's header where every other path has it."""
    keys = [value for name, value in headers if name == _KEY]
    if not keys:
        return headers
    rest = [(name, value) for name, value in headers if name not in (_KEY, b"authorization")]
    return [*rest, *((b"authorization", b"Bearer " + key) for key in keys)]
