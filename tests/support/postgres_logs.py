"""What is in the database of tests."""

from typing import Any

import psycopg

from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store_segments import Row, records_in
from tests.support.store_processes import records


def ask(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What the database of a store answers to a statement."""
    with psycopg.connect(place_of(url).database, autocommit=True) as connection:
        done = connection.execute(statement, parameters)  # type: ignore[call-overload]
        return done.fetchall() if done.description else []


def written(url: str) -> list[tuple[int, bytes]]:
    """The log of a fleet: positions and bytes."""
    query = "SELECT originator_version, topic, state FROM tallystick_events WHERE originator_id = %s ORDER BY 1"
    rows = [Row(*row) for row in ask(url, query, place_of(url).fleet)]
    return [(record.position, record.data) for row in rows for record in records_in(row)]


def as_written(upto: int) -> list[tuple[int, bytes]]:
    """What `records` look like there."""
    return [(record.position, record.data) for record in records(1, upto)]
