"""The log of real runs: the same policy makes it again, a tighter and a looser one differ as a person would expect.

The runs lie beside the checkout where somebody has put them, and are no part of the project.
"""

import datetime as dt
import heapq
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.settings import Config, DailyLimits
from tallystick.demo.agent import Agent, Phase
from tallystick.demo.campaign import STARTS_AT
from tallystick.demo.plan import too_small
from tallystick.demo.trace import read_trace
from tallystick.events import catalog as e
from tallystick.events.decide.levels import STOP
from tallystick.events.log.codec import decode_answer, encode_command
from tallystick.events.log.store import Record
from tallystick.events.log.store_memory import MemoryStore
from tallystick.whatif.message_filter import NOT_BEGUN
from tallystick.whatif.question import Question
from tallystick.whatif.rerun import Rerun
from tests.support.examples import THOROUGH
from tests.support.whatif import ask, configurations, reproduce

_FILE = Path("shared") / "data" / "agents-swebench-gemini3-public.csv.gz"
TRACE = next((above / _FILE for above in Path(__file__).resolve().parents if (above / _FILE).is_file()), None)

pytestmark = pytest.mark.skipif(TRACE is None, reason="the real runs are not on this machine")


@pytest.fixture(scope="module")
def records() -> Sequence[Record]:
    """Of 354 runs every third, in a thorough run each, with a shared budget of nine tenths of what they need, obeying
    agents, all specialists at work.
    """
    assert TRACE is not None
    workload, store = read_trace(TRACE), MemoryStore()
    workload = msgspec.structs.replace(workload, runs=workload.runs[:: 1 if THOROUGH else 3])
    config = msgspec.structs.replace(too_small(workload), daily_limits=DailyLimits(None, None))
    fleet = SimulatedFleet.open(store, config, None, STARTS_AT)
    weights = [Fraction(config.allocation_weights.of(run.priority)) for run in workload.runs]
    given = [Fraction(9, 10) * weight / sum(weights) for weight in weights]
    tokens, _, cost = config.total
    assert tokens is not None
    assert cost is not None
    agents = [
        Agent(run, (int(tokens * part), None, int(cost * part)), None)
        for run, part in zip(workload.runs, given, strict=True)
    ]
    agenda = [(agent.due_ms, i) for i, agent in enumerate(agents)]
    heapq.heapify(agenda)
    while agenda:
        due_ms, i = heapq.heappop(agenda)
        message = agents[i].message()
        envelope = Envelope([message], [encode_command(message)], "orchestrator", None)
        (answer,) = fleet.ask(envelope, STARTS_AT + dt.timedelta(milliseconds=due_ms))
        agents[i].hear(decode_answer(answer), due_ms)
        if agents[i].phase is not Phase.GONE:
            heapq.heappush(agenda, (agents[i].due_ms, i))
    return list(store.read())


def enforcing(records: Sequence[Record], **changed: Any) -> Config:
    """The log's own configuration with other thresholds."""
    (config,) = configurations(records)
    return msgspec.structs.replace(config, enforcement=msgspec.structs.replace(config.enforcement, **changed))


def saved(rerun: Rerun, d: int) -> int:
    return sum(one.used[d] for one in rerun.message_filter.saved.values())


def test_the_same_policy_makes_every_decision_again(records: Sequence[Record]) -> None:
    reproduction = reproduce(records)
    assert reproduction.decisions > (5_000 if THOROUGH else 1_600)
    rerun = ask(records, Question(enforcing(records)))
    assert rerun.difference is None
    assert rerun.divergence is None
    assert rerun.message_filter.saved == {}


def test_a_tighter_policy_stops_more_agents_earlier_and_saves_what_they_used_later(records: Sequence[Record]) -> None:
    rerun = ask(records, Question(enforcing(records, stop_at=enforcing(records).enforcement.degrade_at)))
    assert rerun.other.reached(STOP) > 2 * rerun.recorded.reached(STOP)
    for d in range(3):
        assert rerun.other.used[d] < rerun.recorded.used[d]
        assert rerun.other.used[d] + saved(rerun, d) == rerun.recorded.used[d]
    found = rerun.difference
    assert found is not None
    assert isinstance(found.recorded, e.LevelChanged)
    assert isinstance(found.other, e.LevelChanged)
    assert (found.recorded.level, found.other.level) == ("red", "black")
    assert found.recorded.percentage == found.other.percentage >= 0.9


def test_a_looser_policy_stops_fewer_agents_and_does_not_guess_what_they_would_have_used(
    records: Sequence[Record],
) -> None:
    looser = enforcing(records).enforcement.stop_at * 6 / 5
    rerun = ask(records, Question(enforcing(records, stop_at=looser)))
    assert rerun.other.reached(STOP) < rerun.recorded.reached(STOP)
    assert rerun.other.used == rerun.recorded.used
    assert rerun.message_filter.saved == {}
    assert rerun.message_filter.unknown
    assert rerun.message_filter.unknown <= {agent for agent, one in rerun.recorded.agents.items() if one.times[STOP]}
    found = rerun.difference
    assert found is not None
    assert isinstance(found.recorded, e.LevelChanged)
    assert found.recorded.level == "black"
    assert found.other is None or isinstance(found.other, e.LevelChanged)


def test_half_the_total_lets_about_half_of_the_work_be_done(records: Sequence[Record]) -> None:
    (config,) = configurations(records)
    tokens = config.total_budget.tokens
    assert tokens is not None
    rerun = ask(records, Question(total={"tokens": tokens // 2}))
    assert rerun.other.used[0] <= tokens // 2
    assert rerun.other.used[0] >= 0.8 * tokens // 2
    assert rerun.other.used[0] + saved(rerun, 0) == rerun.recorded.used[0]
    assert rerun.other.refused["pool_exhausted"] > 0
    assert rerun.message_filter.saved_by_reason[NOT_BEGUN].reports > 0
