"""The views as they were at a position of the log, or at a time."""

import datetime as dt

from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store import Store
from tallystick.projections.store.projector import Projector, event_in
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.view import Progress

_EMPTY = "nothing has been recorded yet"


class NotThere(LookupError):
    """The log does not reach there; the text says how far it does."""


def views_at(store: Store, at: int | dt.datetime, progress: Progress | None = None) -> MemoryViewStore:
    """The views as they were at a position, or at a time: folded from the first event, in memory.

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
    views = MemoryViewStore()
    Projector(store, views).catch_up(upto, progress)
    return views


def _position_at(store: Store, at: dt.datetime) -> int:
    """The position of the last event that was recorded by then. Time never runs backwards in a log: it is halved."""
    last = store.last()
    before, behind = 0, 1 if last is None else last.position + 1
    while behind - before > 1:
        middle = (before + behind) // 2
        record = store.record(middle)
        if record is None:
            raise BrokenChain(middle, "the record is missing")
        if event_in(record, middle).at <= at:
            before = middle
        else:
            behind = middle
    if not before:
        raise NotThere(_EMPTY if last is None else f"nothing had been recorded by {at.isoformat()}")
    return before
