"""The tables of a file of views, on `eventsourcing`'s tracking recorder, which keeps the position of each side.

A side's *epoch* is raised whenever its views are exchanged, dropped or begun anew: a process that read them before that
can no longer write. Every transaction that writes begins with a statement that takes the file's one place to write, and
looks only then.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from eventsourcing.persistence import PersistenceError, Tracking
from eventsourcing.sqlite import (
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteTrackingRecorder,
)

from tallystick.events.log.store_connections import SqliteConnections
from tallystick.events.log.store_place import VIEWS_APPLICATION
from tallystick.projections.store.view_sides import (
    LIVE,
    REBUILT,
    Difference,
    Differs,
    KeptRow,
    Side,
    SideState,
)
from tallystick.projections.store.view_store import Overtaken
from tallystick.projections.views.view import Changes

LAYOUT: Final = 3
"""Of the tables below, and of the views' names. A file with an older one is begun anew: it is a cache."""
_TABLES: Final = (
    "CREATE TABLE sides (side TEXT PRIMARY KEY, digest TEXT, epoch INTEGER)",
    # An older program that still runs finds an epoch that it has never read.
    "INSERT INTO sides VALUES ('live', '', 3000000), ('rebuilt', '', 3000000)",
    "CREATE TABLE views (side TEXT, view TEXT, version INTEGER, copy INTEGER, PRIMARY KEY (side, view))",
    "CREATE TABLE kept (copy INTEGER, id TEXT, live INTEGER, row TEXT, PRIMARY KEY (copy, id))",
    "CREATE INDEX live ON kept (copy, id) WHERE live",
    "CREATE VIEW shown AS SELECT view, version, id, live, row FROM views JOIN kept USING (copy) WHERE side = 'live'",
)
TABLES: Final = frozenset({"tracking", "sides", "views", "kept", "live", "shown"})
"""What must be in a file of this layout."""
_OLDER: Final = frozenset({"tracking", "reached", "kept", "sides", "views"})
"""The tables of the layouts before this one."""
_LOCK_SECONDS: Final = 60
"""How long to wait for the file's one place to write: another process may be comparing many rows."""


