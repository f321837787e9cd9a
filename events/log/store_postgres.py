"""The log in PostgreSQL: many fleets in one database, a stream each.

An append is one transaction that checks the writer's epoch in its lease row, and locks nothing else: fleets do not
wait for each other. Where the connection breaks, the append waits for the database, looks whether its batch is there,
and writes it if it is not: never twice, never half.
"""

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from tallystick.events.log.postgres_following import Notifier, PostgresSubscription
from tallystick.events.log.postgres_lease import LEASE_SECONDS, Lease, take_lease, taken_over
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_sources import PostgresSources, adding
from tallystick.events.log.postgres_tables import BROKEN, EVENTS, SNAPSHOTS, Connection, Tables, connect, unread, why
from tallystick.events.log.store_contract import (
    PAGE,
    SNAPSHOTS_KEPT,
    Fenced,
    NoFleet,
    Record,
    StoreError,
    Subscription,
)

_COPY_FROM: Final = 64
"""Rows from which on COPY is faster than one statement with arrays."""
_AGAIN_SECONDS: Final = 0.2
_MINE: Final = SQL("SELECT 1 FROM tallystick_writers WHERE fleet = %s AND epoch = %s FOR SHARE")
_INSERT: Final = SQL(
    "WITH mine AS ({mine}) INSERT INTO {events} (originator_id, originator_version, topic, state)"
    " SELECT %s, one.* FROM mine, unnest(%s::bigint[], %s::text[], %s::bytea[]) AS one"
).format(mine=_MINE, events=Identifier(EVENTS))
_COPY: Final = SQL("COPY {events} (originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)").format(
    events=Identifier(EVENTS)
)
_SELECT: Final = SQL("SELECT originator_version, topic, state FROM {events} WHERE originator_id = %s").format(
    events=Identifier(EVENTS)
)
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # the error says what is wrong
_RETRIED: Final = (errors.SerializationFailure, errors.DeadlockDetected)


