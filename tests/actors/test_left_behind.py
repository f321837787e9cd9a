"""What a message leaves behind in memory, beside the state: nothing, not even until the next collection."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tests.support.running import OpenFleet


def one_by_one(fleet: Fleet, messages: list[Any]) -> None:
    for message in messages:
        fleet.ask(message)


def together(fleet: Fleet, messages: list[Any]) -> None:
    fleet.ask(messages)


def without_waiting(fleet: Fleet, messages: list[Any]) -> None:
    for pending in [fleet.send(message) for message in messages]:
        pending.result()


def by_coroutines(fleet: Fleet, messages: list[Any]) -> None:
    async def ask_all() -> None:
        await asyncio.gather(*(fleet.ask_async(message) for message in messages))

    asyncio.run(ask_all())


def reports(since: int) -> list[Any]:
    return [
        {"type": "ReportUsage", "id": f"r-{since + n}", "agent": "ann", "usage": {"tokens": 1}, "model": "m"}
        for n in range(20)
    ]


@pytest.mark.parametrize("way", [one_by_one, together, without_waiting, by_coroutines])
def test_no_message_and_no_answer_waits_for_a_collection(
    open_fleet: OpenFleet, way: Callable[[Fleet, list[Any]], None]
) -> None:
    fleet = open_fleet()
    fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 10_000}})
    way(fleet, reports(0))
    fleet.quiesce()
    gc.collect()
    gc.disable()
    try:
        way(fleet, reports(100))
        fleet.quiesce()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {type(one).__name__ for one in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left.isdisjoint({"Envelope", "Pending", "LoopPending", "ReportUsage", "UsageReported"})
