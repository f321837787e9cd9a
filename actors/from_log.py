"""What decisions need that the state does not keep: the manager finds it in the log, and hands it on as facts."""

from collections.abc import Sequence

from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.decide.sources import is_larger
from tallystick.events.log.codec import exchange_of
from tallystick.events.log.correction import with_facts
from tallystick.events.log.sources import Sources
from tallystick.events.log.store import Store
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger

Line = tuple[Event, bytes | None, bytes | None]
"""An event, and on the first of a command what was asked and answered."""


class FromLog:
    """The log up to now: the store, and the lines that are not appended yet.

    Raises:
        StoreError: the index of sources can be neither read nor made.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sources = Sources(store)

    def with_facts(self, command: c.Command, ledger: Ledger, lines: Sequence[Line]) -> c.Command:
        """A command with all that it needs out of the log.

        Raises:
            StoreError: the log cannot be read.
        """
        if not isinstance(command, c.CorrectUsage) and not _is_sourced(command):
            return command
        fresh = lambda: [line[0] for line in lines]  # noqa: E731
        return with_facts(command, ledger, self.sources.find, is_larger, self._store, fresh)

    def note(self, command: c.Command, events: Sequence[Event]) -> None:
        """A command has led to these events: it may be asked for their sources next."""
        if _is_sourced(command) or isinstance(command, p.ApplySource | p.ApplyCorrection):
            self.sources.note(events)

    def exchange_at(self, position: int, lines: Sequence[Line]) -> tuple[bytes, bytes] | None:
        """What was asked and answered at a position; None where that is no command's first."""
        if lines and position >= (first := lines[0][0].position):
            _, asked, answered = lines[position - first]
            return None if asked is None or answered is None else (asked, answered)
        record = self._store.record(position)
        assert record is not None, f"the log has no record at {position}"
        exchange = exchange_of(record.data)
        asked, answered = bytes(exchange.command), bytes(exchange.reply)
        return (asked, answered) if asked and answered else None


def _is_sourced(command: c.Command) -> bool:
    return isinstance(command, c.Sourced) and command.source_id is not None
