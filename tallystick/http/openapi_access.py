"""What `openapi` says of access: how a request shows who sends it, the sessions of pages, and the hand-over."""

from typing import Any, Final

from tallystick.approvals.links import TOKEN_MAX
from tallystick.events.decide.permissions import ROLES
from tallystick.http.answers import JSON
from tallystick.http.openapi_paths import COMMON
from tallystick.http.sessions import COOKIE

Json = dict[str, Any]

SCHEMES: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of the fleet, or a token of an OpenID provider."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Begun by `POST /v1/session`."},
}
SECURITY: Final[list[Json]] = [{"key": []}, {"session": []}, {}]
"""Any of them; none is needed where the server is open."""
_SHOWN: Final = {
    "type": "object",
    "properties": {
        "open": {"type": "boolean", "description": "The server asks for no keys."},
        "role": {"enum": [*ROLES, None]},
        "name": {"type": ["string", "null"], "description": "Of the key, or the subject of the token."},
        "agent": {"type": ["string", "null"], "description": "In whose name it acts."},
        "expires_in_seconds": {"type": "integer"},
    },
    "required": ["open", "role", "name", "agent"],
}
_LOGIN: Final = {
    "type": "object",
    "properties": {"key": {"type": "string"}},
    "required": ["key"],
    "additionalProperties": False,
}
_HANDED_OVER: Final = {
    "type": "object",
    "properties": {"writer": {"type": "string", "description": "Where the writer is now."}},
    "required": ["writer"],
}
_ACCEPTED: Final = "application/json, text/event-stream"
_RPC: Final = {
    "type": "object",
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": {"type": ["integer", "string"]},
        "method": {"type": "string"},
        "params": {"type": "object"},
    },
    "required": ["jsonrpc", "id", "method"],
}
_RPC_EXAMPLES: Final = {"example": {"value": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}}}
_RPC_ANSWER: Final = {
    "type": "object",
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": {"type": ["integer", "string", "null"]},
        "result": {"type": "object"},
        "error": {"type": "object"},
    },
    "required": ["jsonrpc"],
}
_PAGES: Final = {
    403: "The link was withdrawn; or another site's page has sent this.",
    404: "It is no link of this server.",
    409: "It stands otherwise than was seen, or there is nothing to do.",
    410: "It was used, or has expired.",
    429: "Too many links from this address did not work.",
    503: "The fleet gives no answer now.",
}
_EXAMPLES: Final = {"example": {"value": {"key": "tsk_…"}}}


def session_path(refusals: Any) -> Json:
    """``/v1/session``; ``refusals`` describes some statuses."""
    shown = {"content": {JSON: {"schema": _SHOWN}}}

    def operation(name: str, summary: str, more: Json, *statuses: int) -> Json:
        trace = {"$ref": "#/components/parameters/Trace"}
        described = {"operationId": name, "tags": ["access"], "summary": summary, "parameters": [trace]}
        return {**described, **more, "responses": {**more["responses"], **refusals({*COMMON, *statuses})}}

    return {
        "post": operation(
            "BeginSession",
            "Log a page in: a key for a cookie.",
            {
                "security": [],
                "requestBody": {"required": True, "content": {JSON: {"schema": _LOGIN, "examples": _EXAMPLES}}},
                "responses": {"200": {"description": "The session has begun; `set-cookie` has it.", **shown}},
            },
            *(400, 413, 415, 422),
        ),
        "get": operation("ShowSession", "Who asks.", {"responses": {"200": {"description": "Who asks.", **shown}}}),
        "delete": operation("EndSession", "Log out.", {"responses": {"204": {"description": "It has ended."}}}),
    }


def hand_over_path(refusals: Any) -> Json:
    """``/v1/hand-over``; ``refusals`` describes some statuses."""
    done = {"description": "Another server is the writer.", "content": {JSON: {"schema": _HANDED_OVER}}}
    return {
        "post": {
            "operationId": "HandOver",
            "tags": ["server"],
            "summary": "Let a standby be the writer; for operators.",
            "parameters": [{"$ref": "#/components/parameters/Trace"}],
            "responses": {"200": done, **refusals({*COMMON, 409})},
        }
    }


def mcp_path(refusals: Any) -> Json:
    """``/mcp``; ``refusals`` describes some statuses. Beside them, the protocol has errors of its own."""
    accepts = {"name": "Accept", "in": "header", "required": True, "schema": {"const": _ACCEPTED}}
    wrong = {"description": "An error of the protocol.", "content": {JSON: {"schema": _RPC_ANSWER}}}
    return {
        "post": {
            "operationId": "Mcp",
            "tags": ["mcp"],
            "summary": "The Model Context Protocol over Streamable HTTP: each message is a tool.",
            "parameters": [accepts, {"$ref": "#/components/parameters/Trace"}],
            "requestBody": {"required": True, "content": {JSON: {"schema": _RPC, "examples": _RPC_EXAMPLES}}},
            "responses": {
                "200": {"description": "An answer.", "content": {JSON: {"schema": _RPC_ANSWER}}},
                "202": {"description": "A notification was taken: nothing answers it."},
                **dict.fromkeys(("400", "404", "406"), wrong),
                **refusals({*COMMON, 413, 415, 501}),
            },
        }
    }


def links_path(refusals: Any) -> Json:
    """``/links/{link}``; ``refusals`` describes some statuses. All its own answers are pages."""
    page = {"content": {"text/html": {"schema": {"type": "string"}}}}
    statuses = {"200": "What it would change; or it is done.", **{str(status): _PAGES[status] for status in _PAGES}}
    pages = {status: {"description": text, **page} for status, text in statuses.items()}
    link = {"name": "link", "in": "path", "required": True, "schema": {"type": "string", "maxLength": TOKEN_MAX}}
    form = {"type": "object", "properties": {"seen": {"type": "string"}}, "required": ["seen"]}

    def operation(name: str, summary: str, more: Json) -> Json:
        described = {"operationId": name, "tags": ["links"], "summary": summary, "security": []}
        return {**described, "parameters": [link], **more, "responses": {**refusals(COMMON), **pages}}

    body = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
    return {
        "get": operation("ShowLink", "What a link of an alert would change, as a page.", {}),
        "post": operation("UseLink", "Do what the link's page shows, once.", {"requestBody": body}),
    }
