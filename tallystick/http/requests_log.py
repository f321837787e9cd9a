"""One line of log per request, with its trace id, and its place in the counts. No header and no body is logged."""

import contextlib
import logging
import random
import re
import time
from typing import Any, BinaryIO, Final

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.http.link_paths import LINKS, shown_path
from tallystick.http.measures import STREAM, Measures
from tallystick.http.reading import ENDPOINTS
from tallystick.http.views.reader import NAMES

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_OTHER, _CYCLES = "other", "cycles"
TRACE: Final = "tallystick.trace"
"""Where a request's scope has the trace id that its client gave; None without one."""
_PATHS: Final = {
    **{f"/v1/{name}": name for name in ENDPOINTS},
    "/v1/messages": "messages",
    "/v1/traces": "otlp-traces",
    "/v1/metrics": "otlp-metrics",
    "/v1/logs": "otlp-logs",
    "/v1/events": "events",
    "/v1/snapshot": "snapshot",
    "/v1/stream": STREAM,
    "/openapi.json": "openapi",
    "/docs": "docs",
    "/healthz": "healthz",
    "/readyz": "readyz",
    "/metrics": "metrics",
    "/mcp": "mcp",
    "/v1/session": "session",
    "/v1/hand-over": "hand-over",
    **{f"/v1/views/{name}": f"views/{name}" for name in NAMES},
    "/": "dashboard",
    f"{LINKS}…": "links",
}
_NAME: Final = "tallystick.http"
log: Any = structlog.get_logger(_NAME)
"""The logger of requests."""


class _Lines(structlog.BytesLogger):
    """Writes lines. Where one cannot be written, as on a full disk, the request that it is of goes on without it."""

    def msg(self, message: bytes) -> None:
        """Write a line."""
        with contextlib.suppress(OSError):
            super().msg(message)

    info = msg


def write_lines(file: BinaryIO) -> None:
    """From now on, write requests as lines of JSON to a file, directly: there are many of them."""
    global log  # noqa: PLW0603 - there is one log of a process
    log = structlog.wrap_logger(
        _Lines(file),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind(logger=_NAME)


def as_json(value: Any, **_: Any) -> bytes:
    """A line of the log."""
    return msgspec.json.encode(value, enc_hook=str)


def trace_id(traceparent: str) -> str | None:
    """The trace id of a ``traceparent`` (W3C Trace Context); None where it has none that is valid."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return None if found is None else found[1]


class RequestsLog:
    """Notes each request when it is over, whatever became of it."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()
        given = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"traceparent"), "")
        scope[TRACE] = trace_id(given)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._measures.in_progress += 1
        try:
            await self._app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            self._measures.in_progress -= 1
            path = shown_path(scope)
            self._measures.note(_CYCLES if path.startswith("/cycles/") else _PATHS.get(path, _OTHER), status, seconds)
            client: Any = scope.get("client")
            log.info(
                "request",
                method=scope["method"],
                path=shown_path(scope),
                status=status,
                milliseconds=round(seconds * 1000, 3),
                client=client[0] if client else None,
                trace_id=scope[TRACE] or f"{random.getrandbits(128):032x}",
            )
