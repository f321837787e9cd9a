"""A mapping becomes the class that its type names: the same command, or the same words about what is wrong, as from the
union of all classes.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.amounts import Budget
from tallystick.events.log import codec
from tallystick.events.log.codec import read_message
from tallystick.events.messages import WIRE, Command, ReportUsage
from tallystick.events.messages.replies import Refusal
from tests.support.messages import bad, fields, good

COMMANDS = pytest.mark.parametrize("command", WIRE, ids=lambda command: command.__name__)


def read(message: Any) -> tuple[Command, bytes] | Refusal:
    return read_message(message, lambda: "new")


def is_read_as_by_the_union(message: Any) -> None:
    by_class = read(message)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(codec, "_BY_TYPE", {})
        by_union = read(message)
    # By what they show: a number that is none equals nothing.
    assert repr(by_class) == repr(by_union), f"{message!r:.300}"


@COMMANDS
def test_every_good_message_is_read_as_by_the_union(command: type[Command]) -> None:
    for optional in (False, True):
        is_read_as_by_the_union(good(command, optional))


@COMMANDS
def test_every_mistake_is_named_in_the_words_of_the_union(command: type[Command]) -> None:
    for case in bad(command):
        is_read_as_by_the_union(case.message)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["tokens", "a", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def mappings(draw: st.DrawFn) -> dict[Any, Any]:
    """A message with some fields good, some not, in any order; its type last, first, another's, or none."""
    command = draw(st.sampled_from(WIRE))
    message: dict[Any, Any] = good(command, draw(st.booleans()))
    names = [*fields(command), *fields(draw(st.sampled_from(WIRE))), "type", "Type", 5]
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        message[name] = draw(VALUES)
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        message.pop(name, None)
    return {name: message[name] for name in draw(st.permutations(list(message)))}


@given(mappings())
def test_any_mapping_is_read_as_by_the_union(message: dict[Any, Any]) -> None:
    is_read_as_by_the_union(message)


@pytest.mark.parametrize("named", ["Nothing", "ApplyMoves", "", None, 5, "reportusage"])
def test_a_type_that_is_none_is_refused_with_all_that_there_are(named: Any) -> None:
    refusal = read({"type": named, "agent": "a"})
    assert isinstance(refusal, Refusal)
    assert "allowed are AllocateBudget, AllocateEqual" in refusal.detail


def test_floats_in_a_command_become_the_decimals_that_they_show() -> None:
    usage = Budget(tokens=1, cost_usd=0.1)  # type: ignore[arg-type]
    said = read(ReportUsage(id="r", agent="a", usage=usage))
    assert not isinstance(said, Refusal)
    assert said[1] == b'{"type":"ReportUsage","agent":"a","usage":{"tokens":1,"cost_usd":"0.1"},"id":"r"}'