class ViewsRecorder(SQLiteTrackingRecorder):
    """Rows, versions and positions of views, written together.

    Raises:
        PersistenceError, sqlite3.Error: the file cannot be read or written, or something else is in it.
    """

    def __init__(self, path: str) -> None:
        _check_ours(Path(path))
        datastore = SQLiteDatastore(path)
        datastore.pool.close()
        datastore.pool = SqliteConnections(path, "NORMAL", _LOCK_SECONDS)
        super().__init__(datastore)

    def construct_create_table_statements(self) -> list[str]:
        return [*super().construct_create_table_statements(), *_TABLES]

    def close(self) -> None:
        self.datastore.close()

    def prepare(self) -> None:
        """Make the tables, if they are not there."""
        with self.datastore.transaction(commit=False) as cursor:
            if _layout_of(cursor) == LAYOUT:
                return
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(f"PRAGMA application_id = {VIEWS_APPLICATION}")
            layout, tables = _layout_of(cursor), _tables(cursor)
            if layout == LAYOUT:
                return  # another process was making them at the same moment
            if layout > LAYOUT:
                raise PersistenceError("a newer version of tallystick keeps them")
            if tables - _OLDER:
                raise PersistenceError("there is something else in it")
            cursor.execute("DROP VIEW IF EXISTS shown")
            for table in tables:
                cursor.execute(f"DROP TABLE {table}")
            self._create_table(cursor)
            cursor.execute(f"PRAGMA user_version = {LAYOUT}")

    # --- what is there ------------------------------------------------------------------------------------------------

    def found(self, side: Side) -> SideState:
        with self.datastore.transaction(commit=False) as cursor:
            return self._found(cursor, side)

    def live(self, side: Side) -> tuple[SideState, dict[str, list[bytes]]]:
        """A side, and the live rows of its views by name, in the order of their ids."""
        with self.datastore.transaction(commit=False) as cursor:
            found = self._found(cursor, side)
            rows: dict[str, list[bytes]] = {}
            for view, copy in found.copies.items():
                cursor.execute("SELECT row FROM kept WHERE copy=? AND live ORDER BY id", (copy,))
                if live := [row.encode() for (row,) in cursor.fetchall()]:
                    rows[view] = live
            return found, rows

    def row(self, side: Side, view: str, id: str) -> bytes | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT row FROM kept WHERE copy = (SELECT copy FROM views WHERE side=? AND view=?) AND id=?",
                (side, view, id),
            )
            found = cursor.fetchone()
            return None if found is None else found[0].encode()

    def whole(self, side: Side, views: Iterable[str]) -> tuple[SideState, dict[str, list[bytes]]]:
        """A side, and all rows of some of its views by name, in the order of their ids."""
        with self.datastore.transaction(commit=False) as cursor:
            found = self._found(cursor, side)
            rows: dict[str, list[bytes]] = {}
            for view in views:
                cursor.execute("SELECT row FROM kept WHERE copy=? ORDER BY id", (found.copies.get(view),))
                rows[view] = [row.encode() for (row,) in cursor.fetchall()]
            return found, rows

    def between(self, side: Side, view: str, first: str, behind: str) -> tuple[SideState, list[bytes]]:
        """A side, and the rows of a view from the id ``first`` on, without ``behind``, in the order of their ids."""
        with self.datastore.transaction(commit=False) as cursor:
            found = self._found(cursor, side)
            cursor.execute(
                "SELECT row FROM kept WHERE copy=? AND id>=? AND id<? ORDER BY id",
                (found.copies.get(view), first, behind),
            )
            return found, [row.encode() for (row,) in cursor.fetchall()]

    @contextmanager
    def reading(self, side: Side) -> Iterator[tuple[SideState, int, Iterator[tuple[str, KeptRow]]]]:
        """A side as of one moment: how many rows it has, and all of them, by view, in the order of their ids."""
        with self.datastore.transaction(commit=False) as cursor:
            found = self._found(cursor, side)
            cursor.execute("SELECT COUNT(*) FROM views JOIN kept USING (copy) WHERE side=?", (side,))
            yield found, cursor.fetchone()[0], self._rows(cursor, found)

    @staticmethod
    def _rows(cursor: SQLiteCursor, found: SideState) -> Iterator[tuple[str, KeptRow]]:
        for view, copy in found.copies.items():
            cursor.execute("SELECT id, live, row FROM kept WHERE copy=? ORDER BY id", (copy,))
            for row in cursor.sqlite_cursor:
                yield view, KeptRow._make(row)

    # --- changes ------------------------------------------------------------------------------------------------------

    def keep(
        self, side: Side, read: SideState, changes: Mapping[str, Changes], after: int, position: int, digest: str
    ) -> None:
        """Write a page, if the side is still the one that was ``read``, and at ``after``."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("UPDATE sides SET digest=? WHERE side=?", (digest, side))
            found = self._found(cursor, side)
            if found.epoch != read.epoch or found.position != after:
                raise Overtaken(f"the views have been moved on from position {after}")
            self._insert_tracking(cursor, Tracking(side, position))
            for view, rows in changes.items():
                self._write(cursor, read.copies[view], rows)

    @staticmethod
    def _write(cursor: SQLiteCursor, copy: int, rows: Changes) -> None:
        """Write the changed rows of a view, neighbours in the file one after the other."""
        cursor.executemany(
            "INSERT INTO kept VALUES (?,?,?,?)"
            " ON CONFLICT (copy, id) DO UPDATE SET live = excluded.live, row = excluded.row",
            ((copy, id, row.live, row.data.decode()) for id in sorted(rows) if (row := rows[id]) is not None),
        )
        gone = [(copy, id) for id, row in rows.items() if row is None]
        cursor.executemany("DELETE FROM kept WHERE copy=? AND id=?", gone)

    def begin(self, side: Side, versions: Mapping[str, int]) -> SideState:
        """Begin a side anew, at position 0, with these views; with none it is gone."""
        with self.datastore.transaction(commit=True) as cursor:
            self._begin(cursor, side, versions)
            return self._found(cursor, side)

    def exchange(self, names: Sequence[str], read: SideState, at: int) -> Mapping[str, int]:
        """Put views of the rebuilt side, as it was ``read``, in the place of the live ones, and drop the rest of it.

        The versions that were live before, by view.

        Raises:
            Differs: the bytes of one that was live in the same version are not the same.
            Overtaken: the two sides are not, or no longer, at position ``at`` of the same log.
        """
        with self.datastore.transaction(commit=True) as cursor:
            self._raise_epoch(cursor, LIVE)
            live, rebuilt = self._found(cursor, LIVE), self._found(cursor, REBUILT)
            together = live.position == rebuilt.position == at and live.digest == rebuilt.digest
            if rebuilt.epoch != read.epoch or not together:
                raise Overtaken(f"the views have been moved on from position {at}")
            for view in names:
                if live.versions.get(view, 0) > rebuilt.versions[view]:
                    raise Overtaken(f"{view} has been exchanged for a newer version")
                if live.versions.get(view) == rebuilt.versions[view]:
                    _compare(cursor, view, live.copies[view], rebuilt.copies[view])
            _forget(cursor, [copy for view, copy in live.copies.items() if view in names])
            cursor.executemany("UPDATE views SET side=? WHERE copy=?", [(LIVE, rebuilt.copies[view]) for view in names])
            self._begin(cursor, REBUILT, {})
            return live.versions

    def drop(self, names: Iterable[str] | None) -> list[str]:
        """Remove live views, or all that is in the file; the names of those that were there."""
        with self.datastore.transaction(commit=True) as cursor:
            self._raise_epoch(cursor, LIVE)
            live = self._found(cursor, LIVE)
            dropped = [view for view in live.copies if names is None or view in names]
            _forget(cursor, [live.copies[view] for view in dropped])
            if len(dropped) == len(live.copies):
                self._begin(cursor, LIVE, {})
            if names is None:
                self._begin(cursor, REBUILT, {})
            return dropped

    def _begin(self, cursor: SQLiteCursor, side: Side, versions: Mapping[str, int]) -> None:
        self._raise_epoch(cursor, side)
        _forget(cursor, self._found(cursor, side).copies.values())
        cursor.execute("UPDATE sides SET digest='' WHERE side=?", (side,))
        cursor.execute("DELETE FROM tracking WHERE application_name=?", (side,))
        for view, version in sorted(versions.items()):
            cursor.execute(
                "INSERT INTO views SELECT ?, ?, ?, COALESCE(MAX(copy), 0) + 1 FROM views", (side, view, version)
            )

    def _found(self, cursor: SQLiteCursor, side: Side) -> SideState:
        cursor.execute("SELECT view, version, copy FROM views WHERE side=? ORDER BY view", (side,))
        views = cursor.fetchall()
        cursor.execute("SELECT digest, epoch FROM sides WHERE side=?", (side,))
        row = cursor.fetchone()
        if row is None:
            raise PersistenceError(f"it does not say how far its {side} views have come")
        digest, epoch = row
        return SideState(
            {view: version for view, version, _ in views},
            {view: copy for view, _, copy in views},
            self._max_tracking_id(side, cursor) or 0,
            digest,
            epoch,
        )

    @staticmethod
    def _raise_epoch(cursor: SQLiteCursor, side: Side) -> None:
        cursor.execute("UPDATE sides SET epoch = epoch + 1 WHERE side=?", (side,))


def _check_ours(file: Path) -> None:
    """Look before the file is opened, which changes its header: what is something else is left as it is."""
    if not file.exists():
        return
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as there:
        (application,) = there.execute("PRAGMA application_id").fetchone()
        tables = {name for (name,) in there.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    if application not in (0, VIEWS_APPLICATION) or (not application and tables - _OLDER):
        raise PersistenceError("there is something else in it")


def _compare(cursor: SQLiteCursor, view: str, live: int, rebuilt: int) -> None:
    """Nothing, where two copies are the same to the byte."""
    found = []
    for one, other in ((live, rebuilt), (rebuilt, live)):
        cursor.execute(
            "SELECT here.id FROM kept AS here LEFT JOIN kept AS there ON there.copy=? AND there.id = here.id"
            " WHERE here.copy=? AND (there.id IS NULL OR here.live IS NOT there.live OR here.row IS NOT there.row)"
            " ORDER BY here.id LIMIT 1",
            (other, one),
        )
        found += [id for (id,) in cursor.fetchall()]
    if found:
        rows = []
        for copy in (live, rebuilt):
            cursor.execute("SELECT id, live, row FROM kept WHERE copy=? AND id IS ?", (copy, min(found, key=str)))
            row = cursor.fetchone()
            rows.append(None if row is None else KeptRow._make(row))
        raise Differs(Difference(view, *rows))


def _forget(cursor: SQLiteCursor, copies: Iterable[int]) -> None:
    places = [(copy,) for copy in copies]
    cursor.executemany("DELETE FROM kept WHERE copy=?", places)
    cursor.executemany("DELETE FROM views WHERE copy=?", places)


def _layout_of(cursor: SQLiteCursor) -> int:
    cursor.execute("PRAGMA user_version")
    layout: int = cursor.fetchone()[0]
    return layout


def _tables(cursor: SQLiteCursor) -> set[str]:
    cursor.execute("SELECT name FROM sqlite_master WHERE type='table'")
    return {name for (name,) in cursor.fetchall()}
