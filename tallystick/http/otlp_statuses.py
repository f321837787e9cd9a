"""Errors of the paths of OTLP in its own form: whatever refuses an export, its sender reads a ``google.rpc.Status``."""

from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.http.answers import PROBLEM
from tallystick.http.guard import header
from tallystick.telemetry.answers import JSON, PROTOBUF, status
from tallystick.telemetry.items import Signal

SIGNALS: Final[dict[str, Signal]] = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
"""The signal of each path."""
_REPLACED: Final = (b"content-type", b"content-length")


def media_of(scope: Scope) -> str:
    """The encoding of a request, as its header says, in lower case and without parameters."""
    found = header(scope, b"content-type")
    return found[0].partition(";")[0].strip() if len(found) == 1 else ""


class OtlpStatuses:
    """Turns problems into statuses; with other answers, and on other paths, it has nothing to do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in SIGNALS:
            await self._app(scope, receive, send)
            return
        begun: dict[str, Any] = {}
        parts: list[bytes] = []

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and (b"content-type", PROBLEM.encode()) in message["headers"]:
                begun.update(message)
            elif not begun:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    await _send_status(scope, begun, b"".join(parts), send)

        await self._app(scope, receive, sending)


async def _send_status(scope: Scope, begun: dict[str, Any], body: bytes, send: Send) -> None:
    problem = msgspec.json.decode(body)
    media = PROTOBUF if media_of(scope) == PROTOBUF else JSON
    data = status(media, begun["status"], f"{problem['code']}: {problem['detail']}")
    kept = [(name, value) for name, value in begun["headers"] if name not in _REPLACED]
    length = [(b"content-type", media.encode()), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": begun["status"], "headers": [*kept, *length]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else data})
