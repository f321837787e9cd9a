"""The thread that keeps a child together with its parent goes on, whatever a round of it comes to."""

import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tallystick.actors.errors import Unanswered
from tallystick.delegation import link
from tallystick.delegation.parents import Away
from tests.support.core import START
from tests.support.programs import SECONDS


class NoParent:
    """One that is away."""

    def ask(self, _: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        raise Away("it is away")

    def close(self) -> None:
        """Nothing is open."""


class Rounds:
    """An exchange whose second round fails, as where the fleet does not answer in time."""

    answered = False

    def __init__(self) -> None:
        self.count, self.went_on = 0, threading.Event()

    def wish(self, *_: object) -> None:
        self.count += 1
        if self.count == 2:
            raise Unanswered("no answer within 30 s")
        if self.count > 2:
            self.went_on.set()

    def messages(self, _: object) -> list[dict[str, Any]]:
        return []


def test_a_fleet_that_does_not_answer_in_time_is_kept_together_with_its_parent_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(link, "child_state_of", lambda _: None)
    rounds: Any = Rounds()
    ledger: Any = SimpleNamespace(position=1)
    halted: list[str] = []
    made = link.Link(rounds, NoParent(), ledger, lambda _: {}, lambda: START, halted.append)
    made.begin()
    assert rounds.went_on.wait(SECONDS)
    made.stop()
    assert halted == []
