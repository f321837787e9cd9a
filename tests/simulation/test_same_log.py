"""One thread and a virtual clock write the very log that the live actors write."""

import datetime as dt
from collections import Counter

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.log.store_memory import MemoryStore
from tests.support.busy_day import CONFIG, busy_day
from tests.support.core import START
from tests.support.driving import Outcome, live, simulated, timed
from tests.support.examples import examples
from tests.support.strategies import Step, commands

CHANCE = settings(
    max_examples=examples(25),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
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
    """As far as nothing fires in between, and no run is given its time anew: who takes over begins from the state, not
    from the averages before.
    """
    messages = [(START, message) for _, message in timed(steps) if not isinstance(message, c.Rebalance)]
    whole = simulated(messages)
    store = MemoryStore()
    first = simulated(messages[:cut], store=store)
    second = simulated(messages[cut:], store=store)
    assume(not any(record.name == "fleet-opened.v1" for record in second.records))
    assert first.replies + second.replies == whole.replies
    assert second.records == whole.records
    assert second.state == whole.state
