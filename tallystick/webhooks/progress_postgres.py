"""How far the webhooks of a fleet are, in the PostgreSQL database of its log: a row for each."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import psycopg

from tallystick.events.log.postgres_database import give_back, shared
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import TABLES_LOCK, Connection, unread, unwritten
from tallystick.webhooks.progress import Progress

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS tallystick_webhooks"
    " (fleet text, name text, progress jsonb NOT NULL, PRIMARY KEY (fleet, name))"
)
_READ: Final = "SELECT name, progress::text FROM tallystick_webhooks WHERE fleet = %s"
# What a process says late, whose place another has taken, takes nothing back.
_KEEP: Final = (
    "INSERT INTO tallystick_webhooks AS kept VALUES (%s, %s, %s::jsonb)"
    " ON CONFLICT (fleet, name) DO UPDATE SET progress = excluded.progress"
    " WHERE coalesce((kept.progress->>'position')::bigint, 0)"
    " <= coalesce((excluded.progress->>'position')::bigint, 0)"
)
_DROP: Final = "DELETE FROM tallystick_webhooks WHERE fleet = %s AND name = %s"


class KeptInDatabase:
    """It shares the connections of the process to the database."""

    def __init__(self, url: str) -> None:
        self._place = place_of(url)
        self._database = shared(self._place)
        self._is_made = False

    def load(self) -> Mapping[str, Progress]:
        try:
            with self._database.reading() as cursor:
                rows = cursor.execute(_READ, (self._place.fleet,)).fetchall()
        except psycopg.errors.UndefinedTable:
            return {}  # nothing was ever sent from this database
        except psycopg.Error as error:
            raise unread(self._place.named, error) from error
        return {name: msgspec.json.decode(text, type=Progress) for name, text in rows}

    def keep(self, name: str, progress: Progress) -> None:
        self._write(_KEEP, self._place.fleet, name, msgspec.json.encode(progress).decode())

    def drop(self, name: str) -> None:
        if name in self.load():
            self._write(_DROP, self._place.fleet, name)

    def close(self) -> None:
        give_back(self._place, self._database)

    def _write(self, statement: Any, *values: str) -> None:
        try:
            with self._database.writing() as connection:
                if not self._is_made:
                    self._make(connection)
                connection.execute(statement, values)
        except psycopg.Error as error:
            raise unwritten(self._place.named, "how far webhooks are", error) from error

    def _make(self, connection: Connection) -> None:
        # A user who may make no tables may use one that is there.
        if connection.execute("SELECT to_regclass('tallystick_webhooks')").fetchone() == (None,):
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (TABLES_LOCK,))
                connection.execute(_TABLE)
        self._is_made = True
