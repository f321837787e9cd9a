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


def circles(doing: Callable[[], None], fleet: Fleet) -> set[str]:
    """The classes of what only a collection frees after something was done."""
    fleet.quiesce()
    gc.collect()
    gc.disable()
    try:
        doing()
        fleet.quiesce()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return {f"{type(one).__module__}.{type(one).__name__}" for one in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("tallystick.")}


@pytest.mark.parametrize("way", [one_by_one, together, without_waiting, by_coroutines])
def test_no_message_and_no_answer_waits_for_a_collection(
    open_fleet: OpenFleet, way: Callable[[Fleet, list[Any]], None]
) -> None:
    fleet = open_fleet()
    fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 10_000}})
    way(fleet, reports(0))
    assert ours(circles(lambda: way(fleet, reports(100)), fleet)) == set()


def lives(n: int) -> dict[str, list[dict[str, Any]]]:
    """Messages that open and close, that are refused, that wait, and that others than the manager judge."""
    child = {"type": "AllocateBudget", "agent": f"bob-{n}/x", "parent": f"bob-{n}", "budget": {"tokens": 10}}
    return {
        "an account": [
            {"type": "AllocateBudget", "agent": f"bob-{n}", "budget": {"tokens": 100}},
            child,
            {"type": "ReportUsage", "agent": f"bob-{n}/x", "usage": {"tokens": 5}},
            {"type": "ReleaseBudget", "agent": f"bob-{n}/x"},
            {"type": "ReleaseBudget", "agent": f"bob-{n}"},
        ],
        "a hold": [
            {"type": "Reserve", "agent": "ann", "estimate": {"tokens": 1}, "id": f"h-{n}"},
            {"type": "CancelHold", "hold": f"h-{n}"},
        ],
        "a refused hold": [{"type": "Reserve", "agent": "ann", "estimate": {"tokens": 10**9}}],
        "no message": [{"type": "Reserve", "agent": "ann"}],
        "a forecast": [{"type": "Forecast", "agent": "ann"}],
        "a plan": [{"type": "Rebalance"}],
        "a report": [{"type": "GenerateReport"}],
        "a task": [
            {"type": "SubmitTask", "task": f"t-{n}", "agent_type": "qa", "product": "shop", "wait_seconds": 5},
            {"type": "ReportUsage", "task": f"t-{n}", "usage": {"tokens": 3}},
            {"type": "CompleteTask", "task": f"t-{n}", "outcome": "completed"},
        ],
    }


@pytest.mark.parametrize("what", lives(0))
def test_nothing_that_is_over_waits_for_a_collection(open_fleet: OpenFleet, what: str) -> None:
    fleet = open_fleet()
    fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 10_000}})
    one_by_one(fleet, [*reports(0), *lives(1)[what]])
    assert ours(circles(lambda: one_by_one(fleet, lives(2)[what]), fleet)) == set()
