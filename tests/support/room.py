"""Fleets in which holds wait for room, and what is asked of them."""

import datetime as dt
from typing import Any

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.pending import Pending
from tallystick.events.log.store_memory import MemoryStore
from tests.support.running import OpenFleet

MINUTE = {"name": "rpm", "window": {"seconds": 60}, "max": {"requests": 2}, "then": "wait"}
TOTAL = {"name": "cap", "window": "total", "max": {"tokens": 100}}


def opened(open_fleet: OpenFleet, *limits: dict[str, Any], **agents: str) -> Fleet:
    """A fleet with these limits, and an account per agent, with its priority."""
    fleet = open_fleet(MemoryStore(), limits=list(limits), reallocation={"interval_seconds": 3_600})
    for agent, priority in (agents or {"ann": "normal"}).items():
        fleet.ask({"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 1_000}, "priority": priority})
    return fleet


def ask(fleet: Fleet, id: str, tokens: int = 10, agent: str = "ann", wait: float | None = 60, **rest: Any) -> Pending:
    message = {"type": "Reserve", "id": id, "agent": agent, "estimate": {"tokens": tokens}, **rest}
    waiting = fleet.send(message if wait is None else {**message, "wait_seconds": wait})
    fleet.quiesce()
    return waiting


def request(fleet: Fleet, id: str, **rest: Any) -> Pending:
    return ask(fleet, id, model="haiku", **rest)


def tell(fleet: Fleet, kind: str, **rest: Any) -> Any:
    answer = fleet.ask({"type": kind, **rest})
    assert "ok" in answer, answer
    fleet.quiesce()
    return answer["ok"]


def later(fleet: Fleet, clock: ManualClock, seconds: float) -> None:
    fleet.advance(clock.now() + dt.timedelta(seconds=seconds))


def waits(pending: Pending) -> bool:
    return pending._answers is None


def ok(pending: Pending) -> Any:
    assert not waits(pending), "it still waits"
    return pending.result(0)["ok"]


def error(pending: Pending) -> Any:
    assert not waits(pending), "it still waits"
    return pending.result(0)["error"]


def names(fleet: Fleet) -> list[str]:
    return [record.name.removesuffix(".v1") for record in fleet._store.read()]
