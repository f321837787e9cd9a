"""A fleet whose log is in PostgreSQL, beside psycopg that copies the same records in; and many fleets beside one.

`python -m benchmarks.postgres` runs it alone. It needs PostgreSQL's programs (Debian: postgresql).
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count

import psycopg
from psycopg.sql import SQL

from benchmarks.load import AGENTS, RICH, SECONDS, Load
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
_INSERT = "INSERT INTO inserted VALUES (%s, %s, %s, %s)"
_COPY = SQL("COPY copied FROM STDIN (FORMAT BINARY)")


@contextmanager
def running_load(server: PostgresServer) -> Iterator[tuple[Load, Store]]:
    """A live fleet in a database, with its specialists at work."""
    url = server.url(fleet="load")
    with Fleet.open(url, from_mapping(RICH), notify=False) as fleet:
        yield Load(fleet, AGENTS), open_store(url)


class RawCopy:
    """The least that writing records to PostgreSQL takes, in the rows in which they are stored.

    One COPY and one commit per batch, and nothing else.
    """

    def __init__(self, server: PostgresServer, records: Sequence[Record]) -> None:
        self._rows, self._records, self._copies = rows_of(records), len(records), 0
        self._connection = psycopg.connect(place_of(server.url()).database, autocommit=True)
        self._connection.execute(
            "CREATE TABLE copied (fleet text, position bigint, name text, data bytea, PRIMARY KEY (fleet, position))"
        )

    def rate(self) -> float:
        """Records per second."""
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            self._copies += 1
            with self._connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.set_types(("text", "int8", "text", "bytea"))
                for row in self._rows:
                    copy.write_row((f"copy-{self._copies}", *row))
            done += self._records
        return done / (time.perf_counter() - began)


class RawTransactions:
    """The least that an event per transaction takes: threads with a connection each, and one INSERT after the other."""

    def __init__(self, server: PostgresServer, record: Record, connections: int) -> None:
        self._record, self._position = record, 0
        database = place_of(server.url()).database
        self._connections = [psycopg.connect(database, autocommit=True) for _ in range(connections)]
        self._connections[0].execute(
            "CREATE TABLE inserted (fleet text, position bigint, name text, data bytea, PRIMARY KEY (fleet, position))"
        )

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
            raw = RawCopy(server, records)
            value, _, ratio = alternating(load.pipelined, raw.rate, ROUNDS)
        yield Result("pg.report.pipelined_1000", value, "commands/s", "psycopg's COPY", ratio, (">=", 0.25))
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
        yield Result("pg.24_fleets", value, "commits/s", "one fleet", ratio, (">=", 10.0))
        value, _, ratio = alternating(lambda: ours(stores), raw.rate, ROUNDS)
        yield Result("pg.24_fleets.raw", value, "commits/s", "24 connections of psycopg", ratio)


if __name__ == "__main__":
    quiet()
    for result in results():
        print(f"{result.name}: {result.value:,.0f} {result.unit}, ratio {result.ratio:.2f}, goal {result.shown_goal}")
