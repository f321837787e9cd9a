"""The index of sources in a SQLite file: one table beside the log, which also says how far the log is in it."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

from eventsourcing.domain import EventSourcingError
from eventsourcing.sqlite import SQLiteCursor, SQLiteDatastore

from tallystick.events.log.store_contract import PAGE, StoreError

_ROWS = 256
"""Rows per INSERT: few statements, prepared once (see `store_sqlite`)."""
_UPTO = ""
"""In place of a source, which is never empty: how far the log is in the index."""


class SqliteSources:
    """See `store_contract.SourceIndex`."""

    def __init__(self, datastore: SQLiteDatastore, named: str) -> None:
        self._datastore = datastore
        self._named = named

    def create_table(self) -> None:
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS sources (source TEXT PRIMARY KEY, position INTEGER) WITHOUT ROWID"
            )

    def find(self, source: str) -> int | None:
        found = self._read("SELECT position FROM sources WHERE source=?", source)
        return int(found[0][0]) if found else None

    def entries(self) -> Iterator[tuple[str, int]]:
        if not self._is_there():
            return
        after = _UPTO
        while page := self._read(
            f"SELECT source, position FROM sources WHERE source>? ORDER BY source LIMIT {PAGE}", after
        ):
            yield from page
            after = page[-1][0]

    def upto(self) -> int:
        return (self.find(_UPTO) or 0) if self._is_there() else 0

    def add(self, entries: Sequence[tuple[str, int]], upto: int) -> None:
        try:
            with self._datastore.transaction(commit=True) as cursor:
                add_entries(cursor, entries, upto)
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self._named}: the index of sources could not be written: {error}") from error

    def clear(self) -> None:
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute("DELETE FROM sources")

    def _is_there(self) -> bool:
        """Not in a file that only older versions have written, to a reader."""
        return bool(self._read("SELECT 1 FROM sqlite_master WHERE name='sources'"))

    def _read(self, statement: str, *parameters: str) -> list[tuple[str, int]]:
        try:
            with self._datastore.transaction(commit=False) as cursor:
                cursor.execute(statement, parameters)
                cursor.sqlite_cursor.row_factory = None
                return list(cursor.fetchall())
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self._named}: the index of sources could not be read: {error}") from error


def add_entries(cursor: SQLiteCursor, entries: Sequence[tuple[str, int]], upto: int) -> None:
    """Put entries into the index, and how far it goes, in the transaction of a cursor."""
    rows = [(_UPTO, upto), *entries]
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        cursor.execute(_insert(len(part)), tuple(chain.from_iterable(part)))


@cache
def _insert(rows: int) -> str:
    return "INSERT OR REPLACE INTO sources VALUES " + ",".join(["(?,?)"] * rows)
