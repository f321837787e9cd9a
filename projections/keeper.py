"""Where views are kept: a file of their own beside the log, or memory.

The file is `eventsourcing`'s tracking recorder with one table for the rows of all views. The rows that a page of events changed and the
position that the page reached are written in one transaction: whenever a projector is killed, its successor goes on
exactly there. All views of a file move together.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from eventsourcing.persistence import IntegrityError, PersistenceError, Tracking
from eventsourcing.sqlite import SQLiteCursor, SQLiteDatastore, SQLiteTrackingRecorder

from tallystick.events.store import StoreError
from tallystick.projections.view import Changes, Row

Versions = Mapping[str, int]
"""The version of each view, by its name."""


class Overtaken(Exception):
    """Another projector has moved the views on meanwhile: nothing of this page was written."""


class NotKept(StoreError):
    """The views' own file cannot be read or written; the log is not concerned."""


class Kept(NamedTuple):
    """All live rows, by view, at the position that they have reached, and the digest of the record there."""

    position: int
    digest: str
    rows: Mapping[str, list[bytes]]


NOTHING_KEPT = Kept(0, "", {})


class Keeper(Protocol):
    """What every place that keeps views does."""

    def live(self) -> Kept:
        """The live rows of all views, as of one position."""

    def row(self, view: str, id: str) -> bytes | None:
        """One row, live or not."""

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        """Write what the events behind ``after`` up to ``position`` changed, all or nothing.

        Raises:
            Overtaken: the views are not, or no longer, at ``after``.
            NotKept: it could not be written.
        """

    def reset(self) -> None:
        """Forget everything, so that the views are made again from the first event."""

    def close(self) -> None:
        """Let go of what is held open."""


class MemoryKeeper:
    """Keeps rows as long as the process lives."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {}
        self._position, self._digest = 0, ""

    def live(self) -> Kept:
        rows = {view: [row.data for _, row in sorted(kept.items()) if row.live] for view, kept in self._rows.items()}
        return Kept(self._position, self._digest, rows)

    def row(self, view: str, id: str) -> bytes | None:
        row = self._rows.get(view, {}).get(id)
        return None if row is None else row.data

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        if after != self._position:
            raise Overtaken(f"the views are at position {self._position}, not {after}")
        for view, rows in changes.items():
            kept = self._rows.setdefault(view, {})
            for id, row in rows.items():
                if row is None:
                    kept.pop(id, None)
                else:
                    kept[id] = row
        self._position, self._digest = position, digest

    def reset(self) -> None:
        self._rows.clear()
        self._position, self._digest = 0, ""

    def close(self) -> None:
        """Nothing is held but memory."""


class FileKeeper:
    """Keeps views in an SQLite file; rows of a version that is not ours are made again.

    Raises:
        NotKept: the file cannot be written, or is no file of views.
    """

    def __init__(self, path: str, versions: Versions) -> None:
        self._path = path
        with self._told("opened"):
            self._recorder = _Recorder(SQLiteDatastore(path), versions)
            self._recorder.prepare()

    def live(self) -> Kept:
        with self._told("read"):
            return self._recorder.live()

    def row(self, view: str, id: str) -> bytes | None:
        with self._told("read"):
            return self._recorder.row(view, id)

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        with self._told("written"):
            try:
                self._recorder.keep(changes, after, position, digest)
            except IntegrityError as error:
                raise Overtaken(str(error)) from error

    def reset(self) -> None:
        with self._told("written"):
            self._recorder.reset()

    def close(self) -> None:
        self._recorder.datastore.close()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (PersistenceError, sqlite3.Error, OSError) as error:
            raise NotKept(f"the views in {self._path} could not be {what}: {error}") from error


class _Recorder(SQLiteTrackingRecorder):
    """The library's tracking recorder, and the rows that go with the tracked positions."""

    def __init__(self, datastore: SQLiteDatastore, versions: Versions) -> None:
        super().__init__(datastore)
        self._names = tuple(f"{view}.v{version}" for view, version in versions.items())

    def construct_create_table_statements(self) -> list[str]:
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS reached (digest TEXT)",
            "CREATE TABLE IF NOT EXISTS kept (view TEXT, id TEXT, live INTEGER, row TEXT, PRIMARY KEY (view, id))",
            "CREATE INDEX IF NOT EXISTS live ON kept (view, id) WHERE live",
        ]

    def prepare(self) -> None:
        """Make the tables; forget rows that other versions of the views left there."""
        try:
            self.create_table()
        except IntegrityError:
            self.create_table()  # another process was making them at the same moment
        with self.datastore.transaction(commit=False) as cursor:
            position = self._tracked(cursor)
        if position is None:
            self.reset()

    def reset(self) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("DELETE FROM kept")
            cursor.execute("DELETE FROM reached")
            cursor.execute("DELETE FROM tracking WHERE application_name<>?", (self.table_migration_identifier,))
            cursor.execute("INSERT INTO reached VALUES ('')")
            for name in self._names:
                self._insert_tracking(cursor, Tracking(name, 0))

    def live(self) -> Kept:
        with self.datastore.transaction(commit=False) as cursor:
            position = self._reached(cursor)
            cursor.execute("SELECT digest FROM reached")
            digest: str = cursor.fetchone()[0]
            rows: dict[str, list[bytes]] = {}
            cursor.execute("SELECT view, row FROM kept WHERE live ORDER BY view, id")
            for view, row in cursor.fetchall():
                rows.setdefault(view, []).append(row.encode())
            return Kept(position, digest, rows)

    def row(self, view: str, id: str) -> bytes | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT row FROM kept WHERE view=? AND id=?", (view, id))
            found = cursor.fetchone()
            return None if found is None else found[0].encode()

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        """One transaction. Its first statement takes the file's one place to write; then it looks where the views are."""
        gone, kept = [], []
        for view, rows in changes.items():
            for id, row in rows.items():
                if row is None:
                    gone.append((view, id))
                else:
                    kept.append((view, id, row.live, row.data.decode()))
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("UPDATE reached SET digest=?", (digest,))
            if self._reached(cursor) != after:
                raise IntegrityError(f"the views have been moved on from position {after}")
            for name in self._names:
                self._insert_tracking(cursor, Tracking(name, position))
            cursor.executemany("DELETE FROM kept WHERE view=? AND id=?", gone)
            cursor.executemany("INSERT OR REPLACE INTO kept VALUES (?,?,?,?)", kept)

    def _reached(self, cursor: SQLiteCursor) -> int:
        position = self._tracked(cursor)
        if position is None:
            raise PersistenceError("another version of tallystick has taken them over")
        return position

    def _tracked(self, cursor: SQLiteCursor) -> int | None:
        """The position that all views have reached; None where they are not together, or not of these versions."""
        positions = {self._max_tracking_id(name, cursor) for name in self._names}
        return positions.pop() if len(positions) == 1 else None
