"""Serving a fleet that other servers may share: as its writer, or as a standby."""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tallystick.events.log.store_postgres import PostgresStore
from tallystick.standby.role import Role
from tallystick.standby.shared import OpenFleet, SharedFleet
from tallystick.standby.to_writer import ToWriter


class Shared(NamedTuple):
    """A fleet for a server, and what makes, in the event loop, the way to the one that writes it."""

    fleet: SharedFleet
    to_writer: Callable[[], ToWriter]


@contextlib.contextmanager
def sharing(url: str, address: str, open_fleet: OpenFleet, *, standby: bool) -> Iterator[Shared]:
    """A fleet in PostgreSQL as long as the body runs; then what was taken is finished, and the place is free.

    ``address`` is where the other servers reach this one.

    Raises:
        WriterPresent: not as a ``standby``: another process writes the fleet.
        StoreError: the database cannot be reached; as a standby also `NoFleet`.
        BrokenChain, ConfigError, RefusedConfig: the fleet cannot be opened.
    """
    with contextlib.ExitStack() as at_end:
        store = None
        if not standby:
            store = PostgresStore(url, writer=True)
            at_end.callback(store.close)
        fleet = SharedFleet(url, open_fleet)
        at_end.callback(fleet.close)
        role = Role(fleet, address)
        at_end.callback(role.close)
        role.begin(store)
        yield Shared(fleet, lambda: ToWriter(fleet, role))
