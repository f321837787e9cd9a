"""A fleet whose log is in PostgreSQL, beside psycopg that copies the same events in; and many fleets beside one.

`python -m benchmarks.postgres` runs it alone. It needs PostgreSQL's programs (Debian: postgresql).
"""

import hashlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.load import AGENTS, RICH, SECONDS, Load, Stored
from benchmarks.result import Result, alternating, quiet
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import Record, Store, open_store
from tallystick.events.log.store_segments import rows_of
from tests.support.postgres import PostgresServer, programs, running

BATCH = 1_000
FLEETS = 24
ROUNDS = 5
SYNCS = 200
_INSERT = "INSERT INTO inserted VALUES (%s, %s, %s, %s)"
_COPY = SQL("COPY {} FROM STDIN (FORMAT BINARY)")
_TYPES = ("text", "int8", "text", "bytea")


@contextmanager
def running_load(server: PostgresServer) -> Iterator[tuple[Load, Store]]:
    """A live fleet in a database, with its specialists at work."""
    url = server.url(fleet="load")
    with Fleet.open(url, from_mapping(RICH), notify=False) as fleet:
        yield Load(fleet, AGENTS), open_store(url)


class RawCopy:
    """The least that a program does which writes these events by COPY, a row for each: no fleet, no queue, no replies.

    One thread takes each event as an object, encodes it, chains its SHA-256 to the one before, and copies its bytes in
    as a row: 1,000 rows to a COPY, which is a transaction. The bytes are those that our path stores of it (`Stored`).
    """

    def __init__(self, server: PostgresServer, stored: Stored) -> None:
        self._stored, self._position, self._digest = stored, 0, bytes(32)
        self._connection = _with_table(server, "copied")

    def rate(self) -> float:
        """Events per second."""
        made, encode, sha256, name = self._stored.make, self._stored.encode, hashlib.sha256, self._stored.name
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            with self._connection.cursor() as cursor, cursor.copy(_COPY.format(Identifier("copied"))) as copy:
                copy.set_types(_TYPES)
                for i in range(BATCH):
                    state = encode(made(i))
                    self._digest = sha256(self._digest + state).digest()
                    self._position += 1
                    copy.write_row(("copy", self._position, name, state))
            done += BATCH
        return done / (time.perf_counter() - began)


class ReadyRows:
    """The least that the server and the disk take: COPY of rows that are ready, 64 records packed in each.

    They are the rows that our path stores, made once and before: nothing is taken, encoded, chained or packed.
    """

    def __init__(self, server: PostgresServer, records: Sequence[Record]) -> None:
        self._rows, self._records, self._copies = rows_of(records), len(records), 0
        self._connection = _with_table(server, "ready")

    def rate(self) -> float:
        """Records per second, one COPY and one commit for ``records``."""
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            self._copies += 1
            with self._connection.cursor() as cursor, cursor.copy(_COPY.format(Identifier("ready"))) as copy:
                copy.set_types(_TYPES)
                for row in self._rows:
                    copy.write_row((f"copy-{self._copies}", *row))
            done += self._records
        return done / (time.perf_counter() - began)


def _with_table(server: PostgresServer, name: str) -> psycopg.Connection:
    """A connection, and a table as that of our events: large values lie beside their rows, and are not compressed."""
    connection = psycopg.connect(place_of(server.url()).database, autocommit=True)
    table = Identifier(name)
    columns = SQL("(fleet text, position bigint, name text, data bytea, PRIMARY KEY (fleet, position))")
    connection.execute(SQL("CREATE TABLE {} {}").format(table, columns))
    connection.execute(SQL("ALTER TABLE {} ALTER COLUMN data SET STORAGE EXTERNAL").format(table))
    return connection


