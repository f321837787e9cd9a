"""The fleets of a database: which there are, and where each is."""

import datetime as dt
import re
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

from tallystick.cluster.due import DueTimes
from tallystick.events.log.postgres_database import reading_from
from tallystick.events.log.postgres_place import PostgresPlace, place_of
from tallystick.events.log.postgres_tables import EVENTS
from tallystick.events.log.store_contract import StoreError
from tallystick.events.log.store_place import is_postgres, shown
from tallystick.events.log.store_postgres import PostgresStore

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAMES_ALLOWED: Final = (
    "a name of up to 64 letters, digits, dots, hyphens and underscores that begins with a letter or digit"
)
_IS_THERE: Final = SQL("SELECT 1 FROM {} WHERE originator_id = %s LIMIT 1").format(Identifier(EVENTS))
# From one name to the next by the primary key: the time depends on the number of fleets, not on that of events.
_NAMES: Final = SQL(
    "WITH RECURSIVE fleet(name) AS (SELECT min(originator_id) FROM {events} UNION ALL"
    " SELECT (SELECT min(originator_id) FROM {events} WHERE originator_id > fleet.name) FROM fleet"
    " WHERE fleet.name IS NOT NULL) SELECT name FROM fleet WHERE name IS NOT NULL"
).format(events=Identifier(EVENTS))


class Database:
    """A PostgreSQL database with many fleets. ``named`` is its URL without passwords.

    Raises:
        StoreError: the URL names no database of PostgreSQL, or a fleet in it.
    """

    def __init__(self, url: str) -> None:
        if not is_postgres(url):
            raise StoreError(f"--store: found {shown(url)}, allowed is a database: postgresql://HOST/DATABASE")
        if re.search(r"[?&]fleet=", url):
            raise StoreError("the store of a cluster is a database: name it without fleet=…")
        self.url = url
        self.place: PostgresPlace = place_of(url)
        self.named = self.place.named

    def url_of(self, fleet: str) -> str:
        """The URL of a fleet's log."""
        return f"{self.url}{'&' if '?' in self.url else '?'}fleet={fleet}"

    def writer(self, fleet: str) -> PostgresStore:
        """A fleet's log, to be written.

        Raises:
            WriterPresent: another process writes it, and goes on.
            StoreError: the database cannot be reached, or refuses.
        """
        return PostgresStore(self.url_of(fleet), writer=True)

    def say_closed(self, fleet: str, epoch: int, due_at: dt.datetime | None) -> None:
        """Say when a fleet that the writer of an epoch has closed has something to do by itself; None for never.

        Raises:
            StoreError: the database cannot be reached, or refuses.
        """
        times = DueTimes(self.place)
        try:
            times.closed(fleet, epoch, due_at)
        finally:
            times.close()

    def has(self, fleet: str) -> bool:
        """Whether a fleet was created.

        Raises:
            StoreError: the database cannot be reached.
        """
        try:
            with reading_from(self.place) as cursor:
                return cursor.execute(_IS_THERE, (fleet,)).fetchone() is not None
        except psycopg.errors.UndefinedTable:
            return False
        except psycopg.Error as error:
            raise self._failed(error) from error

    def names(self) -> list[str]:
        """All fleets that were created, by name.

        Raises:
            StoreError: the database cannot be reached.
        """
        try:
            with reading_from(self.place) as cursor:
                return [row[0] for row in cursor.execute(_NAMES)]
        except psycopg.errors.UndefinedTable:
            return []
        except psycopg.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(f"{self.named} cannot be reached: {next(iter(str(error).splitlines()), '')}")