class PostgresStore:
    """A fleet in a PostgreSQL database; see `store_contract.Store` for what each method does."""

    def __init__(self, url: str, writer: bool) -> None:
        self._place = place_of(url)
        self.named = self._place.named
        self.url = url
        self._process = os.getpid()
        self._tables = Tables(self._place)
        self.sources = PostgresSources(self._tables, self._place)
        self._lease: Lease | None = None
        self._connection: Connection | None = None
        self._closed = threading.Event()
        self._notifier = Notifier(self._place)
        try:
            if writer:
                self._connection = connect(self._place)
                self._tables.create(self._connection)
                epoch = take_lease(self._connection, self._place, LEASE_SECONDS)
                self._lease = Lease(self._place, epoch, LEASE_SECONDS)
            else:
                self._check_there()
        except StoreError:
            self.close()
            raise
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"{self.named} cannot be {'written' if writer else 'read'}: {why(error)}") from error

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        if self._process != os.getpid():
            raise Fenced(str(self.lost()))
        if not records:
            return
        broken = False
        while True:
            try:
                if broken and self._is_written(records):
                    break
                self._write(records, sources)
                break
            except errors.UniqueViolation as error:
                raise Fenced(f"another writer has written to {self.named}: {why(error)}") from error
            except (*BROKEN, *_RETRIED) as error:
                if isinstance(error, errors.DiskFull | errors.OutOfMemory | errors.InsufficientPrivilege):
                    raise StoreError(f"{self.named} could not be written: {why(error)}") from error
                broken = True
                if self._connection is not None:
                    self._connection.close()
                if self._closed.wait(_AGAIN_SECONDS):
                    raise StoreError(f"{self.named} was closed, and the database is away: {why(error)}") from error
            except psycopg.Error as error:
                raise StoreError(f"{self.named} could not be written: {why(error)}") from error
        self._notifier.committed()

    def fill(self, records: Iterable[Record], count: int) -> None:
        """Write the whole log of a fleet that is empty, in one transaction: all of it is there afterwards, or nothing.

        Raises:
            Fenced: another writer took over.
            StoreError: it could not be written, or there were not ``count`` records.
        """
        try:
            with closing(connect(self._place)) as connection, connection.transaction():
                with connection.cursor() as cursor:
                    self._copy_rows(cursor, records)
                    if cursor.rowcount != count:
                        raise StoreError(f"{self.named} took {cursor.rowcount} records of {count}")
                # Only now: who holds the row keeps the lease from being renewed.
                if connection.execute(_MINE, (self._place.fleet, self._epoch)).fetchone() is None:
                    raise Fenced(taken_over(connection, self._place))
        except psycopg.Error as error:
            raise StoreError(f"{self.named} could not be written: {why(error)}") from error

    def lost(self) -> str | None:
        if self._process != os.getpid():
            return f"{self.named} was opened by process {self._process}: a fork of it must open the store itself"
        return None if self._lease is None else self._lease.taken

    def away(self) -> str | None:
        return None if self._lease is None else self._lease.away()

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        while True:
            page = self._page(after, upto)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].position

    def record(self, position: int) -> Record | None:
        page = self._page(position - 1, position)
        return page[0] if page else None

    def last(self) -> Record | None:
        found = self._rows(SQL("{} ORDER BY originator_version DESC LIMIT 1").format(_SELECT), (self._place.fleet,))
        return found[0] if found else None

    def stray(self) -> str | None:
        found = self._rows(
            SQL("{} AND originator_version < 1 ORDER BY originator_version LIMIT 1").format(_SELECT),
            (self._place.fleet,),
        )
        return f"a row is at position {found[0].position}: it was put there by no writer of this log" if found else None

    def save_snapshot(self, position: int, data: bytes) -> None:
        table, fleet = Identifier(SNAPSHOTS), self._place.fleet
        newest = SQL(
            "SELECT originator_version FROM {} WHERE originator_id = %s ORDER BY originator_version DESC LIMIT %s"
        ).format(table)
        try:
            with connect(self._place) as connection, connection.transaction():
                later = SQL("DELETE FROM {} WHERE originator_id = %s AND originator_version >= %s").format(table)
                connection.execute(later, (fleet, position))
                insert = SQL("INSERT INTO {} VALUES (%s, %s, 'snapshot.v1', %s)").format(table)
                connection.execute(insert, (fleet, position, data))
                older = SQL("DELETE FROM {} WHERE originator_id = %s AND originator_version NOT IN ({})")
                connection.execute(older.format(table, newest), (fleet, fleet, SNAPSHOTS_KEPT))
        except psycopg.Error as error:
            raise StoreError(f"{self.named}: the snapshot could not be written: {why(error)}") from error

    def snapshots(self, limit: int = SNAPSHOTS_KEPT) -> list[tuple[int, bytes]]:
        query = SQL(
            "SELECT originator_version, state FROM {} WHERE originator_id = %s"
            " ORDER BY originator_version DESC LIMIT %s"
        ).format(Identifier(SNAPSHOTS))
        try:
            with self._tables.reading() as cursor:
                return [
                    (position, bytes(state)) for position, state in cursor.execute(query, (self._place.fleet, limit))
                ]
        except psycopg.Error:
            return []  # a snapshot is a cache: one that cannot be read is not there

    def subscribe(self, after: int = 0) -> Subscription:
        return PostgresSubscription(self._place, self._notifier, self._page, after)

    def close(self) -> None:
        if self._process != os.getpid():
            return  # the connections and the lease are those of the process that opened it
        self._closed.set()
        if self._lease is not None:
            self._lease.end()
        self._notifier.close()
        if self._connection is not None:
            self._connection.close()
        self._tables.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _page(self, after: int, upto: int | None = None) -> list[Record]:
        bound = SQL("") if upto is None else SQL("AND originator_version <= %s")
        query = SQL("{} AND originator_version > %s {} ORDER BY originator_version LIMIT {}").format(
            _SELECT, bound, PAGE
        )
        return self._rows(query, (self._place.fleet, after, *([] if upto is None else [upto])))

    def _rows(self, query: psycopg.sql.Composed, parameters: Sequence[object]) -> list[Record]:
        try:
            with self._tables.reading() as cursor:
                return list(map(Record._make, cursor.execute(query, parameters)))
        except psycopg.Error as error:
            raise unread(self.named, error) from error

    def _check_there(self) -> None:
        """For a reader.

        Raises:
            NoFleet: there is no such fleet.
            psycopg.Error: the database cannot be reached, or refuses.
        """
        with closing(connect(self._place)) as connection:
            if connection.execute("SELECT to_regclass('tallystick_sources')").fetchone() != (None,):
                query = "SELECT 1 FROM tallystick_writers WHERE fleet = %s"
                if connection.execute(query, (self._place.fleet,)).fetchone() is not None:
                    return
        found = f"the database has none named {self._place.fleet!r}, or none that this user may see"
        raise NoFleet(f"there is no fleet at {self.named}: {found}")

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, records: Sequence[Record], sources: Sequence[tuple[str, int]]) -> None:
        connection = self._connected()
        if len(records) < _COPY_FROM and not sources:
            self._insert(connection, records)
            return
        with connection.transaction():
            if len(records) < _COPY_FROM:
                self._insert(connection, records)
            else:
                self._copy(connection, records)
            if sources:
                connection.execute(*adding(self._place.fleet, sources, records[-1].position))

    def _insert(self, connection: Connection, records: Sequence[Record]) -> None:
        positions, names, data = zip(*records, strict=True)
        fleet = self._place.fleet
        parameters = (fleet, self._epoch, fleet, list(positions), list(names), list(data))
        if connection.execute(_INSERT, parameters, prepare=True, binary=True).rowcount == 0:
            raise Fenced(taken_over(connection, self._place))

    def _copy(self, connection: Connection, records: Sequence[Record]) -> None:
        if connection.execute(_MINE, (self._place.fleet, self._epoch), prepare=True).fetchone() is None:
            raise Fenced(taken_over(connection, self._place))
        with connection.cursor() as cursor:
            self._copy_rows(cursor, records)

    def _copy_rows(self, cursor: "psycopg.Cursor[Any]", records: Iterable[Record]) -> None:
        with cursor.copy(_COPY) as copy:
            copy.set_types(("text", "int8", "text", "bytea"))
            fleet = self._place.fleet
            for record in records:
                copy.write_row((fleet, *record))

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._place)
        return self._connection

    def _is_written(self, records: Sequence[Record]) -> bool:
        """Whether a batch whose answer was lost is there: it is whole, then. Records chain, so no other is the same."""
        connection, last = self._connected(), records[-1]
        query = SQL("{} AND originator_version = %s").format(_SELECT)
        row = connection.execute(query, (self._place.fleet, last.position), binary=True).fetchone()
        return row is not None and Record(*row) == last

    @property
    def _epoch(self) -> int:
        assert self._lease is not None, "a reader does not write"
        return self._lease.epoch
