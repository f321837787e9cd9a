"""What tests of the typed interface share: fleets of the interface, and what is open in them."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tallystick import Client, Fleet
from tallystick.actors.runtime.clock import ManualClock
from tallystick.config.loader import from_mapping
from tests.support.core import START
from tests.support.few_prices import few_prices
from tests.support.limits import with_seed_limits
from tests.support.running import QUIET

SECONDS = 120.0
"""So long a test waits for what must happen."""


@contextlib.contextmanager
def fleet_of(
    clock: ManualClock | None = None, kind: type[Fleet] = Fleet, live: bool = False, **config: Any
) -> Iterator[Fleet]:
    """A fleet in memory in which nothing happens by itself; its clock stands still, or is that of the machine."""
    settings = from_mapping(with_seed_limits({**QUIET, "reallocation": {"enabled": False}, **config}))
    time_source = None if live else clock or ManualClock(START)
    with kind.open("memory:", settings, few_prices(), clock=time_source, notify=False) as fleet:
        yield fleet


def consumed(fleet: Fleet) -> dict[str, Any]:
    """What was used in all, by dimension; the measured seconds left out."""
    used: dict[str, Any] = fleet.ask({"type": "GetGlobalStatus"})["ok"]["total_consumed"]
    return {name: amount for name, amount in used.items() if name != "time_seconds"}


def status(fleet: Fleet | Client, agent: str) -> dict[str, Any]:
    """An open account."""
    found: dict[str, Any] = fleet.ask({"type": "GetStatus", "agent": agent})["ok"]
    return found


def agents(fleet: Fleet) -> list[str]:
    """The open accounts."""
    return [one["agent"] for one in fleet.ask({"type": "GetGlobalStatus"})["ok"]["agent_statuses"]]


def holds(fleet: Fleet | Client, state: str = "open") -> list[dict[str, Any]]:
    """The holds in a state."""
    found: list[dict[str, Any]] = fleet.ask({"type": "GetHolds", "state": state})["ok"]["holds"]
    return found


def nothing_is_open(fleet: Fleet) -> bool:
    return not agents(fleet) and not holds(fleet)


def recorded(fleet: Fleet) -> list[str]:
    """The names of all events."""
    return [record.name.removesuffix(".v1") for record in fleet._store.read()]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, at most `SECONDS`."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.001)


def in_thread(function: Callable[[], Any]) -> "Future[Any]":
    """What a function returns, or raises, in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future


def waiting(fleet: Fleet) -> int:
    """How many wait for room in the manager."""
    return fleet._manager.waits.count


def run(program: Any) -> Any:
    """Run a coroutine to its end, within `SECONDS`."""
    return asyncio.run(asyncio.wait_for(program, SECONDS))
