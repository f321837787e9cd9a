"""The tables of all fleets of a PostgreSQL database, and connections to them."""

from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.store_contract import StoreAway, StoreError

EVENTS: Final = "tallystick_events"
SNAPSHOTS: Final = "tallystick_snapshots"
CONNECT_SECONDS: Final = 5
TABLES_LOCK: Final = 0x74616C6C79
"""The advisory lock under which tables are made: two who make one at the same time disturb each other."""
VERSION_MIN: Final = 12
"""Of the server. The tests run with the newest that is installed."""
_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS tallystick_events (
    originator_id text, originator_version bigint, topic text NOT NULL, state bytea NOT NULL,
    PRIMARY KEY (originator_id, originator_version))""",
    # The server would compress rows of many records, and take longer for that than for all else.
    "ALTER TABLE tallystick_events ALTER COLUMN state SET STORAGE EXTERNAL",
    """CREATE TABLE IF NOT EXISTS tallystick_snapshots (
    originator_id text, originator_version bigint, topic text NOT NULL, state bytea NOT NULL,
    PRIMARY KEY (originator_id, originator_version))""",
    # A new epoch is a new key: so who takes a place waits for an append that has seen the old one, and a renewal of the
    # lease, which changes no key, waits for none.
    """CREATE TABLE IF NOT EXISTS tallystick_writers (
    fleet text PRIMARY KEY, epoch bigint NOT NULL, holder text NOT NULL, since timestamptz NOT NULL,
    until timestamptz NOT NULL, UNIQUE (fleet, epoch))""",
    """CREATE TABLE IF NOT EXISTS tallystick_sources (
    fleet text, source text COLLATE "C", position bigint NOT NULL, PRIMARY KEY (fleet, source))""",
)
_OPTIONS: Final = {
    "connect_timeout": CONNECT_SECONDS,
    # A server that has vanished without a word is noticed within seconds.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Of libpq, where the URL does not say otherwise."""

Connection = psycopg.Connection[tuple[Any, ...]]
BROKEN: Final = (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction)
"""What a statement raises where the connection or the server is gone, or is just coming, or is no primary any more."""


def options_of(place: PostgresPlace) -> dict[str, Any]:
    """What every connection to a database is made with, beside its URL."""
    said = conninfo_to_dict(place.database)
    return {name: value for name, value in _OPTIONS.items() if name not in said} | {
        "autocommit": True,
        "client_encoding": "utf8",
        "row_factory": tuple_row,
    }


def connect(place: PostgresPlace) -> Connection:
    """A connection of one's own, outside any transaction, whose commits are synced before they are answered.

    Raises:
        psycopg.Error: the database cannot be reached, or refuses.
    """
    connection = psycopg.connect(place.database, **options_of(place))
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


def unwritten(named: str, what: str, error: Exception) -> StoreError:
    """What to say where something beside the log could not be written."""
    kind = StoreAway if isinstance(error, BROKEN) else StoreError
    return kind(f"{named}: {what} could not be written: {why(error)}")


def are_there(connection: Connection) -> bool:
    """Whether the tables are there: they are made together."""
    return connection.execute("SELECT to_regclass('tallystick_sources')").fetchone() != (None,)


def create_tables(connection: Connection, named: str) -> None:
    """Make the tables, where they are not there.

    Raises:
        StoreError: the server is too old, or the database does not hold every text.
    """
    version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
    if version < VERSION_MIN * 10_000:
        raise StoreError(f"{named}: found PostgreSQL {version // 10_000}, allowed is {VERSION_MIN} or newer")
    if encoding != "UTF8":
        raise StoreError(f"{named}: found a database with the encoding {encoding}, allowed is UTF8")
    if are_there(connection):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (TABLES_LOCK,))
        for table in _TABLES:
            connection.execute(table)
