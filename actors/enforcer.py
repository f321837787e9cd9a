"""The enforcer: that everyone learns of it. Early warnings, alerts into the log of the day, and that a new day begins."""

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any

import structlog

from tallystick.actors.runtime.messages import ENFORCER, MANAGER, Post, Proposal, Recorded, Tick
from tallystick.actors.tracker import ExhaustionNear
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger

log = structlog.wrap_logger(logging.getLogger("tallystick.alerts"))


class Enforcer:
    """Turns what the tracker sees coming into warnings, and shows operators what was raised."""

    name = ENFORCER
    follows: frozenset[type[e.Event]] = frozenset({e.AlertRaised, e.ConfigLoaded, e.DayBegan})

    def begin(self, ledger: Ledger) -> None:
        """Who was warned is in the state of the law: all that is remembered is when the day ends."""
        self._day_ends = ledger.day.ends_at if ledger.configured else None

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case ExhaustionNear():
                command = p.WarnAgent(
                    agent=message.agent,
                    exhausted_in_seconds=message.seconds,
                    method=message.method,
                    id=f"{c.INTERNAL_ID}warn-{message.position}",
                )
                return [Post(MANAGER, Proposal(command, ENFORCER))]
            case Recorded():
                for event in message.events:
                    match event:
                        case e.AlertRaised():
                            log.warning(event.code, message=event.message, agent=event.agent, position=event.position)
                        case e.ConfigLoaded():
                            self._day_ends = event.day_ends_at or self._day_ends
                        case e.DayBegan():
                            self._day_ends = event.ends_at
                return []
            case Tick():
                if self._day_ends is None or now < self._day_ends:
                    return []
                self._day_ends = None
                return [Post(MANAGER, Proposal(p.BeginDay(id=f"{c.INTERNAL_ID}day-{now.isoformat()}"), ENFORCER))]
        raise TypeError(f"the enforcer does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        return self._day_ends