class RawTransactions:
    """The least that an event per transaction takes: threads with a connection each, and one INSERT after the other."""

    def __init__(self, server: PostgresServer, record: Record, connections: int) -> None:
        self._record, self._position = record, 0
        database = place_of(server.url()).database
        self._connections = [_with_table(server, "inserted")]
        self._connections += [psycopg.connect(database, autocommit=True) for _ in range(connections - 1)]

    def rate(self) -> float:
        """Transactions per second of all connections."""
        self._position += 1_000_000

        def inserter(number: int, connection: psycopg.Connection) -> Callable[[], None]:
            positions = count(self._position)
            name, data = self._record.name, self._record.data

            def insert() -> None:
                connection.execute(_INSERT, (f"insert-{number}", next(positions), name, data), prepare=True)

            return insert

        return together([inserter(number, one) for number, one in enumerate(self._connections)])

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def sync_seconds(server: PostgresServer) -> float:
    """What the disk takes for a sync, as the server sees it: how much longer a commit takes that waits for it."""
    with psycopg.connect(place_of(server.url()).database, autocommit=True) as connection:
        connection.execute("CREATE TABLE synced (number int)")

        def commit() -> float:
            began = time.perf_counter()
            connection.execute("INSERT INTO synced VALUES (1)", prepare=True)
            return time.perf_counter() - began

        seconds = []
        for setting in ("off", "on"):
            connection.execute(f"SET synchronous_commit = {setting}".encode())
            seconds.append(statistics.median(commit() for _ in range(SYNCS)))
    return max(0.0, seconds[1] - seconds[0])


def appender(store: Store, record: Record) -> Callable[[], None]:
    """Appends a record at the end of a fleet's log, each time that it is called."""
    last = store.last()
    positions = count(1 if last is None else last.position + 1)
    return lambda: store.append([Record(next(positions), record.name, record.data)])


def together(works: Sequence[Callable[[], None]]) -> float:
    """How often per second threads do their work, each its own, one time after the other."""
    done, counting, began = [0], threading.Lock(), time.perf_counter()

    def repeat(work: Callable[[], None]) -> None:
        times = 0
        while time.perf_counter() < began + SECONDS:
            work()
            times += 1
        with counting:
            done[0] += times

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done[0] / (time.perf_counter() - began)


def results() -> Iterator[Result]:
    """What can be measured where PostgreSQL is installed; nothing where it is not."""
    if programs() is None:
        return
    with running() as server:
        with running_load(server) as (load, store):
            load.pipelined()
            last = store.last()
            assert last is not None
            records = list(store.read(last.position - BATCH))
            copy, ready = RawCopy(server, Stored(records[0])), ReadyRows(server, records)
            value, _, ratio = alternating(load.pipelined, copy.rate, ROUNDS)
            yield Result("pg.report.pipelined_1000", value, "commands/s", "COPY of 1,000 events", ratio, (">=", 0.25))
            value, _, ratio = alternating(load.pipelined, ready.rate, ROUNDS)
            yield Result("pg.report.pipelined_1000.ready_rows", value, "commands/s", "COPY of ready rows", ratio)
        yield from many_fleets(server, records[0])


def many_fleets(server: PostgresServer, record: Record) -> Iterator[Result]:
    """24 fleets that append one event per transaction, beside one of them, and beside 24 plain connections."""
    with ExitStack() as opened:
        stores = [open_store(server.url(fleet=f"fleet-{n}"), writer=True) for n in range(FLEETS)]
        for one in stores:
            opened.callback(one.close)
        raw = opened.enter_context(closing(RawTransactions(server, record, FLEETS)))

        def ours(used: Sequence[Store]) -> float:
            return together([appender(store, record) for store in used])

        value, _, ratio = alternating(lambda: ours(stores), lambda: ours(stores[:1]), ROUNDS)
        # How much they gain by sharing syncs depends on what a sync takes.
        against = f"one fleet, syncs of {sync_seconds(server) * 1e3:.2f} ms"
        yield Result("pg.24_fleets", value, "commits/s", against, ratio, (">=", 10.0))
        value, _, ratio = alternating(lambda: ours(stores), raw.rate, ROUNDS)
        yield Result("pg.24_fleets.raw", value, "commits/s", "24 connections of psycopg", ratio)


if __name__ == "__main__":
    quiet()
    for result in results():
        rate = f"{result.value:,.0f} {result.unit}"
        print(f"{result.name}: {rate}, {result.ratio:.2f} of {result.against}, goal {result.shown_goal}")
