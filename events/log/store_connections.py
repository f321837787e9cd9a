"""Connections of one process to a SQLite file, which its threads share."""

import sqlite3
import time
from typing import Final, Literal

from eventsourcing.persistence import ConnectionPoolClosedError
from eventsourcing.sqlite import SQLiteConnection, SQLiteConnectionPool

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
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.row_factory = sqlite3.Row
        return SQLiteConnection(connection, max_age=None)
