"""Questions and submissions that wait for a task: when they are answered, and with what."""

import datetime as dt
from typing import Any

import pytest

from tallystick.actors.allocator import Allocator
from tallystick.actors.runtime import waits
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.pending import Pending
from tests.support.live_tasks import ONE_SLOT, complete, get, later, submit
from tests.support.running import OpenFleet

# --- who is answered --------------------------------------------------------------------------------------------------


def test_who_waits_for_a_task_is_answered_when_it_starts(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy")
    submit(fleet, "t")
    waiting = fleet.send({"type": "GetTask", "task": "t", "wait_seconds": 30})
    fleet.quiesce()
    complete(fleet, "busy")
    answer = waiting.result()["ok"]
    assert answer["state"] == "running"
    assert answer["lease"] is not None


def test_a_wait_is_over_at_its_end(open_fleet: OpenFleet, clock: ManualClock) -> None:
    fleet = open_fleet(**ONE_SLOT, leases={"seconds": 1_000})
    submit(fleet, "busy")
    submit(fleet, "t")
    waiting = fleet.send({"type": "GetTask", "task": "t", "wait_seconds": 30})
    fleet.quiesce()
    later(fleet, clock, 30)
    assert waiting.result()["ok"]["state"] == "queued"


def test_a_start_that_no_answer_named_is_announced_at_once_and_only_once(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy")
    submit(fleet, "t")
    complete(fleet, "busy")
    assert fleet.ask({"type": "GetTask", "task": "t", "wait_seconds": 30})["ok"]["state"] == "running"
    waiting = fleet.send({"type": "GetTask", "task": "t", "wait_seconds": 30})
    fleet.quiesce()
    complete(fleet, "t")
    assert waiting.result()["ok"]["state"] == "completed"


def test_what_cannot_change_any_more_is_not_waited_for(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    submit(fleet, "t")
    complete(fleet, "t")
    assert fleet.ask({"type": "GetTask", "task": "t", "wait_seconds": 30})["ok"]["state"] == "completed"
    assert fleet.ask({"type": "GetTask", "task": "x", "wait_seconds": 30})["error"]["code"] == "unknown_task"
    assert fleet.ask({"type": "GetTask", "task": "t", "wait_seconds": 3_601})["error"]["code"] == "invalid_amount"


def test_so_many_wait_and_the_next_is_answered_at_once(open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "WAITS_MAX", 2)
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy")
    submit(fleet, "t")
    ask = {"type": "GetTask", "task": "t", "wait_seconds": 30}
    waiting = [fleet.send(ask), fleet.send(ask)]
    fleet.quiesce()
    assert fleet.ask(ask)["ok"]["state"] == "queued"
    complete(fleet, "busy")
    assert [one.result()["ok"]["state"] for one in waiting] == ["running", "running"]


def submit_and_wait(fleet: Fleet, task: str, wait: float = 30, **rest: Any) -> Pending:
    message = {"type": "SubmitTask", "task": task, "agent_type": "writer", "product": "shop", "wait_seconds": wait}
    waiting = fleet.send({**message, **rest})
    fleet.quiesce()
    return waiting


def test_who_submits_a_task_may_wait_until_it_starts(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    assert submit_and_wait(fleet, "busy").result()["ok"]["state"] == "running", "it starts at once"
    waiting = submit_and_wait(fleet, "t")
    complete(fleet, "busy")
    answer = waiting.result()["ok"]
    assert (answer["state"], answer["lease"] is not None) == ("running", True)


def test_at_the_end_of_the_wait_a_task_stays_queued(open_fleet: OpenFleet, clock: ManualClock) -> None:
    fleet = open_fleet(**ONE_SLOT, leases={"seconds": 1_000})
    submit(fleet, "busy")
    waiting = submit_and_wait(fleet, "t")
    later(fleet, clock, 29)
    assert waiting._answers is None
    later(fleet, clock, 1)
    assert waiting.result()["ok"]["state"] == "queued"
    complete(fleet, "busy")
    assert get(fleet, "t")["state"] == "running"


def test_who_submits_a_task_waits_also_while_it_depends_on_others(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "first")
    waiting, cancelled = (submit_and_wait(fleet, task, depends_on=["first"]) for task in ("t", "u"))
    complete(fleet, "first")
    assert waiting.result()["ok"]["state"] == "running"
    assert cancelled._answers is None, "it is queued by now, and does not run"
    fleet.ask({"type": "CancelTask", "task": "u"})
    assert cancelled.result()["ok"]["state"] == "cancelled"


def test_the_same_submission_again_waits_too_and_another_under_its_id_is_a_conflict(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy")
    first, again = (submit_and_wait(fleet, "t", id="s") for _ in range(2))
    assert submit_and_wait(fleet, "x", id="s").result()["error"]["code"] == "idempotency_conflict"
    assert first._answers is None
    assert again._answers is None
    complete(fleet, "busy")
    assert first.result() == again.result()
    assert submit_and_wait(fleet, "u", wait=3_601).result()["error"]["code"] == "invalid_amount"


def test_who_waits_for_a_submitted_task_is_answered_by_the_next_allocator(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy")
    waiting, follow = submit_and_wait(fleet, "t"), Allocator.follow

    def die(self: Allocator, events: Any, now: dt.datetime) -> None:
        monkeypatch.setattr(Allocator, "follow", follow)
        raise RuntimeError("struck by lightning")

    monkeypatch.setattr(Allocator, "follow", die)
    complete(fleet, "busy")
    assert waiting.result()["ok"]["state"] == "running"
