"""The views as they were at a position of the log, or at a time."""

import datetime as dt

from tallystick.events.decide.answers import stamp
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


def position_by(store: Store, at: dt.datetime, before: bool = False) -> int:
    """The position of the last event that was recorded by then (``before``: earlier than that); 0 where none was.

    Time never runs backwards in a log: it is halved.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read.
    """
    last = store.last()
    found, behind = 0, 1 if last is None else last.position + 1
    while behind - found > 1:
        middle = (found + behind) // 2
        record = store.record(middle)
        if record is None:
            raise BrokenChain(middle, "the record is missing")
        recorded = event_in(record, middle).at
        if recorded < at or (recorded == at and not before):
            found = middle
        else:
            behind = middle
    return found


def _position_at(store: Store, at: dt.datetime) -> int:
    found = position_by(store, at)
    if not found:
        raise NotThere(_EMPTY if store.last() is None else f"nothing had been recorded by {stamp(at)}")
    return found
