"""The projection runner: brings a fleet's views up to its log, once or for as long as a process of its own lives.

A fold keeps the interpreter busy, and would keep the manager from it: `follow` is for another process.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tallystick.events.log.store import Store, StoreError, open_store
from tallystick.events.log.store_place import file_of, identity_of, is_postgres, shown
from tallystick.projections.store.kept_views import KeptViews
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import renew
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import MemoryViewStore, ViewsMissing, ViewStore
from tallystick.projections.views.all_views import ALL_VIEWS, ViewTypes
from tallystick.projections.views.view import Progress

POLL_SECONDS = 0.2


class Place(NamedTuple):
    """Where the views of a store in a file are kept, and the log's own file."""

    views: str
    log: Path


def place_of(url: str) -> Place | None:
    """Where the views of a store in a file are kept: beside its log; None for a store that is in no file.

    Raises:
        StoreError: the URL names no store.
    """
    file = file_of(url)
    return None if file is None else Place(f"{file}.views", file)


def kept_views(url: str, kinds: ViewTypes = ALL_VIEWS) -> KeptViews | None:
    """The views that are kept for a store: in a file beside its file, or in its database; None for one in memory.

    Raises:
        NotKept: they cannot be written there, or something else is there.
        StoreError: the URL names no store.
    """
    if is_postgres(url):
        from tallystick.projections.store.view_postgres import PostgresViews

        return PostgresViews(url, kinds)
    place = place_of(url)
    return None if place is None else ViewFile(place.views, kinds)


def are_kept(url: str) -> bool:
    """Whether views of a store have been kept; nothing is made.

    Raises:
        StoreError: the URL names no store; `NotKept` where its database is away.
    """
    if is_postgres(url):
        from tallystick.projections.store.view_postgres import are_in_database

        return are_in_database(url)
    place = place_of(url)
    return place is not None and Path(place.views).exists()


def open_view_store(url: str, kinds: ViewTypes = ALL_VIEWS) -> ViewStore:
    """The view store that belongs to a store.

    Raises:
        NotKept: the views cannot be written where they are kept, or something else is there.
    """
    return kept_views(url, kinds) or MemoryViewStore(kinds)


def catch_up(store: Store, views: ViewStore, progress: Progress | None = None) -> int:
    """Bring views up to a store's log; the position reached.

    Views that are missing or of an older version are made first, beside the others.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read; `NotKept` where the views could not be written.
    """
    while True:
        if isinstance(views, KeptViews):
            renew(store, views, progress)
        try:
            return Projector(store, views).catch_up(progress=progress)
        except ViewsMissing:
            continue  # a view was dropped meanwhile


def follow(url: str, stopping: threading.Event, kinds: ViewTypes = ALL_VIEWS) -> int:
    """Keep a store's views up to its log until ``stopping`` is set, or until the store is gone; the position reached.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: there is no such store, or it could not be read; `NotKept` where the views could not be written.
    """
    store = open_store(url)
    try:
        is_there = _watched(url)
        views = kept_views(url, kinds)
        if views is None:
            text = "keeps nothing that another process could follow: name one like sqlite:///FILE"
            raise StoreError(f"{shown(url)} {text}")
        try:
            projector: Projector | None = None
            while not stopping.is_set() and is_there():
                if projector is None or views.missing():
                    renew(store, views, stopping=stopping)
                try:
                    projector = projector or Projector(store, views)
                    projector.catch_up(stopping=stopping)
                except ViewsMissing:
                    continue  # a view was dropped meanwhile
                stopping.wait(POLL_SECONDS)
            return views.reached().position
        finally:
            views.close()
    finally:
        store.close()


def _watched(url: str) -> Callable[[], bool]:
    """Says whether a store is still the one that it is now; of one in a database, who reads it finds out."""
    place = place_of(url)
    if place is None:
        return lambda: True
    there = identity_of(place.log)
    return lambda: identity_of(place.log) == there
