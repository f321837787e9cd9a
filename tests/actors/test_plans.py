"""Plans over random fleets: the core never refuses one when nothing happened in between, nothing oscillates."""

import datetime as dt
from random import Random
from typing import Any

import pytest

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.amounts import DIMENSIONS, Budget
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_answer, decode_event, encode_command
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START

SEEDS = range(25)


class Played:
    """A random fleet under the reallocator, with every refusal of a plan and every move."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.store = MemoryStore()
        total = self.dice.choice((20_000, 60_000, 400_000))
        config = from_mapping(
            {
                "total_budget": {"tokens": total, "cost_usd": "50", "period": "none"},
                "emergency_reserve_percent": self.dice.choice((0, 10)),
                "max_pool_share_percent": self.dice.choice((20, 50, 100)),
            }
        )
        self.fleet = SimulatedFleet.open(self.store, config, None, START)
        self.now = START
        self.asked: list[Any] = []
        self.below: list[str] = []

    def ask(self, command: c.Command, seconds: float = 0.0) -> Any:
        self.now += dt.timedelta(seconds=seconds)
        command.id = f"c-{len(self.asked)}"
        (answer,) = self.fleet.ask(Envelope([command], [encode_command(command)], "test", None), self.now)
        self.asked.append(decode_answer(answer))
        return self.asked[-1]

    def play(self, steps: int = 150) -> "Played":
        dice = self.dice
        names = [f"a-{number}" for number in range(dice.randint(2, 8))]
        for name in names:
            budget = Budget(tokens=dice.choice((1_000, 2_000, 5_000)))
            parent = dice.choice([None, None, names[0]]) if name != names[0] else None
            self.ask(c.AllocateBudget(agent=name, budget=budget, parent=parent, agent_type=dice.choice(("qa", "be"))))
        for _ in range(steps):
            name = dice.choice(names[: max(1, len(names) // 2)] * 4 + names)
            kind = dice.random()
            if kind < 0.85:
                self.ask(c.ReportUsage(agent=name, usage=Budget(tokens=dice.randint(0, 400))), dice.choice((1, 4, 9)))
            elif kind < 0.9:
                self.ask(c.ReleaseBudget(agent=name))
                self.ask(c.AllocateBudget(agent=name, budget=Budget(tokens=1_500), agent_type="qa"))
            elif kind < 0.95:
                self.ask(c.Rebalance())
            else:
                self.now += dt.timedelta(seconds=dice.choice((20, 70, 200)))
                self.fleet.pass_time(self.now)
            check_conserved(self.fleet.ledger)
        return self

    @property
    def log(self) -> list[e.Event]:
        return [decode_event(record.data, record.name) for record in self.store.read()]


@pytest.fixture(scope="module")
def played() -> list[Played]:
    return [Played(seed).play() for seed in SEEDS]


def test_the_core_refuses_no_plan_when_nothing_happened_in_between(played: list[Played]) -> None:
    rebalanced = [reply for one in played for reply in one.asked if "moves" in reply.get("ok", {})]
    refused = [event for one in played for event in one.log if isinstance(event, e.RequestRefused)]
    assert rebalanced
    assert not [event for event in refused if event.code == "plan_out_of_date"]
    assert sum(isinstance(event, e.BudgetMoved) for one in played for event in one.log) > 100


def test_a_plan_moves_what_it_says(played: list[Played]) -> None:
    for one in played:
        said, done = None, 0
        for event in one.log:
            if isinstance(event, e.Rebalanced):
                assert done == (said or 0)
                said, done = event.moves, 0
            elif isinstance(event, e.BudgetMoved):
                done += 1
        assert done == (said or 0)


def test_nothing_goes_to_and_fro(played: list[Played]) -> None:
    """Between two moves of an agent in opposite directions it has used or held something."""
    for one in played:
        last: dict[str, str] = {}
        for event in one.log:
            if isinstance(event, e.UsageReported | e.HoldPlaced):
                last.pop(event.agent, None)
            elif isinstance(event, e.BudgetAllocated | e.BudgetReleased):
                last.clear()  # what a sub-agent is given, or gives back, changes how its parent stands
            elif isinstance(event, e.BudgetMoved):
                name, way = (event.source, "back") if event.strategy == "idle" else (event.target, "more")
                assert last.get(name, way) == way, f"{name} at position {event.position}"
                assert way == "more" or name not in last, "idle budget is taken once per idle period"
                last[name] = way
                if way == "back":
                    last.pop(event.target, None)  # a parent whose sub-agent gave back stands otherwise


def test_no_reclaim_leaves_less_than_the_minimum_share(played: list[Played]) -> None:
    """Replayed by a second set of books: allocations and the number of open agents."""
    for one in played:
        part = one.fleet.ledger.rules.minimum_share
        spendable = one.fleet.ledger.spendable(0)
        allocated: dict[str, list[int]] = {}
        for event in one.log:
            match event:
                case e.BudgetAllocated():
                    allocated[event.agent] = [event.amount.triple[d] or 0 for d in DIMENSIONS]
                case e.BudgetReleased():
                    del allocated[event.agent]
                case e.BudgetMoved():
                    idle = event.strategy == "idle"
                    name = event.source if idle else event.target
                    for d in DIMENSIONS:
                        allocated[name][d] += (-1 if idle else 1) * (event.amount.triple[d] or 0)
                    if idle:
                        least = int(part * spendable / len(allocated))
                        assert allocated[name][0] >= least
                case e.BudgetDrawn() | e.UnusedRestored():
                    for d in DIMENSIONS:
                        allocated[event.agent][d] += event.amount.triple[d] or 0
                case e.BudgetReturned() | e.UnusedReturned():
                    for d in DIMENSIONS:
                        allocated[event.agent][d] -= event.amount.triple[d] or 0


# --- the moment of a plan, and what sees it --------------------------------------------------------------------------


def _idle_fleet(store: MemoryStore, every_seconds: int = 10) -> SimulatedFleet:
    config = from_mapping({"total_budget": {"tokens": 20_000}, "reallocation": {"interval_seconds": every_seconds}})
    fleet = SimulatedFleet.open(store, config, None, START)
    _tell(fleet, START, c.AllocateBudget(agent="a", budget=Budget(tokens=4_000), id="open-a"))
    return fleet


def _tell(fleet: SimulatedFleet, at: dt.datetime, *commands: c.Command) -> list[Any]:
    asked = [encode_command(command) for command in commands]
    return [decode_answer(answer) for answer in fleet.ask(Envelope(list(commands), asked, "test", None), at)]


def test_what_stands_behind_a_plan_in_one_array_sees_it() -> None:
    fleet = _idle_fleet(MemoryStore(), every_seconds=600)
    before, made, behind, used, last = _tell(
        fleet,
        START + dt.timedelta(seconds=65),
        c.GetStatus(agent="a", id="1"),
        c.Rebalance(id="2"),
        c.GetStatus(agent="a", id="3"),
        c.ReportUsage(agent="a", usage=Budget(tokens=7), id="4"),
        c.GetStatus(agent="a", id="5"),
    )
    assert len(made["ok"]["moves"]) == 1
    assert (before["ok"]["allocated"], behind["ok"]["allocated"]) == ({"tokens": 4_000}, {"tokens": 2_000})
    assert used["ok"]["remaining"] == last["ok"]["remaining"] == {"tokens": 1_993}


def test_a_fleet_that_was_not_there_at_the_moment_of_a_plan_waits_for_the_next_one() -> None:
    store = MemoryStore()
    _idle_fleet(store)
    opened_at = START + dt.timedelta(seconds=3_603)
    fleet = SimulatedFleet.open(store, None, None, opened_at)
    _tell(fleet, opened_at + dt.timedelta(seconds=20), c.GetStatus(agent="a", id="later"))
    plans = [event for event in map(decode_event_of, store.read()) if isinstance(event, e.Rebalanced)]
    assert [plan.at for plan in plans] == [START + dt.timedelta(seconds=3_610)]


def decode_event_of(record: Any) -> e.Event:
    return decode_event(record.data, record.name)
