"""What decisions need that the state does not keep: the manager finds it in the log, and hands it on as facts."""

from collections.abc import Callable, Sequence
from typing import Final, get_args

from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.decide.sources import is_larger
from tallystick.events.log.correction import with_facts
from tallystick.events.log.sealing import Line
from tallystick.events.log.sources import Sources
from tallystick.events.log.store import Store
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
        """A command with all that it needs out of the log (see `needs_log`).

        Raises:
            StoreError: the log cannot be read.
        """
        if not needs_log(command):
            return command
        find, store = self.sources.find, self._store
        ledger, lines = self._now()
        return with_facts(command, ledger, find, is_larger, store, lambda: [line[0] for line in lines])

    def note(self, events: Sequence[Event]) -> None:
        """A command that needed the log has led to these events: it may be asked for their sources next."""
        self.sources.note(events)


def needs_log(command: c.Command) -> bool:
    """Whether a command is about what was recorded before: a correction, or what names a source."""
    if isinstance(command, _SOURCED):
        return command.source_id is not None
    return isinstance(command, c.CorrectUsage)


_SOURCED: Final = get_args(c.Sourced)
