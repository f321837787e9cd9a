"""What `openapi` cannot read from the messages: the paths of the server itself, parameters, and headers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tallystick.events.messages import NAME_MAX
from tallystick.http.answers import JSON
from tallystick.http.events import BYTES, LIMIT, LIMIT_MAX
from tallystick.http.parameters import POSITION_MAX
from tallystick.http.views.reader import NAMES as VIEW_NAMES

Json = dict[str, Any]

BODY: Final = (400, 413, 415)
"""The statuses of a path that reads a body."""
COMMON: Final = (401, 403, 421, 429, 500, 503, 504)
"""The statuses of every path: who may not call, and a server that fails, stops, or gets no answer from its fleet."""


class Own(NamedTuple):
    """A path of the server itself, for GET: ``content`` by media type, and the statuses beside those of every path."""

    path: str
    name: str
    tag: str
    summary: str
    content: Mapping[str, Json]
    statuses: Sequence[int] = ()
    parameters: Sequence[Json] = ()


def _query(name: str, text: str, least: int, most: int, default: int | None) -> Json:
    schema: Json = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    return {"name": name, "in": "query", "description": text, "schema": schema}


_RECORD: Final = {
    "type": "object",
    "description": "A record as it is stored; see the reference of events.",
    "properties": {
        "type": {"type": "string"},
        "position": {"type": "integer", "minimum": 1},
        "at": {"type": "string", "format": "date-time"},
        "id": {"type": "string", "description": "of the message that caused it; left out where the clock caused it"},
        "by": {"type": "string"},
        "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
    "required": ["type", "position", "at", "by", "digest"],
}
_PAGE: Final = {
    "type": "object",
    "properties": {
        "events": {"type": "array", "items": _RECORD, "maxItems": LIMIT_MAX},
        "next": {"type": "integer", "description": "`after` of the next page"},
        "position": {"type": "integer", "description": "the newest position of the log"},
    },
    "required": ["events", "next", "position"],
}
_TEXT: Final = {"type": "string"}

OWN: Final = (
    Own(
        "/v1/events",
        "Events",
        "log",
        "The log in pages, each record as it is stored.",
        {JSON: _PAGE},
        (404, 422),
        (
            _query("after", "The position behind which the page begins.", 0, POSITION_MAX, 0),
            _query("limit", "How many records at most.", 1, LIMIT_MAX, LIMIT),
        ),
    ),
    Own(
        "/v1/snapshot",
        "Snapshot",
        "log",
        "The newest snapshot of the state, for programs of the same version; its position is a header.",
        {BYTES: {"type": "string", "format": "binary"}},
        (404, 422),
    ),
    Own(
        "/v1/stream",
        "Stream",
        "log",
        "The log as server-sent events, each record as it is stored, and what comes.",
        {"text/event-stream": _TEXT},
        (404, 422, 429),
        (
            _query("after", "The position behind which it begins; else with what comes next.", 0, POSITION_MAX, None),
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The last event that the reader has; it stands for `after`.",
                "schema": {"type": "integer", "minimum": 0, "maximum": POSITION_MAX},
            },
        ),
    ),
    Own(
        "/v1/views/{view}",
        "View",
        "views",
        "What a command prints with `--json`, now or as it was.",
        {JSON: {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}},
        (404, 422, 429),
        (
            {
                "name": "view",
                "in": "path",
                "required": True,
                "description": "The name of the command; `agents` and `page` are for the dashboard.",
                "schema": {"type": "string", "enum": sorted(VIEW_NAMES)},
            },
            {
                "name": "at",
                "in": "query",
                "description": "A position of the log, or a time; else the newest position.",
                "schema": {"type": "string", "maxLength": NAME_MAX},
            },
            _query("limit", "How many rows at most.", 0, LIMIT_MAX, None),
            {
                "name": "agent",
                "in": "query",
                "description": "Only what is of this agent: of `status`, `limits` and `events`.",
                "schema": {"type": "string", "maxLength": NAME_MAX},
            },
        ),
    ),
    Own("/", "Dashboard", "dashboard", "The dashboard.", {"text/html": _TEXT}),
    Own("/app.js", "Script", "dashboard", "The script of the dashboard.", {"text/javascript": _TEXT}),
    Own("/app.css", "Style", "dashboard", "The style of the dashboard.", {"text/css": _TEXT}),
    Own("/icon.svg", "Icon", "dashboard", "The icon of the dashboard.", {"image/svg+xml": _TEXT}),
    Own("/healthz", "Health", "server", "The process answers.", {"text/plain": _TEXT}),
    Own("/readyz", "Readiness", "server", "The fleet answers, and the server takes messages.", {"text/plain": _TEXT}),
    Own("/metrics", "Metrics", "server", "Counts and figures as Prometheus reads them.", {"text/plain": _TEXT}),
    Own("/openapi.json", "Description", "server", "This description.", {JSON: {"type": "object"}}),
    Own("/docs", "Page", "server", "This description as a page.", {"text/html": _TEXT}),
)
"""The paths that are no message's. A path that is added to the application is added here, too."""

KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The id of the message, with quotes or without: sent again with the same id, it counts once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": NAME_MAX, "pattern": r"^[A-Za-z0-9_.:-]+$"},
    "example": "step-1",
}
TRACE: Final = {
    "name": "traceparent",
    "in": "header",
    "description": "W3C Trace Context: its trace id is in the log of the server, and in the record.",
    "schema": {"type": "string"},
    "example": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
HEADERS: Final = {
    "Retry-After": {"description": "After how many seconds to ask again.", "schema": {"type": "integer", "minimum": 1}},
    "RateLimit-Policy": {"description": "What the agent was allocated, in tokens.", "schema": _TEXT},
    "RateLimit": {"description": "What the agent has left, in tokens.", "schema": _TEXT},
    "x-ratelimit-limit-tokens": {
        "description": "What the agent was allocated.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "x-ratelimit-remaining-tokens": {"description": "What it has left.", "schema": {"type": "integer", "minimum": 0}},
    "x-tallystick-level": {"description": "The level of the agent.", "schema": _TEXT},
    "x-tallystick-action": {"description": "What it is to do.", "schema": _TEXT},
    "x-tallystick-position": {
        "description": "Of a fleet in PostgreSQL: the position of the log that the answer is not older than.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "x-tallystick-age-seconds": {
        "description": "Only of a standby's own answers: all that was recorded until so long ago is in it.",
        "schema": {"type": "number", "minimum": 0},
    },
}
