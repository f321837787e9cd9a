"""Settings that are deep, wide or long are refused by a sentence, at every door, before they cost much."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.building import ENTRIES_MAX, ITEMS_MAX
from tallystick.config.circles import circle_in
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping, parse, restore, to_mapping
from tallystick.config.source import TEXT_MAX
from tests.support.core import START
from tests.support.driving import simulated

SECONDS = 20.0
"""Each takes a fraction of a second. The machine that runs the tests may be busy; what is meant would take minutes."""
TOO_LONG = f"allowed are at most {TEXT_MAX}"
TEXTS = {
    "a list in a list": ("holds: " + "[" * 100_000, "nested more than 32 levels deep"),
    "a map in a map": ("{a: " * 30_000 + "1" + "}" * 30_000, "nested more than 32 levels deep"),
    "a list in a list, by dashes": ("- " * 50_000, "nested more than 32 levels deep"),
    "keys that are keys": ("? " * 20_000, "nested more than 32 levels deep"),
    "aliases of aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases are not supported"),
    "a merged map": ("a: &a {x: 1}\nb: {<<: *a}\n", "aliases are not supported"),
    "a million lines": ("# nothing\n" * 1_000_000, TOO_LONG),
    "a condition of 100,000 lines": (
        "circuit_breaker:\n  trip_conditions:\n  - |\n" + "    tokens_daily > 1 or\n" * 100_000,
        TOO_LONG,
    ),
    "a condition of 1,000 lines": (
        "circuit_breaker:\n  trip_conditions:\n  - |\n" + "    tokens_daily > 1 or\n" * 1_000,
        "allowed is a text of 1 to 4096 characters",
    ),
    "a condition in 1,000 conditions": (
        "circuit_breaker: {trip_conditions: ['" + "not " * 1_000 + "tokens_daily > 1']}",
        "allowed is at most 32",
    ),
    "a condition in 10,000 brackets": (
        "circuit_breaker: {trip_conditions: ['" + "(" * 10_000 + "tokens_daily > 1" + ")" * 10_000 + "']}",
        "allowed is a text of 1 to 4096 characters",
    ),
    "many conditions": (
        "circuit_breaker:\n  trip_conditions:\n" + "  - tokens_daily > 1\n" * (ITEMS_MAX + 1),
        f"allowed are at most {ITEMS_MAX}",
    ),
    "many rules": (
        "rules:\n" + "- {condition: task.priority == low, model: opus}\n" * (ITEMS_MAX + 1),
        f"allowed are at most {ITEMS_MAX}",
    ),
    "a number of 200,000 digits": ("leases: {max_attempts: " + "9" * 200_000 + "}", "allowed is a whole number"),
    "a word of 200,000 letters": ("total_budget: {period: " + "x" * 200_000 + "}", "allowed is one of none, day"),
    "a key of 200,000 letters": ("? " + "x" * 200_000 + "\n: 1", "unknown key"),
    "a zone of 200,000 letters": ("timezone: " + "x" * 200_000, "allowed is a name of 1 to 128 characters"),
}


def nested(depth: int, inside: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = inside(value)
    return value


INSIDE: dict[str, Callable[[Any], Any]] = {"lists": lambda value: [value], "maps": lambda value: {"a": value}}
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "a section": lambda deep: {"holds": deep},
    "a number": lambda deep: {"holds": {"ttl_seconds": deep}},
    "a list": lambda deep: {"circuit_breaker": {"trip_conditions": deep}},
    "an item": lambda deep: {"circuit_breaker": {"trip_conditions": [deep]}},
    "the rules": lambda deep: {"rules": deep},
    "an entry": lambda deep: {"products": {"shop": deep}},
    "a choice": lambda deep: {"total_budget": {"period": deep}},
    "nowhere": lambda deep: {"nowhere": deep},
}


@pytest.fixture(autouse=True)
def _quick() -> Any:
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("case", TEXTS)
def test_a_text_that_is_deep_wide_or_long_is_refused_by_one_line(case: str) -> None:
    text, words = TEXTS[case]
    with pytest.raises(ConfigError) as caught:
        parse(text, "limits.yml")
    line = str(caught.value)
    assert line.startswith("limits.yml:")
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize("depth", [40, 1_000, 50_000])
@pytest.mark.parametrize("inside", INSIDE)
def test_a_mapping_however_deep_is_refused_by_its_key(depth: int, inside: str) -> None:
    for place in PLACES.values():
        with pytest.raises(ConfigError, match=r"found|unknown key"):
            from_mapping(place(nested(depth, INSIDE[inside])))


def test_a_mapping_that_holds_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["holds"] = circle
    with pytest.raises(ConfigError, match="unknown key"):
        from_mapping(circle)


@pytest.mark.parametrize(
    "case", ["a list in a list", "a million lines", "a condition in 1,000 conditions", "many rules"]
)
def test_every_command_that_reads_a_file_says_so_in_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = TEXTS[case]
    Path("deep.yml").write_text(text, encoding="utf-8")
    with Fleet.open("sqlite:///fleet.db", {"total_budget": {"tokens": 1_000}}):
        pass
    for command in (
        ("config", "check", "deep.yml"),
        ("config", "show", "deep.yml"),
        ("whatif", "--config", "deep.yml", "--store", "sqlite:///fleet.db"),
        ("whatif", "--prices", "deep.yml", "--store", "sqlite:///fleet.db"),
        ("send", '{"type": "GetGlobalStatus"}', "--store", "sqlite:///other.db", "--config", "deep.yml"),
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code != 0, command
        assert isinstance(result.exception, SystemExit), (command, result.exception)
        assert "deep.yml" in result.output
        assert command[1] == "--prices" or words in result.output
    with pytest.raises(ConfigError, match=r"deep\.yml"):
        Fleet.open("memory:", "deep.yml")


@pytest.mark.parametrize("depth", [40, 1_000, 50_000])
def test_a_message_with_a_deep_configuration_is_answered(depth: int) -> None:
    messages: list[Any] = []
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deep = opening * depth + "1" + closing * depth
        messages += [
            f'{{"type": "LoadConfig", "config": {{"holds": {deep}}}}}',
            f'{{"type": "LoadConfig", "config": {{"circuit_breaker": {{"trip_conditions": [{deep}]}}}}}}',
            f'{{"type": "AllocateBudget", "agent": "a", "budget": {deep}}}',
        ]
    messages += [{"type": "LoadConfig", "config": place(nested(depth, INSIDE["maps"]))} for place in PLACES.values()]
    replies = simulated([(START, message) for message in messages], from_mapping({})).replies
    assert [reply["error"]["code"] for reply in replies] == ["invalid_message"] * len(messages)
    assert all(json.dumps(reply).isprintable() for reply in replies)


def test_as_many_entries_as_are_allowed_are_read_and_one_more_is_not() -> None:
    def many(count: int) -> dict[str, Any]:
        return {"products": {f"p{number}": {"weight": 1} for number in range(count)}}

    assert len(from_mapping(many(ENTRIES_MAX)).products) == ENTRIES_MAX
    with pytest.raises(
        ConfigError, match=rf"products: found {ENTRIES_MAX + 1} entries, allowed are at most {ENTRIES_MAX}"
    ):
        from_mapping(many(ENTRIES_MAX + 1))


def test_what_a_log_holds_is_read_whatever_its_length() -> None:
    written = to_mapping(from_mapping({}))
    written["circuit_breaker"]["trip_conditions"] = ["tokens_daily > 1"] * (ITEMS_MAX + 1)
    assert len(restore(written).circuit_breaker.trip_conditions) == ITEMS_MAX + 1


def test_a_chain_of_models_is_looked_through_once() -> None:
    leads: dict[str, str | None] = {f"m{number}": f"m{number + 1}" for number in range(100_000)}
    assert circle_in({**leads, "m100000": None}) == []
    assert circle_in({"z": "b", "a": "b", "b": "c", "c": "a"}) == ["a", "b", "c"]
    assert len(circle_in({**leads, "m100000": "m50000"})) == 50_001
