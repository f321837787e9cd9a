"""The enforcer: that everyone learns of it. Early warnings to agents and operators, and alerts into the log of the day."""

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any

import structlog

from tallystick.actors.messages import ENFORCER, MANAGER, Post, Proposal, Recorded
from tallystick.actors.tracker import ExhaustionNear
from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tallystick.events.ledger import Ledger

log = structlog.wrap_logger(logging.getLogger("tallystick.alerts"))


class Enforcer:
    """Turns what the tracker sees coming into warnings, and shows operators what was raised."""

    name = ENFORCER
    follows: frozenset[type[e.Event]] = frozenset({e.AlertRaised})

    def begin(self, ledger: Ledger) -> None:
        """Nothing is remembered: who was warned is in the state of the law."""

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case ExhaustionNear():
                command = p.WarnAgent(
                    agent=message.agent,
                    exhausted_in_seconds=message.seconds,
                    method=message.method,
                    id=f"{c.HOUSE}warn-{message.position}",
                )
                return [Post(MANAGER, Proposal(command, ENFORCER))]
            case Recorded():
                for event in message.events:
                    if type(event) is e.AlertRaised:
                        log.warning(event.code, message=event.message, agent=event.agent, position=event.position)
                return []
        raise TypeError(f"the enforcer does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        return None
