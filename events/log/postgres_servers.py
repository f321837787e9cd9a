"""Which servers share a fleet in PostgreSQL: where its writer can be reached, and who stands by.

A server says each second that it is there. The writer's row has the epoch of its lease: so the address of a writer that
was replaced is never taken for that of the one that took its place.
"""

import uuid
from typing import Final, NamedTuple

import psycopg

from tallystick.events.log.postgres_place import PostgresPlace, place_of
from tallystick.events.log.postgres_tables import TABLES_LOCK, Connection, connect
from tallystick.events.log.store_contract import StoreError, holder

HERE_SECONDS: Final = 5.0
"""So long a server is there that does not say so again."""
_TABLE: Final = """CREATE TABLE IF NOT EXISTS tallystick_servers (
    fleet text, server text, holder text NOT NULL, url text NOT NULL, epoch bigint, position bigint NOT NULL,
    until timestamptz NOT NULL, PRIMARY KEY (fleet, server))"""
_SAY: Final = (
    "INSERT INTO tallystick_servers VALUES (%(fleet)s, %(server)s, %(holder)s, %(url)s, %(epoch)s, %(position)s,"
    " clock_timestamp() + %(seconds)s * interval '1 second') ON CONFLICT (fleet, server) DO UPDATE SET"
    " holder = excluded.holder, url = excluded.url, epoch = excluded.epoch, position = excluded.position,"
    " until = excluded.until"
)
_FORGET: Final = "DELETE FROM tallystick_servers WHERE fleet = %s AND until < clock_timestamp() - interval '1 hour'"
_LEAVE: Final = "DELETE FROM tallystick_servers WHERE fleet = %s AND server = %s"
_WRITER: Final = (
    "SELECT w.epoch, w.holder, extract(epoch FROM w.until - clock_timestamp())::float8, s.server, s.url"
    " FROM tallystick_writers AS w LEFT JOIN tallystick_servers AS s ON s.fleet = w.fleet AND s.epoch = w.epoch"
    " WHERE w.fleet = %s"
)
_STANDBYS: Final = (
    "SELECT url FROM tallystick_servers WHERE fleet = %s AND server <> %s AND epoch IS NULL"
    " AND until > clock_timestamp() ORDER BY position DESC, server"
)


class Writer(NamedTuple):
    """Who has the writer's place: whether it still has it is said by ``seconds_left``, which may be negative.

    ``server`` and ``url`` are None where it is no server, or has not said yet where it can be reached.
    """

    epoch: int
    holder: str
    seconds_left: float
    server: str | None
    url: str | None


class Servers:
    """The servers of one fleet, seen by one of them; for one thread, over a connection that is made anew when broken.

    Raises:
        StoreError: of each method, where the database cannot be reached or refuses.
    """

    def __init__(self, url: str) -> None:
        self._place: PostgresPlace = place_of(url)
        self.server = uuid.uuid4().hex
        """What this server is known by."""
        self._connection: Connection | None = None
        self._is_made = False

    def say(self, url: str, epoch: int | None, position: int) -> None:
        """Say that we are there: at ``url``, as the writer of an epoch or (None) as a standby that has read so far."""
        said = {
            "fleet": self._place.fleet,
            "server": self.server,
            "holder": holder(),
            "url": url,
            "epoch": epoch,
            "position": position,
            "seconds": HERE_SECONDS,
        }
        try:
            connection = self._with_table()
            connection.execute(_SAY, said)
            connection.execute(_FORGET, (self._place.fleet,))
        except psycopg.Error as error:
            raise self._failed(error) from error

    def writer(self) -> Writer | None:
        """Who has, or had last, the writer's place; None where the fleet never had one."""
        try:
            if self._connected().execute("SELECT to_regclass('tallystick_writers')").fetchone() == (None,):
                return None
            row = self._with_table().execute(_WRITER, (self._place.fleet,)).fetchone()
        except psycopg.Error as error:
            raise self._failed(error) from error
        return None if row is None else Writer(*row)

    def standbys(self) -> list[str]:
        """Where the other standbys are that are there now, the one that has read farthest first."""
        try:
            rows = self._with_table().execute(_STANDBYS, (self._place.fleet, self.server)).fetchall()
        except psycopg.Error as error:
            raise self._failed(error) from error
        return [url for (url,) in rows]

    def close(self) -> None:
        """Be there no more. Where the database is away, that shows by itself."""
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.execute(_LEAVE, (self._place.fleet, self.server))
        except psycopg.Error:
            pass
        finally:
            if self._connection is not None:
                self._connection.close()

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._place)
            # What is said here need not survive a crash of the database: it is said again within a second.
            self._connection.execute("SET synchronous_commit = off")
        return self._connection

    def _with_table(self) -> Connection:
        connection = self._connected()
        if not self._is_made:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (TABLES_LOCK,))
                connection.execute(_TABLE)
            self._is_made = True
        return connection

    def _failed(self, error: Exception) -> StoreError:
        if self._connection is not None:
            self._connection.close()
        why = next(iter(str(error).splitlines()), "") or "the connection was closed"
        return StoreError(f"{self._place.named}: the servers of the fleet could not be asked for: {why}")
