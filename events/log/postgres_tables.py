"""The tables of all fleets of a PostgreSQL database, and connections to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool, PoolTimeout

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.store_contract import StoreAway, StoreError

EVENTS: Final = "tallystick_events"
SNAPSHOTS: Final = "tallystick_snapshots"
CONNECT_SECONDS: Final = 5
_LOCK: Final = 0x74616C6C79
"""The advisory lock under which tables are made: two who make one at the same time disturb each other."""
_READERS: Final = 4
_WRITERS: Final = """CREATE TABLE IF NOT EXISTS tallystick_writers (
    fleet text PRIMARY KEY, epoch bigint NOT NULL, holder text NOT NULL, since timestamptz NOT NULL,
    until timestamptz NOT NULL)"""
_SOURCES: Final = """CREATE TABLE IF NOT EXISTS tallystick_sources (
    fleet text, source text COLLATE "C", position bigint NOT NULL, PRIMARY KEY (fleet, source))"""

Connection = psycopg.Connection[tuple[Any, ...]]
BROKEN: Final = (psycopg.OperationalError, psycopg.InterfaceError)
"""What a statement raises where the connection or the server is gone, or is just coming."""


def connect(place: PostgresPlace) -> Connection:
    """A connection of one's own, outside any transaction, whose commits are synced before they are answered.

    Raises:
        psycopg.Error: the database cannot be reached, or refuses.
    """
    connection = psycopg.connect(
        place.database,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        row_factory=tuple_row,
        # A server that has vanished without a word is noticed within seconds.
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )
    # A transaction whose client has vanished holds its rows no longer than this.
    connection.execute("SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '5s'")
    return connection


def why(error: Exception) -> str:
    """What a database said, or what came between, in one line."""
    return next(iter(str(error).splitlines()), "") or "it was closed"


def unread(named: str, error: Exception) -> StoreError:
    """What to say where something could not be read: whether that may end by itself."""
    kind = StoreAway if isinstance(error, BROKEN) else StoreError
    return kind(f"{named} could not be read: {why(error)}")


class Tables(PostgresDatastore):
    """The library's datastore over a database that a URL names, with its options."""

    def __init__(self, place: PostgresPlace) -> None:
        super().__init__("", "", "", "", "", originator_id_type="text", connect_timeout=CONNECT_SECONDS)
        self.pool.close()
        self._place = place
        self.pool = ConnectionPool(  # type: ignore[assignment]
            place.database,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS},
            min_size=0,
            max_size=_READERS,
            timeout=CONNECT_SECONDS,
            reconnect_timeout=CONNECT_SECONDS,
            open=False,
            check=ConnectionPool.check_connection,
        )
        self._recorders = [PostgresAggregateRecorder(self, events_table_name=name) for name in (EVENTS, SNAPSHOTS)]

    def register_type_adapters(self) -> None:
        """Rows are written by statements of our own, which need none of the library's types."""

    def create(self, connection: Connection) -> None:
        """Make the tables that are not there."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            found = connection.execute("SELECT to_regclass('tallystick_sources')").fetchone()
            if found is not None and found[0] is not None:
                return
            for recorder in self._recorders:
                connection.execute(recorder.sql_create_statements[recorder.create_table_statement_index])
            connection.execute(_WRITERS)
            connection.execute(_SOURCES)

    @contextmanager
    def reading(self) -> Iterator["psycopg.Cursor[tuple[Any, ...]]"]:
        """A cursor for one statement that reads.

        Raises:
            psycopg.Error: the database is away, or refuses.
        """
        self.pool.open()
        try:
            connection = self.pool.getconn()
        except PoolTimeout:
            connect(self._place).close()  # it says why
            raise
        try:
            with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
                yield cursor
        finally:
            self.pool.putconn(connection)
