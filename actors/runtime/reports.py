"""Reports are made from views, which the actors do not know: the caller that opens a fleet brings the reporter."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from tallystick.actors.runtime.messages import MANAGER, REPORTER, Answered, Post, Question
from tallystick.actors.runtime.pending import refused
from tallystick.actors.runtime.specialist import Specialist
from tallystick.events.catalog import Event
from tallystick.events.log.store import Store
from tallystick.events.state.ledger import Ledger

MakeReporter = Callable[[Store], Specialist]
"""Makes the specialist that answers `GenerateReport` from the log in a store."""


class NoReporter:
    """Answers in a fleet that was opened without views."""

    name = REPORTER
    follows: frozenset[type[Event]] = frozenset()

    def __init__(self, store: Store) -> None:
        """Nothing is read."""

    def begin(self, ledger: Ledger) -> None:
        """Nothing is remembered."""

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Question():
                text = "this fleet was opened without views, of which reports are made: open it as tallystick.Fleet"
                return [Post(MANAGER, Answered(message, refused("no_reporter", text)))]
        raise TypeError(f"the reporter does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        return None
