"""Connections of one process to a SQLite file, which its threads share."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

from eventsourcing.persistence import ConnectionPoolClosedError, IntegrityError
from eventsourcing.sqlite import SQLiteConnection, SQLiteConnectionPool, SQLiteCursor, SQLiteDatastore

LOCK_SECONDS: Final = 5
PAGE_BYTES: Final = 8_192
"""Of a new file: a row has many records, and would lie on a chain of smaller pages."""
CHECKPOINT_PAGES: Final = 250
"""So many pages of the WAL are brought into the file at once, by the commit that fills them: a few milliseconds. By
default, SQLite waits for four times as many."""
_LOOK_SECONDS: Final = 0.1


class SqliteConnections(SQLiteConnectionPool):
    """The library's pool, of connections that keep their prepared statements. They are in WAL mode.

    ``synchronous``: FULL syncs at every commit, whatever the build's default; NORMAL leaves the disk's time to others.
    ``lock_seconds``: how long a connection waits for the file's one place to write.

    The library closes connections while threads use them, and a process in which SQLite is used so crashes. So these
    are waited for, for at most ``lock_seconds``.
    """

    def __init__(self, path: str, synchronous: Literal["FULL", "NORMAL"], lock_seconds: int) -> None:
        super().__init__(db_name=path)
        self._synchronous, self._lock_seconds = synchronous, lock_seconds
        self._is_closing = False

    def get_connection(self, timeout: float | None = None, *, is_writer: bool | None = None) -> SQLiteConnection:
        if self._is_closing:
            raise ConnectionPoolClosedError
        return super().get_connection(timeout, is_writer=is_writer)

    def close(self) -> None:
        if self.closed:
            return  # what is collected is closed again
        self._is_closing = True
        until = time.monotonic() + self._lock_seconds
        with self._put_condition:
            while self.num_in_use and time.monotonic() < until:
                self._put_condition.wait(_LOOK_SECONDS)
        super().close()

    def _create_connection(self) -> SQLiteConnection:
        connection = sqlite3.connect(
            self.db_name,
            check_same_thread=False,
            isolation_level=None,
            timeout=self._lock_seconds,
            cached_statements=128,
        )
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")  # nothing to a file that is there
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        connection.row_factory = sqlite3.Row
        return SQLiteConnection(connection, max_age=None)


class FleetFile(SQLiteDatastore):
    """Connections to a fleet's file. A writer has one of its own."""

    def __init__(self, path: str) -> None:
        super().__init__(path, originator_id_type="text")
        self.pool.close()  # the library's
        self.pool = SqliteConnections(path, "FULL", LOCK_SECONDS)
        self._writing: SQLiteConnection | None = None

    def keep_writer(self) -> None:
        """Write through one connection from now on: to fetch it from the pool each time costs as much as a sync."""
        self._writing = self.pool.get_connection(is_writer=True)

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        if commit and self._writing is not None:
            with self._writing.transaction(commit=True) as cursor:
                yield cursor
        else:
            with super().transaction(commit=commit) as cursor:
                yield cursor

    def execute(self, statement: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        """For a writer: carry out one statement, which is a transaction of its own."""
        if self._writing is None:
            raise ConnectionPoolClosedError
        try:
            return self._writing.cursor().sqlite_cursor.execute(statement, parameters)
        except sqlite3.IntegrityError as error:
            raise IntegrityError(error) from error

    def close(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self.pool.put_connection(writing)
        super().close()
