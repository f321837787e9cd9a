"""What ``store info`` says of a fleet in a PostgreSQL database."""

from contextlib import closing
from typing import Any

import psycopg

from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import connect
from tallystick.events.log.postgres_writer import holder_of
from tallystick.events.log.store import StoreError
from tallystick.projections.store.runner import are_kept

_TABLES = (
    "SELECT current_database(), (SELECT count(*) FROM tallystick_writers), (SELECT sum(pg_total_relation_size(oid))"
    " FROM pg_class WHERE relkind = 'r' AND relname LIKE 'tallystick\\_%' AND pg_table_is_visible(oid))"
)
_VIEWS = "SELECT coalesce(sum(octet_length(row::text)), 0) FROM tallystick_shown WHERE fleet = %s"


def described_in_database(url: str) -> dict[str, Any]:
    """The database, who writes the fleet, and its views.

    ``database`` has the name, how many fleets are in it, and the bytes of the tables of all of them; ``views`` is the
    name of what other programs read, None where there are no views yet.

    Raises:
        StoreError: the database cannot be read.
    """
    place, holder, kept = place_of(url), holder_of(url), are_kept(url)
    try:
        with closing(connect(place)) as connection:
            row = connection.execute(_TABLES).fetchone()
            size = connection.execute(_VIEWS, (place.fleet,)).fetchone() if kept else None
    except psycopg.Error as error:
        raise StoreError(f"{place.named} cannot be read: {str(error).splitlines()[0]}") from error
    assert row is not None, "a query without FROM has a row"
    writer = {"holder": holder.holder, "since": holder.since.isoformat(timespec="seconds")} if holder else None
    return {
        "database": {"name": row[0], "fleets": row[1], "bytes": int(row[2])},
        "writer": writer and {**writer, "place": None, "runs": holder is not None and holder.is_valid},
        "copied": False,
        "views": "tallystick_shown" if kept else None,
        "views_bytes": None if size is None else int(size[0]),
    }
