"""Three in ten agents die without a word: every slot comes back, every task ends, nothing counts twice."""

import datetime as dt
import heapq
import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_answer, decode_event, read_message
from tallystick.events.log.store import Store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START
from tests.support.running import QUIET
from tests.support.slots import Slots

TASKS, SLOTS, DEATHS = 120, 8, 0.3
CONFIG = {
    **QUIET,
    "total_budget": {"tokens": 100_000_000},
    "max_concurrent": {"total": SLOTS, "per_type": {"reviewer": 3}},
    "token_budgets": {"default": 80_000},
    "reallocation": {"enabled": False},
}
LEASE = dt.timedelta(seconds=120)


class Fleet:
    """Agents that ask for work, report, beat and complete, and of whom some just stop. ``used`` is what they used."""

    def __init__(self, seed: int, store: Store, cut: int | None = None) -> None:
        """``cut``: the message before which the fleet is stopped and opened again from its store, if at all."""
        self.cut = cut
        self.dice = random.Random(seed)
        self.store = store
        self.simulated = SimulatedFleet.open(store, from_mapping(CONFIG), None, START)
        self.now = START
        self.todo: list[tuple[dt.datetime, int, str, str, int]] = []
        self.used: Counter[str] = Counter()
        self.died: list[tuple[str, dt.datetime]] = []
        self.too_late: list[tuple[str, dict[str, Any]]] = []
        """What was answered to messages of a run that was over: the message's type, and the answer."""
        self._count = 0
        self._known: set[str] = set()

    def ask(self, **message: Any) -> dict[str, Any]:
        if self._count == self.cut:
            self.simulated = SimulatedFleet.open(self.store, None, None, self.now)
        self._count += 1
        read = read_message(message, lambda: f"n-{self._count}")
        assert isinstance(read, tuple)
        self.simulated.pass_time(self.now)
        task = self.simulated.ledger.tasks.get(message.get("task", ""))
        over = "lease" in message and task is not None and task.lease != message["lease"]
        (reply,) = self.simulated.ask(Envelope([read[0]], [read[1]], "local", None), self.now)
        answer: dict[str, Any] = decode_answer(reply)
        if over:
            self.too_late.append((message["type"], answer))
        return answer

    def run(self) -> None:
        for number in range(TASKS):
            kind = self.dice.choice(("writer", "writer", "reviewer"))
            priority = self.dice.choice(("high", "normal", "low"))
            task = f"t-{number}"
            depends_on = [f"t-{number - 1}"] if number % 10 == 9 else []
            self.ask(
                type="SubmitTask",
                task=task,
                agent_type=kind,
                product=f"p{number % 4}",
                priority=priority,
                depends_on=depends_on,
            )
        self._take_up()
        while self.todo:
            at, _, task, lease, step = heapq.heappop(self.todo)
            self.now = max(self.now, at)
            self._work(task, lease, step)
            self._take_up()
            if not self.todo and self.simulated.ledger.tasks.running:
                # Only the dead hold slots: time passes until their leases end.
                self.now += LEASE
                self.simulated.pass_time(self.now)
                self._take_up()

    def _take_up(self) -> None:
        """An agent for each run that began."""
        for task in list(self.simulated.ledger.tasks.running.values()):
            if task.lease is not None and task.lease not in self._known:
                self._known.add(task.lease)
                self._next(task.id, task.lease, 1)

    def _next(self, task: str, lease: str, step: int, away: int = 0) -> None:
        at = self.now + dt.timedelta(seconds=away + self.dice.randint(5, 100))
        heapq.heappush(self.todo, (at, len(self._known) * 100 + step, task, lease, step))

    def _work(self, task: str, lease: str, step: int) -> None:
        if self.dice.random() < DEATHS / 4:
            self.died.append((lease, self.now))
            if self.dice.random() < 0.5:
                # It was only away for long, and then goes on as if nothing had happened.
                self._next(task, lease, step, 300)
            return
        tokens = self.dice.randint(1_000, 20_000)
        if step == 2 and task in self.simulated.ledger.accounts:
            self.ask(type="Reserve", agent=task, estimate={"tokens": 500}, ttl_seconds=10_000)
        if step < 5:
            self.used[lease] += tokens
            self.ask(type="ReportUsage", task=task, lease=lease, usage={"tokens": tokens})
            self.ask(type="Heartbeat", task=task, lease=lease)
            self._next(task, lease, step + 1)
            return
        self.used[lease] += tokens
        self.ask(type="CompleteTask", task=task, lease=lease, outcome="completed", usage={"tokens": self.used[lease]})


@pytest.mark.parametrize(("seed", "cut"), [*((seed, None) for seed in range(4)), (7, 40), (7, 200), (7, 500)])
def test_every_slot_comes_back_within_its_lease_every_task_ends_and_nothing_counts_twice_also_over_a_restart(
    seed: int, cut: int | None
) -> None:
    store = MemoryStore()
    fleet = Fleet(seed, store, cut)
    fleet.run()
    ledger = fleet.simulated.ledger
    check_conserved(ledger)
    events = [decode_event(record.data, record.name) for record in store.read()]
    assert sum(isinstance(event, e.FleetOpened) for event in events) == (cut is not None)
    slots = Slots()
    for event in events:
        slots.keep(event)

    assert len(fleet.died) >= TASKS * DEATHS * 0.5
    assert ledger.tasks.open == 0
    assert ledger.accounts == {}
    assert ledger.holds == {}
    states = Counter(task.state for task in ledger.tasks.known.values())
    assert states["completed"] + states["failed"] + states["cancelled"] == TASKS
    assert states["completed"] >= TASKS / 2
    assert ledger.spent[0] == sum(fleet.used.values()), "what each used, once"
    assert len(fleet.too_late) > 20
    lost = 0
    for kind, answer in fleet.too_late:
        if kind == "ReportUsage":
            assert answer["ok"]["late"], "recorded all the same"
            lost += answer["ok"].get("lease_lost", False)
        else:
            assert answer["error"]["code"] in ("lease_lost", "already_finished")
            assert (answer["error"]["code"] == "already_finished") == (answer["error"]["state"] == "completed")
    assert lost > 5
    assert any(kind == "CompleteTask" for kind, _ in fleet.too_late), "no zombie ends another's run"

    beats: dict[str, dt.datetime] = {}
    attempts: dict[str, list[int]] = defaultdict(list)
    held: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if isinstance(event, e.TaskStarted | e.LeaseExtended):
            beats[event.lease] = event.at
        if isinstance(event, e.FleetOpened):
            beats |= dict.fromkeys(beats, event.at)
        if isinstance(event, e.HoldPlaced):
            held[event.agent].add(event.hold)
        if isinstance(event, e.HoldEnded | e.HoldSettled):
            held[event.agent].remove(event.hold)
        if isinstance(event, e.BudgetReleased):
            assert not held[event.agent], "holds come back with the slot, long before they would expire"
        if isinstance(event, e.LeaseLost):
            assert event.at == beats[event.lease] + LEASE, "at the moment at which it ends"
            attempts[event.task].append(event.attempt)
    assert any(event.how == "released" for event in events if isinstance(event, e.HoldEnded))
    assert all(counted == list(range(1, len(counted) + 1)) for counted in attempts.values())
    failed = [task.id for task in ledger.tasks.known.values() if task.state == "failed"]
    assert all(len(attempts[task]) == 3 for task in failed)
