"""What is defined in a database around the tables of tallystick, compared with what tallystick defines there.

A trigger or rule changes what is written; a view that was redefined shows a reader what is not in the log.
"""

from collections.abc import Iterator
from contextlib import closing

import psycopg

from tallystick.audit.objects import OddObject
from tallystick.events.log.postgres_log_view import LOG
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import Connection, connect
from tallystick.projections.store.view_postgres_tables import SHOWN

_ADDED = """
SELECT 'trigger', tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal
    AND relname LIKE 'tallystick\\_%' AND pg_table_is_visible(pg_class.oid)
UNION ALL
SELECT 'rule', rulename, relname FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class WHERE rulename <> '_RETURN'
    AND relname LIKE 'tallystick\\_%' AND pg_table_is_visible(pg_class.oid)
ORDER BY 3, 1, 2"""


def odd_objects_of_database(url: str) -> Iterator[OddObject]:
    """What is defined there otherwise than tallystick defines it; nothing is kept, and no data is read."""
    place = place_of(url)
    try:
        with closing(connect(place)) as connection:
            for kind, name, table in connection.execute(_ADDED).fetchall():
                yield OddObject(f"the {kind} {name} on {table} in {place.named} is none of tallystick's")
            for view, ours in (("tallystick_shown", SHOWN), ("tallystick_log", LOG)):
                found = _redefined(connection, view, ours)
                if found is not None:
                    text = "is defined otherwise than tallystick defines it"
                    yield OddObject(f"the view {view} in {place.named} {text}: {found}")
    except psycopg.Error:
        return  # who may not look there, or make a view to compare with, cannot say


def _redefined(connection: Connection, view: str, ours: str) -> str | None:
    """The definition of a view that other programs read, on one line; None where it is ours, or not there."""
    found = connection.execute("SELECT pg_get_viewdef(to_regclass(%s))", (view,)).fetchone()
    if found is None or found[0] is None:
        return None
    connection.execute(f"CREATE TEMPORARY VIEW our_{view} AS {ours}".encode())  # it ends with the connection
    made = connection.execute("SELECT pg_get_viewdef(to_regclass(%s))", (f"our_{view}",)).fetchone()
    return None if found == made else " ".join(found[0].split())
