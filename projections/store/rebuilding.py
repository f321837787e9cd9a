"""Views made again from the first event, beside those that people read, and put in their place in one transaction.

The rebuilt views grow on a side of their own, to exactly the position of the live ones. They take the place of a live
view only if their bytes are the same, or if the live one is missing or of an older version. A process that is killed on
the way leaves that side where it was, and the next one goes on there. The log is only read.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from tallystick.events.log.store import Store
from tallystick.projections.store.kept_views import KeptViews
from tallystick.projections.store.projector import Projector, is_of
from tallystick.projections.store.view_sides import Differs
from tallystick.projections.store.view_store import NotKept, Overtaken, ViewsMissing
from tallystick.projections.views.view import Progress


class Rebuilt(NamedTuple):
    """The position at which views were rebuilt, and the versions of those that were live there before."""

    position: int
    before: Mapping[str, int]


def rebuild(store: Store, views: KeptViews, names: Sequence[str], progress: Progress | None = None) -> Rebuilt:
    """Make the live views of these names again.

    Where nothing is live, or what is live is of another log, there is nothing to make them beside: all views are made
    in place, up to the end of the log.

    Raises:
        Differs: one of them has other bytes than the live view of the same version, which was left as it is.
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read; `NotKept` where the views could not be read or written.
    """
    while True:
        try:
            views.missing()  # what a newer version of tallystick keeps is left alone
            if not _is_live(store, views):
                views.reset()
                return Rebuilt(Projector(store, views).catch_up(progress=progress), {})
            rebuilt = _beside(store, views, names, progress, threading.Event())
        except ViewsMissing:
            continue  # another process has exchanged or dropped views meanwhile: look again
        assert rebuilt is not None, "nothing asked it to stop"
        return rebuilt


def renew(
    store: Store, views: KeptViews, progress: Progress | None = None, stopping: threading.Event | None = None
) -> None:
    """Have all views in our versions, unless ``stopping`` is set: made beside the others, or left to be made in place.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read; `NotKept` where the views could not be read or written.
    """
    stopping = stopping or threading.Event()
    while not stopping.is_set() and (missing := views.missing()):
        if not _is_live(store, views):
            views.reset()
            continue
        try:
            _beside(store, views, missing, progress, stopping)
        except ViewsMissing:
            continue


def _is_live(store: Store, views: KeptViews) -> bool:
    """Whether any view of this log has come anywhere."""
    reached = views.reached()
    return reached.position > 0 and is_of(store, reached.position, reached.digest)


def _beside(
    store: Store, views: KeptViews, names: Sequence[str], progress: Progress | None, stopping: threading.Event
) -> Rebuilt | None:
    """Rebuild beside the live views and exchange; None where ``stopping`` was set.

    Raises:
        ViewsMissing: another process has exchanged or dropped views meanwhile.
    """
    with closing(views.beside()) as beside:
        if beside.missing() or beside.reached().position > views.reached().position:
            beside.reset()
        try:
            projector = Projector(store, beside)
        except NotKept:
            beside.reset()  # what was left behind cannot be gone on with
            projector = Projector(store, beside)
        while not stopping.is_set():
            # The live views may move on: each round is as long as what has happened in the one before.
            at = views.reached().position
            projector.catch_up(at, progress, stopping)
            try:
                return Rebuilt(at, beside.exchange(names, at))
            except Overtaken:
                if views.reached().position <= at:
                    raise ViewsMissing("it was not that they moved on") from None
            except Differs:
                beside.clear()
                raise
        return None
