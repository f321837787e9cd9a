"""Which links were used: what they did stands in the log, under their ids, however long ids are remembered."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tallystick.approvals.links import Link
from tallystick.events import catalog as e
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record

Read = Callable[[int, int | None], Iterator[Record]]
"""The records of the log behind a position, up to another."""
_FIRST: Final = frozenset(
    e.STORED_NAME[kind]
    for kind in (
        e.AgentStopped,
        e.AgentResumed,
        e.FleetPaused,
        e.LimitApproved,
        e.LimitRaised,
        e.BreakerReset,
        e.ReserveReleased,
        e.ClockAccepted,
    )
)
"""What the orders of links record."""


class Use(NamedTuple):
    """A link was used: by whom, when, and where that stands."""

    by: str
    at: dt.datetime
    position: int


class UsedLinks:
    """What the log says of links, read once; any thread may ask."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._found: dict[str, Use] = {}
        self._from = self._upto = -1
        """The part of the log that was read: behind the first position, up to the second."""
        self._reading = threading.Lock()

    def find(self, link: Link) -> Use | None:
        """What was done by a link, or by another recipient's to the same order; None where nothing was.

        It blocks: it reads what it has not read of the log since the alert.

        Raises:
            StoreError: the store could not be read.
        """
        with self._reading:
            if self._from < 0:
                self._from = self._upto = link.position
            if link.position < self._from:
                self._take(link.position, self._from)
                self._from = link.position
            self._upto = max(self._upto, self._take(self._upto, None))
            return self._found.get(link.id)

    def _take(self, after: int, upto: int | None) -> int:
        for record in self._read(after, upto):
            after = record.position
            if record.name in _FIRST:
                event = event_of(record)
                if event.id.startswith("link-"):
                    self._found.setdefault(event.id, Use(event.by, event.at, event.position))
        return after
