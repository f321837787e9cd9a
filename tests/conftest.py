"""What tests of several rooms share: a clock that stands still, and fleets that are closed whatever happens."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log.store import Store
from tests.support.core import START
from tests.support.limits import with_seed_limits

# The same cases each time, and no deadline: a slow machine must not fail a test.
settings.register_profile("fleet", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fleet")

OpenFleet = Callable[..., Fleet]
QUIET = {
    "total_budget": {"tokens": 1_000_000, "cost_usd": "1000.00"},
    "emergency_reserve_percent": 0,
    "minimum_share_percent": 0,
    "max_pool_share_percent": 100,
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}
"""A fleet that has enough, in which nothing happens by itself but what a test is about."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def open_fleet(clock: ManualClock) -> Iterator[OpenFleet]:
    """``open_fleet(store="memory:", notify=None, **config)``: a fleet under the test's clock, closed at the end."""
    opened: list[Fleet] = []

    def open_(store: Store | str = "memory:", notify: bool | None = None, **config: Any) -> Fleet:
        settings = from_mapping(with_seed_limits({**QUIET, **config}))
        fleet = Fleet.open(store, settings, clock=clock, notify=notify)
        opened.append(fleet)
        return fleet

    yield open_
    for fleet in opened:
        fleet.close()
