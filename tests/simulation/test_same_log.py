"""One thread and a virtual clock write the very log that the live actors write."""

import datetime as dt
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.log.store_memory import MemoryStore
from tests.support.core import START
from tests.support.driving import Outcome, Timed, live, simulated, timed
from tests.support.strategies import Step, commands

CHANCE = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)


def same(one: Outcome, other: Outcome) -> None:
    for mine, theirs in zip(one.records, other.records, strict=False):
        assert mine == theirs
    assert len(one.records) == len(other.records)
    assert one.replies == other.replies
    assert one.state == other.state


@CHANCE
@given(commands(40))
def test_a_simulation_is_the_same_to_the_byte_every_time(steps: list[Step]) -> None:
    same(simulated(timed(steps)), simulated(timed(steps)))


@CHANCE
@given(commands(40))
def test_the_live_actors_write_the_log_of_the_simulation(steps: list[Step]) -> None:
    messages = timed(steps)
    until = messages[-1][0] + dt.timedelta(minutes=5)
    same(live(messages, until=until), simulated(messages, until=until))


CONFIG: dict[str, Any] = {
    "total_budget": {"tokens": 20_000, "cost_usd": "50", "period": "day"},
    "emergency_reserve_percent": 10,
    "minimum_share_percent": 1,
    "max_pool_share_percent": 100,
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}


def busy_day(seed: int) -> list[Timed]:
    """A fleet in which every timer fires: forgotten holds, idle and hungry agents, warnings, the end of the day."""
    dice = random.Random(seed)
    now = START + dt.timedelta(hours=11)
    messages: list[tuple[dt.datetime, dict[str, Any]]] = []
    agents, holds = [f"agent-{n}" for n in range(8)], ["none"]
    for number, agent in enumerate(agents):
        budget = {"tokens": dice.choice((500, 1_000, 2_000))} | ({"cost_usd": "3"} if number % 2 else {})
        priority = dice.choice(("critical", "normal", "low"))
        messages.append((now, {"type": "AllocateBudget", "agent": agent, "budget": budget, "priority": priority}))
    for _ in range(150):
        now += dt.timedelta(seconds=dice.choice((0, 0.5, 1, 1, 2, 3, 9, 25, 70, 200)))
        agent = dice.choice(agents[:4] if dice.random() < 0.8 else agents)
        match dice.randrange(10):
            case 0 | 1:
                estimate, ttl = {"tokens": dice.randrange(100)}, dice.choice((0.25, 2, 10, 300))
                message: dict[str, Any] = {"type": "Reserve", "agent": agent, "estimate": estimate, "ttl_seconds": ttl}
                holds.append(f"n-{len(messages)}")
            case 2:
                message = {"type": "Settle", "hold": dice.choice(holds[-3:]), "usage": {"tokens": 9}}
            case 3:
                message = {"type": "Rebalance"}
            case 4:
                message = {"type": "GetGlobalStatus"}
            case _:
                usage = {"tokens": dice.randrange(60), "cost_usd": "0.01", "time_seconds": 1}
                message = {"type": "ReportUsage", "agent": agent, "usage": usage}
        messages.append((now, message))
    return [(at, {**message, "id": f"n-{number}"}) for number, (at, message) in enumerate(messages)]


@pytest.mark.parametrize("seed", range(8))
def test_a_day_in_which_every_timer_fires_is_the_same_live_and_simulated(seed: int) -> None:
    config = from_mapping(CONFIG)
    until = START + dt.timedelta(hours=12, minutes=30)
    one = live(busy_day(seed), config, until=until)
    same(one, simulated(busy_day(seed), config, until=until))


def test_in_those_days_every_timer_does_fire() -> None:
    happened: Counter[str] = Counter()
    for seed in range(8):
        outcome = simulated(busy_day(seed), from_mapping(CONFIG), until=START + dt.timedelta(hours=13))
        happened.update(record.name for record in outcome.records)
    for name in ("hold-ended", "period-renewed", "exhaustion-warned", "budget-moved", "rebalanced", "hold-settled"):
        assert happened[f"{name}.v1"] >= 5, f"{name}: {happened}"


@CHANCE
@given(commands(20), st.integers(0, 20))
def test_a_simulation_that_goes_on_in_a_store_is_the_one_that_was_never_interrupted(
    steps: list[Step], cut: int
) -> None:
    """As far as nothing fires in between: who takes over begins from the state, not from the averages before."""
    messages = [(START, message) for _, message in timed(steps) if not isinstance(message, c.Rebalance)]
    whole = simulated(messages)
    store = MemoryStore()
    first = simulated(messages[:cut], store=store)
    second = simulated(messages[cut:], store=store)
    assert first.replies + second.replies == whole.replies
    assert second.records == whole.records
    assert second.state == whole.state
