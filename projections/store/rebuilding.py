"""Views made again from the first event, beside those that people read, and put in their place in one transaction.

The rebuilt views grow on a side of their own, to exactly the position of the live ones. They take the place of a live
view only if their bytes are the same, or if the live one is missing or of an older version. Whoever is killed on the
way leaves that side where it was, and the next one goes on there. The log is only read.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from tallystick.events.log.store import Store
from tallystick.projections.store.projector import Projector, is_of
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import Lacking, NotKept, Overtaken
from tallystick.projections.store.view_tables import Differs
from tallystick.projections.views.view import Progress


class Rebuilt(NamedTuple):
    """The position at which views were rebuilt, and the versions of those that were live there before."""

    position: int
    before: Mapping[str, int]


def rebuild(store: Store, keeper: ViewFile, names: Sequence[str], progress: Progress | None = None) -> Rebuilt:
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
            keeper.lacking()  # what a newer version of tallystick keeps is left alone
            if not _is_live(store, keeper):
                keeper.reset()
                return Rebuilt(Projector(store, keeper).catch_up(progress=progress), {})
            rebuilt = _beside(store, keeper, names, progress, threading.Event())
        except Lacking:
            continue  # others have exchanged or dropped views meanwhile: look again
        assert rebuilt is not None, "nobody told it to stop"
        return rebuilt


def renew(
    store: Store, keeper: ViewFile, progress: Progress | None = None, stopping: threading.Event | None = None
) -> None:
    """Have all views there, in our versions, unless told to stop: made beside the others, or to be made in place.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read; `NotKept` where the views could not be read or written.
    """
    stopping = stopping or threading.Event()
    while not stopping.is_set() and (lacking := keeper.lacking()):
        if not _is_live(store, keeper):
            keeper.reset()
            continue
        try:
            _beside(store, keeper, lacking, progress, stopping)
        except Lacking:
            continue


def _is_live(store: Store, keeper: ViewFile) -> bool:
    """Whether any view of this log has come anywhere."""
    reached = keeper.reached()
    return reached.position > 0 and is_of(store, reached.position, reached.digest)


def _beside(
    store: Store, keeper: ViewFile, names: Sequence[str], progress: Progress | None, stopping: threading.Event
) -> Rebuilt | None:
    """Rebuild beside the live views and exchange; None where it was told to stop.

    Raises:
        Lacking: views were exchanged or dropped by others meanwhile.
    """
    with closing(keeper.beside()) as beside:
        if beside.lacking() or beside.reached().position > keeper.reached().position:
            beside.reset()
        try:
            projector = Projector(store, beside)
        except NotKept:
            beside.reset()  # what was left behind cannot be gone on with
            projector = Projector(store, beside)
        while not stopping.is_set():
            # The live views may move on: each round is as long as what has happened in the one before.
            at = keeper.reached().position
            projector.catch_up(at, progress, stopping)
            try:
                return Rebuilt(at, beside.exchange(names, at))
            except Overtaken:
                if keeper.reached().position <= at:
                    raise Lacking("it was not that they moved on") from None
            except Differs:
                beside.clear()
                raise
        return None
