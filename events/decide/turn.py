"""One command's turn: the only place where a decision becomes an event and the event becomes the state.

A handler looks, refuses or records; it never refuses after it has recorded. So a refused command leaves the state as
it was, and each later step of a handler sees what the earlier ones did.
"""

import datetime as dt
from typing import NamedTuple

import msgspec

from tallystick.events.catalog import Event
from tallystick.events.evolve import evolve
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.ledger import Ledger

CLOCK = "clock"
"""Who causes what happens because time has passed."""


class Waited(NamedTuple):
    """A hold has waited for room, since when. ``behind``: its wait is over, and others that came before it wait for
    this, in words.
    """

    since: dt.datetime
    behind: str | None = None


class Decided(msgspec.Struct, gc=False):
    """What a command caused: events in order, of which its own begin at ``own``, and the answer."""

    events: list[Event]
    own: int
    answer: Reply | Refusal


class Turn:
    """The command at hand: who asked what when, and what it has caused so far."""

    __slots__ = ("by", "events", "id", "ledger", "leveled", "now", "own", "waited")

    def __init__(self, ledger: Ledger, now: dt.datetime, id: str, by: str, waited: Waited | None = None) -> None:
        self.ledger = ledger
        self.now = now if now > ledger.now else ledger.now
        self.id = id
        self.by = by
        self.waited = waited
        ledger.looked_at = self.now
        self.events: list[Event] = []
        self.own = 0
        """Where the command's own events begin: behind those that were due before it."""
        self.leveled = 0
        """How many of the events have had their effect on levels (see `decide.levels`)."""

    def record(self, event: Event) -> None:
        """Stamp the event and apply it. From here on the command cannot be refused."""
        event.position = self.ledger.position + 1
        event.at = self.now
        event.id = self.id
        event.by = self.by
        evolve(self.ledger, event)
        self.events.append(event)
