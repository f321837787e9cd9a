"""The enforcer: that everyone learns of it. Warns agents, shows alerts in the log of the day, and has them delivered.

It plans what is sent where (`policies/delivery.py`) and reports what was accepted. The sending itself takes time and
may fail: `runtime/sender.py` does it, on threads of its own.
"""

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any

import structlog

from tallystick.actors.policies.delivery import ATTEMPTS_MAX, Deliveries, DeliveryQueue, Sent
from tallystick.actors.runtime.messages import (
    ENFORCER,
    MANAGER,
    SENDER,
    ExhaustionNear,
    Post,
    Proposal,
    Recorded,
    Tick,
)
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger

COURIER = "courier"
"""The name under which deliveries stand in the log."""

log = structlog.wrap_logger(logging.getLogger("tallystick.alerts"))


class Enforcer:
    """Turns expected exhaustion into warnings, shows operators the alerts, and, if it ``delivers``, has them sent."""

    name = ENFORCER
    follows: frozenset[type[e.Event]] = frozenset({e.AlertRaised, e.AlertDeliveryFailed, e.ConfigLoaded})

    def __init__(self, delivers: bool = False) -> None:
        self._delivers = delivers
        self._deliveries: Deliveries | None = None

    def begin(self, ledger: Ledger) -> None:
        """Which agent was warned, and which alert was delivered, is in the core's state."""
        if self._delivers:
            self._deliveries = Deliveries(ledger)

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        posts: list[Post] = []
        match message:
            case ExhaustionNear():
                command = p.WarnAgent(
                    agent=message.agent,
                    exhausted_in_seconds=message.seconds,
                    method=message.method,
                    opened_at=message.opened_at,
                    id=c.internal_id(f"warn-{message.position}"),
                )
                return [Post(MANAGER, Proposal(command, ENFORCER))]
            case Recorded():
                for event in message.events:
                    self._follow(event)
            case Sent():
                posts = self._record(message, now)
            case Tick():
                pass
            case _:
                raise TypeError(f"the enforcer does not know {type(message).__name__}")
        sends = () if self._deliveries is None else self._deliveries.to_send(now)
        return [*posts, *(Post(SENDER, send) for send in sends)]

    def due_at(self) -> dt.datetime | None:
        return None if self._deliveries is None else self._deliveries.due_at()

    def _follow(self, event: e.Event) -> None:
        if isinstance(event, e.AlertRaised):
            log.warning(event.code, message=event.message, agent=event.agent, position=event.position)
        if self._deliveries is not None:
            self._deliveries.follow(event)

    def _record(self, sent: Sent, now: dt.datetime) -> list[Post]:
        """Propose to record what came of an alert that was sent."""
        assert self._deliveries is not None, "alerts are sent only where they are delivered"
        queue = self._deliveries.back(sent)
        alert, (to, address) = sent.notice.alert, sent.owed
        place = f"{alert}-{to}-{address}"
        command: c.Command
        if sent.problem is None:
            if queue is not None:
                queue.accepted(alert)
            command = p.RecordDelivery(alert=alert, to=to, address=address, id=c.internal_id(f"delivered-{place}"))
        elif queue is None or alert not in queue.attempts or _tries_again(queue, sent, now):
            return []
        else:
            command = p.GiveUpDelivery(
                alert=alert, to=to, address=address, attempts=ATTEMPTS_MAX, id=c.internal_id(f"given-up-{place}")
            )
        return [Post(MANAGER, Proposal(command, COURIER))]


def _tries_again(queue: DeliveryQueue, sent: Sent, now: dt.datetime) -> bool:
    alert, to = sent.notice.alert, sent.owed[0]
    if not queue.failures:
        log.warning("alert_not_delivered", to=to, alert=alert, problem=sent.problem)
    if queue.failed(sent.notice, now):
        return True
    log.error("alert_given_up", to=to, alert=alert, attempts=ATTEMPTS_MAX, problem=sent.problem)
    return False
