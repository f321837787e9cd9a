"""The index of sources: under which position the log says last what counts for a source. It grows without end.

A store keeps it in the transaction that appends the events, so that after a crash both are there, or neither. It is
made from the log where it is missing or behind: all of it follows from that.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

from tallystick.config.spelling import repaired
from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME, Event, HoldSettled, UsageCorrected, UsageReported
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import PAGE, Record, Store

_SOURCED = (UsageReported, HoldSettled, UsageCorrected)
_NAMES = frozenset(STORED_NAME[kind] for kind in _SOURCED)
_FIELD = b'"source_id":'


def source_of(command: c.Command) -> str | None:
    """The source that a message names, as it is recorded; None for a message without one."""
    source = command.source_id if isinstance(command, c.Sourced) else None
    return None if source is None else repaired(source)


def entries_of(events: Iterable[Event]) -> Iterator[tuple[str, int]]:
    """What events say of sources: each source with the position at which it stands."""
    for event in events:
        if isinstance(event, _SOURCED) and event.source_id is not None:
            yield event.source_id, event.position


class Sources:
    """The index of a store that is written, and of the newest events, which are not in the store yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh: dict[str, int] = {}
        bring_up_to_date(store)

    def find(self, source: str) -> int | None:
        """The position at which the log says last what counts for a source."""
        fresh = self._fresh.get(source)
        return self._store.sources.find(source) if fresh is None else fresh

    def note(self, events: Iterable[Event]) -> None:
        """These events are about to be appended."""
        self._fresh.update(entries_of(events))

    def take(self) -> list[tuple[str, int]]:
        """What is to be appended together with the events that were noted since the last time."""
        entries, self._fresh = list(self._fresh.items()), {}
        return entries


def bring_up_to_date(store: Store) -> None:
    """Read what the index of a store does not have out of the log; all of it where there is no index.

    Raises:
        StoreError: the store cannot be read or written.
    """
    last = store.last()
    end = 0 if last is None else last.position
    index = store.sources
    upto = index.upto()
    if not upto or upto > end:
        index.clear()  # it is of another log, or not whole
        upto = 0
    while upto < end:
        before, upto = upto, min(end, upto + 10 * PAGE)
        entries = [(source, record.position) for source, record in sourced_in(store, before, upto)]
        # That a short part has none is read again the next time: a transaction would cost more.
        if entries or not before or upto - before > PAGE:
            index.add(entries, upto)


def sourced_in(store: Store, after: int, upto: int) -> Iterator[tuple[str, Record]]:
    """What the records of a log between two positions say of sources: each source with its record."""
    for record in store.read(after, upto):
        if record.name in _NAMES and _FIELD in record.data:
            for source, _ in entries_of([event_of(record)]):
                yield source, record


class SourcesOfLog:
    """An index for one who reads a log from its beginning and trusts nothing else, in a file that goes with it."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("CREATE TABLE sources (source TEXT PRIMARY KEY, position INTEGER) WITHOUT ROWID")
        self._file.execute("PRAGMA synchronous = OFF")

    def find(self, source: str) -> int | None:
        """The position at which the events that were noted say last what counts for a source."""
        with closing(self._file.execute("SELECT position FROM sources WHERE source = ?", (source,))) as found:
            row = found.fetchone()
        return None if row is None else int(row[0])

    def note(self, event: Event) -> None:
        """An event is read."""
        for entry in entries_of((event,)):
            self._file.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", entry)

    def entries(self) -> Iterator[tuple[str, int]]:
        """All of it, in the order of the sources' characters."""
        yield from self._file.execute("SELECT source, position FROM sources ORDER BY source")
