"""One fleet that a shard hosts: opened on a thread, served by the HTTP application of `tallystick serve`."""

import asyncio
import contextlib
import datetime as dt
from typing import NamedTuple

from starlette.types import ASGIApp

from tallystick.cluster.due import DueTimes
from tallystick.cluster.fleets import Database
from tallystick.events.log.store_contract import StoreError
from tallystick.fleet import Fleet
from tallystick.http.app import Service, inner_application
from tallystick.http.views.limit import ReaderLimit


class UnknownFleet(Exception):
    """There is no fleet of this name."""


class Opened(NamedTuple):
    """A fleet that is open, and the epoch of its writer's lease."""

    fleet: Fleet
    epoch: int


class Hosted:
    """A fleet that is open, and its application. ``used_at``: when it was asked last, in the loop's time."""

    def __init__(self, name: str, opened: Opened, due: DueTimes, app: ASGIApp, service: Service) -> None:
        self.name, self.fleet, self.app = name, opened.fleet, app
        self._epoch, self._due = opened.epoch, due
        self._service = service
        self.in_use = 0
        self.used_at = asyncio.get_running_loop().time()
        self._kept_at = self.fleet.position

    @property
    def has_ended(self) -> bool:
        """Whether the fleet has stopped by itself: its writer's place was taken, or its log cannot be written."""
        return self.fleet.halted is not None

    def is_due(self, until: dt.datetime) -> bool:
        """Whether it has something to do by itself until a moment."""
        due_at = self.fleet.due_at
        return due_at is not None and due_at <= until

    def keep_snapshot(self, events: int) -> None:
        """Keep a snapshot where so many events were recorded since it was opened, or since the last one."""
        position = self.fleet.position
        if position - self._kept_at >= events and not self.has_ended:
            self._kept_at = position
            self.fleet.keep_snapshot()

    async def stop(self) -> None:
        """End its streams, and what waits without end; the fleet itself is closed by `close`."""
        self._service.stopping.set()
        await self._service.close()

    def close(self) -> None:
        """Finish what was taken, let go of the log, and say when it has something to do by itself. It blocks."""
        self.keep_snapshot(1)
        self.fleet.close()
        if not self.has_ended:
            # Where it cannot be said, the fleet counts as one whose process has failed, and is opened again.
            with contextlib.suppress(StoreError):
                self._due.closed(self.name, self._epoch, self.fleet.due_at)


def open_fleet(database: Database, due: DueTimes, name: str) -> Opened:
    """Open a fleet that was created. It blocks: for the database, and for the lease of a writer before.

    Raises:
        UnknownFleet: it was never created.
        WriterPresent: another process writes it, and goes on.
        StoreError: the database cannot be reached, or the log cannot be read.
        BrokenChain: the log was tampered with.
    """
    if not database.has(name):
        raise UnknownFleet(name)
    store = database.writer(name)
    try:
        due.opened(name, store.epoch)
    except StoreError:
        store.close()
        raise
    return Opened(Fleet.open(store), store.epoch)


def host(name: str, opened: Opened, due: DueTimes, reader_limit: ReaderLimit, keys_needed: bool) -> Hosted:
    """Serve a fleet in the running event loop. ``reader_limit``: of all fleets of the shard."""
    app, service = inner_application(opened.fleet, keys_needed=keys_needed, reader_limit=reader_limit)
    return Hosted(name, opened, due, app, service)
