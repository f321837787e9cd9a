"""The description of the API, OpenAPI 3.1: made from messages, replies, examples and the table of statuses."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tallystick.events.messages import MESSAGES_MAX, WIRE
from tallystick.http.answers import JSON, NO_STORE, PROBLEM
from tallystick.http.examples import EXAMPLES
from tallystick.http.json_schema import DECIMAL, NUMBER, markdown
from tallystick.http.openapi_access import SCHEMES, SECURITY, hand_over_path, links_path, mcp_path, session_path
from tallystick.http.openapi_otlp import otlp_paths
from tallystick.http.openapi_paths import BODY, COMMON, HEADERS, KEY, OWN, TRACE, Own
from tallystick.http.reading import ENDPOINTS
from tallystick.http.replies import REPLIES
from tallystick.http.statuses import CONFLICT, OWN_STATUS, STATUS, WAIT

_SCHEMAS: Final = "#/components/schemas/"

Json = dict[str, Any]


def document() -> Json:
    """The whole description."""
    schemas = _schemas()
    paths: Json = {f"/v1/{name}": {"post": _message_path(name)} for name in ENDPOINTS}
    paths["/v1/messages"] = {"post": _messages_path()}
    paths |= {one.path: {"get": _own_path(one)} for one in OWN}
    paths |= otlp_paths()
    paths["/v1/session"] = session_path(_refusals)
    paths["/links/{link}"] = links_path(_refusals)
    paths["/v1/hand-over"] = hand_over_path(_refusals)
    paths["/mcp"] = mcp_path(_refusals)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tallystick",
            "version": version("tallystick"),
            "summary": "Budgets for fleets of LLM agents.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(_tags(paths))],
        "paths": paths,
        "security": SECURITY,
        "components": {
            "schemas": schemas,
            "responses": {f"Refused{status}": _refusal(status) for status in _codes_by_status()},
            "headers": HEADERS,
            "parameters": {"Key": KEY, "Trace": TRACE},
            "securitySchemes": SCHEMES,
        },
    }


def _tags(paths: Json) -> Iterable[str]:
    return (tag for methods in paths.values() for operation in methods.values() for tag in operation["tags"])


@cache
def document_bytes() -> bytes:
    """The description as it is served."""
    return msgspec.json.encode(document())


async def serve_document(_: Request) -> Response:
    """``GET /openapi.json``."""
    return Response(await run_in_threadpool(document_bytes), 200, NO_STORE, JSON)


# --- schemas ----------------------------------------------------------------------------------------------------------


def _schemas() -> Json:
    replies = tuple(dict.fromkeys(one for some in REPLIES.values() for one in some))
    _, found = msgspec.json.schema_components((*WIRE, *replies), ref_template=f"{_SCHEMAS}{{name}}")
    schemas: Json = {name: _edited(schema) for name, schema in sorted(found.items())}
    for message in WIRE:
        schema = schemas[message.__name__]
        schema["required"] = [name for name in schema["required"] if name != "type"]
        schema["examples"] = [dict(EXAMPLES[message])]
    return schemas | _gathered() | _problems()


def _edited(schema: Any) -> Any:
    """A schema in which texts are Markdown, and decimals may be numbers, as they are read."""
    if isinstance(schema, list):
        return [_edited(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == DECIMAL:
        return dict(NUMBER)
    edited = {key: _edited(value) for key, value in schema.items()}
    if isinstance(text := edited.get("description"), str):
        edited["description"] = markdown(text)
    return edited


def _gathered() -> Json:
    """Any message, and the answer to one of an array."""
    answer = {
        "description": "The answer to one message of an array.",
        "oneOf": [
            {"type": "object", "properties": {"ok": {"type": "object"}}, "required": ["ok"]},
            {"type": "object", "properties": {"error": _ref("Refusal")}, "required": ["error"]},
        ],
    }
    refusal = {
        "description": "Why not: a code, a sentence, and the numbers that refused it.",
        "type": "object",
        "properties": {"code": {"enum": sorted(STATUS)}, "detail": {"type": "string"}},
        "required": ["code", "detail"],
    }
    message = {
        "description": "One message; `type` says which.",
        "type": "object",
        "properties": {"type": {"enum": [one.__name__ for one in WIRE]}},
        "required": ["type"],
        "oneOf": [_ref(one.__name__) for one in WIRE],
        "discriminator": {"propertyName": "type"},
    }
    return {"Answer": answer, "Refusal": refusal, "Message": message}


def _problems() -> Json:
    """The problems of each status, with the codes that have it."""
    return {f"Problem{status}": _problem(status, codes) for status, codes in _codes_by_status().items()}


def _codes_by_status() -> dict[int, list[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for code, status in (*STATUS.items(), *OWN_STATUS.items()):
        found[status].add(code)
        if status == CONFLICT:
            found[WAIT].add(code)
    found[400].add("invalid_message")
    return {status: sorted(codes) for status, codes in sorted(found.items())}


def _problem(status: int, codes: list[str]) -> Json:
    return {
        "description": f"{HTTPStatus(status).phrase}: a problem as of RFC 9457, with the numbers that refused it.",
        "type": "object",
        "properties": {
            "type": {"const": "about:blank"},
            "title": {"type": "string"},
            "status": {"const": status},
            "code": {"enum": codes},
            "detail": {"type": "string"},
            "retry_after_seconds": {"type": ["number", "null"]},
        },
        "required": ["type", "title", "status", "code", "detail"],
    }


def _ref(name: str) -> Json:
    return {"$ref": f"{_SCHEMAS}{name}"}


# --- paths ------------------------------------------------------------------------------------------------------------


def _message_path(name: str) -> Json:
    message = ENDPOINTS[name]
    summary, _, more = markdown(message.__doc__ or "").partition("\n\n")
    replies = [_ref(one.__name__) for one in REPLIES[message]]
    content = {"schema": _ref(message.__name__), "examples": {"example": {"value": dict(EXAMPLES[message])}}}
    return {
        "operationId": message.__name__,
        "tags": [message.group],
        "summary": " ".join(summary.split()),
        **({"description": more} if more else {}),
        "parameters": [{"$ref": "#/components/parameters/Key"}, {"$ref": "#/components/parameters/Trace"}],
        "requestBody": {"required": True, "content": {JSON: content}},
        "responses": _responses(replies[0] if len(replies) == 1 else {"anyOf": replies}, _of_messages()),
    }


def _messages_path() -> Json:
    some = {"type": "array", "items": _ref("Message"), "maxItems": MESSAGES_MAX}
    answers = {"type": "array", "items": _ref("Answer"), "maxItems": MESSAGES_MAX}
    names = ("AllocateBudget", "ReportUsage")
    example = [{"type": one.__name__, **EXAMPLES[one]} for one in WIRE if one.__name__ in names]
    return {
        "operationId": "Messages",
        "tags": ["any"],
        "summary": f"One message of any kind, or an array of up to {MESSAGES_MAX:,}, which are committed together.",
        "parameters": [{"$ref": "#/components/parameters/Key"}, {"$ref": "#/components/parameters/Trace"}],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": {"oneOf": [_ref("Message"), some]},
                    "examples": {"one": {"value": example[0]}, "some": {"value": example}},
                }
            },
        },
        "responses": _responses({"oneOf": [{"type": "object"}, answers]}, _of_messages()),
    }


def _of_messages() -> set[int]:
    return {*STATUS.values(), *BODY, *COMMON}


def _own_path(one: Own) -> Json:
    content = {media: {"schema": schema} for media, schema in one.content.items()}
    return {
        "operationId": one.name,
        "tags": [one.tag],
        "summary": one.summary,
        "parameters": [*one.parameters, {"$ref": "#/components/parameters/Trace"}],
        "responses": {"200": {"description": one.summary, "content": content}, **_refusals({*one.statuses, *COMMON})},
    }


def _responses(schema: Json, statuses: Iterable[int]) -> Json:
    done = {"description": "Done.", "headers": _headers(), "content": {JSON: {"schema": schema}}}
    return {"200": done, **_refusals(statuses)}


def _refusals(statuses: Iterable[int]) -> Json:
    return {str(status): {"$ref": f"#/components/responses/Refused{status}"} for status in sorted(statuses)}


def _refusal(status: int) -> Json:
    headers = _headers() | ({"Retry-After": _header("Retry-After")} if status in (WAIT, 503) else {})
    content = {PROBLEM: {"schema": _ref(f"Problem{status}")}}
    return {"description": HTTPStatus(status).phrase, "headers": headers, "content": content}


def _headers() -> Json:
    return {name: _header(name) for name in HEADERS if name != "Retry-After"}


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}
