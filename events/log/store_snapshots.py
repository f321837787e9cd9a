"""Snapshots in a SQLite file: one row each, and the bytes of large ones in rows beside them, written before."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from eventsourcing.domain import EventSourcingError
from eventsourcing.sqlite import SQLiteAggregateRecorder

from tallystick.events.log.store_connections import FleetFile
from tallystick.events.log.store_contract import SNAPSHOTS_KEPT, STREAM, StoreError

PART_BYTES: Final = 1 << 18
"""Of a snapshot, so much is written in one transaction: about a millisecond."""
_WHOLE, _IN_PARTS = "snapshot.v1", "snapshot.v2"
_REMOVED_PER_PART: Final = 2
"""So many parts of snapshots that are there no more go with each that comes."""


class SqliteSnapshots:
    """See `store_contract.Store` for what `stage` and `save` do."""

    def __init__(self, datastore: FleetFile, named: str) -> None:
        self._datastore = datastore
        self._named = named
        self._rows = SQLiteAggregateRecorder(datastore, events_table_name="snapshots")

    def create_table(self) -> None:
        self._rows.create_table()
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS snapshot_parts (position INTEGER, part INTEGER, data BLOB)")

    def stage(self, position: int, data: bytes) -> Iterator[None]:
        for number, start in enumerate(range(0, len(data), PART_BYTES)):
            try:
                with self._datastore.transaction(commit=True) as cursor:
                    if not number:
                        cursor.execute("DELETE FROM snapshot_parts WHERE position=?", (position,))
                    cursor.execute(
                        "DELETE FROM snapshot_parts WHERE rowid IN (SELECT rowid FROM snapshot_parts WHERE position<>?"
                        " AND position NOT IN (SELECT originator_version FROM snapshots) LIMIT ?)",
                        (position, _REMOVED_PER_PART),
                    )
                    part = data[start : start + PART_BYTES]
                    cursor.execute("INSERT INTO snapshot_parts VALUES (?,?,?)", (position, number, part))
            except (EventSourcingError, sqlite3.Error) as error:
                raise self._unwritten(error) from error
            yield

    def save(self, position: int, data: bytes) -> None:
        try:
            with self._datastore.transaction(commit=True) as cursor:
                cursor.execute("SELECT sum(length(data)) FROM snapshot_parts WHERE position=?", (position,))
                is_there = cursor.fetchone()[0] == len(data)
                # A later one is of a log that is gone, unless the log has come so far: then this one comes late.
                cursor.execute(
                    "DELETE FROM snapshots WHERE originator_version=?1 OR originator_version>max(?1, ifnull("
                    "(SELECT max(originator_version) FROM stored_events WHERE originator_id=?2), 0))",
                    (position, STREAM),
                )
                topic, state = (_IN_PARTS, b"") if is_there else (_WHOLE, data)
                cursor.execute("INSERT INTO snapshots VALUES (?,?,?,?)", (STREAM, position, topic, state))
                cursor.execute(
                    "DELETE FROM snapshots WHERE originator_version NOT IN"
                    " (SELECT originator_version FROM snapshots ORDER BY originator_version DESC LIMIT ?)",
                    (SNAPSHOTS_KEPT,),
                )
        except (EventSourcingError, sqlite3.Error) as error:
            raise self._unwritten(error) from error

    def newest(self, limit: int) -> list[tuple[int, bytes]]:
        """Positions and bytes. A snapshot is a cache: one that cannot be read is not there."""
        try:
            stored = self._rows.select_events(STREAM, desc=True, limit=limit)
            return [
                (row.originator_version, self._joined(row.originator_version) if row.topic == _IN_PARTS else row.state)
                for row in stored
            ]
        except (EventSourcingError, sqlite3.Error):
            return []

    def _joined(self, position: int) -> bytes:
        with self._datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT data FROM snapshot_parts WHERE position=? ORDER BY part", (position,))
            return b"".join(row[0] for row in cursor.fetchall())

    def _unwritten(self, error: Exception) -> StoreError:
        return StoreError(f"{self._named}: the snapshot could not be written: {str(error) or 'it was closed'}")
