"""The views that commands show: brought up to the log, or as they were at a moment."""

import contextlib
import datetime as dt
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from tallystick.cli.common import is_served, progress_bar, reading, state_then
from tallystick.events.decide.clock import pass_time
from tallystick.events.decide.turn import Turn
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Store
from tallystick.events.messages.command import Command
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.ledger import Ledger
from tallystick.moments import Moment
from tallystick.projections.reports.status import Status
from tallystick.projections.store.as_of import NotThere, views_at
from tallystick.projections.store.runner import catch_up, open_view_store
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import MemoryViewStore, NotKept, ViewStore

Q = TypeVar("Q", bound=Command)
R = TypeVar("R", bound=Reply)


@contextlib.contextmanager
def opened_views(store_url: str, at: Moment | None) -> Iterator[ViewStore]:
    """A fleet's views, at the log's end or at a moment.

    Raises:
        StoreError: the store cannot be read.
        ClickException: the log does not reach there.
    """
    with reading(store_url) as store:
        views = _views(store, at)
        try:
            yield views
        finally:
            views.close()


def counted(store_url: str, at: Moment | None) -> Ledger:
    """The core's state, with what limits have counted: now, or at a moment.

    Windows that are over since the last message are not shown as if they were at hand.

    Raises:
        StoreError: the store cannot be read.
        ClickException: the log does not reach there.
    """
    with reading(store_url) as store:
        if at is not None:
            return state_then(store, at).ledger
        ledger = open_ledger(store).ledger
    pass_time(ledger, dt.datetime.now(dt.UTC))
    return ledger


def moment_of(views: ViewStore, at: Moment | None) -> dt.datetime:
    """The moment that times are measured to: now, the one that was asked for, or that of the position's event."""
    if at is None:
        return dt.datetime.now(dt.UTC)
    return Status(views).fleet.at if at.time is None else at.time


def _views(store: Store, at: Moment | None) -> ViewStore:
    """The views up to the log's end, or as they were; in memory where their own file cannot be written.

    Raises:
        ClickException: the log does not reach there.
    """
    if at is not None:
        progress = progress_bar("reading the log")
        moment = at.position if at.time is None else at.time
        assert moment is not None
        try:
            return views_at(store, moment, progress)
        except NotThere as error:
            raise click.ClickException(str(error)) from error
    return opened_at_end(store)


def opened_at_end(store: Store) -> ViewStore:
    """The views up to the log's end; in memory where their own file cannot be written.

    Raises:
        StoreError: the store cannot be read.
    """
    progress = progress_bar("reading the log")
    try:
        views = _kept_here(store.url) if is_served(store.url) else open_view_store(store.url)
        catch_up(store, views, progress)
    except NotKept:
        views = MemoryViewStore()
        catch_up(store, views, progress)
    return views


def _kept_here(url: str) -> ViewStore:
    """The views of a fleet behind a server: in a file of this user's cache, so that only what is new is read."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tallystick"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotKept(f"{cache} cannot be made: {error.strerror}") from error
    return ViewFile(str(cache / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.views"))


def answer_of(ledger: Ledger, at: Moment | None, answer: Callable[[Turn, Q], R | Refusal], query: Q) -> R:
    """What the manager would answer to a query: now, or at a moment.

    Raises:
        ClickException: the query is refused.
    """
    now = dt.datetime.now(dt.UTC) if at is None else at.time or ledger.now
    found = answer(Turn(ledger, now, "", ""), query)
    if isinstance(found, Refusal):
        raise click.ClickException(found.detail)
    return found
