"""Names of agents and tasks for completion, out of a PostgreSQL database."""

from contextlib import closing
from typing import Any, Final

import psycopg

from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import Connection, connect
from tallystick.projections.store.names_in_rows import names_in

_WAIT: Final = "500ms"
"""How long a statement may take: somebody waits at a command line."""
_IN_VIEWS: Final = (
    "SELECT id FROM tallystick_shown WHERE fleet = %s AND view = %s AND starts_with(id, %s) AND row->>%s = id"
)
_IN_LOG: Final = (
    "SELECT topic, state FROM tallystick_events WHERE originator_id = %s AND originator_version >"
    " (SELECT max(originator_version) - %s FROM tallystick_events WHERE originator_id = %s)"
)


def names_in_database(url: str, topic: str, field: str, view: str, begins_with: str, records: int) -> list[str]:
    """The names that begin so, in their order: those of a view, and those that the newest records begin with.

    Raises:
        StoreError: the URL is not understood.
    """
    place = place_of(url)
    try:
        with closing(connect(place)) as connection:
            connection.execute(f"SET statement_timeout = '{_WAIT}'")
            shown = {name for (name,) in _rows(connection, _IN_VIEWS, (place.fleet, view, begins_with, field))}
            newest = _rows(connection, _IN_LOG, (place.fleet, records, place.fleet))
            return sorted(shown.union(name for name in names_in(newest, topic, field) if name.startswith(begins_with)))
    except psycopg.Error:
        return []


def _rows(connection: Connection, query: str, parameters: tuple[str | int, ...]) -> list[Any]:
    """What a query finds; nothing where there is no such table yet."""
    try:
        return connection.execute(query.encode(), parameters, binary=True).fetchall()
    except psycopg.Error:
        return []
