"""Whatever the log and whatever the policy: no usage is lost, the core holds, and an equal policy changes nothing."""

import datetime as dt
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.loader import from_mapping
from tallystick.config.prices import load_prices
from tallystick.config.settings import Config
from tallystick.events import messages as c
from tallystick.events.log.store import Record
from tallystick.whatif.question import Question
from tests.support.driving import simulated, timed
from tests.support.examples import examples
from tests.support.fleets import configuration
from tests.support.strategies import Step, commands
from tests.support.whatif import ask, configurations, events_of, rerun_with_events

CHANCE = settings(
    max_examples=examples(25),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def history(steps: list[Step]) -> list[Record]:
    """A log of these steps, their configurations and all."""
    messages = timed(steps)
    return simulated(messages, until=messages[-1][0] + dt.timedelta(minutes=5)).records


def history_of_one(steps: list[Step]) -> tuple[list[Record], Config]:
    """A log under one configuration, the first of the steps."""
    messages = timed(steps)
    first = messages[0][1]
    assert isinstance(first, c.LoadConfig)
    config = from_mapping(first.config)
    rest = [(at, message) for at, message in messages if not isinstance(message, c.LoadConfig)]
    return simulated(rest, config, until=messages[-1][0] + dt.timedelta(minutes=5)).records, config


@CHANCE
@given(commands(50))
def test_an_equal_policy_makes_every_event_of_the_log_again(steps: list[Step]) -> None:
    records, config = history_of_one(steps)
    rerun, events = rerun_with_events(records, Question(config))
    assert events == events_of(records)
    assert rerun.difference is None
    assert rerun.divergence is None
    assert rerun.recorded.used == rerun.other.used


@CHANCE
@given(commands(50))
def test_equal_prices_change_no_decision(steps: list[Step]) -> None:
    records, _ = history_of_one(steps)
    rerun = ask(records, Question(prices=load_prices(None)))
    assert rerun.difference is None
    assert rerun.other.used == rerun.recorded.used


@settings(CHANCE, max_examples=examples(60))
@given(commands(60), st.integers(0, 2**32))
def test_all_usage_of_the_log_is_used_or_saved_under_any_policy(steps: list[Step], seed: int) -> None:
    records = history(steps)
    dice = Random(seed)
    question = dice.choice(
        (
            Question(from_mapping(configuration(dice))),
            Question(total={"tokens": dice.choice((None, 0, 100, 1_000, 100_000))}),
            Question(from_mapping(configuration(dice)), total={"cost_usd": dice.choice((None, 1, 100))}),
        )
    )
    # `ask` proves the core in full on what comes of it.
    rerun = ask(records, question)
    messages = rerun.message_filter
    for d in (0, 1):
        saved = sum(one.used[d] for one in messages.saved.values())
        assert rerun.other.used[d] + saved == rerun.recorded.used[d] + messages.beyond_log[d]
        assert saved == sum(one.used[d] for one in messages.saved_by_reason.values())
    for agent, one in rerun.other.agents.items():
        assert all(one.used[d] >= 0 for d in range(3)), agent
    assert rerun.other.used == tuple(sum(one.used[d] for one in rerun.other.agents.values()) for d in range(3))


@CHANCE
@given(commands(40))
def test_the_policy_of_any_later_configuration_can_be_asked_about(steps: list[Step]) -> None:
    records = history(steps)
    for config in configurations(records):
        rerun = ask(records, Question(config))
        assert rerun.other.ledger.rules.loaded == config
        assert rerun.messages == sum(1 for record in records if b'"command":' in record.data)
