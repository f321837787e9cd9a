"""The door for Python programs: the house, with views of its own log to report from."""

from collections.abc import Callable, Sequence
from typing import Self

from tallystick.actors import fleet
from tallystick.actors.clock import Clock
from tallystick.actors.reports import MakeReporter
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events.catalog import Event
from tallystick.events.store import Store
from tallystick.reports.reporter import Reporter


class Fleet(fleet.Fleet):
    """A running house: messages in, replies out, from threads and from asyncio."""

    @classmethod
    def open(
        cls,
        store: Store | str,
        config: Config | None = None,
        prices: PriceList | None = None,
        *,
        clock: Clock | None = None,
        by: str = "operator",
        followers: Sequence[Callable[[Sequence[Event]], None]] = (),
        reporter: MakeReporter = Reporter,
        notify: bool | None = None,
    ) -> Self:
        """Open a fleet as its only writer: see `tallystick.actors.fleet.Fleet.open`."""
        return super().open(
            store, config, prices, clock=clock, by=by, followers=followers, reporter=reporter, notify=notify
        )
