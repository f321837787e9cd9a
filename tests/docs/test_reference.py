"""The reference lists each message, event, code, key, option, table and name of the program, and nothing else."""

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import yaml
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.cluster.fleets import Database
from tallystick.config.conditions import Condition
from tallystick.config.errors import ConditionError
from tallystick.config.grammar import GRAMMAR
from tallystick.config.loader import parse
from tallystick.config.names import FLEET_NAMES, TASK_NAMES
from tallystick.config.settings import Config
from tallystick.events.catalog import CATALOG, Event
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_servers import Servers
from tallystick.events.log.store import open_store
from tallystick.events.messages import WIRE, Command
from tallystick.events.messages.proposals import INTERNAL
from tallystick.mcp.resources import QUESTIONS, SCHEME, VIEWS
from tallystick.mcp.tools import tools_for
from tallystick.projections.store.runner import catch_up, open_view_store
from tests.support.extremes import numbers_of
from tests.support.pages import PROJECT, blocks
from tests.support.postgres import shared
from tests.support.postgres_logs import ask

REFERENCE = PROJECT / "docs" / "reference"
HEAD = tuple(Event.__struct_fields__)


def text_of(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def sections(text: str, level: int) -> dict[str, str]:
    """The text under each heading of a level, up to the next heading of that level or above."""
    found = re.split(rf"^(#{{1,{level}}}) (.+)$", text, flags=re.MULTILINE)
    return {
        title: body
        for hashes, title, body in zip(found[1::3], found[2::3], found[3::3], strict=True)
        if len(hashes) == level
    }


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of a table, without its head."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", WIRE, ids=lambda command: command.__name__)
def test_a_message_is_listed_with_its_fields(command: type[Command]) -> None:
    listed = sections(text_of("messages.md"), 3)[command.__name__].split("\n## ")[0]
    fields = [name for row in rows(listed) for name in names(row[0])]
    required = {name.removesuffix("?"): not name.endswith("?") for name in fields}
    own = [name for name in command.__struct_fields__ if name != "id"]
    assert sorted(required) == sorted(own)
    for name in own:
        assert required[name] == (name in _required(command)), f"{command.__name__}.{name}"


def _required(command: type[Command]) -> set[str]:
    # Fields without a default are those that a message cannot be made without.
    try:
        command()
    except TypeError as error:
        missing = re.findall(r"'(\w+)'", str(error))
        values: dict[str, Any] = {}
        while missing:
            values |= dict.fromkeys(missing)
            try:
                command(**values)
                break
            except TypeError as again:
                missing = re.findall(r"'(\w+)'", str(again))
        return set(values)
    return set()


def test_no_other_message_is_listed() -> None:
    text = text_of("messages.md")
    assert set(sections(text, 3)) == {command.__name__ for command in WIRE}
    ours = sections(text, 2)["Internal messages"]
    assert set(names(ours)) == {command.__name__ for command in INTERNAL}


def test_every_refusal_of_a_message_is_a_listed_code() -> None:
    said = " ".join(re.findall(r"[Rr]efusals: (.*?)(?:\n\n|\Z)", text_of("messages.md"), re.DOTALL))
    assert set(names(said)) <= listed_codes() | {"AllocateEqual", "AllocateBudget", "Throttle"}


def test_every_reason_of_a_task_is_listed_and_no_other() -> None:
    reasons = sections(text_of("messages.md"), 2)["Reasons of a task"]
    listed = {name for row in rows(reasons) for name in names(row[0])}
    made, texts = set(), set()
    for path in (PROJECT / "events").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason":
                made |= {first.value for first in node.args[:1] if isinstance(first, ast.Constant)}
    assert made <= listed
    assert listed <= texts


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", CATALOG, ids=lambda event: event.__name__)
def test_an_event_is_listed_with_its_kind_and_fields(event: type[Event]) -> None:
    listed = sections(text_of("events.md"), 3)[str(event.__struct_config__.tag)].split("\n## ")[0]
    assert f"`{event.__name__}`, a {event.kind}." in listed
    assert [name for row in rows(listed) for name in names(row[0])] == [
        name for name in event.__struct_fields__ if name not in HEAD
    ]


