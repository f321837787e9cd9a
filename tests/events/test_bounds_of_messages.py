"""Every number of every message has a lowest and a highest value, which the reference and the error name."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from msgspec import inspect

from tallystick.config.loader import from_mapping
from tallystick.events.messages import WIRE
from tests.support.core import START
from tests.support.driving import simulated
from tests.support.messages import Message, fields, good
from tests.support.pages import PROJECT

NUMBERS = (inspect.IntType, inspect.FloatType, inspect.DecimalType)
ROW = re.compile(r"^\| `(\w+)` \| ([0-9.]+) \| ([0-9.]+) \| (.*) ?\|$", re.MULTILINE)
ALONE = {
    "cached_tokens": "input_tokens", "cache_write_tokens": "input_tokens", "audio_input_tokens": "input_tokens",
    "reasoning_tokens": "output_tokens", "audio_output_tokens": "output_tokens",
}  # fmt: skip
"""Parts, each with the whole that it is a part of: the whole is as large."""


class Bound(NamedTuple):
    """The lowest and the highest value as the reference writes them, and what lies just beyond each."""

    lowest: str
    highest: str
    below: str
    above: str


def _bounds() -> dict[str, Bound]:
    text = (PROJECT / "docs/reference/messages.md").read_text(encoding="utf-8").partition("\n## Bounds\n")[2]
    found = {}
    for name, lowest, highest, what in ROW.findall(text):
        step = Decimal(1) if "whole" in what else Decimal("0.001")
        below = Decimal(0) if lowest != "0" else -step
        above = Decimal(highest) + step
        found[name] = Bound(lowest, highest, f"{below:f}", f"{above:f}")
    return found


BOUNDS = _bounds()


class Place(NamedTuple):
    """A number of a message: the keys that lead to it, and its name in the reference."""

    type: str
    keys: tuple[str, ...]
    name: str
    is_whole: bool


def _numbers(kind: inspect.Type, keys: tuple[str, ...], name: str) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    match kind:
        case inspect.UnionType():
            found = [one for part in kind.types for one in _numbers(part, keys, name)]
            yield from (
                found[:1] if all(isinstance(part, (*NUMBERS, inspect.NoneType)) for part in kind.types) else found
            )
        case inspect.StructType():
            for field in kind.fields:
                yield from _numbers(field.type, (*keys, field.encode_name), field.encode_name)
        case inspect.DictType():
            yield from _numbers(kind.value_type, (*keys, "new"), name)
        case inspect.ListType():
            assert not list(_numbers(kind.item_type, keys, name)), "a list of numbers needs a case here"
        case inspect.IntType() | inspect.FloatType() | inspect.DecimalType():
            yield keys, name, not isinstance(kind, inspect.DecimalType)


PLACES = [
    Place(command.__name__, keys, leaf, is_whole)
    for command in WIRE
    for name, field in fields(command).items()
    for keys, leaf, is_whole in _numbers(field.type, (name,), name)
]


def message(place: Place, written: str) -> Message:
    """A message that is well formed but for this number."""
    command = next(one for one in WIRE if one.__name__ == place.type)
    made: Any = good(command)
    if place.type == "Heartbeat":
        del made["agent"]
        made["hold"] = "h"
    made |= {"agent": "ann"} if "agent" in made and place.type != "AllocateBudget" else {}
    if place.type == "AllocateBudget":
        made.setdefault("budget", {"tokens": 1, "time_seconds": 1, "cost_usd": 1})
    made |= {"hold": "h"} if place.type == "Settle" else {}
    made |= (
        {"usage": {"tokens": 1}}
        if (place.type, place.name) in (("ReportUsage", "requests"), ("CorrectUsage", "position"))
        else {}
    )
    if (place.type, place.keys[0]) == ("ApproveLimit", "max"):
        made = {"type": "ApproveLimit", "limit": "cap"}
    made |= {"rate_limited": True} if place.name == "retry_after_seconds" else {}
    if place.name in ALONE:
        made[ALONE[place.name]] = BOUNDS[place.name].highest
        made[ALONE[place.name]] = int(made[ALONE[place.name]])
    inside = made
    for key in place.keys[:-1]:
        # The number stands alone: another one beside it may be refused itself.
        inside[key] = {}
        inside = inside[key]
    inside[place.keys[-1]] = int(written) if place.is_whole else written
    return made


GIVEN: list[Message] = [
    {"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 100, "time_seconds": 100, "cost_usd": 5}},
    {"type": "Reserve", "agent": "ann", "estimate": {"tokens": 1}, "id": "h"},
]


def errors(messages: list[Message]) -> list[Any]:
    """What a fleet answers, one after the other: the error of each, or nothing."""
    asked = [*GIVEN, *({**one, "id": f"m-{number}"} for number, one in enumerate(messages))]
    outcome = simulated([(START, one) for one in asked], from_mapping({"total_budget": {"tokens": 1_000}}))
    return [reply.get("error", {}) for reply in outcome.replies[len(GIVEN) :]]


def test_every_number_is_in_the_reference_and_no_other() -> None:
    assert {place.name for place in PLACES} == set(BOUNDS)
    assert len(PLACES) > 60


@pytest.mark.parametrize("name", BOUNDS)
def test_the_lowest_and_the_highest_are_accepted_and_what_lies_beyond_is_refused_by_the_bounds(name: str) -> None:
    bound, places = BOUNDS[name], [place for place in PLACES if place.name == name]
    asked = [(place, written) for place in places for written in bound]
    for (place, written), error in zip(asked, errors([message(*one) for one in asked]), strict=True):
        malformed = error.get("code") in ("invalid_amount", "invalid_message")
        if written in (bound.lowest, bound.highest):
            assert not malformed or _is_about_something_else(error["detail"]), (place, written, error)
            continue
        assert malformed, (place, written, error)
        assert ".".join(place.keys) in error["detail"], (place, written, error)
        named = bound.highest if written == bound.above else bound.lowest
        assert re.search(rf"(?<![\d.]){re.escape(named)}(?!\d)", error["detail"]), (place, written, error)


def _is_about_something_else(sentence: str) -> bool:
    """It may be refused for what it asks for, and not for its size: zeros ask for nothing."""
    others = (
        "nothing but zeros",
        "only zeros",
        "what the allocation limits",
        "at most billed_usd",
        "`fleet` - at `$.child`",
    )
    return any(words in sentence for words in others)
