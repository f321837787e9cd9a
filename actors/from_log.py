"""What decisions need that the state does not keep: the manager finds it in the log, and hands it on as facts."""

from collections.abc import Callable, Sequence
from typing import get_args

from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.decide.sources import is_larger
from tallystick.events.log.correction import with_facts
from tallystick.events.log.sealing import Line
from tallystick.events.log.sources import Sources
from tallystick.events.log.store import Store
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger


class FromLog:
    """The log up to now: the store, and the lines that are not appended yet. ``now`` gives the state and these lines.

    Raises:
        StoreError: the index of sources can be neither read nor made.
    """

    def __init__(self, store: Store, now: Callable[[], tuple[Ledger, Sequence[Line]]]) -> None:
        self._store, self._now = store, now
        self.sources = Sources(store)

    def with_facts(self, command: c.Command) -> c.Command:
        """A command with all that it needs out of the log.

        Raises:
            StoreError: the log cannot be read.
        """
        if type(command) is not c.CorrectUsage and not _is_sourced(command):
            return command
        find, store = self.sources.find, self._store
        ledger, lines = self._now()
        return with_facts(command, ledger, find, is_larger, store, lambda: [line[0] for line in lines])

    def note(self, command: c.Command, events: Sequence[Event]) -> None:
        """A command has led to these events: it may be asked for their sources next."""
        if type(command) in _APPLIED or _is_sourced(command):
            self.sources.note(events)


_APPLIED = frozenset({p.ApplySource, p.ApplyCorrection})


def _is_sourced(command: c.Command) -> bool:
    return type(command) in _SOURCED and command.source_id is not None  # type: ignore[attr-defined]


_SOURCED = frozenset(get_args(c.Sourced))
