"""The tools: one per message of the wire contract, under the message's name, with its fields as arguments."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.events.decide.permissions import MESSAGES, Caller
from tallystick.events.messages import WIRE, Command
from tallystick.http.examples import EXAMPLES
from tallystick.http.json_schema import DECIMAL, NUMBER, markdown

MESSAGE_BY_TOOL: Final[Mapping[str, type[Command]]] = {message.__name__: message for message in WIRE}
"""The message that each tool sends."""
_NULL: Final = {"type": "null"}
_OF_ID: Final = "Of your choice, or left out. A call that is repeated with the same id counts once."
_OF_AGENT: Final = "{agent} is yours, and those below it."

Json = dict[str, Any]


class Tool(NamedTuple):
    """A tool: its name, what it does, the JSON Schema of its arguments, and whether it changes nothing."""

    name: str
    description: str
    schema: Json
    only_reads: bool


def tools_for(caller: Caller | None) -> list[Tool]:
    """The tools of those messages that a caller may send; all of them without one, where no key is asked for."""
    found = [_tool(name) for name, message in MESSAGE_BY_TOOL.items() if caller is None or _is_for(message, caller)]
    return found if caller is None or caller.role != "agent" else [_with_agent(tool, caller.agent) for tool in found]


def schema_of(name: str) -> Json | None:
    """The schema of a tool's arguments; None where there is no such tool."""
    return _tool(name).schema if name in MESSAGE_BY_TOOL else None


def _is_for(message: type[Command], caller: Caller) -> bool:
    who = MESSAGES[message]
    return caller.role in who.roles or (caller.role == "agent" and who.own is not None)


def _with_agent(tool: Tool, agent: str | None) -> Tool:
    """A tool that says to an agent's program which account is its own."""
    properties = tool.schema["properties"]
    if "agent" not in properties:
        return tool
    said = {**properties["agent"], "description": _OF_AGENT.format(agent=agent)}
    return tool._replace(schema={**tool.schema, "properties": {**properties, "agent": said}})


@cache
def _tool(name: str) -> Tool:
    message = MESSAGE_BY_TOOL[name]
    _, found = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    schemas = {each: _edited(schema) for each, schema in found.items()}
    schema = schemas.pop(name)
    description = schema.pop("description")
    # The name of the tool says which message it is.
    del schema["properties"]["type"]
    schema["required"] = [field for field in schema["required"] if field != "type"]
    schema["properties"]["id"]["description"] = _OF_ID
    # Without an id: what is copied from an example would count once for good.
    schema["examples"] = [{field: value for field, value in EXAMPLES[message].items() if field != "id"}]
    if schemas:
        schema["$defs"] = schemas
    return Tool(name, description, schema, message.query)


def _edited(schema: Any) -> Any:
    """A schema with as few words as say it: what may be left out need not be null, and names are no titles."""
    if isinstance(schema, list):
        return [_edited(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == DECIMAL:
        return dict(NUMBER)
    edited = {key: _edited(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    if isinstance(text := edited.get("description"), str):
        edited["description"] = markdown(text)
    if "default" in edited and edited["default"] is None:
        del edited["default"]
        either = edited.get("anyOf", [])
        rest = [one for one in either if one != _NULL]
        if len(rest) < len(either):
            del edited["anyOf"]
            edited |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return edited
