"""``GET /docs``: the description of the API as one page, with no script and nothing from elsewhere."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tallystick.http.answers import NO_STORE
from tallystick.http.openapi import document

Json = dict[str, Any]

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h2{margin-top:2.5rem;border-bottom:1px solid}
details{margin:.4rem 0;padding:.2rem .6rem;border:1px solid #8886;border-radius:.3rem}
summary{cursor:pointer}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{overflow-x:auto;padding:.6rem;background:#8882}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-top:1px solid #8886}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {**NO_STORE, "content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
_CODE: Final = re.compile(r"`([^`]+)`")


async def serve_page(_: Request) -> Response:
    """``GET /docs``."""
    return Response(await run_in_threadpool(page), 200, _HEADERS, "text/html")


@cache
def page() -> str:
    """The page."""
    described = document()
    return "".join(_page(described))


def _page(described: Json) -> Iterator[str]:
    info = described["info"]
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><title>tallystick: HTTP API</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><main>'
    yield f"<h1>tallystick {escape(info['version'])}: HTTP API</h1><p>{escape(info['summary'])} "
    yield 'The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    for tag in described["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>"
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(f"{method.upper()} {path}", operation, described)
    yield "<h2>Schemas</h2>"
    for name, schema in described["components"]["schemas"].items():
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        yield from _schema(schema)
        yield "</details>"
    yield "</main></html>"


def _operation(heading: str, operation: Json, described: Json) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary><code>{escape(heading)}</code> '
    yield f"{_text(operation['summary'])}</summary>"
    if "description" in operation:
        yield f"<p>{_text(operation['description'])}</p>"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Body</h3><p>{escape(media)}: {_type(content['schema'])}</p>"
        for example in content.get("examples", {}).values():
            yield f"<pre>{escape(json.dumps(example['value'], indent=2))}</pre>"
    yield from _parameters([_found(one, described) for one in operation.get("parameters", ())])
    yield "<h3>Answers</h3><table>"
    for status, response in operation["responses"].items():
        answer = _found(response, described)
        given = answer.get("content", {})
        types = ", ".join(f"{escape(media)}: {_type(one['schema'])}" for media, one in given.items())
        yield f"<tr><th>{status}<td>{_text(answer['description'])}<td>{types}"
    yield "</table></details>"


def _parameters(parameters: list[Json]) -> Iterator[str]:
    if parameters:
        yield "<h3>Parameters</h3><table>"
        for one in parameters:
            yield f"<tr><th><code>{escape(one['name'])}</code><td>{one['in']}<td>{_text(one.get('description', ''))}"
        yield "</table>"


def _schema(schema: Json) -> Iterator[str]:
    if "description" in schema:
        yield f"<p>{_text(schema['description'])}</p>"
    if "oneOf" in schema:
        yield f"<p>{_type({'oneOf': schema['oneOf']})}</p>"
    required = schema.get("required", ())
    yield "<table>"
    for name, field in schema.get("properties", {}).items():
        needed = "required" if name in required else ""
        yield f"<tr><th><code>{escape(name)}</code><td>{_type(field)}<td>{needed}"
    yield "</table>"
    for example in schema.get("examples", ()):
        yield f"<pre>{escape(json.dumps(example, indent=2))}</pre>"


def _type(schema: Json) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[key])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    found = schema.get("type", "anything")
    if found == "array":
        return f"list of ({_type(schema.get('items', {}))})"
    return escape(" or ".join(found) if isinstance(found, list) else found)


def _found(given: Json, described: Json) -> Json:
    """What a reference within the document stands for, or the thing itself."""
    if "$ref" not in given:
        return given
    found: Any = described
    for part in given["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def _text(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))
