"""The log's table: `eventsourcing`'s recorder, with rows of many records, a check of the writer's place, archives."""

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

from eventsourcing.persistence import IntegrityError
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteCursor

from tallystick.events.log.store_archive_file import Archive, Block
from tallystick.events.log.store_archives import Archives, put
from tallystick.events.log.store_connections import FleetFile
from tallystick.events.log.store_contract import PAGE, STREAM, Record
from tallystick.events.log.store_segments import OpenedRow, Row, first_in, records_in, rows_of
from tallystick.events.log.store_sources import add_entries

_ROWS: Final = 32
"""Rows per INSERT: few kinds of statements, each prepared once."""
_COLUMNS: Final = "originator_version, topic, state"


class Page(NamedTuple):
    """Records that follow one another, and whether there may be more behind them."""

    records: list[Record]
    more: bool


class LogRecorder(SQLiteApplicationRecorder):
    """The library's application recorder: the originator's version is the position of a row's last record."""

    def __init__(self, datastore: FleetFile, archives: Archives) -> None:
        super().__init__(datastore)
        self._writing = datastore
        self._archives = archives
        self._listeners: set[threading.Event] = set()
        self._opened = OpenedRow()

    def append(self, rows: Sequence[Row], epoch: int, sources: Sequence[tuple[str, int]]) -> None:
        """One transaction: the writer's place is checked, the rows are inserted, the commit is synced.

        Where all is in one statement, that is the transaction.

        Raises:
            IntegrityError: the place was taken over, or a position is taken.
        """
        if len(rows) <= _ROWS and not sources:
            self._insert_rows(self._writing.execute, rows, epoch)
        else:
            with self._writing.transaction(commit=True) as cursor:
                for start in range(0, len(rows), _ROWS):
                    self._insert_rows(cursor.sqlite_cursor.execute, rows[start : start + _ROWS], epoch)
                if sources:
                    add_entries(cursor, sources, rows[-1].position)
        for listener in tuple(self._listeners):
            listener.set()

    def _insert_rows(self, execute: Callable[[str, Any], sqlite3.Cursor], rows: Sequence[Row], epoch: int) -> None:
        statement = _insert(self.events_table_name, len(rows))
        if execute(statement, (*chain.from_iterable(rows), epoch)).rowcount != len(rows):
            raise IntegrityError("the writer's place was taken over")

    def move_out(self, archive: Archive, blocks: Sequence[Block], epoch: int) -> None:
        """Enter an archive, and remove its records, in one transaction. A row that goes on keeps the rest."""
        with self.datastore.transaction(commit=True) as cursor:
            _check_epoch(cursor, epoch)
            put(cursor, archive, blocks)
            for row in self._rows_between(cursor, archive.upto, archive.upto + 1):
                records = records_in(row)
                if records[0].position <= archive.upto:
                    (kept,) = rows_of(records[archive.upto - records[-1].position :])
                    rest = (kept.state, kept.position)
                    cursor.execute(f"UPDATE {self.events_table_name} SET state=? WHERE rowid=?", rest)
            cursor.execute(
                f"DELETE FROM {self.events_table_name} WHERE originator_id=? AND originator_version<=?",
                (STREAM, archive.upto),
            )

    def page(self, after: int, upto: int | None) -> Page:
        """About ``PAGE`` records behind ``after``, in the order of their positions, wherever they lie.

        Raises:
            BrokenChain: the first row, or an archive, is not what was written.
        """
        rows, more = self.rows(after, upto)
        records, broken = self._opened.records_of(rows, after, upto)
        if broken is not None and not records:
            raise broken
        return Page(records, more=more or broken is not None)

    def rows(self, after: int, upto: int | None) -> tuple[list[Row], bool]:
        """The rows of about ``PAGE`` records behind ``after``, wherever they lie, and whether more may be behind them.

        Raises:
            BrokenChain: an archive is not what was written.
        """
        if upto is not None and upto <= after:
            return [], False
        enough = after + PAGE if upto is None else min(after + PAGE, upto)
        with self.datastore.transaction(commit=False) as cursor:
            rows = self._rows_between(cursor, after, enough)
            archived = None if rows and first_in(rows[0]) <= after + 1 else self._archives.row(cursor, after + 1)
        if archived is not None:
            return [archived], upto is None or archived.position < upto
        end = rows[-1].position if rows else 0
        return rows, enough <= end and (upto is None or end < upto)

    def _rows_between(self, cursor: SQLiteCursor, after: int, enough: int) -> list[Row]:
        """The rows from the one behind ``after`` to the first that reaches ``enough``, or to the end of the log."""
        cursor.execute(
            f"SELECT {_COLUMNS} FROM {self.events_table_name} WHERE originator_id=? AND originator_version>?"
            f" AND originator_version<=ifnull((SELECT min(originator_version) FROM {self.events_table_name}"
            " WHERE originator_id=? AND originator_version>=?), ?) ORDER BY originator_version",
            (STREAM, after, STREAM, max(enough, after + 1), sys.maxsize),
        )
        cursor.sqlite_cursor.row_factory = None
        return list(map(Row._make, cursor.fetchall()))

    def last_record(self) -> Record | None:
        row = self._last_row()
        return None if row is None else self._opened.records_in(row)[-1]

    def end(self) -> int:
        """The position of the newest record; 0 in an empty log."""
        row = self._last_row()
        return 0 if row is None else row.position

    def _last_row(self) -> Row | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM {self.events_table_name} WHERE originator_id=?"
                " ORDER BY originator_version DESC LIMIT 1",
                (STREAM,),
            )
            row = cursor.fetchone()
            return None if row is None else Row(*row)

    def stray(self) -> tuple[int, Any, Any] | None:
        """Row, stream and position of the first row that is not in its place: a row's number is its position."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                f"SELECT rowid, originator_id, originator_version FROM {self.events_table_name}"
                " WHERE originator_id IS NOT ? OR originator_version IS NOT rowid"
                " OR typeof(originator_version) <> 'integer' ORDER BY rowid LIMIT 1",
                (STREAM,),
            )
            row = cursor.fetchone()
            return None if row is None else tuple(row)

    def listen(self, event: threading.Event) -> None:
        self._listeners.add(event)

    def unlisten(self, event: threading.Event) -> None:
        self._listeners.discard(event)


class SqliteSubscription:
    """Follows a log that this process writes, woken at every commit. ``read`` gives the records behind a position."""

    def __init__(self, recorder: LogRecorder, read: Callable[[int], Iterable[Record]], after: int) -> None:
        self._recorder, self._read, self._after = recorder, read, after
        self._news, self._stopped = threading.Event(), threading.Event()
        recorder.listen(self._news)

    def __iter__(self) -> Iterator[Record]:
        while not self._stopped.is_set():
            self._news.clear()
            for record in self._read(self._after):
                if self._stopped.is_set():
                    return
                self._after = record.position
                yield record
            self._news.wait()

    def stop(self) -> None:
        self._stopped.set()
        self._recorder.unlisten(self._news)
        self._news.set()


def _check_epoch(cursor: SQLiteCursor, epoch: int) -> None:
    cursor.execute("SELECT epoch FROM writer")
    row = cursor.fetchone()
    if row is None or row[0] != epoch:
        raise IntegrityError("the writer's place was taken over")


@cache
def _insert(table: str, rows: int) -> str:
    """Insert rows where the epoch is the writer's; a row's number is its position."""
    values = ",".join(["(?,?,?)"] * rows)
    return (
        f"INSERT INTO {table} (rowid, originator_id, {_COLUMNS}) SELECT column1, '{STREAM}', column1, column2, column3"
        f" FROM (VALUES {values}) WHERE EXISTS (SELECT 1 FROM writer WHERE epoch=?)"
    )
