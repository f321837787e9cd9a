"""Two fleets that are asked the same, of which one decides plain cases in one go and the other never does."""

import copy
import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from tallystick.events import catalog as e
from tallystick.events import decide as core
from tallystick.events import messages as c
from tallystick.events.decide.plain import PLAIN
from tallystick.events.log.codec import encode_answer
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, TESTER, dump
from tests.support.examples import examples
from tests.support.strategies import Step

PROFILE = settings(
    max_examples=examples(150),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


class Pair:
    """Two fleets that are asked the same: one decides plain cases in one go, the other never does."""

    def __init__(self) -> None:
        self.plain, self.general = Ledger(), Ledger()
        self.now = START
        self.quick = 0
        """How many messages were decided in one go."""
        self.events: list[e.Event] = []
        """What the last command caused."""
        self._count = 0

    def ask(self, command: c.Command, seconds: float = 0.0) -> Any:
        """One command to both; both must have caused and answered the same, to the byte. The answer."""
        self.now += dt.timedelta(seconds=seconds)
        self._count += 1
        id = command.id or f"id-{self._count}"
        assert self.plain.is_due(self.now) == (self.plain.due_at() <= self.now)
        with pytest.MonkeyPatch.context() as watched:
            watched.setattr(core, "PLAIN", {cls: self._counted(function) for cls, function in PLAIN.items()})
            one = core.decide(self.plain, copy.copy(command), self.now, id, TESTER)
            watched.setattr(core, "PLAIN", {})
            other = core.decide(self.general, copy.copy(command), self.now, id, TESTER)
        assert msgspec.json.encode(one.events) == msgspec.json.encode(other.events), command
        assert encode_answer(one.answer) == encode_answer(other.answer), command
        assert one.own == other.own
        self.events = one.events
        return one.answer

    def _counted(self, function: Any) -> Any:
        def counted(*message: Any) -> Any:
            decided = function(*message)
            self.quick += decided is not None
            return decided

        return counted

    def play(self, steps: Sequence[Step]) -> None:
        for command, seconds in steps:
            self.ask(command, seconds)
        assert dump(self.plain) == dump(self.general)
