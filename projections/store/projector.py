"""Brings views up to the log: a page of events at a time, exactly once, from wherever they were left."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from tallystick.events.catalog import Event
from tallystick.events.catalog.event import EPOCH
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, digest_of
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record, Row, Store
from tallystick.events.log.store_segments import records_behind
from tallystick.events.log.whole_rows import whole
from tallystick.projections.store.view_store import NOTHING_KEPT, NotKept, Overtaken, ViewStore
from tallystick.projections.views.all_views import Folding
from tallystick.projections.views.view import Progress

PAGE = 50_000
"""Events folded and kept together, in one transaction. The rows that they change are held in memory; they are not."""


_REMEDY = "`tallystick projections drop` forgets them, and they are made again"


class Projector:
    """Folds one store's log into the views of one view store.

    Raises:
        ViewsMissing: some views are not there, so that the others cannot follow the log.
        StoreError: the log could not be read; `NotKept` where the views could not.
    """

    def __init__(self, store: Store, views: ViewStore) -> None:
        self._store = store
        self._views = views
        self._broken_off = False
        self._begins = 0
        """The first row that is read may begin before this position; of another one that would be wrong."""
        self._take_up()

    @property
    def position(self) -> int:
        """How far the views have come."""
        return self._reached.position

    def catch_up(
        self, upto: int | None = None, progress: Progress | None = None, stopping: threading.Event | None = None
    ) -> int:
        """Fold what is new, up to position ``upto`` or the end, or until ``stopping`` is set; the position reached.

        Raises:
            BrokenChain: a record is missing, or cannot be read.
            ViewsMissing: a view was dropped meanwhile, or exchanged for one of another version.
            StoreError: the log could not be read; `NotKept` where the views could not be written.
        """
        if self._broken_off:
            self._take_up()
        rows = self._rows(upto, progress)
        while True:
            try:
                folded = self._fold(rows, upto)
            except Overtaken:
                self._take_up()
                rows = self._rows(upto, progress)
                continue
            except BaseException:
                self._broken_off = True  # what was folded of the page was not kept
                raise
            if not folded or (stopping is not None and stopping.is_set()):
                return self.position

    def _rows(self, upto: int | None, progress: Progress | None) -> Iterator[Row]:
        rows, self._begins = self._store.rows(self.position, upto), self.position
        if progress is None:
            return rows
        last = self._store.last()
        end = upto or (0 if last is None else last.position)
        return _shown(rows, self.position, progress(iter(range(self.position, end)), end - self.position))

    def _take_up(self) -> None:
        """Restore the fold from the kept rows, if they are of this log; else begin again."""
        kept = self._views.live()
        if kept.position and not is_of(self._store, kept.position, kept.digest):
            self._views.reset()
            kept = NOTHING_KEPT
        self._reached = _Reached(kept.position, bytes.fromhex(kept.digest) or GENESIS)
        self._folding = Folding(self._views.kinds, self._views.row)
        self._broken_off = False
        try:
            self._folding.restore(kept.rows)
        except (msgspec.MsgspecError, LookupError, ValueError) as error:
            raise NotKept(f"the kept views cannot be read: {error}; {_REMEDY}") from error

    def _fold(self, rows: Iterable[Row], upto: int | None) -> bool:
        """Fold a page of rows, and keep what it changed; false where there was nothing to fold."""
        after = last = self._reached
        try:
            for row in rows:
                events, last = _read(row, last, self._begins, upto)
                self._begins = 0
                self._folding.fold(events)
                if last.position >= after.position + PAGE:
                    break
        except LookupError as error:
            text = f"do not fit the log at position {last.position}: {error!r}; {_REMEDY}"
            raise NotKept(f"the kept views {text}") from error
        if last.event is None or last.position == after.position:
            return False
        self._views.keep(self._folding.changes(last.event), after.position, last.position, last.digest.hex())
        self._reached = last
        return True


class _Reached(NamedTuple):
    """How far a fold has come: a position, the digest there, and the event, once one was folded."""

    position: int
    digest: bytes
    event: Event | None = None


def _read(row: Row, before: _Reached, after: int, upto: int | None) -> tuple[Sequence[Event], _Reached]:
    """The events of a row with ``after < position <= upto``, and how far they lead.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
    """
    if upto is None or row.position <= upto:
        found = whole(row, before.position, before.digest, EPOCH if before.event is None else before.event.at)
        if found is not None:
            return found.events, _Reached(row.position, found.digests[-1], found.events[-1])
    events, reached = [], before
    for record in records_behind(row, before.position):
        if after < record.position and (upto is None or record.position <= upto):
            event = event_in(record, reached.position + 1)
            events.append(event)
            reached = _Reached(record.position, digest_of(record.data), event)
    return events, reached


def _shown(rows: Iterable[Row], after: int, ticks: Iterator[int]) -> Iterator[Row]:
    """Rows as they are; a progress bar is moved on by their records."""
    for row in rows:
        yield row
        for _ in islice(ticks, row.position - after):
            pass
        after = row.position
    for _ in ticks:
        pass


def is_of(store: Store, position: int, digest: str) -> bool:
    """Whether the record at a position of this log carries this digest (hex)."""
    record = store.record(position)
    return record is not None and digest_of(record.data).hex() == digest


def event_in(record: Record, position: int) -> Event:
    """The event of a record, if it is the one at this position."""
    if record.position != position:
        raise BrokenChain(position, f"the next record in the store is at position {record.position}")
    event = event_of(record)
    if event.position != position:
        raise BrokenChain(position, f"the record says that it is at position {event.position}")
    return event
