"""Limits in a whole fleet: tasks start by themselves when a window has room, and a restart changes nothing."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.loader import from_mapping
from tallystick.events.log import snapshot
from tallystick.events.log.codec import decode_answer, read_message
from tallystick.events.log.store import Store
from tallystick.events.log.store_memory import MemoryStore
from tests.support.core import START
from tests.support.running import QUIET


class Fleet:
    def __init__(self, *limits: dict[str, Any]) -> None:
        self.store: Store = MemoryStore()
        config = {**QUIET, "total_budget": {"tokens": 100_000_000}, "limits": list(limits)}
        self.simulated = SimulatedFleet.open(self.store, from_mapping(config), None, START)
        self.now, self.count = START, 0

    def ask(self, **message: Any) -> dict[str, Any]:
        self.count += 1
        read = read_message(message, lambda: f"n-{self.count}")
        assert isinstance(read, tuple)
        (answer,) = self.simulated.ask(Envelope([read[0]], [read[1]], "tester", None), self.now)
        decoded: dict[str, Any] = decode_answer(answer)
        return decoded

    def wait(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)
        self.simulated.pass_time(self.now)


@pytest.mark.parametrize("window", [{"seconds": 60}, {"seconds": 60, "from": "first_use"}, "hour"])
def test_a_task_that_waits_for_a_window_starts_when_it_has_room_although_nothing_is_asked(window: Any) -> None:
    fleet = Fleet({"name": "cap", "window": window, "max": {"tokens": 1_000}})
    fleet.ask(type="ReportUsage", agent="someone", usage={"tokens": 1_000})
    placed = fleet.ask(type="SubmitTask", task="t", agent_type="reviewer", product="shop")
    assert placed["ok"]["reason"]["code"] == "limit_reached"
    fleet.wait(50)
    assert fleet.ask(type="GetTask", task="t")["ok"]["state"] == "queued"
    fleet.wait(3_600 if window == "hour" else 25)
    assert fleet.ask(type="GetTask", task="t")["ok"]["state"] == "running"


def test_a_fleet_that_is_opened_again_has_counted_the_same() -> None:
    fleet = Fleet(
        {"name": "day", "per": "label:user", "window": "day", "max": {"tokens": 9_000}},
        {"name": "minute", "window": {"seconds": 60}, "max": {"requests": 5}, "then": "wait"},
        {"name": "few", "per": "account", "max": {"concurrent": 2}},
    )
    fleet.ask(type="AllocateBudget", agent="a", budget={"tokens": 50_000}, labels={"user": "ann"})
    for n in range(4):
        fleet.ask(type="Reserve", id=f"h{n}", agent="a", model="sonnet", input_tokens=100, output_tokens=50)
        fleet.wait(7)
        fleet.ask(type="Settle", hold=f"h{n - 1}", input_tokens=120, output_tokens=10)
    fleet.ask(type="ReportUsage", agent="a", model="sonnet", usage={"tokens": 8_000})
    before = snapshot.dump(fleet.simulated.ledger)
    again = SimulatedFleet.open(fleet.store, None, None, fleet.now)
    shown = msgspec.to_builtins(fleet.ask(type="GetLimits"))
    assert shown["ok"]["counters"] == 3
    loaded = snapshot.load(before)
    assert loaded is not None
    for state in (again.ledger, loaded):
        assert state.limits.dump() == fleet.simulated.ledger.limits.dump()
