"""When the fleets of a database have something to do by themselves: a row per fleet that a shard has had open.

So after any failure one statement says which fleets must be opened, and none has to be opened to see that it need not.
"""

import datetime as dt
from typing import Final

import psycopg

from tallystick.events.log.postgres_database import give_back, shared
from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import TABLES_LOCK, Connection, unread, unwritten

_TABLE: Final = "CREATE TABLE IF NOT EXISTS tallystick_due (fleet text PRIMARY KEY, at timestamptz)"
_INDEX: Final = "CREATE INDEX IF NOT EXISTS tallystick_due_at ON tallystick_due (at)"
_OPEN: Final = "infinity"
"""In place of a moment, while the fleet is open: its shard sees to what is due."""
# Only with the epoch of the newest writer: what one says late about a fleet that another has opened does not count.
_SAY: Final = (
    "WITH mine AS (SELECT fleet FROM tallystick_writers WHERE fleet = %(fleet)s AND epoch = %(epoch)s FOR KEY SHARE)"
    " INSERT INTO tallystick_due SELECT fleet, %(at)s FROM mine ON CONFLICT (fleet) DO UPDATE SET at = excluded.at"
)
# Where a fleet is open, its writer's lease is valid; where it has ended, its process has failed.
_DUE: Final = (
    "SELECT d.fleet FROM tallystick_due AS d JOIN tallystick_writers AS w ON w.fleet = d.fleet"
    " WHERE (d.at <= %s OR d.at = 'infinity') AND w.until <= clock_timestamp() ORDER BY d.at, d.fleet"
)


class DueTimes:
    """What shards say of their fleets, and ask of all. Any thread may use it.

    Raises:
        StoreError: of each method, where the database cannot be reached or refuses.
    """

    def __init__(self, place: PostgresPlace) -> None:
        self._place, self._database = place, shared(place)
        self._is_made = False

    def opened(self, fleet: str, epoch: int) -> None:
        """The writer of an epoch has the fleet open."""
        self._say(fleet, epoch, _OPEN)

    def closed(self, fleet: str, epoch: int, due_at: dt.datetime | None) -> None:
        """The writer of an epoch has closed the fleet, which has something to do at a moment, or (None) nothing."""
        self._say(fleet, epoch, due_at)

    def due(self, until: dt.datetime) -> list[str]:
        """The fleets that no process has open and that have something to do by ``until``, the earliest first; then
        those that were open when their process failed.
        """
        try:
            with self._database.reading() as cursor:
                return [name for (name,) in cursor.execute(_DUE, (until,))]
        except psycopg.errors.UndefinedTable:
            return []  # no shard has had a fleet open yet
        except psycopg.Error as error:
            raise unread(self._place.named, error) from error

    def close(self) -> None:
        """Let go of the database."""
        give_back(self._place, self._database)

    def _say(self, fleet: str, epoch: int, at: dt.datetime | str | None) -> None:
        try:
            with self._database.writing() as connection:
                if not self._is_made:
                    self._make(connection)
                connection.execute(_SAY, {"fleet": fleet, "epoch": epoch, "at": at})
        except psycopg.Error as error:
            raise unwritten(self._place.named, "when the fleet is due", error) from error

    def _make(self, connection: Connection) -> None:
        # A user who may make no tables may use one that is there.
        if connection.execute("SELECT to_regclass('tallystick_due')").fetchone() == (None,):
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (TABLES_LOCK,))
                connection.execute(_TABLE)
                connection.execute(_INDEX)
        self._is_made = True
