"""The courier: that people hear of alerts, at least once, and never twice at an address that accepted the first.

What is owed to whom is in the state of the law; the courier says what is sent next, and reports what was accepted. The
sending itself takes time and may fail: the messenger does it, on threads of its own.
"""

import datetime as dt
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from tallystick.actors.runtime.messages import MANAGER, NOTIFIER, SENDER, Post, Proposal, Recorded, Tick
from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.event import EPOCH
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.outbox import Notice, Owed, addresses

ATTEMPTS_MAX = 36
"""How often an alert is sent to an address that does not accept it: with the waits below, for about a day."""
WAIT_FIRST = dt.timedelta(seconds=1)
WAIT_MAX = dt.timedelta(hours=1)

log = structlog.wrap_logger(logging.getLogger("tallystick.courier"))


class Send(msgspec.Struct, frozen=True):
    """The messenger is to bring an alert to an address (``address`` as it is configured)."""

    notice: Notice
    owed: Owed
    address: str


class Sent(msgspec.Struct, frozen=True):
    """What became of it: ``problem`` is None where the address has accepted the alert."""

    notice: Notice
    owed: Owed
    problem: str | None


class _Lane:
    """What waits for one address. One alert at a time is on its way; after a failure, none is before ``not_before``."""

    __slots__ = ("address", "attempts", "failures", "not_before", "on_its_way", "waiting")

    def __init__(self, address: str) -> None:
        self.address = address
        self.waiting: deque[Notice] = deque()
        self.attempts: dict[str, int] = {}
        """Of each alert that waits or is on its way, how often this address did not accept it."""
        self.failures = 0
        """How often in a row nothing was accepted."""
        self.not_before = EPOCH
        self.on_its_way = False

    def take(self, notice: Notice) -> None:
        self.waiting.append(notice)
        self.attempts[notice.alert] = 0

    def drop(self, alert: str) -> None:
        """An alert is no longer for this address."""
        if self.attempts.pop(alert, None) is not None:
            self.waiting = deque(notice for notice in self.waiting if notice.alert != alert)


class Notifier:
    """Plans what is sent where and when: a lane for each address, so that one that is down blocks no other."""

    name = NOTIFIER
    follows: frozenset[type[e.Event]] = frozenset({e.AlertRaised, e.AlertDeliveryFailed, e.ConfigLoaded})

    def begin(self, ledger: Ledger) -> None:
        self._lanes: dict[Owed, _Lane] = {}
        self._follow_config(ledger.rules.config)
        for notice in ledger.outbox.values():
            for owed in notice.owed:
                self._lanes[owed].take(notice)

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        posts: list[Post] = []
        match message:
            case Recorded():
                for event in message.events:
                    self._follow(event)
            case Sent():
                posts = self._hear(message, now)
            case Tick():
                pass
            case _:
                raise TypeError(f"the courier does not know {type(message).__name__}")
        return [*posts, *self._to_send(now)]

    def due_at(self) -> dt.datetime | None:
        waiting = (lane.not_before for lane in self._lanes.values() if lane.waiting and not lane.on_its_way)
        return min(waiting, default=None)

    def _to_send(self, now: dt.datetime) -> list[Post]:
        posts = []
        for owed, lane in self._lanes.items():
            if lane.waiting and not lane.on_its_way and lane.not_before <= now:
                lane.on_its_way = True
                posts.append(Post(SENDER, Send(lane.waiting.popleft(), owed, lane.address)))
        return posts

    # --- what is owed -------------------------------------------------------------------------------------------------

    def _follow(self, event: e.Event) -> None:
        match event:
            case e.AlertRaised():
                owed = tuple(owed for owed in self._lanes if owed[0] in event.notify)
                notice = Notice(event.alert, event.code, event.message, event.agent, event.at, owed)
                for one in owed:
                    self._lanes[one].take(notice)
            case e.AlertDeliveryFailed():
                lane = self._lanes.get((event.to, event.address))
                if lane is not None:
                    lane.drop(event.alert)
            case e.ConfigLoaded():
                self._follow_config(restore(event.config))

    def _follow_config(self, config: Config) -> None:
        """A lane for each address that is configured; what waits for one that still is goes on waiting."""
        before = self._lanes
        self._lanes = {owed: before.get(owed) or _Lane(address) for owed, address in addresses(config).items()}

    # --- what became of it --------------------------------------------------------------------------------------------

    def _hear(self, sent: Sent, now: dt.datetime) -> list[Post]:
        lane = self._lanes.get(sent.owed)
        if lane is not None:
            lane.on_its_way = False
        alert, (to, address) = sent.notice.alert, sent.owed
        place = f"{alert}-{to}-{address}"
        if sent.problem is None:
            if lane is not None:
                lane.failures, lane.not_before = 0, EPOCH
                lane.drop(alert)
            delivered = p.RecordDelivery(alert=alert, to=to, address=address, id=f"{c.INTERNAL_ID}delivered-{place}")
            return [Post(MANAGER, Proposal(delivered, NOTIFIER))]
        if lane is None or alert not in lane.attempts or self._tries_again(lane, sent, now):
            return []
        given_up = p.GiveUpDelivery(
            alert=alert, to=to, address=address, attempts=ATTEMPTS_MAX, id=f"{c.INTERNAL_ID}given-up-{place}"
        )
        return [Post(MANAGER, Proposal(given_up, NOTIFIER))]

    @staticmethod
    def _tries_again(lane: _Lane, sent: Sent, now: dt.datetime) -> bool:
        """Wait twice as long after each failure in a row, and let the other alerts of the lane go first."""
        alert, to = sent.notice.alert, sent.owed[0]
        if not lane.failures:
            log.warning("alert_not_delivered", to=to, alert=alert, problem=sent.problem)
        lane.not_before = now + min(WAIT_FIRST * 2 ** min(lane.failures, 32), WAIT_MAX)
        lane.failures += 1
        lane.attempts[alert] += 1
        if lane.attempts[alert] < ATTEMPTS_MAX:
            lane.waiting.append(sent.notice)
            return True
        log.error("alert_given_up", to=to, alert=alert, attempts=ATTEMPTS_MAX, problem=sent.problem)
        lane.drop(alert)
        return False