def test_no_other_event_is_listed() -> None:
    assert set(sections(text_of("events.md"), 3)) == {str(event.__struct_config__.tag) for event in CATALOG}


def test_every_alert_is_listed() -> None:
    listed = {name for row in rows(sections(text_of("events.md"), 2)["Codes of alerts"]) for name in names(row[0])}
    raised = set()
    for path in (PROJECT / "events").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "alert":
                raised |= {code.value for code in node.args[1:2] if isinstance(code, ast.Constant)}
    assert raised
    assert raised <= listed


# --- codes ------------------------------------------------------------------------------------------------------------


def listed_codes() -> set[str]:
    listed = sections(text_of("errors.md"), 2)
    return {names(row[0])[0] for part in ("Codes", "Codes of the control socket") for row in rows(listed[part])}


def codes_in_the_source() -> set[str]:
    """The first argument of every refusal in the code."""
    found = set()
    for room in ("events", "actors", "projections", "tallystick/reports"):
        for path in (PROJECT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                    first = node.args[0]
                    if node.func.id in ("Refusal", "refused") and isinstance(first, ast.Constant):
                        found.add(str(first.value))
    return found


def test_every_code_is_listed_with_what_to_do_and_no_other() -> None:
    assert listed_codes() == codes_in_the_source()
    assert all(len(row) == 3 and all(row) for row in rows(sections(text_of("errors.md"), 2)["Codes"]))


# --- configuration ----------------------------------------------------------------------------------------------------

WHOLE = {
    "max_concurrent.per_type",
    "token_budgets",
    "models",
    "telemetry.labels",
    "products",
    "manual_override.priority_override",
    "notifications",
    "webhooks",
}
"""Maps whose keys are chosen by the user."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and path not in WHOLE:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def test_every_key_is_listed_with_its_default_and_no_other() -> None:
    packaged = dict(leaves(yaml.safe_load((PROJECT / "config" / "resource-limits.yml").read_text(encoding="utf-8"))))
    packaged["total_budget.time_seconds"] = None
    listed = {
        names(row[0])[0]: yaml.safe_load(names(row[1])[0])
        for row in rows(text_of("configuration.md").split("\n## Bounds\n")[0])
    }
    assert listed == packaged
    assert {key.split(".")[0] for key in listed} == set(Config.__struct_fields__)


def test_the_bounds_of_every_number_are_listed() -> None:
    listed = {names(row[0])[0]: row[1] for row in rows(sections(text_of("configuration.md"), 2)["Bounds"])}
    assert listed == {key: meta.description for key, meta in numbers_of(Config)}


# --- conditions -------------------------------------------------------------------------------------------------------


def test_the_grammar_is_the_one_that_is_used() -> None:
    (shown,) = [block.text for block in blocks(REFERENCE / "conditions.md") if block.language == "text"]
    assert shown.strip() == GRAMMAR.strip()


def test_every_name_of_a_condition_is_listed_and_no_other() -> None:
    listed = [names(row[0])[0] for row in rows(sections(text_of("conditions.md"), 2)["Names"])]
    assert listed == [*FLEET_NAMES, *TASK_NAMES]


def test_the_conditions_that_are_shown_can_be_used() -> None:
    (shown,) = [block.text for block in blocks(REFERENCE / "conditions.md") if block.language == "yaml"]
    assert len(parse(shown, "conditions.md").trip_conditions) == 2


def test_the_conditions_that_are_said_to_be_refused_are() -> None:
    table = sections(text_of("conditions.md"), 2)["What is refused"]
    refused = [text for line in table.splitlines() if line.startswith("| ") for text in names(line.split("|")[2])]
    assert len(refused) > 8
    for text in refused:
        with pytest.raises(ConditionError):
            Condition.parse(text, {**FLEET_NAMES, **TASK_NAMES}, {})


# --- the glossary -----------------------------------------------------------------------------------------------------


def test_the_glossary_has_every_term_once() -> None:
    lines = text_of("glossary.md").splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| **")]
    terms = [term for cell in cells for term in re.findall(r"\*\*([^*]+)\*\*", cell)]
    assert len(terms) > 100
    assert [term for term in terms if terms.count(term) > 1] == ["score", "score"]  # of a task, and of a forecast


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from commands(inner, f"{path} {name}")


COMMANDS = dict(commands(main, "tallystick"))


def command_sections() -> dict[str, str]:
    text = text_of("command-line.md")
    return {title: body for level in (2, 3) for title, body in sections(text, level).items()}


def test_every_command_is_listed_and_no_other() -> None:
    assert set(command_sections()) == set(COMMANDS)


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_a_command_is_listed_with_its_options_and_arguments(path: str) -> None:
    listed, command = command_sections()[path].split("\n### ")[0], COMMANDS[path]
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert sorted(names(row[0])[0].split()[0] for row in rows(listed)) == sorted(option.opts[0] for option in options)
    for argument in command.params:
        if isinstance(argument, click.Argument):
            shown = argument.metavar or (argument.name or "").upper()
            assert shown in listed or path == "tallystick audit explain"


# --- MCP --------------------------------------------------------------------------------------------------------------


def test_every_tool_and_resource_is_listed_and_no_other() -> None:
    listed = sections(text_of("mcp.md"), 2)
    tools = {names(row[0])[0]: row[1] == "yes" for row in rows(listed["Tools"])}
    assert tools == {tool.name: tool.only_reads for tool in tools_for(None)}
    resources = [(names(row[0])[0], row[1]) for row in rows(listed["Resources"])]
    assert resources == [
        *((f"{SCHEME}{name}", view.text) for name, view in VIEWS.items()),
        *((question.uri, question.text) for question in QUESTIONS),
    ]


def test_the_versions_of_the_protocol_that_are_said_to_be_spoken_are() -> None:
    first, last = re.findall(r"\d{4}-\d\d-\d\d", text_of("mcp.md").partition("## ")[0])
    assert (first, last) == (min(HANDSHAKE_PROTOCOL_VERSIONS), max(MODERN_PROTOCOL_VERSIONS))


# --- the store --------------------------------------------------------------------------------------------------------


def test_the_tables_of_the_store_are_those_that_are_described(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    with Fleet.open(f"sqlite:///{path}"):
        pass
    text = text_of("store.md")
    described = {
        table: [names(row[0])[0] for row in rows(body.split("\n## ")[0])] for table, body in sections(text, 3).items()
    }
    assert {table: columns for table, columns in tables(path).items() if not table.startswith("sqlite_")} == described
    store = open_store(f"sqlite:///{path}")
    views = open_view_store(store.url)
    catch_up(store, views)
    views.close()
    store.close()
    views = re.split(r"^## ", text.partition("## Tables of FILE.views")[2], flags=re.MULTILINE)[0]
    described = {table: [names(row[0])[0] for row in rows(body)] for table, body in sections(views, 4).items()}
    assert tables(tmp_path / "fleet.db.views") == described


def test_the_tables_of_postgresql_are_those_that_are_described() -> None:
    url = shared().url(fleet="described")
    with Fleet.open(url, notify=False):
        pass
    servers = Servers(url)
    servers.say("http://server", None, 0)
    servers.close()
    Database(url.partition("&fleet")[0]).say_closed("described", 1, None)
    body = re.split(r"^## ", text_of("store.md").partition("## Tables in PostgreSQL")[2], flags=re.MULTILINE)[0]
    query = "SELECT column_name::text FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position"
    described = {table: [names(row[0])[0] for row in rows(text)] for table, text in sections(body, 4).items()}
    described["tallystick_snapshots"] = described["tallystick_events"]
    assert {table: [name for (name,) in ask(url, query, table)] for table in described} == described


def test_the_tables_of_views_in_postgresql_are_those_that_are_described() -> None:
    views = open_view_store(shared().url(fleet="described"))
    views.close()
    text = text_of("store.md").partition("## Views in PostgreSQL")[2].partition("\n## ")[0]
    described = {table: [names(row[0])[0] for row in rows(body)] for table, body in sections(text, 4).items()}
    with psycopg.connect(place_of(shared().url()).database) as connection:
        found = connection.execute(
            "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns"
            " WHERE table_name ~ '^tallystick_(view|shown)' AND table_schema = 'public' GROUP BY 1"
        )
        assert dict(found.fetchall()) == described


def tables(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    columns = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for (name,) in found}
    connection.close()
    return columns
