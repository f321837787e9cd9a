"""A fleet as a server of the Model Context Protocol: messages are tools, what can be read is a resource."""

import json
import secrets
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, Protocol

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from tallystick.events.decide.permissions import Caller
from tallystick.events.log.codec import decode_answer, encode_answer, read_message
from tallystick.events.messages import Command
from tallystick.events.messages.replies import Refusal
from tallystick.mcp.answers import Answer, answer_of
from tallystick.mcp.resources import (
    MARKDOWN,
    QUESTIONS,
    SCHEME,
    VIEWS,
    Asked,
    may_read_views,
    question_of,
    questions_for,
    uri_for,
)
from tallystick.mcp.tools import MESSAGE_BY_TOOL, schema_of, tools_for

INSTRUCTIONS: Final = """\
Budgets of a fleet of LLM agents: tokens, time and money that are allocated, held, used and released.

Before a costly call ask CheckEnforcement whether the agent may go on, or Reserve what the call may use; after it Settle
the hold, or ReportUsage. A refusal is a tool error with a code, a sentence and the numbers that decided. Where it has
retry_after_seconds, the same call may succeed after so long; where it has none, waiting alone does not help.

A call may be repeated, for example when no answer came: give it an id, and repeat it with the same id. It counts once.
"""
_JSON: Final = "application/json"
_SHOWN_MAX: Final = 100
Context = ServerRequestContext[Any, Any]


class Backend(Protocol):
    """Where the fleet is. ``request`` is what the transport has of a request: of HTTP the request, of stdio None."""

    async def caller(self, request: Any) -> Caller | None:
        """Who asks; None where no key is asked for."""

    async def ask(self, request: Any, command: Command, message: bytes) -> Answer:
        """What the fleet answers to a message, which has an id: ``message`` is it as JSON."""

    async def view(self, request: Any, name: str, asked: Mapping[str, str]) -> Answer:
        """What a view shows."""


def server_of(backend: Backend) -> Server[Any]:
    """The server of the fleet behind a backend."""
    handlers = _Handlers(backend)
    return Server(
        "tallystick",
        version=version("tallystick"),
        instructions=INSTRUCTIONS,
        get_tool_input_schema=schema_of,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
    )


class _Handlers:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    # --- tools --------------------------------------------------------------------------------------------------------

    async def list_tools(self, ctx: Context, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        tools = tools_for(await self._backend.caller(ctx.request))
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=tool.schema,
                    annotations=types.ToolAnnotations(read_only_hint=tool.only_reads, open_world_hint=False),
                )
                for tool in tools
            ]
        )

    async def call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in MESSAGE_BY_TOOL:
            text = f"there is no tool {params.name[:_SHOWN_MAX]!r}: tools/list has them all"
            raise MCPError(types.INVALID_PARAMS, text)
        answer = await self._ask(ctx, params.name, params.arguments or {})
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=answer.text)],
            structured_content=answer.value,
            is_error=answer.is_refused,
        )

    async def _ask(self, ctx: Context, name: str, arguments: Mapping[str, Any]) -> Answer:
        """What is answered to a message; what is wrong with its arguments is said here."""
        read = _read(name, arguments)
        if isinstance(read, Refusal):
            return _as_answer(read)
        command, message = read
        answer = await self._backend.ask(ctx.request, command, message)
        return answer if command.is_query else answer.with_id(str(command.id))

    # --- resources ----------------------------------------------------------------------------------------------------

    async def list_resources(self, ctx: Context, _: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        caller = await self._backend.caller(ctx.request)
        found = []
        if may_read_views(caller):
            found += [_resource(f"{SCHEME}{name}", name, view.text) for name, view in VIEWS.items()]
        if caller is not None and caller.agent is not None:
            found += [
                _resource(uri_for(one, caller.agent), one.name, one.text) for one in QUESTIONS if one.field == "agent"
            ]
        return types.ListResourcesResult(resources=found)

    async def list_templates(
        self, ctx: Context, _: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        questions = questions_for(await self._backend.caller(ctx.request))
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(uri_template=one.uri, name=one.name, description=one.text, mime_type=one.media)
                for one in questions
            ]
        )

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        question = question_of(params.uri)
        if question is None:
            text = f"there is no resource {params.uri[:_SHOWN_MAX]!r}: resources/list has them all"
            raise MCPError(types.INVALID_PARAMS, text, {"uri": params.uri[:_SHOWN_MAX]})
        if question.view is not None:
            answer = await self._backend.view(ctx.request, question.view, VIEWS[question.view].asked)
            text, media = answer.text, _JSON
        else:
            assert question.asked is not None
            answer = await self._ask(ctx, question.asked.message.__name__, {question.asked.field: question.id})
            text, media = _text_of(question.asked, answer)
        if answer.is_refused:
            raise MCPError(types.INVALID_PARAMS, f"{answer.code}: {answer.value['detail']}", answer.value)
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=params.uri, text=text, mime_type=media)]
        )


def _resource(uri: str, name: str, text: str) -> types.Resource:
    return types.Resource(uri=uri, name=name, description=text, mime_type=_JSON)


def _text_of(asked: Asked, answer: Answer) -> tuple[str, str]:
    """A reply as its resource has it: a report is written for people."""
    if asked.media == MARKDOWN and not answer.is_refused:
        return answer.value["markdown"], MARKDOWN
    return answer.text, asked.media


def _read(name: str, arguments: Mapping[str, Any]) -> "tuple[Command, bytes] | Refusal":
    """A message as the HTTP API reads its text, so that the same is allowed here."""
    if "type" in arguments:
        return Refusal("invalid_message", "Object contains unknown field `type`: the name of the tool says it")
    try:
        text = json.dumps({"type": name, **arguments}, allow_nan=False)
    except (ValueError, RecursionError) as error:
        return Refusal("invalid_message", f"not JSON: {error}")
    return read_message(text, _new_id)


def _as_answer(refusal: Refusal) -> Answer:
    return answer_of(decode_answer(encode_answer(refusal)))


def _new_id() -> str:
    return f"mcp-{secrets.token_hex(8)}"
