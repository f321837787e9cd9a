"""A fleet whose log is in PostgreSQL, beside psycopg that copies the same records in; and many fleets beside one.

`python -m benchmarks.postgres` runs it alone. It needs PostgreSQL's programs (Debian: postgresql).
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg.sql import SQL

from benchmarks.load import AGENTS, RICH, SECONDS, Load
from benchmarks.result import Result, alternating, quiet
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import Record, Store, open_store
from tests.support.postgres import PostgresServer, programs, running

BATCH = 1_000
FLEETS = 24
ROUNDS = 5
_COPY = SQL("COPY copied FROM STDIN (FORMAT BINARY)")


@contextmanager
def running_load(server: PostgresServer) -> Iterator[tuple[Load, Store]]:
    """A live fleet in a database, with its specialists at work."""
    url = server.url(fleet="load")
    with Fleet.open(url, from_mapping(RICH), notify=False) as fleet:
        yield Load(fleet, AGENTS), open_store(url)


class RawCopy:
    """The least that writing records to PostgreSQL takes: one COPY and one commit per batch, and nothing else."""

    def __init__(self, server: PostgresServer, records: Sequence[Record]) -> None:
        self._records, self._copies = records, 0
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
                for record in self._records:
                    copy.write_row((f"copy-{self._copies}", *record))
            done += len(self._records)
        return done / (time.perf_counter() - began)


def one_at_a_time(stores: Sequence[Store], record: Record) -> float:
    """Transactions per second of a thread for each store that appends one record after the other."""
    done, counting, end = [0], threading.Lock(), time.perf_counter() + SECONDS

    def append(store: Store) -> None:
        last = store.last()
        position, count = 0 if last is None else last.position, 0
        while time.perf_counter() < end:
            position, count = position + 1, count + 1
            store.append([Record(position, record.name, record.data)])
        with counting:
            done[0] += count

    began = time.perf_counter()
    threads = [threading.Thread(target=append, args=(store,)) for store in stores]
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
        with ExitStack() as open_stores:
            stores = [open_store(server.url(fleet=f"fleet-{n}"), writer=True) for n in range(FLEETS)]
            for one in stores:
                open_stores.callback(one.close)
            value, _, ratio = alternating(
                lambda: one_at_a_time(stores, records[0]), lambda: one_at_a_time(stores[:1], records[0]), ROUNDS
            )
        yield Result("pg.24_fleets", value, "commits/s", "one fleet", ratio, (">=", 10.0))


if __name__ == "__main__":
    quiet()
    for result in results():
        print(f"{result.name}: {result.value:,.0f} {result.unit}, ratio {result.ratio:.2f}, goal {result.shown_goal}")
