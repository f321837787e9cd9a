"""What all fleets share that one process keeps in one database: connections, and the renewal of their leases.

A process may have hundreds of fleets open. Each borrows a connection for as long as it writes a batch; all leases are
renewed by one statement, and one thread sends all notifications.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from tallystick.events.log.postgres_following import Notifier
from tallystick.events.log.postgres_lease import Renewals
from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import BROKEN, CONNECT_SECONDS, Connection, connect, options_of
from tallystick.events.log.postgres_together import Together

READERS: Final = 4
WRITERS: Final = 32
"""Connections of a process to a database, at most: PostgreSQL syncs the commits of several together."""
_IDLE_SECONDS: Final = 60.0
"""How long a connection that reads is kept unused."""
_FRESH_SECONDS: Final = 0.1
"""A connection that was used so recently is used again without asking first whether it still answers."""
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # who waits for a connection gets an error


class Database:
    """The connections of this process to a database. Opened by `shared`, for each fleet once; closed as often."""

    def __init__(self, place: PostgresPlace) -> None:
        self._place = place
        self.users = 0
        self.renewals = Renewals(place)
        self.notifier = Notifier(place)
        self.together = Together(self.writing)
        self._reading: ConnectionPool[Connection] = ConnectionPool(
            place.database,
            kwargs=options_of(place),
            min_size=0,
            max_size=READERS,
            max_idle=_IDLE_SECONDS,
            timeout=CONNECT_SECONDS,
            reconnect_timeout=CONNECT_SECONDS,
            num_workers=1,
            open=False,
            check=self._check,
        )
        self._read_at: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        """When each connection that reads was used last, by a clock that only goes on."""
        self._turns = threading.BoundedSemaphore(WRITERS)
        self._idle: list[Connection] = []

    @contextmanager
    def reading(self) -> Iterator["psycopg.Cursor[tuple[Any, ...]]"]:
        """A cursor for one statement that reads.

        Raises:
            psycopg.Error: the database is away, or refuses.
        """
        self._reading.open()
        try:
            connection = self._reading.getconn()
        except PoolTimeout:
            connect(self._place).close()  # it says why
            raise
        try:
            with connection.cursor(binary=True) as cursor:
                yield cursor
        finally:
            self._read_at[connection] = time.monotonic()
            self._reading.putconn(connection)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection to write with. One that breaks takes those with it that are not in use: they are broken, too.

        Raises:
            psycopg.Error: the database is away, or refuses.
        """
        with self._turns:
            connection = self._unused() or connect(self._place)
            try:
                yield connection
            except BROKEN:
                connection.close()
                self._drop_idle()
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)

    def close(self) -> None:
        self.renewals.close()
        self.notifier.close()
        self._drop_idle()
        self._reading.close()

    def _check(self, connection: Connection) -> None:
        if time.monotonic() - self._read_at.get(connection, -math.inf) > _FRESH_SECONDS:
            ConnectionPool.check_connection(connection)

    def _drop_idle(self) -> None:
        while (connection := self._unused()) is not None:
            connection.close()

    def _unused(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None


class _Open:
    """The databases that this process has open."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Also in a fork: the connections and threads are its parent's."""
        self.changing = threading.Lock()
        self.databases: dict[str, Database] = {}


_open = _Open()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.begin)


def shared(place: PostgresPlace) -> Database:
    """The connections of this process to the database of a place, to be given back by `give_back`."""
    with _open.changing:
        database = _open.databases.get(place.database)
        if database is None:
            database = _open.databases[place.database] = Database(place)
        database.users += 1
        return database


@contextmanager
def reading_from(place: PostgresPlace) -> Iterator["psycopg.Cursor[tuple[Any, ...]]"]:
    """A cursor for one statement that reads: on a connection of this process, where it has the database open.

    Raises:
        psycopg.Error: the database is away, or refuses.
    """
    with _open.changing:
        database = _open.databases.get(place.database)
        if database is not None:
            database.users += 1
    if database is None:
        with closing(connect(place)) as connection, connection.cursor(binary=True) as cursor:
            yield cursor
        return
    try:
        with database.reading() as cursor:
            yield cursor
    finally:
        give_back(place, database)


def give_back(place: PostgresPlace, database: Database) -> None:
    """A fleet needs them no more; without any fleet, they are closed."""
    with _open.changing:
        database.users -= 1
        if database.users:
            return
        del _open.databases[place.database]
    database.close()
