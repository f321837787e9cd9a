"""One fleet that a shard hosts: opened on a thread, served by the HTTP application of `tallystick serve`."""

import asyncio

from starlette.types import ASGIApp

from tallystick.cluster.fleets import Database
from tallystick.events.log.store import open_store
from tallystick.fleet import Fleet
from tallystick.http.app import Service, inner_application


class UnknownFleet(Exception):
    """There is no fleet of this name."""


class Hosted:
    """A fleet that is open, and its application. ``used_at``: when it was asked last, in the loop's time."""

    def __init__(self, name: str, fleet: Fleet, app: ASGIApp, service: Service) -> None:
        self.name, self.fleet, self.app = name, fleet, app
        self._service = service
        self.in_use = 0
        self.used_at = asyncio.get_running_loop().time()

    @property
    def has_ended(self) -> bool:
        """Whether the fleet has stopped by itself: its writer's place was taken, or its log cannot be written."""
        return self.fleet.halted is not None

    async def stop(self) -> None:
        """End its streams, and what waits without end; the fleet itself is closed by `close`."""
        self._service.stopping.set()
        await self._service.close()

    def close(self) -> None:
        """Finish what was taken, and let go of the log. It blocks."""
        self.fleet.close()


def open_fleet(database: Database, name: str) -> Fleet:
    """Open a fleet that was created. It blocks: for the database, and for the lease of a writer before.

    Raises:
        UnknownFleet: it was never created.
        WriterPresent: another process writes it, and goes on.
        StoreError: the database cannot be reached, or the log cannot be read.
        BrokenChain: the log was tampered with.
    """
    if not database.has(name):
        raise UnknownFleet(name)
    return Fleet.open(open_store(database.url_of(name), writer=True))


def host(name: str, fleet: Fleet, keys_needed: bool) -> Hosted:
    """Serve a fleet in the running event loop."""
    app, service = inner_application(fleet, keys_needed=keys_needed)
    return Hosted(name, fleet, app, service)
