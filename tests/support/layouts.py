"""Files of fleets in the layout of older versions: each record in a row of its own."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tallystick.events.log.store import Record, open_store
from tallystick.events.log.store_segments import VIEW_BEFORE


def body_of(record: Record) -> bytes:
    """What the digest of a record is made of, beside the digest before it."""
    return record.data.rpartition(b',"digest":"')[0]


def put_each_in_a_row(file: Path) -> None:
    """Store a fleet's records as older versions did."""
    with closing(open_store(f"sqlite:///{file}")) as store:
        records = list(store.read())
    with closing(sqlite3.connect(file)) as connection, connection:
        archived = connection.execute("SELECT ifnull(max(upto), 0) FROM archives").fetchone()[0]
        connection.execute("DELETE FROM stored_events")
        rows = [(record.position, *record) for record in records if record.position > archived]
        connection.executemany(
            "INSERT INTO stored_events (rowid, originator_id, originator_version, topic, state)"
            " VALUES (?, 'fleet', ?, ?, ?)",
            rows,
        )
        connection.execute("DROP VIEW log")
        connection.execute(VIEW_BEFORE)
