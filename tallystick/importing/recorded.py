"""What a log has of sources already, to one who does not write it."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator

import msgspec

from tallystick.events.log.sources import sourced_in
from tallystick.events.log.store import Record, SourceIndex, Store, StoreError
from tallystick.importing.used import Used


def under_known_sources(uses: Iterable[Used], find: Callable[[str], int | None]) -> Iterator[Used]:
    """Uses, each under the source under which it is recorded already.

    A call of Claude Code has two ids. What was reported where only that of the message is known, as by an adapter of
    its SDK, is found by that; all else is recorded under that of the request.
    """
    for used in uses:
        if used.source == used.key or find(used.source) is not None or find(used.key) is None:
            yield used
        else:
            yield msgspec.structs.replace(used, source=used.key)


class Recorded:
    """The sources of a log that is only read: its index, as far as that goes, and the records that follow it, which lie
    in a file that goes with it: a server is not asked for each.

    Raises:
        StoreError: the log cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: Record | None = None
        last = store.last()
        end = 0 if last is None else last.position
        index = _index(store)
        upto = 0 if index is None else index.upto()
        self._index = index if 0 < upto <= end else None
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("CREATE TABLE said (source TEXT PRIMARY KEY, position, name, data) WITHOUT ROWID")
        self._file.execute("BEGIN")
        found = sourced_in(store, 0 if self._index is None else upto, end)
        self._file.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?)", ((one, *said) for one, said in found))

    def close(self) -> None:
        """Let go of what was read; the store stays open."""
        self._file.close()

    def find(self, source: str) -> int | None:
        """The position at which the log says last what counts for a source; None where it is new."""
        row = self._file.execute("SELECT position, name, data FROM said WHERE source = ?", (source,)).fetchone()
        if row is not None:
            self._found = Record(*row)
            return self._found.position
        return None if self._index is None else self._index.find(source)

    # --- the log, for what is to be known of a record -----------------------------------------------------------------

    def record(self, position: int) -> Record | None:
        if self._found is not None and self._found.position == position:
            return self._found
        return self._store.record(position)

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        return self._store.read(after, upto)


def _index(store: Store) -> SourceIndex | None:
    """The index of a store; None for the log of a server, which gives none."""
    try:
        return store.sources
    except StoreError:
        return None
