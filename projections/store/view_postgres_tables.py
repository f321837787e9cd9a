"""The tables of the views of all fleets of a PostgreSQL database.

Every transaction that writes begins by locking the rows of the sides that it changes, the live one first, and looks
only then. Fleets do not wait for each other.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from eventsourcing.persistence import PersistenceError
from psycopg.sql import SQL

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import Connection, connect
from tallystick.projections.store.view_sides import LIVE, REBUILT, Difference, Differs, KeptRow, Side, SideState
from tallystick.projections.store.view_store import Overtaken
from tallystick.projections.views.view import Changes

LAYOUT: Final = "layout 1"
"""Of the tables below; it is the comment on `tallystick_views`."""
_LOCK: Final = 0x74616C6C7A
"""The advisory lock under which the tables are made."""
_LOCK_SECONDS: Final = 60
"""How long to wait for a side: another process may be comparing many rows."""
_ROWS: Final = 5_000
"""Rows in one statement, and fetched at a time."""
SHOWN: Final = (
    'SELECT fleet, view, version, id, live, "row" FROM tallystick_views JOIN tallystick_view_rows USING (copy)'
    " WHERE side = 'live'"
)
"""What other programs read."""
_TABLES: Final = (
    """CREATE TABLE tallystick_view_sides (
    fleet text, side text, position bigint NOT NULL, digest text NOT NULL, epoch bigint NOT NULL,
    PRIMARY KEY (fleet, side))""",
    """CREATE TABLE tallystick_views (
    copy bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, fleet text NOT NULL, side text NOT NULL,
    view text COLLATE "C" NOT NULL, version integer NOT NULL, UNIQUE (fleet, side, view))""",
    """CREATE TABLE tallystick_view_rows (
    copy bigint, id text COLLATE "C", live boolean NOT NULL, "row" json NOT NULL, PRIMARY KEY (copy, id))""",
    "CREATE INDEX tallystick_live_rows ON tallystick_view_rows (copy, id) WHERE live",
    f"CREATE VIEW tallystick_shown AS {SHOWN}",
    f"COMMENT ON TABLE tallystick_views IS '{LAYOUT}'",
)
_FOUND: Final = "SELECT position, digest, epoch FROM tallystick_view_sides WHERE fleet = %s AND side = %s"
_RAISED: Final = (
    "UPDATE tallystick_view_sides SET epoch = epoch + 1 WHERE fleet = %s AND side = %s"
    " RETURNING position, digest, epoch"
)
_WRITE: Final = (
    "INSERT INTO tallystick_view_rows SELECT %s, id, live, data::json FROM unnest(%s::text[], %s::boolean[],"
    ' %s::text[]) AS one (id, live, data) ON CONFLICT (copy, id) DO UPDATE SET live = excluded.live, "row" ='
    ' excluded."row"'
)
_UNLIKE: Final = (
    "SELECT id, one.live::int, one.row::text, other.live::int, other.row::text FROM"
    " (SELECT * FROM tallystick_view_rows WHERE copy = %s) AS one FULL JOIN"
    " (SELECT * FROM tallystick_view_rows WHERE copy = %s) AS other USING (id)"
    " WHERE one.live IS DISTINCT FROM other.live OR one.row::text IS DISTINCT FROM other.row::text ORDER BY id LIMIT 1"
)


class PostgresViewTables:
    """See `view_sides.ViewTables`. One connection, which is made anew when it broke; one thread uses it at a time."""

    def __init__(self, place: PostgresPlace) -> None:
        self._place = place
        self._connection: Connection | None = None
        self._turn = threading.RLock()

    def prepare(self) -> None:
        with self._transaction() as connection:
            if self._layout(connection) == LAYOUT and self._has_sides(connection):
                return
        with self._transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            found = self._layout(connection)
            if found is None:
                for statement in _TABLES:
                    connection.execute(statement)
            elif found != LAYOUT:
                raise PersistenceError("a newer version of tallystick keeps them")
            connection.execute(
                "INSERT INTO tallystick_view_sides SELECT %s, unnest(%s::text[]), 0, '', 1 ON CONFLICT DO NOTHING",
                (self._place.fleet, [LIVE, REBUILT]),
            )

    # --- what is there ------------------------------------------------------------------------------------------------

    def found(self, side: Side) -> SideState:
        with self._moment() as connection:
            return self._found(connection, side)

    def live(self, side: Side) -> tuple[SideState, dict[str, list[bytes]]]:
        with self._moment() as connection:
            found = self._found(connection, side)
            rows = {view: self._rows(connection, "AND live", copy) for view, copy in found.copies.items()}
            return found, {view: live for view, live in rows.items() if live}

    def row(self, side: Side, view: str, id: str) -> bytes | None:
        with self._moment() as connection:
            found = connection.execute(
                "SELECT row::text FROM tallystick_view_rows WHERE id = %s AND copy ="
                " (SELECT copy FROM tallystick_views WHERE fleet = %s AND side = %s AND view = %s)",
                (id, self._place.fleet, side, view),
            ).fetchone()
            return None if found is None else found[0].encode()

    def whole(self, side: Side, views: Iterable[str]) -> tuple[SideState, dict[str, list[bytes]]]:
        with self._moment() as connection:
            found = self._found(connection, side)
            return found, {view: self._rows(connection, "", found.copies.get(view)) for view in views}

    def between(self, side: Side, view: str, first: str, behind: str) -> tuple[SideState, list[bytes]]:
        with self._moment() as connection:
            found = self._found(connection, side)
            return found, self._rows(connection, "AND id >= %s AND id < %s", found.copies.get(view), first, behind)

    @contextmanager
    def reading(self, side: Side) -> Iterator[tuple[SideState, int, Iterator[tuple[str, KeptRow]]]]:
        with self._moment() as connection:
            # Who reads may do other things meanwhile, for as long as they take.
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            found = self._found(connection, side)
            count = "SELECT count(*) FROM tallystick_view_rows WHERE copy = ANY(%s)"
            row = connection.execute(count, (list(found.copies.values()),)).fetchone()
            yield found, 0 if row is None else row[0], self._all(connection, found)

    @staticmethod
    def _all(connection: Connection, found: SideState) -> Iterator[tuple[str, KeptRow]]:
        for view, copy in found.copies.items():
            with connection.cursor("tallystick_rows") as cursor:
                cursor.itersize = _ROWS
                cursor.execute(
                    "SELECT id, live::int, row::text FROM tallystick_view_rows WHERE copy = %s ORDER BY id", (copy,)
                )
                for row in cursor:
                    yield view, KeptRow._make(row)

    @staticmethod
    def _rows(connection: Connection, which: LiteralString, copy: int | None, *bounds: str) -> list[bytes]:
        query = SQL("SELECT row::text FROM tallystick_view_rows WHERE copy = %s {} ORDER BY id").format(SQL(which))
        return [row.encode() for (row,) in connection.execute(query, (copy, *bounds))]

    # --- changes ------------------------------------------------------------------------------------------------------

    def keep(
        self, side: Side, read: SideState, changes: Mapping[str, Changes], after: int, position: int, digest: str
    ) -> None:
        if position <= after:
            raise Overtaken(f"the views go on from position {after}, not to {position}")
        with self._transaction() as connection:
            moved = connection.execute(
                "UPDATE tallystick_view_sides SET position = %s, digest = %s"
                " WHERE fleet = %s AND side = %s AND epoch = %s AND position = %s",
                (position, digest, self._place.fleet, side, read.epoch, after),
            )
            if moved.rowcount != 1:
                raise Overtaken(f"the views have been moved on from position {after}")
            for view, rows in changes.items():
                _write(connection, read.copies[view], rows)

    def begin(self, side: Side, versions: Mapping[str, int]) -> SideState:
        with self._transaction() as connection:
            self._begin(connection, side, versions)
            return self._found(connection, side)

    def exchange(self, names: Sequence[str], read: SideState, at: int) -> Mapping[str, int]:
        with self._transaction() as connection:
            live, rebuilt = self._raised(connection, LIVE), self._raised(connection, REBUILT)
            together = live.position == rebuilt.position == at and live.digest == rebuilt.digest
            if rebuilt.epoch != read.epoch + 1 or not together:
                raise Overtaken(f"the views have been moved on from position {at}")
            for view in names:
                if live.versions.get(view, 0) > rebuilt.versions[view]:
                    raise Overtaken(f"{view} has been exchanged for a newer version")
                if live.versions.get(view) == rebuilt.versions[view]:
                    _compare(connection, view, live.copies[view], rebuilt.copies[view])
            _forget(connection, [copy for view, copy in live.copies.items() if view in names])
            connection.execute(
                "UPDATE tallystick_views SET side = %s WHERE copy = ANY(%s)",
                (LIVE, [rebuilt.copies[view] for view in names]),
            )
            self._begin(connection, REBUILT, {})
            return live.versions

    def drop(self, names: Iterable[str] | None) -> list[str]:
        with self._transaction() as connection:
            live = self._raised(connection, LIVE)
            dropped = [view for view in live.copies if names is None or view in names]
            _forget(connection, [live.copies[view] for view in dropped])
            if len(dropped) == len(live.copies):
                self._begin(connection, LIVE, {})
            if names is None:
                self._begin(connection, REBUILT, {})
            return dropped

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()

    def _begin(self, connection: Connection, side: Side, versions: Mapping[str, int]) -> None:
        _forget(connection, self._raised(connection, side).copies.values())
        connection.execute(
            "UPDATE tallystick_view_sides SET position = 0, digest = '' WHERE fleet = %s AND side = %s",
            (self._place.fleet, side),
        )
        connection.execute(
            "INSERT INTO tallystick_views (fleet, side, view, version)"
            " SELECT %s, %s, * FROM unnest(%s::text[], %s::integer[])",
            (self._place.fleet, side, list(versions), list(versions.values())),
        )

    def _raised(self, connection: Connection, side: Side) -> SideState:
        """A side, its row locked and its epoch raised."""
        return self._found(connection, side, _RAISED)

    def _found(self, connection: Connection, side: Side, statement: LiteralString = _FOUND) -> SideState:
        row = connection.execute(statement, (self._place.fleet, side)).fetchone()
        if row is None:
            raise PersistenceError(f"it is not said how far the {side} views have come")
        views = connection.execute(
            "SELECT view, version, copy FROM tallystick_views WHERE fleet = %s AND side = %s ORDER BY view",
            (self._place.fleet, side),
        ).fetchall()
        return SideState(
            {view: version for view, version, _ in views},
            {view: copy for view, _, copy in views},
            *row,
        )

    def _has_sides(self, connection: Connection) -> bool:
        query = "SELECT count(*) FROM tallystick_view_sides WHERE fleet = %s"
        return connection.execute(query, (self._place.fleet,)).fetchone() == (2,)

    @staticmethod
    def _layout(connection: Connection) -> str | None:
        # `to_regclass` may answer from what this connection has looked up before it waited for who made the tables.
        found = connection.execute(
            "SELECT obj_description(oid, 'pg_class') FROM pg_class"
            " WHERE relname = 'tallystick_views' AND pg_table_is_visible(oid)"
        ).fetchone()
        return None if found is None else found[0]

    # --- transactions -------------------------------------------------------------------------------------------------

    @contextmanager
    def _moment(self) -> Iterator[Connection]:
        """A transaction that sees the database as of one moment, and only reads."""
        with self._transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One transaction.

        Raises:
            PersistenceError: the database is away, or refuses.
        """
        with self._turn:
            try:
                connection = self._connection = self._connected()
                with connection.transaction():
                    yield connection
            except psycopg.Error as error:
                why = next(iter(str(error).splitlines()), "") or "the connection was closed"
                raise PersistenceError(why) from error

    def _connected(self) -> Connection:
        """The connection, or a new one where it broke while it was not in use."""
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.execute("")
            except psycopg.OperationalError:
                self._connection.close()
            else:
                return self._connection
        made = connect(self._place)
        # What is lost with the server can be made again: the disk's time belongs to the log.
        made.execute(f"SET synchronous_commit = off; SET lock_timeout = '{_LOCK_SECONDS}s'")
        return made


