"""The allocator in the manager's turn: what it proposes is decided at once, in the order of what was sent."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tallystick.actors import tracker as tracker_module
from tallystick.actors.allocator import Allocator
from tallystick.actors.manager import Manager
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.messages import MANAGER
from tallystick.actors.runtime.specialist import Probe
from tallystick.actors.tracker import Tracker
from tallystick.config.loader import from_mapping
from tallystick.events.catalog import Event, TaskCompleted, TaskStarted
from tallystick.events.log.store import Record
from tallystick.events.log.store_memory import MemoryStore
from tallystick.fleet import Fleet
from tests.support.core import START
from tests.support.driving import simulated
from tests.support.programs import until
from tests.support.running import QUIET, OpenFleet
from tests.support.stores import SECONDS

ONE_SLOT = {"max_concurrent": {"total": 1, "per_type": {}}}


def submission(task: str, **rest: Any) -> dict[str, Any]:
    return {"type": "SubmitTask", "task": task, "agent_type": "writer", "product": "shop", **rest}


def completion(task: str) -> dict[str, Any]:
    return {"type": "CompleteTask", "task": task, "outcome": "completed"}


def test_messages_that_are_sent_together_are_decided_in_their_order(open_fleet: OpenFleet) -> None:
    """Though some need judgement and others do not."""
    fleet = open_fleet(**ONE_SLOT)
    replies = fleet.ask(
        [
            submission("a"),
            {"type": "Heartbeat", "task": "a"},
            submission("b"),
            {"type": "GetTask", "task": "b"},
            completion("a"),
            {"type": "GetTask", "task": "b"},
        ]
    )
    states = [reply["ok"].get("state") for reply in replies]
    assert states == ["running", "running", "queued", "queued", "completed", "running"]


def test_a_task_that_waits_gets_the_slot_before_one_who_comes_with_its_release(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    fleet.ask([submission("runs"), submission("waits", priority="low")])
    _, newcomer = fleet.ask([completion("runs"), submission("newcomer", priority="high")])
    assert newcomer["ok"]["decision"] == "queued"
    assert fleet.ask({"type": "GetTask", "task": "waits"})["ok"]["state"] == "running"


def test_a_slot_is_given_away_in_the_commit_that_frees_it(clock: ManualClock) -> None:
    batches: list[Sequence[Event]] = []
    with Fleet.open("memory:", from_mapping({**QUIET, **ONE_SLOT}), clock=clock, followers=[batches.append]) as fleet:
        fleet.ask([submission("a"), submission("b")])
        # Followers receive a batch after the answer.
        fleet.quiesce()
        batches.clear()
        fleet.ask(completion("a"))
    assert {TaskCompleted, TaskStarted} <= set(map(type, batches[0]))


def test_the_allocator_and_the_tracker_work_in_the_managers_thread(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[threading.Thread]] = {"allocator": set(), "core": set(), "tracker": set()}

    def note(owner: type[Any], name: str, by: str) -> None:
        method = getattr(owner, name)

        def noting(self: Any, *arguments: Any, **named: Any) -> Any:
            threads[by].add(threading.current_thread())
            return method(self, *arguments, **named)

        monkeypatch.setattr(owner, name, noting)

    for name in ("answer", "follow", "wake"):
        note(Allocator, name, "allocator")
    note(Manager, "decide", "core")
    note(Tracker, "handle", "tracker")
    fleet = open_fleet(**ONE_SLOT)
    fleet.ask([submission("a"), submission("b")])
    fleet.ask(completion("a"))
    fleet.quiesce()
    assert len(threads["core"]) == 1
    assert threads["allocator"] == threads["core"]
    assert threads["tracker"] == threads["core"]
    assert threading.current_thread() not in threads["core"]


def test_an_error_in_the_judgement_refuses_nothing_of_what_came_with_it(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = open_fleet(**ONE_SLOT)
    answer, times = Allocator.answer, []

    def fail_once(self: Allocator, *told: Any) -> Any:
        times.append(told)
        if len(times) == 1:
            raise ZeroDivisionError("a bug in the judgement")
        return answer(self, *told)

    monkeypatch.setattr(Allocator, "answer", fail_once)
    allocated = {"type": "AllocateBudget", "agent": "x", "budget": {"tokens": 10}}
    replies = fleet.ask([allocated, submission("a"), submission("b")])
    assert [reply["ok"].get("state") for reply in replies[1:]] == ["running", "queued"]
    assert fleet.halted is None


def fail(*told: object) -> None:
    raise ZeroDivisionError("a bug in the judgement")


def test_an_allocator_that_fails_again_and_again_is_given_up_and_the_fleet_goes_on(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = open_fleet(**ONE_SLOT)
    monkeypatch.setattr(Allocator, "answer", fail)
    waiting = fleet.send(submission("a"))
    assert "ok" in fleet.ask({"type": "AllocateBudget", "agent": "x", "budget": {"tokens": 10}})
    fleet.quiesce()
    assert fleet._manager._allocator is None
    assert fleet.halted is None
    assert waiting.result(SECONDS)["error"]["code"] == "specialist_given_up"
    assert fleet.ask(submission("b"), timeout=SECONDS)["error"]["code"] == "specialist_given_up"


def test_an_error_of_the_core_is_not_taken_for_the_allocators(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = open_fleet(**ONE_SLOT)
    monkeypatch.setattr(Manager, "decide", fail)
    assert fleet.ask(submission("a"), timeout=SECONDS)["error"]["code"] == "halted"
    assert fleet.halted is not None


def test_a_simulated_fleet_raises_the_allocators_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Allocator, "answer", fail)
    with pytest.raises(ZeroDivisionError):
        simulated([(START, submission("a"))])


class NeverIdle(MemoryStore):
    """While a batch is written, a report comes for the next one; with the first of them, a snapshot is asked for."""

    fleet: Fleet | None = None
    left = 500

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        super().append(records, sources)
        if self.fleet is not None and self.left and not self.snapshots():
            if self.left == NeverIdle.left:
                self.fleet.keep_snapshot()
            self.left -= 1
            self.fleet.send({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})


def test_what_else_waits_for_the_manager_has_its_turn_however_many_messages_come(clock: ManualClock) -> None:
    store = NeverIdle()
    with Fleet.open(store, from_mapping(QUIET), clock=clock) as fleet:
        store.fleet = fleet
        fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})
        fleet.quiesce()
        store.fleet = None
    assert store.snapshots()
    assert store.left > NeverIdle.left - 10


class Inboxes(MemoryStore):
    """Each commit leads to another message, and each of the first ten to a further one for the manager itself; how many
    wait in its inbox each time.
    """

    commits = 200

    def __init__(self) -> None:
        super().__init__()
        self.fleet: Fleet | None = None
        self.sizes: list[int] = []

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        super().append(records, sources)
        if self.fleet is not None and len(self.sizes) < self.commits:
            self.sizes.append(self.fleet._refs[MANAGER].actor_inbox.qsize())
            if len(self.sizes) < 10:
                self.fleet._tell(MANAGER, Probe(lambda: None))
            self.fleet.send({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})


def test_however_long_messages_come_without_a_pause_nothing_piles_up_in_the_managers_inbox(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tracker does in parts is not done before they end; nor was an answer of it taken, behind all of them."""
    store = Inboxes()
    with monkeypatch.context() as patched, Fleet.open(store, from_mapping(QUIET), clock=clock) as fleet:
        patched.setattr(tracker_module, "LOOKS_AT_ONCE", 0)
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10_000}})
        store.fleet = fleet
        fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})
        until(lambda: len(store.sizes) == store.commits)
        patched.undo()
        store.fleet = None
    assert max(store.sizes[50:]) <= 3
