"""The tools are the messages: their names, their fields, and who may send them."""

from typing import Any

import jsonschema
import msgspec
import pytest

from tallystick.events.decide.permissions import MESSAGES, ROLES, Caller
from tallystick.events.log.codec import read_message
from tallystick.events.messages import WIRE, Command
from tallystick.events.messages.replies import Refusal
from tallystick.http.examples import EXAMPLES
from tallystick.mcp.tools import MESSAGE_BY_TOOL, schema_of, tools_for

TOOLS = {tool.name: tool for tool in tools_for(None)}
CONTEXT_BYTES_MAX = 50_000
"""All tools together, as a model reads them."""


def test_every_message_is_a_tool_and_nothing_else_is() -> None:
    assert list(TOOLS) == [message.__name__ for message in WIRE]


@pytest.mark.parametrize("message", WIRE, ids=lambda message: message.__name__)
def test_the_arguments_of_a_tool_are_the_fields_of_its_message(message: type[Command]) -> None:
    tool = TOOLS[message.__name__]
    validator = jsonschema.Draft202012Validator
    validator.check_schema(tool.schema)
    assert set(tool.schema["properties"]) == set(message.__struct_fields__)
    assert "type" not in tool.schema["properties"], "the name of the tool says it"
    assert tool.schema["additionalProperties"] is False
    assert tool.only_reads == message.query
    assert tool.description[0].isupper()
    assert "``" not in msgspec.json.encode(tool).decode()


@pytest.mark.parametrize("message", WIRE, ids=lambda message: message.__name__)
def test_what_a_schema_allows_is_read_and_the_example_names_no_id(message: type[Command]) -> None:
    schema = TOOLS[message.__name__].schema
    (shown,) = schema["examples"]
    assert "id" not in shown, "a model copies it, and all its calls would count once"
    for arguments in (shown, dict(EXAMPLES[message])):
        jsonschema.validate(arguments, schema)
        read = read_message({"type": message.__name__, **arguments}, lambda: "m-1")
        assert not isinstance(read, Refusal), read


def test_the_tools_fit_into_the_context_of_a_model() -> None:
    listed = [{"name": tool.name, "description": tool.description, "schema": tool.schema} for tool in TOOLS.values()]
    assert len(msgspec.json.encode(listed)) < CONTEXT_BYTES_MAX


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_the_tools_that_it_may_use_at_all(role: Any) -> None:
    caller = Caller(role, "ann" if role == "agent" else None)
    allowed = {
        message.__name__
        for message, who in MESSAGES.items()
        if role in who.roles or (role == "agent" and who.own is not None)
    }
    assert {tool.name for tool in tools_for(caller)} == allowed


def test_the_program_of_an_agent_reads_which_account_is_its_own() -> None:
    tools = {tool.name: tool for tool in tools_for(Caller("agent", "ann"))}
    assert tools["ReportUsage"].schema["properties"]["agent"]["description"] == "ann is yours, and those below it."
    assert "description" not in TOOLS["ReportUsage"].schema["properties"]["agent"], "and no other program reads it"


def test_the_schema_of_a_tool_is_found_by_its_name() -> None:
    assert all(schema_of(name) == TOOLS[name].schema for name in MESSAGE_BY_TOOL)
    assert schema_of("Nope") is None
