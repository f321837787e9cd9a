"""Inherited priorities in the fleet: what others wait for starts, ages and preempts as they would."""

from typing import Any

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.store_memory import MemoryStore
from tests.support.running import OpenFleet

ONE_SLOT = {"max_concurrent": {"total": 1, "per_type": {}}}


def submit(fleet: Fleet, task: str, **rest: Any) -> Any:
    answer = fleet.ask({"type": "SubmitTask", "task": task, "agent_type": "coder", "product": "shop", **rest})
    fleet.quiesce()
    return answer["ok"]


def complete(fleet: Fleet, task: str) -> None:
    fleet.ask({"type": "CompleteTask", "task": task, "outcome": "completed"})
    fleet.quiesce()


def get(fleet: Fleet, task: str) -> Any:
    return fleet.ask({"type": "GetTask", "task": task})["ok"]


def queue(fleet: Fleet) -> list[str]:
    return [task["task"] for task in fleet.ask({"type": "GetQueue"})["ok"]["tasks"]]


def shown(fleet: Fleet, task: str) -> Any:
    return next(one for one in fleet.ask({"type": "GetQueue"})["ok"]["tasks"] if one["task"] == task)


def test_a_low_task_that_a_high_one_waits_for_goes_before_a_normal_one(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy")
    submit(fleet, "normal")
    submit(fleet, "needed", priority="low")
    assert queue(fleet) == ["normal", "needed"]
    submit(fleet, "high", priority="high", depends_on=["needed"])
    assert queue(fleet) == ["needed", "normal"]
    complete(fleet, "busy")
    assert get(fleet, "needed")["state"] == "running"


def test_the_queue_shows_its_own_priority_what_it_ranks_as_and_for_whom(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy", priority="critical")
    submit(fleet, "needed", priority="low")
    assert not {"effective_priority", "inherited_from"} & shown(fleet, "needed").keys(), "it ranks by its own"
    submit(fleet, "between", depends_on=["needed"])
    submit(fleet, "critical", priority="critical", depends_on=["between"])
    record = shown(fleet, "needed")
    assert (record["priority"], record["effective_priority"], record["inherited_from"]) == (
        "low",
        "critical",
        "critical",
    )
    assert (record["aged"], record["terms"]["priority"], record["terms"]["wait"]) == (True, 0.5, 0.3), "at once"
    fleet.ask({"type": "CancelTask", "task": "critical"})
    record = shown(fleet, "needed")
    assert (record["priority"], record["effective_priority"], record["inherited_from"], record["aged"]) == (
        "low",
        "normal",
        "between",
        False,
    )


def test_a_slot_is_taken_for_it_the_moment_a_critical_task_begins_to_wait_for_it(open_fleet: OpenFleet) -> None:
    store = MemoryStore()
    fleet = open_fleet(store, **ONE_SLOT)
    submit(fleet, "busy")
    submit(fleet, "needed", priority="low")
    submit(fleet, "critical", priority="critical", depends_on=["needed"])
    assert [get(fleet, name)["state"] for name in ("busy", "needed", "critical")] == [
        "queued",
        "running",
        "waiting_on_dependencies",
    ]
    submit(fleet, "other", priority="critical")
    assert get(fleet, "needed")["state"] == "running", "it is not taken from it by another critical task"
    complete(fleet, "needed")
    assert {get(fleet, "critical")["state"], get(fleet, "other")["state"]} == {"running", "queued"}
    assert queue(fleet)[-1] == "busy"


def test_a_fleet_that_opens_again_ranks_as_before(open_fleet: OpenFleet) -> None:
    store = MemoryStore()
    fleet = open_fleet(store, **ONE_SLOT)
    submit(fleet, "busy", priority="critical")
    submit(fleet, "normal")
    submit(fleet, "needed", priority="low")
    submit(fleet, "high", priority="high", depends_on=["needed"])
    before = queue(fleet)
    fleet.close()
    again = open_fleet(store, **ONE_SLOT)
    assert queue(again) == before == ["needed", "normal"]
    assert shown(again, "needed")["inherited_from"] == "high"
