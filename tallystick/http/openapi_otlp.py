"""What `openapi` says of the paths of OTLP; what an export is like is said by OTLP itself."""

from http import HTTPStatus
from typing import Any, Final

from tallystick.http.openapi_paths import BODY, COMMON
from tallystick.http.otlp_statuses import SIGNALS
from tallystick.telemetry.answers import JSON, PROTOBUF
from tallystick.telemetry.items import PART_OF, Signal

Json = dict[str, Any]

_RESOURCES: Final = {"traces": "resourceSpans", "metrics": "resourceMetrics", "logs": "resourceLogs"}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_STATUS: Final = {
    "type": "object",
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}
"""A ``google.rpc.Status``."""


def otlp_paths() -> Json:
    """The three paths."""
    return {path: {"post": _operation(signal)} for path, signal in SIGNALS.items()}


def _operation(signal: Signal) -> Json:
    export = {"type": "object", "properties": {_RESOURCES[signal]: {"type": "array", "items": {"type": "object"}}}}
    partial = {
        "type": "object",
        "properties": {f"rejected{PART_OF[signal]}": {"type": "string"}, "errorMessage": {"type": "string"}},
    }
    answer = {"type": "object", "properties": {"partialSuccess": partial}}
    taken = {
        "description": "It was taken, but for what `partialSuccess` says.",
        "content": {JSON: {"schema": answer}, PROTOBUF: _BINARY},
    }
    example: Json = {"value": {_RESOURCES[signal]: []}}
    return {
        "operationId": f"Export{signal.title()}",
        "tags": ["telemetry"],
        "summary": f"An export of {signal} (OTLP): what it says of usage is reported.",
        "parameters": [{"$ref": "#/components/parameters/Trace"}],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": export, "examples": {"example": example}}, PROTOBUF: _BINARY},
        },
        "responses": {"200": taken, **{str(status): _refused(status) for status in sorted({*BODY, *COMMON})}},
    }


def _refused(status: int) -> Json:
    content = {JSON: {"schema": _STATUS}, PROTOBUF: _BINARY}
    return {"description": f"{HTTPStatus(status).phrase}: a `google.rpc.Status`.", "content": content}
