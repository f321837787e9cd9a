"""Which alert is sent to which address next, and when: at least once, and never twice to an address that accepted it.

The core knows which address has not accepted which alert (its outbox). Here is only the order: one delivery queue for
each address, so that one that does not answer blocks no other.
"""

import datetime as dt
from collections import deque

import msgspec

from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.outbox import Notice, Owed, addresses

ATTEMPTS_MAX = 36
"""How often an alert is sent to an address that does not accept it: with the waits below, for about a day."""
WAIT_FIRST = dt.timedelta(seconds=1)
WAIT_MAX = dt.timedelta(hours=1)


class Send(msgspec.Struct, frozen=True):
    """An alert is to be sent to an address (``address`` as it is configured).

    ``networks`` are those that it may lead to, beside public addresses.
    """

    notice: Notice
    owed: Owed
    address: str
    networks: tuple[str, ...] = ()


class Sent(msgspec.Struct, frozen=True):
    """The outcome of a `Send`: ``problem`` is None where the address has accepted the alert."""

    notice: Notice
    owed: Owed
    problem: str | None


class DeliveryQueue:
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
        """Add an alert."""
        self.waiting.append(notice)
        self.attempts[notice.alert] = 0

    def drop(self, alert: str) -> None:
        """An alert is no longer for this address."""
        if self.attempts.pop(alert, None) is not None:
            self.waiting = deque(notice for notice in self.waiting if notice.alert != alert)

    def failed(self, notice: Notice, now: dt.datetime) -> bool:
        """Wait twice as long after each failure in a row, and let the other alerts go first; whether to retry."""
        self.not_before = later(now, min(WAIT_FIRST * 2 ** min(self.failures, 32), WAIT_MAX))
        self.failures += 1
        self.attempts[notice.alert] += 1
        if self.attempts[notice.alert] < ATTEMPTS_MAX:
            self.waiting.append(notice)
            return True
        self.drop(notice.alert)
        return False

    def accepted(self, alert: str) -> None:
        """The address has accepted an alert."""
        self.failures, self.not_before = 0, EPOCH
        self.drop(alert)


class Deliveries:
    """The delivery queues of all configured addresses."""

    def __init__(self, ledger: Ledger) -> None:
        self._queues: dict[Owed, DeliveryQueue] = {}
        self._follow_config(ledger.rules.config)
        for notice in ledger.outbox.values():
            for owed in notice.owed:
                self._queues[owed].take(notice)

    def due_at(self) -> dt.datetime | None:
        """When something may be sent next; None where nothing waits."""
        waiting = (queue.not_before for queue in self._queues.values() if queue.waiting and not queue.on_its_way)
        return min(waiting, default=None)

    def to_send(self, now: dt.datetime) -> list[Send]:
        """What is to be sent now: at most one alert to each address. It counts as on its way."""
        sends = []
        for owed, queue in self._queues.items():
            if queue.waiting and not queue.on_its_way and queue.not_before <= now:
                queue.on_its_way = True
                sends.append(Send(queue.waiting.popleft(), owed, queue.address, self._networks))
        return sends

    def back(self, sent: Sent) -> DeliveryQueue | None:
        """An alert is back from its address: the queue that it came from, None where it is not configured any more."""
        queue = self._queues.get(sent.owed)
        if queue is not None:
            queue.on_its_way = False
        return queue

    def follow(self, event: e.Event) -> None:
        """Take in an event that was recorded."""
        match event:
            case e.AlertRaised():
                owed = tuple(owed for owed in self._queues if owed[0] in event.notify)
                notice = Notice(event.alert, event.code, event.message, event.agent, event.at, owed)
                for one in owed:
                    self._queues[one].take(notice)
            case e.AlertDeliveryFailed():
                queue = self._queues.get((event.to, event.address))
                if queue is not None:
                    queue.drop(event.alert)
            case e.ConfigLoaded():
                self._follow_config(restore(event.config))

    def _follow_config(self, config: Config) -> None:
        """A queue for each address that is configured; what waits for one that still is goes on waiting."""
        before, self._networks = self._queues, config.notification_networks
        self._queues = {owed: before.get(owed) or DeliveryQueue(address) for owed, address in addresses(config).items()}
