"""The log in PostgreSQL: many fleets in one database, a stream each.

An append is one transaction that checks the writer's epoch in its lease row, and locks nothing else: fleets do not
wait for each other. Where the connection breaks, the append waits for the database, looks whether its batch is there,
and writes it if it is not: never twice, never half.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from tallystick.events.log.postgres_appending import (
    PAGE_OF_ROWS,
    SELECT,
    Batch,
    check_mine,
    copy_in,
    write,
    write_again,
)
from tallystick.events.log.postgres_database import give_back, shared
from tallystick.events.log.postgres_following import PostgresSubscription
from tallystick.events.log.postgres_lease import LEASE_SECONDS, Lease, take_lease
from tallystick.events.log.postgres_log_view import make_log_view
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_session import check_session
from tallystick.events.log.postgres_sources import PostgresSources
from tallystick.events.log.postgres_tables import (
    BROKEN,
    EVENTS,
    SNAPSHOTS,
    Connection,
    are_there,
    connect,
    create_tables,
    unread,
    unwritten,
    why,
)
from tallystick.events.log.postgres_together import RETRIED
from tallystick.events.log.sealing import rows_behind
from tallystick.events.log.store_contract import (
    PAGE,
    SNAPSHOTS_KEPT,
    Fenced,
    NoFleet,
    Record,
    Row,
    StoreError,
)
from tallystick.events.log.store_segments import OpenedRow

_AGAIN_SECONDS: Final = 0.2
_LAST: Final = SQL("{} ORDER BY originator_version DESC LIMIT 1").format(SELECT).as_bytes()
_STRAY: Final = SQL("{} AND originator_version < 1 ORDER BY originator_version LIMIT 1").format(SELECT).as_bytes()
_SNAPSHOTS: Final = (
    SQL("SELECT originator_version, state FROM {} WHERE originator_id = %s ORDER BY originator_version DESC LIMIT %s")
    .format(Identifier(SNAPSHOTS))
    .as_bytes()
)
_FULL: Final = (errors.DiskFull, errors.OutOfMemory, errors.InsufficientPrivilege)
"""What the server refuses, though it is there: to try again would not help."""


class PostgresStore:
    """A fleet in a PostgreSQL database; see `store_contract.Store` for what each method does."""

    def __init__(self, url: str, writer: bool) -> None:
        self._place = place_of(url)
        self.named = self._place.named
        self.url = url
        self._process = os.getpid()
        self._opened = OpenedRow()
        self._database = shared(self._place)
        self.sources = PostgresSources(self._database.reading, self._place, self._fenced)
        self._lease: Lease | None = None
        self.written = 0
        """The newest position that was written by this one; 0 before it has written."""
        self._closed = threading.Event()
        try:
            if writer:
                with self._database.writing() as connection:
                    check_session(connection, self._place)
                    create_tables(connection, self.named)
                    make_log_view(connection)
                self._lease = take_lease(self._place, LEASE_SECONDS, self._database.writing)
                self._database.renewals.add(self._lease)
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
        before = records[0].position - 1
        batch = Batch(before, rows_behind(records, self.written or before, self.named))
        lease, broken = self._own_lease(), False
        while True:
            try:
                if broken or sources or not self._database.together.write(lease, self.named, batch):
                    with self._database.writing() as connection:
                        (write_again if broken else write)(connection, lease, self.named, batch, sources)
                break
            except (*BROKEN, *RETRIED) as error:
                if isinstance(error, _FULL):
                    raise StoreError(f"{self.named} could not be written: {why(error)}") from error
                broken = True
                if self._closed.wait(_AGAIN_SECONDS):
                    raise StoreError(f"{self.named} was closed, and the database is away: {why(error)}") from error
            except psycopg.Error as error:
                raise StoreError(f"{self.named} could not be written: {why(error)}") from error
        self.written = batch.rows[-1].position
        self._database.notifier.committed(lease.fleet)

    def fill(self, records: Iterable[Record], count: int) -> None:
        """Write the whole log of a fleet that is empty, in one transaction: all of it is there afterwards, or nothing.

        Raises:
            Fenced: another writer took over.
            StoreError: it could not be written, or there were not ``count`` records.
        """
        try:
            with closing(connect(self._place)) as connection, connection.transaction():
                copied = copy_in(connection, self._place.fleet, records)
                if copied != count:
                    raise StoreError(f"{self.named} took {copied} records of {count}")
                check_mine(connection, self._own_lease())
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
            if not page or page[-1].position == upto:
                return
            after = page[-1].position

    def rows(self, after: int = 0, upto: int | None = None) -> Iterator[Row]:
        while rows := self._page_of_rows(after, upto):
            yield from rows
            after = rows[-1].position

    def record(self, position: int) -> Record | None:
        page = self._page(position - 1, position)
        return page[0] if page else None

    def last(self) -> Record | None:
        found = self._rows(_LAST, (self._place.fleet,))
        return self._opened.records_in(found[0])[-1] if found else None

    def stray(self) -> str | None:
        found = self._rows(_STRAY, (self._place.fleet,))
        return f"a row is at position {found[0].position}: it was put there by no writer of this log" if found else None

    def stage_snapshot(self, position: int, data: bytes) -> Iterator[None]:
        return iter(())

    def save_snapshot(self, position: int, data: bytes) -> None:
        table, fleet = Identifier(SNAPSHOTS), self._place.fleet
        newest = SQL(
            "SELECT originator_version FROM {} WHERE originator_id = %s ORDER BY originator_version DESC LIMIT %s"
        ).format(table)
        try:
            with self._fenced() as connection:
                # A later one is of a log that is gone, unless the log has come so far: then this one comes late.
                later = SQL(
                    "DELETE FROM {} WHERE originator_id = %s AND (originator_version = %s OR originator_version >"
                    " greatest(%s, (SELECT max(originator_version) FROM {} WHERE originator_id = %s)))"
                ).format(table, Identifier(EVENTS))
                connection.execute(later, (fleet, position, position, fleet))
                insert = SQL("INSERT INTO {} VALUES (%s, %s, 'snapshot.v1', %s)").format(table)
                connection.execute(insert, (fleet, position, data))
                older = SQL("DELETE FROM {} WHERE originator_id = %s AND originator_version NOT IN ({})")
                connection.execute(older.format(table, newest), (fleet, fleet, SNAPSHOTS_KEPT))
        except psycopg.Error as error:
            raise unwritten(self.named, "the snapshot", error) from error

    def snapshots(self, limit: int = SNAPSHOTS_KEPT) -> list[tuple[int, bytes]]:
        try:
            with self._database.reading() as cursor:
                found = cursor.execute(_SNAPSHOTS, (self._place.fleet, limit))
                return [(position, bytes(state)) for position, state in found]
        except psycopg.Error:
            return []  # a snapshot is a cache: one that cannot be read is not there

    def subscribe(self, after: int = 0) -> PostgresSubscription:
        is_writer = self._lease is not None
        return PostgresSubscription(self._place, self._database.notifier, self._page, after, is_writer)

    def close(self) -> None:
        if self._process != os.getpid():
            return  # the connections and the lease are those of the process that opened it
        if self._closed.is_set():
            return
        self._closed.set()
        if self._lease is not None:
            self._database.renewals.end(self._lease, self._database.writing)
        give_back(self._place, self._database)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _page(self, after: int, upto: int | None = None) -> list[Record]:
        """About ``PAGE`` records behind ``after``; none at the end of the log.

        Raises:
            BrokenChain: the first row is not what was written.
        """
        records, broken = self._opened.records_of(self._page_of_rows(after, upto), after, upto)
        if broken is not None and not records:
            raise broken
        return records

    def _page_of_rows(self, after: int, upto: int | None) -> list[Row]:
        """The rows of about ``PAGE`` records behind ``after``; none at the end of the log."""
        if upto is not None and upto <= after:
            return []
        enough = max(after + 1, after + PAGE if upto is None else min(after + PAGE, upto))
        fleet = self._place.fleet
        return self._rows(PAGE_OF_ROWS, (fleet, after, fleet, enough))

    def _rows(self, query: bytes, parameters: Sequence[object]) -> list[Row]:
        try:
            with self._database.reading() as cursor:
                return list(map(Row._make, cursor.execute(query, parameters)))
        except psycopg.Error as error:
            raise unread(self.named, error) from error

    def _check_there(self) -> None:
        """For a reader.

        Raises:
            NoFleet: there is no such fleet.
            psycopg.Error: the database cannot be reached, or refuses.
        """
        with closing(connect(self._place)) as connection:
            check_session(connection, self._place)
            if are_there(connection):
                query = "SELECT 1 FROM tallystick_writers WHERE fleet = %s"
                if connection.execute(query, (self._place.fleet,)).fetchone() is not None:
                    return
        found = f"the database has none named {self._place.fleet!r}, or none that this user may see"
        raise NoFleet(f"there is no fleet at {self.named}: {found}")

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _fenced(self) -> Iterator[Connection]:
        """A transaction in which the writer's place is ours."""
        with self._database.writing() as connection, connection.transaction():
            check_mine(connection, self._own_lease())
            yield connection

    @property
    def epoch(self) -> int:
        """That of a writer's lease."""
        return self._own_lease().epoch

    def _own_lease(self) -> Lease:
        assert self._lease is not None, "a reader does not write"
        return self._lease
