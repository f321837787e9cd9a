"""The index of sources in PostgreSQL: one table of all fleets, which also says how far each log is in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, LiteralString

import psycopg

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import Connection, unread, unwritten
from tallystick.events.log.store_contract import PAGE

_UPTO = ""
"""In place of a source, which is never empty: how far the log is in the index."""
_FIND = "SELECT position FROM tallystick_sources WHERE fleet = %s AND source = %s"
_PAGE = "SELECT source, position FROM tallystick_sources WHERE fleet = %s AND source > %s ORDER BY source LIMIT %s"
ADDED: Final = (
    "INSERT INTO tallystick_sources SELECT mine.fleet, one.* FROM mine, unnest(%s::text[], %s::bigint[]) AS one"
    " ON CONFLICT (fleet, source) DO UPDATE SET position = excluded.position"
)
"""What puts entries into the index, of a writer whose place is ``mine``."""
_ADD = f"WITH mine AS (SELECT %s::text AS fleet) {ADDED}"

Reading = Callable[[], AbstractContextManager["psycopg.Cursor[tuple[Any, ...]]"]]
"""Lends a cursor for one statement that reads."""


class PostgresSources:
    """See `store_contract.SourceIndex`. ``fenced`` gives a transaction in which the writer's place is ours."""

    def __init__(
        self, reading: Reading, place: PostgresPlace, fenced: Callable[[], AbstractContextManager[Connection]]
    ) -> None:
        self._reading, self._place, self._fenced = reading, place, fenced

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
        self._write(_ADD, self._place.fleet, *entered(entries, upto))

    def clear(self) -> None:
        self._write("DELETE FROM tallystick_sources WHERE fleet = %s", self._place.fleet)

    def _write(self, statement: LiteralString, *parameters: Any) -> None:
        try:
            with self._fenced() as connection:
                connection.execute(statement, parameters)
        except psycopg.Error as error:
            raise unwritten(self._place.named, "the index of sources", error) from error

    def _read(self, statement: LiteralString, source: str, *more: int) -> list[Any]:
        try:
            with self._reading() as cursor:
                return cursor.execute(statement, (self._place.fleet, source, *more)).fetchall()
        except psycopg.Error as error:
            raise unread(self._place.named, error) from error


def entered(entries: Sequence[tuple[str, int]], upto: int) -> tuple[list[str], list[int]]:
    """The rows for entries, and for how far the index goes. Of one source, the last entry counts."""
    positions = {**dict(entries), _UPTO: upto}
    return list(positions), list(positions.values())
