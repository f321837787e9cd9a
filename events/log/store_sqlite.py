"""The log in one SQLite file: `eventsourcing`'s recorder, rows of many records, a writer's fence and subscriptions.

WAL with ``synchronous=FULL``: a commit is one sync. Two fences stand before the log. A lock on a file beside the
database keeps a second process out and falls with its holder's death. An epoch in the database, raised by each new
writer and checked in each commit's own transaction, shuts out a holder that lost the lock without noticing.
"""

import datetime as dt
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import IntegrityError
from filelock import FileLock, Timeout

from tallystick.events.log.sealing import rows_behind
from tallystick.events.log.store_archive_file import Archive, Block
from tallystick.events.log.store_archives import TABLES, Archives, check_there
from tallystick.events.log.store_connections import FleetFile
from tallystick.events.log.store_contract import (
    SNAPSHOTS_KEPT,
    STREAM,
    Fenced,
    NoFleet,
    Record,
    Row,
    StoreError,
    Subscription,
    WriterPresent,
    holder,
)
from tallystick.events.log.store_place import APPLICATION, OpenFiles, check_ours, identity_of
from tallystick.events.log.store_recorder import LogRecorder, Page, SqliteSubscription
from tallystick.events.log.store_segments import VIEW
from tallystick.events.log.store_snapshots import SqliteSnapshots
from tallystick.events.log.store_sources import SqliteSources


class SqliteStore:
    """A fleet in one SQLite file; see `store_contract.Store` for what each method does."""

    def __init__(self, url: str, path: Path, writer: bool) -> None:
        self.url = f"sqlite:///{path}"
        self.named = url
        self.path = path
        if not writer and not path.exists():
            raise NoFleet(f"there is no fleet at {url}: the file {url.partition(':///')[2]} does not exist")
        self._lock: FileLock | None = None
        self._epoch = self._end = 0
        self._process = os.getpid()
        self._files: OpenFiles | None = None
        self._there = identity_of(path)
        try:
            marked = path.exists() and check_ours(url, path, writer)
            if writer:
                self._take_lock()
                if marked:
                    check_there(path)
            self._datastore = FleetFile(str(path))
            self._log = LogRecorder(self._datastore, Archives(path))
            self._snapshots = SqliteSnapshots(self._datastore, url)
            self.sources = SqliteSources(self._datastore, url)
            if writer:
                if not marked:
                    self._mark()
                self._log.create_table()
                self._snapshots.create_table()
                self.sources.create_table()
                self._create_archives()
                self._create_view()
                self._datastore.keep_writer()
                self._take_place()
                self._end = self._log.end()
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
            if records:
                rows = rows_behind(records, self._end, self.named)
                self._log.append(rows, self._epoch, sources)
                self._end = rows[-1].position
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
            yield from page.records
            if not page.more:
                return
            after = page.records[-1].position

    def rows(self, after: int = 0, upto: int | None = None) -> Iterator[Row]:
        more = True
        while more:
            with self._reading():
                rows, more = self._log.rows(after, upto)
            yield from rows
            after = rows[-1].position if rows else after

    def record(self, position: int) -> Record | None:
        records = self._page(position - 1, position).records
        return records[0] if records else None

    def last(self) -> Record | None:
        with self._reading():
            return self._log.last_record()

    def away(self) -> str | None:
        return None

    def stray(self) -> str | None:
        with self._reading():
            row = self._log.stray()
        if row is None:
            return None
        place, stream, position = row
        if stream != STREAM:
            return f"row {place} of the table belongs to the stream {stream!r}, which is none of this fleet"
        return f"row {place} of the table is at position {position!r}: it was put there by no writer of this log"

    def stage_snapshot(self, position: int, data: bytes) -> Iterator[None]:
        return self._snapshots.stage(position, data)

    def save_snapshot(self, position: int, data: bytes) -> None:
        self._snapshots.save(position, data)

    def snapshots(self, limit: int = SNAPSHOTS_KEPT) -> list[tuple[int, bytes]]:
        return self._snapshots.newest(limit)

    def subscribe(self, after: int = 0) -> Subscription:
        if self._files is None:
            # Few readers follow, and what they wait with takes long to load.
            from tallystick.events.log.store_following import FileSubscription

            return FileSubscription(self, self.path, self._there, after)
        return SqliteSubscription(self._log, self.read, after)

    def close(self) -> None:
        if self._process != os.getpid():
            return  # the connections and the lock are those of the process that opened it
        self._files = None
        self._datastore.close()
        self._release_lock()

    def _page(self, after: int, upto: int | None) -> Page:
        with self._reading():
            return self._log.page(after, upto)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self.named} could not be read: {_why(error)}") from error

    def _take_lock(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.path}.lock", is_singleton=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not Path(lock.lock_file).exists():
                raise StoreError(f"{self.named} cannot be written: {self.path.parent} takes no new files") from None
            raise WriterPresent(f"{self.named} is being written by {self._present_holder()}") from None
        self._lock = lock

    def _present_holder(self) -> str:
        try:
            with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
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
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'log'")
            if (row := cursor.fetchone()) is None or row[0] != VIEW:
                cursor.execute("DROP VIEW IF EXISTS log")
                cursor.execute(VIEW)

    def _create_archives(self) -> None:
        with self._datastore.transaction(commit=True) as cursor:
            for table in TABLES:
                cursor.execute(table)

    def move_out(self, archive: Archive, blocks: Sequence[Block]) -> None:
        """For a writer: enter an archive that is on the disk, and remove its records, in one transaction."""
        try:
            self._log.move_out(archive, blocks, self._epoch)
        except IntegrityError as error:
            raise Fenced(f"another writer has written to {self.named}: {error}") from error
        except (EventSourcingError, sqlite3.Error) as error:
            raise StoreError(f"{self.named} could not be written: {_why(error)}") from error

    def _take_place(self) -> None:
        """Raise the epoch: an earlier writer cannot commit any more."""
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS writer (fleet TEXT PRIMARY KEY, epoch INTEGER, holder TEXT, since TEXT)"
            )
            cursor.execute("CREATE TABLE IF NOT EXISTS place (fleet TEXT PRIMARY KEY, path TEXT)")
            cursor.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (STREAM, str(self.path)))
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


def _why(error: Exception) -> str:
    return str(error) or "it was closed"
