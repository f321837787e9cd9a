"""The index of sources in PostgreSQL: one table of all fleets, which also says how far each log is in it."""

from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import psycopg

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import Tables, connect, unread, why
from tallystick.events.log.store_contract import PAGE, StoreError

_UPTO = ""
"""In place of a source, which is never empty: how far the log is in the index."""
_FIND = "SELECT position FROM tallystick_sources WHERE fleet = %s AND source = %s"
_PAGE = "SELECT source, position FROM tallystick_sources WHERE fleet = %s AND source > %s ORDER BY source LIMIT %s"
_ADD = (
    "INSERT INTO tallystick_sources SELECT %s, * FROM unnest(%s::text[], %s::bigint[])"
    " ON CONFLICT (fleet, source) DO UPDATE SET position = excluded.position"
)


class PostgresSources:
    """See `store_contract.SourceIndex`."""

    def __init__(self, tables: Tables, place: PostgresPlace) -> None:
        self._tables, self._place = tables, place

    def find(self, source: str) -> int | None:
        found = self._read(_FIND, source)
        return int(found[0][0]) if found else None

    def entries(self) -> Iterator[tuple[str, int]]:
        after = _UPTO
        while page := self._read(_PAGE, after, PAGE):
            yield from page
            after = page[-1][0]

    def upto(self) -> int:
        return self.find(_UPTO) or 0

    def add(self, entries: Sequence[tuple[str, int]], upto: int) -> None:
        try:
            with connect(self._place) as connection:
                connection.execute(*adding(self._place.fleet, entries, upto))
        except psycopg.Error as error:
            raise self._unwritten(error) from error

    def clear(self) -> None:
        try:
            with connect(self._place) as connection:
                connection.execute("DELETE FROM tallystick_sources WHERE fleet = %s", (self._place.fleet,))
        except psycopg.Error as error:
            raise self._unwritten(error) from error

    def _read(self, statement: LiteralString, source: str, *more: int) -> list[Any]:
        try:
            with self._tables.reading() as cursor:
                return cursor.execute(statement, (self._place.fleet, source, *more)).fetchall()
        except psycopg.Error as error:
            raise unread(self._place.named, error) from error

    def _unwritten(self, error: Exception) -> StoreError:
        return StoreError(f"{self._place.named}: the index of sources could not be written: {why(error)}")


def adding(fleet: str, entries: Sequence[tuple[str, int]], upto: int) -> tuple[LiteralString, tuple[Any, ...]]:
    """The statement that puts entries into the index, and how far it goes. Of one source, the last entry counts."""
    positions = {**dict(entries), _UPTO: upto}
    return _ADD, (fleet, list(positions), list(positions.values()))
