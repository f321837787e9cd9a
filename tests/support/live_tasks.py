"""Live fleets with few slots, and the tasks that are submitted to them."""

import datetime as dt
from typing import Any

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.store_memory import MemoryStore

ONE_SLOT = {"max_concurrent": {"total": 1, "per_type": {}}}


def submit(fleet: Fleet, task: str, agent_type: str = "backend-engineer", product: str = "shop", **rest: Any) -> Any:
    message = {"type": "SubmitTask", "task": task, "agent_type": agent_type, "product": product, **rest}
    answer = fleet.ask(message)
    fleet.quiesce()
    return answer["ok"]


def complete(fleet: Fleet, task: str, **rest: Any) -> Any:
    answer = fleet.ask({"type": "CompleteTask", "task": task, "outcome": "completed", **rest})
    fleet.quiesce()
    return answer["ok"]


def get(fleet: Fleet, task: str) -> Any:
    return fleet.ask({"type": "GetTask", "task": task})["ok"]


def queue(fleet: Fleet) -> list[str]:
    return [task["task"] for task in fleet.ask({"type": "GetQueue"})["ok"]["tasks"]]


def later(fleet: Fleet, clock: ManualClock, seconds: float) -> None:
    fleet.advance(clock.now() + dt.timedelta(seconds=seconds))


def names(store: MemoryStore) -> list[str]:
    return [record.name.removesuffix(".v1") for record in store.read()]
