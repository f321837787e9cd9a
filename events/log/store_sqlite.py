"""The log in one SQLite file: `eventsourcing`'s recorder, with multi-row inserts, a writer's fence and subscriptions.

WAL with ``synchronous=FULL``: a commit is one sync. Two fences stand before the log. A lock on a file beside the
database keeps a second process out and falls with its holder's death. An epoch in the database, raised by each new
writer and checked in each commit's own transaction, shuts out a holder that lost the lock without noticing.
"""

import datetime as dt
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import (
    IntegrityError,
    ListenNotifySubscription,
)
from eventsourcing.sqlite import (
    SQLiteAggregateRecorder,
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)
from filelock import FileLock, Timeout

from tallystick.events.log.store_contract import (
    PAGE,
    SNAPSHOTS_KEPT,
    STREAM,
    Fenced,
    Record,
    StoreError,
    Subscription,
    WriterPresent,
    holder,
)
from tallystick.events.log.store_place import APPLICATION, OpenFiles, check_ours, identity_of
from tallystick.events.log.store_sources import SqliteSources, add_entries

_GROUPS = (1024, 512, 256, 128, 64)
"""Rows per INSERT, and then the rest in one: few statements a commit, of few kinds, each prepared once.

`sqlite3` gives up the interpreter's lock at every step, and another busy thread may keep it for long; a multi-row
INSERT is one step.
"""
_LOCK_SECONDS = 5


