"""Chance at the command queue: never an exception, never a halted fleet, and a refusal changes nothing."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log import snapshot
from tallystick.events.messages import WIRE, Command
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START
from tests.support.examples import examples
from tests.support.messages import as_command, fields, good
from tests.support.running import QUIET

FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=False, max_examples=examples(400))
MALFORMED = ("invalid_message", "invalid_amount")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["a-agent", "a-hold", "pool", "fleet", "normal", "1e30", "NaN", "-1", "0.000000001", "x" * 200])
    | st.binary(max_size=5)
    | st.decimals(places=3)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(sorted({name for command in WIRE for name in fields(command)} | {"type", "task", "lease"}))
objects = st.dictionaries(names | st.text(max_size=8), values, max_size=5)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A good message in which something was changed, removed, added or put one level deeper."""
    command: type[Command] = draw(st.sampled_from(WIRE))
    message = good(command, optional=draw(st.booleans()))
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted({*message, "type"})) | names)
        match draw(st.integers(0, 3)):
            case 0:
                message.pop(key, None)
            case 1:
                message[key] = draw(values)
            case 2:
                message[key] = {draw(names | st.sampled_from(["tokens", "cost_usd"])): draw(values)}
            case _:
                message[key] = [message.get(key), draw(values)]
    return message


@st.composite
def scratched(draw: st.DrawFn) -> bytes:
    """The JSON of a good message with some bytes changed, cut out or put in."""
    text = bytearray(msgspec.json.encode(good(draw(st.sampled_from(WIRE)), optional=True)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(text)


@pytest.fixture(scope="module")
def fleet() -> Any:
    with Fleet.open("memory:", from_mapping(dict(QUIET)), clock=ManualClock(START)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a-agent", "budget": {"tokens": 100, "cost_usd": "5"}})
        yield fleet


def asked(fleet: Fleet, message: Any) -> Any:
    """The reply; who waits for a task to change, or for room, waits to the end."""
    pending = fleet.send(message)
    fleet.quiesce()
    if pending._answers is None:
        fleet.advance(fleet._clock.now() + dt.timedelta(seconds=pending.waits_seconds))
    return pending.result(10)


def survives(fleet: Fleet, message: Any) -> None:
    ledger = fleet._manager.ledger
    # What the specialists make of earlier messages is not of this one.
    fleet.quiesce()
    before = snapshot.dump(ledger)
    reply = asked(fleet, message)
    assert fleet.halted is None
    error = reply.get("error")
    assert (error is None) == ("ok" in reply)
    if error is not None:
        assert error["code"] not in ("halted", "busy")
        assert error["detail"]
        if error["code"] in MALFORMED:
            assert snapshot.dump(ledger) == before
    check_conserved(ledger)


@FUZZ
@given(message=objects | values)
def test_any_values_are_answered(fleet: Fleet, message: Any) -> None:
    if not isinstance(message, list | tuple):
        survives(fleet, message)


@settings(FUZZ, max_examples=examples(1_000))
@given(message=mutated())
def test_messages_with_mistakes_are_answered(fleet: Fleet, message: dict[str, Any]) -> None:
    survives(fleet, message)
    if isinstance(message.get("type"), str) and message["type"] in {command.__name__ for command in WIRE}:
        known = {"type", *fields(next(cls for cls in WIRE if cls.__name__ == message["type"]))}
        built = as_command({key: value for key, value in message.items() if key in known})
        if built is not None:
            survives(fleet, built)


@FUZZ
@given(message=scratched() | st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_answered(fleet: Fleet, message: bytes | str) -> None:
    survives(fleet, message)


@settings(FUZZ, max_examples=examples(100))
@given(messages=st.lists(mutated() | scratched() | objects, max_size=6))
def test_lists_of_anything_are_answered_one_by_one(fleet: Fleet, messages: list[Any]) -> None:
    replies = asked(fleet, messages)
    assert len(replies) == len(messages)
    assert fleet.halted is None
    check_conserved(fleet._manager.ledger)
