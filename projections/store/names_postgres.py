"""Names of agents and tasks for completion, out of a PostgreSQL database."""

from contextlib import closing
from typing import Final

import psycopg

from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import Connection, connect

_WAIT: Final = "500ms"
"""How long a statement may take: somebody waits at a command line."""
_IN_VIEWS: Final = (
    "SELECT id FROM tallystick_shown WHERE fleet = %s AND view = %s AND starts_with(id, %s) AND row->>%s = id"
)
_IN_LOG: Final = (
    "SELECT DISTINCT name FROM (SELECT convert_from(state, 'UTF8')::json->>%s AS name FROM tallystick_events"
    " WHERE originator_id = %s AND starts_with(topic, %s) AND originator_version >"
    " (SELECT max(originator_version) - %s FROM tallystick_events WHERE originator_id = %s)) AS newest"
    " WHERE starts_with(name, %s)"
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
            found = _names(connection, _IN_VIEWS, (place.fleet, view, begins_with, field))
            newest = (field, place.fleet, topic, records, place.fleet, begins_with)
            return sorted(found | _names(connection, _IN_LOG, newest))
    except psycopg.Error:
        return []


def _names(connection: Connection, query: str, parameters: tuple[str | int, ...]) -> set[str]:
    """What a query finds; nothing where there is no such table yet."""
    try:
        return {name for (name,) in connection.execute(query.encode(), parameters)}
    except psycopg.Error:
        return set()