class SqliteStore:
    """A fleet in one SQLite file; see `store_contract.Store` for what each method does."""

    def __init__(self, url: str, path: Path, writer: bool) -> None:
        self.url = f"sqlite:///{path}"
        self.named = url
        self._path = path
        if not writer and not path.exists():
            raise StoreError(f"there is no fleet at {url}: the file {url.partition(':///')[2]} does not exist")
        self._lock: FileLock | None = None
        self._epoch = 0
        self._process = os.getpid()
        self._files: OpenFiles | None = None
        self._there = identity_of(path)
        try:
            marked = path.exists() and check_ours(url, path, writer)
            if writer:
                self._take_lock()
            self._datastore = _Datastore(str(path))
            self._log = LogRecorder(self._datastore)
            self._snapshots = SQLiteAggregateRecorder(self._datastore, events_table_name="snapshots")
            self.sources = SqliteSources(self._datastore, url)
            if writer:
                if not marked:
                    self._mark()
                self._log.create_table()
                self._snapshots.create_table()
                self.sources.create_table()
                self._create_view()
                self._datastore.keep_writer()
                self._take_place()
                self._files = OpenFiles(path)
            else:
                self._log.max_notification_id()
        except StoreError:
            self._release_lock()
            raise
        except (EventSourcingError, sqlite3.Error, OSError) as error:
            self._release_lock()
            raise StoreError(f"{url} cannot be {'written' if writer else 'read'}: {error}") from error

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        if self._process != os.getpid():
            raise Fenced(str(self.lost()))
        try:
            self._log.append(records, self._epoch, sources)
        except IntegrityError as error:
            raise Fenced(f"another writer has written to {self.named}: {error}") from error
        except (EventSourcingError, sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.named} could not be written: {_why(error)}") from error
        # What was synced into a file that has lost its name is not durable.
        lost = self.lost()
        if lost is not None:
            raise StoreError(lost)

    def lost(self) -> str | None:
        if self._files is None:
            return None
        if self._process != os.getpid():
            return f"{self.named} was opened by process {self._process}: a fork of it must open the store itself"
        lost = self._files.lost()
        return None if lost is None else f"{self.named} cannot be written any more: {lost}"

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        while True:
            page = self._page(after, upto)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].position

    def record(self, position: int) -> Record | None:
        page = self._page(position - 1, position)
        return page[0] if page else None

    def last(self) -> Record | None:
        try:
            return self._log.last_record()
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self.named} could not be read: {_why(error)}") from error

    def stray(self) -> str | None:
        try:
            row = self._log.stray()
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self.named} could not be read: {_why(error)}") from error
        if row is None:
            return None
        place, stream, position = row
        if stream != STREAM:
            return f"row {place} of the table belongs to the stream {stream!r}, which is none of this fleet"
        return f"row {place} of the table is at position {position!r}: it was put there by no writer of this log"

    def save_snapshot(self, position: int, data: bytes) -> None:
        try:
            with self._datastore.transaction(commit=True) as cursor:
                cursor.execute("DELETE FROM snapshots WHERE originator_version>=?", (position,))
                cursor.execute("INSERT INTO snapshots VALUES (?,?,?,?)", (STREAM, position, "snapshot.v1", data))
                cursor.execute(
                    "DELETE FROM snapshots WHERE originator_version NOT IN"
                    " (SELECT originator_version FROM snapshots ORDER BY originator_version DESC LIMIT ?)",
                    (SNAPSHOTS_KEPT,),
                )
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self.named}: the snapshot could not be written: {_why(error)}") from error

    def snapshots(self, limit: int = SNAPSHOTS_KEPT) -> list[tuple[int, bytes]]:
        try:
            stored = self._snapshots.select_events(STREAM, desc=True, limit=limit)
        except (EventSourcingError, sqlite3.Error):
            return []  # a snapshot is a cache: one that cannot be read is not there
        return [(event.originator_version, event.state) for event in stored]

    def subscribe(self, after: int = 0) -> Subscription:
        if self._files is None:
            # Few readers follow, and what they wait with takes long to load.
            from tallystick.events.log.store_following import FileSubscription

            return FileSubscription(self, self._path, self._there, after)
        return SqliteSubscription(self._log, after)

    def close(self) -> None:
        if self._process != os.getpid():
            return  # the connections and the lock are those of the process that opened it
        self._files = None
        self._datastore.close()
        self._release_lock()

    def _page(self, after: int, upto: int | None) -> list[Record]:
        try:
            return self._log.page(after, upto)
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self.named} could not be read: {_why(error)}") from error

    def _take_lock(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self._path}.lock", is_singleton=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not Path(lock.lock_file).exists():
                raise StoreError(f"{self.named} cannot be written: {self._path.parent} takes no new files") from None
            raise WriterPresent(f"{self.named} is being written by {self._present_holder()}") from None
        self._lock = lock

    def _present_holder(self) -> str:
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
                row = connection.execute("SELECT holder, since FROM writer").fetchone()
        except sqlite3.Error:
            row = None
        return "another process" if row is None else f"{row[0]} (since {row[1]})"

    def _mark(self) -> None:
        """Write into the file what it is, before anything else, so that it is never taken for something else."""
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(f"PRAGMA application_id = {APPLICATION}")

    def _create_view(self) -> None:
        """For a reader with nothing but the sqlite3 shell: the log as text, so that its JSON functions can read it."""
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "CREATE VIEW IF NOT EXISTS log AS SELECT originator_version AS position, topic AS type,"
                f" CAST(state AS TEXT) AS record FROM {self._log.events_table_name} WHERE originator_id='{STREAM}'"
            )

    def _take_place(self) -> None:
        """Raise the epoch: an earlier writer cannot commit any more."""
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS writer (fleet TEXT PRIMARY KEY, epoch INTEGER, holder TEXT, since TEXT)"
            )
            cursor.execute("CREATE TABLE IF NOT EXISTS place (fleet TEXT PRIMARY KEY, path TEXT)")
            cursor.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (STREAM, str(self._path)))
            cursor.execute(
                "INSERT INTO writer VALUES (?, 1, ?, ?) ON CONFLICT (fleet) DO UPDATE"
                " SET epoch = epoch + 1, holder = excluded.holder, since = excluded.since RETURNING epoch",
                (STREAM, holder(), since),
            )
            self._epoch = cursor.fetchone()[0]

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class LogRecorder(SQLiteApplicationRecorder):
    """The library's application recorder: the originator's version is the position in the fleet's one stream."""

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore)
        self._listeners: set[threading.Event] = set()

    def append(self, records: Sequence[Record], epoch: int, sources: Sequence[tuple[str, int]]) -> None:
        """One transaction: the writer's place is checked, the rows are inserted, the commit is synced."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("SELECT epoch FROM writer")
            row = cursor.fetchone()
            if row is None or row[0] != epoch:
                raise IntegrityError("the writer's place was taken over")
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

    def page(self, after: int, upto: int | None) -> list[Record]:
        """Up to ``PAGE`` records behind ``after``, in the order of their positions."""
        condition = "" if upto is None else "AND originator_version<=?"
        parameters: list[Any] = [STREAM, after, *([] if upto is None else [upto]), PAGE]
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                f"SELECT originator_version, topic, state FROM {self.events_table_name} WHERE originator_id=?"
                f" AND originator_version>? {condition} ORDER BY originator_version LIMIT ?",
                parameters,
            )
            cursor.sqlite_cursor.row_factory = None
            return list(map(Record._make, cursor.fetchall()))

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

    def listen(self, event: threading.Event) -> None:
        self._listeners.add(event)

    def unlisten(self, event: threading.Event) -> None:
        self._listeners.discard(event)


class SqliteSubscription(ListenNotifySubscription[LogRecorder]):
    """The library's subscription, woken within this process at every commit."""

    def __init__(self, recorder: LogRecorder, after: int) -> None:
        super().__init__(recorder=recorder, gt=after)
        recorder.listen(self._has_been_notified)
        self._has_been_notified.set()

    def __iter__(self) -> Iterator[Record]:  # type: ignore[override]
        for notification in iter(self.__next__, None):
            yield Record(notification.originator_version, notification.topic, notification.state)

    def stop(self) -> None:
        super().stop()
        self._recorder.unlisten(self._has_been_notified)


class _Datastore(SQLiteDatastore):
    def __init__(self, path: str) -> None:
        super().__init__(path, originator_id_type="text")
        self.pool.close()
        self.pool = _Pool(db_name=path)
        self._writing: SQLiteConnection | None = None

    def keep_writer(self) -> None:
        """Write through one connection from now on: to fetch it from the pool each time costs as much as a sync."""
        self._writing = self.pool.get_connection(is_writer=True)

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        if commit and self._writing is not None:
            with self._writing.transaction(commit=True) as cursor:
                yield cursor
        else:
            with super().transaction(commit=commit) as cursor:
                yield cursor

    def close(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self.pool.put_connection(writing)
        super().close()


class _Pool(SQLiteConnectionPool):
    """Connections that keep their prepared statements, and that sync at every commit whatever the build's default."""

    def _create_connection(self) -> SQLiteConnection:
        connection = sqlite3.connect(
            self.db_name, check_same_thread=False, isolation_level=None, timeout=_LOCK_SECONDS, cached_statements=128
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.row_factory = sqlite3.Row
        return SQLiteConnection(connection, max_age=None)


def _why(error: Exception) -> str:
    return str(error) or "it was closed"


@cache
def _insert(table: str, rows: int) -> str:
    return f"INSERT INTO {table} VALUES " + ",".join([f"('{STREAM}',?,?,?)"] * rows)
