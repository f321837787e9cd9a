"""Brings views up to the log: a page of events at a time, exactly once, from wherever they were left."""

import threading
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from tallystick.events.catalog import Event
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import decode_event, digest_of
from tallystick.events.log.store import Record, Store
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
        self._take_up()

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
        records = self._records(upto, progress)
        while True:
            try:
                folded = self._fold(islice(records, PAGE))
            except Overtaken:
                self._take_up()
                records = self._records(upto, progress)
                continue
            except BaseException:
                self._broken_off = True  # what was folded of the page was not kept
                raise
            if not folded or (stopping is not None and stopping.is_set()):
                return self.position

    def _records(self, upto: int | None, progress: Progress | None) -> Iterator[Record]:
        records = self._store.read(self.position, upto)
        if progress is None:
            return records
        last = self._store.last()
        end = upto or (0 if last is None else last.position)
        return progress(records, end - self.position)

    def _take_up(self) -> None:
        """Restore the fold from the kept rows, if they are of this log; else begin again."""
        kept = self._views.live()
        if kept.position and not is_of(self._store, kept.position, kept.digest):
            self._views.reset()
            kept = NOTHING_KEPT
        self.position = kept.position
        self._folding = Folding(self._views.kinds, self._views.row)
        self._broken_off = False
        try:
            self._folding.restore(kept.rows)
        except (msgspec.MsgspecError, LookupError, ValueError) as error:
            raise NotKept(f"the kept views cannot be read: {error}; {_REMEDY}") from error

    def _fold(self, records: Iterable[Record]) -> bool:
        """Fold a page, and keep what it changed; false where there was nothing to fold."""
        after = position = self.position
        steps = self._folding.steps
        record = event = None
        try:
            for record in records:
                position += 1
                event = event_in(record, position)
                for step in steps[type(event)]:
                    step(event)
        except LookupError as error:
            raise NotKept(f"the kept views do not fit the log at position {position}: {error!r}; {_REMEDY}") from error
        if record is None or event is None:
            return False
        self._views.keep(self._folding.changes(event), after, position, digest_of(record.data).hex())
        self.position = position
        return True


def is_of(store: Store, position: int, digest: str) -> bool:
    """Whether the record at a position of this log carries this digest (hex)."""
    record = store.record(position)
    return record is not None and digest_of(record.data).hex() == digest


def event_in(record: Record, position: int) -> Event:
    """The event of a record, if it is the one at this position."""
    if record.position != position:
        raise BrokenChain(position, f"the next record in the store is at position {record.position}")
    try:
        event = decode_event(record.data, record.name)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BrokenChain(position, f"the record cannot be read: {error}") from error
    if event.position != position:
        raise BrokenChain(position, f"the record says that it is at position {event.position}")
    return event