def _write(connection: Connection, copy: int, rows: Changes) -> None:
    """Write the changed rows of a view, neighbours one after the other."""
    changed = [(id, row.live, row.data.decode()) for id, row in sorted(rows.items()) if row is not None]
    for start in range(0, len(changed), _ROWS):
        ids, live, data = zip(*changed[start : start + _ROWS], strict=True)
        connection.execute(_WRITE, (copy, list(ids), list(live), list(data)))
    if gone := [id for id, row in rows.items() if row is None]:
        connection.execute("DELETE FROM tallystick_view_rows WHERE copy = %s AND id = ANY(%s)", (copy, gone))


def _compare(connection: Connection, view: str, live: int, rebuilt: int) -> None:
    """Nothing, where two copies are the same to the byte."""
    found: tuple[Any, ...] | None = connection.execute(_UNLIKE, (live, rebuilt)).fetchone()
    if found is not None:
        id, *rest = found
        one, other = (KeptRow(id, *rest[at : at + 2]) if rest[at] is not None else None for at in (0, 2))
        raise Differs(Difference(view, one, other))


def _forget(connection: Connection, copies: Iterable[int]) -> None:
    gone = list(copies)
    connection.execute("DELETE FROM tallystick_view_rows WHERE copy = ANY(%s)", (gone,))
    connection.execute("DELETE FROM tallystick_views WHERE copy = ANY(%s)", (gone,))
