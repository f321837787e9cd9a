"""The log's table: `eventsourcing`'s recorder, with multi-row inserts, a check of the writer's place, and archives."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, takewhile
from typing import Any, NamedTuple

from eventsourcing.persistence import IntegrityError, ListenNotifySubscription
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteCursor, SQLiteDatastore

from tallystick.events.log.store_archive_file import Archive, Block
from tallystick.events.log.store_archives import Archives, put
from tallystick.events.log.store_contract import PAGE, STREAM, Record
from tallystick.events.log.store_sources import add_entries

_GROUPS = (1024, 512, 256, 128, 64)
"""Rows per INSERT, and then the rest in one: few statements a commit, of few kinds, each prepared once.

`sqlite3` gives up the interpreter's lock at every step, and another busy thread may keep it for long; a multi-row
INSERT is one step.
"""


class Page(NamedTuple):
    """Records that follow one another, and whether there may be more behind them."""

    records: list[Record]
    more: bool


class LogRecorder(SQLiteApplicationRecorder):
    """The library's application recorder: the originator's version is the position in the fleet's one stream."""

    def __init__(self, datastore: SQLiteDatastore, archives: Archives) -> None:
        super().__init__(datastore)
        self._archives = archives
        self._listeners: set[threading.Event] = set()

    def append(self, records: Sequence[Record], epoch: int, sources: Sequence[tuple[str, int]]) -> None:
        """One transaction: the writer's place is checked, the rows are inserted, the commit is synced."""
        with self.datastore.transaction(commit=True) as cursor:
            _check_epoch(cursor, epoch)
            self._insert_rows(cursor, records)
            if sources:
                add_entries(cursor, sources, records[-1].position)
        for listener in tuple(self._listeners):
            listener.set()

    def _insert_rows(self, cursor: SQLiteCursor, records: Sequence[Record]) -> None:
        start, total = 0, len(records)
        while start < total:
            left = total - start
            rows = next((group for group in _GROUPS if group <= left), left)
            values = tuple(chain.from_iterable(records[start : start + rows]))
            cursor.execute(_insert(self.events_table_name, rows), values)
            start += rows

    def move_out(self, archive: Archive, blocks: Sequence[Block], epoch: int) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            _check_epoch(cursor, epoch)
            put(cursor, archive, blocks)
            cursor.execute(
                f"DELETE FROM {self.events_table_name} WHERE originator_id=? AND originator_version<=?",
                (STREAM, archive.upto),
            )

    def page(self, after: int, upto: int | None) -> Page:
        """Up to ``PAGE`` records behind ``after``, in the order of their positions, wherever they lie."""
        condition = "" if upto is None else "AND originator_version<=?"
        parameters: list[Any] = [STREAM, after, *([] if upto is None else [upto]), PAGE]
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                f"SELECT originator_version, topic, state FROM {self.events_table_name} WHERE originator_id=?"
                f" AND originator_version>? {condition} ORDER BY originator_version LIMIT ?",
                parameters,
            )
            cursor.sqlite_cursor.row_factory = None
            records = list(map(Record._make, cursor.fetchall()))
            if not (records and records[0].position == after + 1) and (upto is None or after < upto):
                archived = self._archives.records(cursor, after, upto)
                if archived:
                    return Page(archived, more=archived[-1].position != upto)
            return Page(records, more=len(records) == PAGE)

    def last_record(self) -> Record | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                f"SELECT originator_version, topic, state FROM {self.events_table_name} WHERE originator_id=?"
                " ORDER BY originator_version DESC LIMIT 1",
                (STREAM,),
            )
            row = cursor.fetchone()
            return None if row is None else Record(*row)

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

    def archived_upto(self) -> int:
        """The position up to which records are in archives; a writer's store does not change that."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT MAX(upto) FROM archives")
            row = cursor.fetchone()
            return (row and row[0]) or 0

    def listen(self, event: threading.Event) -> None:
        self._listeners.add(event)

    def unlisten(self, event: threading.Event) -> None:
        self._listeners.discard(event)


class SqliteSubscription(ListenNotifySubscription[LogRecorder]):
    """The library's subscription, woken within this process at every commit.

    It knows nothing of archives: what is ``archived`` of the records that are asked for comes first.
    """

    def __init__(self, recorder: LogRecorder, after: int, archived: Iterable[Record]) -> None:
        super().__init__(recorder=recorder, gt=after)
        self._archived = archived
        recorder.listen(self._has_been_notified)
        self._has_been_notified.set()

    def __iter__(self) -> Iterator[Record]:  # type: ignore[override]
        yield from takewhile(lambda _: not self._has_been_stopped, self._archived)
        for notification in iter(self.__next__, None):
            yield Record(notification.originator_version, notification.topic, notification.state)

    def stop(self) -> None:
        super().stop()
        self._recorder.unlisten(self._has_been_notified)


def _check_epoch(cursor: SQLiteCursor, epoch: int) -> None:
    cursor.execute("SELECT epoch FROM writer")
    row = cursor.fetchone()
    if row is None or row[0] != epoch:
        raise IntegrityError("the writer's place was taken over")


@cache
def _insert(table: str, rows: int) -> str:
    return f"INSERT INTO {table} VALUES " + ",".join([f"('{STREAM}',?,?,?)"] * rows)
