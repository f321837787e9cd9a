"""Brings views up to the log: a page of events at a time, exactly once, from wherever they were left.

`catch_up` does it once. `follow` goes on doing it, for a process of its own: a fold keeps the interpreter busy, and
would keep the manager from it.
"""

import datetime as dt
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from tallystick.events.catalog import Event
from tallystick.events.codec import BrokenChain, decode_event, digest_of
from tallystick.events.standing import Standings
from tallystick.events.store import Record, Store, StoreError, open_store
from tallystick.projections.agents_view import AgentsView
from tallystick.projections.fleet_view import FleetView
from tallystick.projections.holds_view import HoldsView
from tallystick.projections.keeper import NOTHING_KEPT, FileKeeper, Keeper, Kept, MemoryKeeper, Overtaken
from tallystick.projections.view import Look, View

PAGE = 5_000
"""Events folded and kept together, in one transaction."""
POLL_SECONDS = 0.2
VERSIONS = {view.name: view.version for view in (FleetView, HoldsView, AgentsView)}

Progress = Callable[[Iterator[Record], int], Iterator[Record]]
"""Hands records on as they are read, and is told how many there are to be: for a bar."""


def views_of(look: Look) -> tuple[View, ...]:
    """The views, which share one set of standings; the last one moves them on, so that the others look first."""
    standings = Standings()
    return FleetView(standings), HoldsView(standings), AgentsView(standings, look)


class Projector:
    """Folds one store's log into the views of one keeper."""

    def __init__(self, store: Store, keeper: Keeper) -> None:
        self._store = store
        self._keeper = keeper
        self._take_up()

    def catch_up(
        self, upto: int | None = None, progress: Progress | None = None, stopping: threading.Event | None = None
    ) -> int:
        """Fold what is new, up to position ``upto`` or the end, or until told to stop; the position reached.

        Raises:
            BrokenChain: a record is missing, or cannot be read.
            StoreError: the log could not be read; `NotKept` where the views could not be written.
        """
        records = self._records(upto, progress)
        while page := list(islice(records, PAGE)):
            try:
                self._fold(page)
            except Overtaken:
                self._take_up()
                records = self._records(upto, progress)
                continue
            if stopping is not None and stopping.is_set():
                break
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
        kept = self._keeper.live()
        if kept.position and not self._is_of_this_log(kept):
            self._keeper.reset()
            kept = NOTHING_KEPT
        self.position = kept.position
        self._views = views_of(self._keeper.row)
        for view in reversed(self._views):
            view.restore(kept.rows.get(view.name, ()))

    def _is_of_this_log(self, kept: Kept) -> bool:
        record = self._store.record(kept.position)
        return record is not None and digest_of(record.data).hex() == kept.digest

    def _fold(self, page: Sequence[Record]) -> None:
        after, views = self.position, self._views
        for place, record in enumerate(page, after + 1):
            event = _event(record, place)
            for view in views:
                view.fold(event)
        last = page[-1]
        changes = {view.name: view.changes() for view in views}
        self._keeper.keep(changes, after, last.position, digest_of(last.data).hex())
        self.position = last.position


def _event(record: Record, position: int) -> Event:
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


def catch_up(store: Store, keeper: Keeper, progress: Progress | None = None) -> int:
    """Bring a keeper's views up to a store's log; the position reached.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read; `NotKept` where the views could not be written.
    """
    return Projector(store, keeper).catch_up(progress=progress)


def status_at(store: Store, at: int | dt.datetime, progress: Progress | None = None) -> MemoryKeeper:
    """The views as they were at a position, or at a time: folded from the first event, and kept nowhere.

    Raises:
        NotThere: the log has no such position, or nothing from before that time.
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read.
    """
    upto = _position_at(store, at) if isinstance(at, dt.datetime) else at
    last = store.last()
    newest = 0 if last is None else last.position
    if not 1 <= upto <= newest:
        raise NotThere(f"there is no position {upto}: the log has positions 1 to {newest}" if newest else _EMPTY)
    keeper = MemoryKeeper()
    Projector(store, keeper).catch_up(upto, progress)
    return keeper


_EMPTY = "nothing has been recorded yet"


class NotThere(LookupError):
    """The log does not reach there; the text says how far it does."""


def _position_at(store: Store, at: dt.datetime) -> int:
    """The position of the last event that was recorded by then. Time never runs backwards in a log: it is halved."""
    last = store.last()
    before, behind = 0, 1 if last is None else last.position + 1
    while behind - before > 1:
        middle = (before + behind) // 2
        record = store.record(middle)
        if record is None:
            raise BrokenChain(middle, "the record is missing")
        if _event(record, middle).at <= at:
            before = middle
        else:
            behind = middle
    if not before:
        raise NotThere(_EMPTY if last is None else f"nothing had been recorded by {at.isoformat()}")
    return before


# --- a process of its own --------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a store's views are kept, and the log's own file."""

    views: str
    log: Path


def place_of(url: str) -> Place | None:
    """Where the views of a store are kept: beside its log; None for a store in memory, whose views are kept nowhere."""
    scheme, _, path = url.partition(":///")
    return Place(f"{path}.views", Path(path)) if scheme == "sqlite" else None


def open_keeper(url: str) -> Keeper:
    """The keeper of a store's views.

    Raises:
        NotKept: the file cannot be written, or is no file of views.
    """
    place = place_of(url)
    return MemoryKeeper() if place is None else FileKeeper(place.views, VERSIONS)


def follow(url: str, stopping: threading.Event) -> int:
    """Keep a store's views up to its log until told to stop, or until the store is gone; the position reached.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: there is no such store, or it could not be read; `NotKept` where the views could not be written.
    """
    place = place_of(url)
    if place is None:
        raise StoreError(f"{url} keeps nothing that another process could follow: name one like sqlite:///FILE")
    store = open_store(url)
    try:
        there = _identity(place.log)
        keeper = open_keeper(url)
        try:
            projector = Projector(store, keeper)
            while not stopping.is_set() and _identity(place.log) == there:
                projector.catch_up(stopping=stopping)
                stopping.wait(POLL_SECONDS)
            return projector.position
        finally:
            keeper.close()
    finally:
        store.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies at a path: a log that was replaced is another one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
