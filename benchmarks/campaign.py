"""354 real runs on nine tenths of the tokens that they used: who finishes, who is stopped, and who was told in time.

All runs get equal allocations at once, as a planner does who knows nothing of them. The agents obey and ask for
nothing: what moves, the reallocator moves. The same campaign without reallocation, with the average rate in place of
the forecasts, and what somebody could have done who knew the total of every run beforehand, stand beside it.
"""

import datetime as dt
import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec

from benchmarks.result import Result
from tallystick.actors import fleet as wiring
from tallystick.actors.messages import Envelope
from tallystick.actors.people import Person
from tallystick.actors.reports import NoReporter
from tallystick.actors.simulation import House
from tallystick.config.loader import from_mapping
from tallystick.demo.agent import Agent, Outcome, Phase
from tallystick.demo.campaign import STARTS_AT
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Workload
from tallystick.events import commands as c
from tallystick.events.amounts import TOKENS, Budget
from tallystick.events.codec import decode_answer, decode_event, encode_command
from tallystick.events.ledger import check_conserved
from tallystick.events.store_memory import MemoryStore
from tallystick.projections.chronicle_view import ChronicleRow, ChronicleView, decode

TRACE = "agents-swebench-gemini3-public.csv.gz"
ENOUGH_FOR = 0.9
GOAL_OF_PLANNER, GOAL_CONSUMED, GOAL_WARNED, GOAL_FAIRNESS = 0.90, 0.95, 0.90, 0.90
_MS = dt.timedelta(milliseconds=1)


def trace() -> Path | None:
    """The public runs, where they are."""
    for folder in Path(__file__).resolve().parents:
        found = folder / "shared" / "data" / TRACE
        if found.is_file():
            return found
    return None


class Played(msgspec.Struct, frozen=True):
    """How a campaign ended. ``warned`` of ``stops`` were foreseen 60 s before; ``fairness`` is its mean over time."""

    finished: int
    consumed: float
    stops: int
    warned: int
    fairness: float
    jain: float
    below_minimum: int


class _Quiet(Agent):
    """An agent that was given its budget already, and asks for no more."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.phase = Phase.CHECK

    def _may_ask(self, now_ms: int) -> bool:
        return False


def play(workload: Workload, *, reallocate: bool = True, people: "Callable[..., list[Person]] | None" = None) -> Played:
    """One campaign through the real house under a virtual clock."""
    total = int(workload.needs[TOKENS] * ENOUGH_FOR)
    config = from_mapping(
        {
            "total_budget": {"tokens": total, "period": "none"},
            "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
            "reallocation": {"enabled": reallocate},
        }
    )
    store = MemoryStore()
    usual = wiring.people
    if people is not None:
        wiring.people = people  # type: ignore[assignment]
    try:
        house = House.open(store, config, None, STARTS_AT, reporter=NoReporter)
    finally:
        wiring.people = usual
    names = [run.id for run in workload.runs]
    spendable = house.ledger.spendable(TOKENS)
    _ask(house, c.AllocateEqual(id="equal", agents=names, total=Budget(tokens=spendable)), 0)
    agents = [_Quiet(run, (spendable // len(names), None, None), None) for run in workload.runs]
    seen = _drive(house, agents)
    check_conserved(house.ledger)
    stories = _stories(store)
    return Played(
        finished=sum(agent.outcome is Outcome.FINISHED for agent in agents),
        consumed=house.ledger.spent[TOKENS] / spendable,
        stops=sum(story.stops for story in stories),
        warned=sum(story.stops_warned for story in stories),
        fairness=fmean(fairness for fairness, _, _ in seen),
        jain=fmean(jain for _, jain, _ in seen),
        below_minimum=sum(below for _, _, below in seen),
    )


def _drive(house: House, agents: Sequence[Agent]) -> list[tuple[float, float, int]]:
    """Let all agents act at their moments; fairness, Jain's index and who is below the minimum, once a minute."""
    agenda = [(agent.due_ms, i) for i, agent in enumerate(agents)]
    heapq.heapify(agenda)
    seen, look_ms = [], 60_000
    while agenda:
        due_ms, i = heapq.heappop(agenda)
        while look_ms <= due_ms:
            seen.append(_spread(house))
            look_ms += 60_000
        agent = agents[i]
        agent.hear(_ask(house, agent.message(), due_ms), due_ms)
        if agent.phase is not Phase.GONE:
            heapq.heappush(agenda, (agent.due_ms, i))
    return seen


def _spread(house: House) -> tuple[float, float, int]:
    """Fairness and Jain's index of what the open agents are allocated (all have the same priority here)."""
    ledger = house.ledger
    least = ledger.minimum_share(TOKENS)
    given = [account.allocated[TOKENS] or 0 for account in ledger.accounts.values()]
    if not any(given):
        return 1.0, 1.0, 0
    mean = fmean(given)
    shares = [units / mean for units in given]
    variance = fmean((share - 1) ** 2 for share in shares)
    jain = sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
    return 1 - variance, jain, sum(units < least for units in given)


def _stories(store: MemoryStore) -> list[ChronicleRow]:
    view = ChronicleView(lambda *_: None)
    for record in store.read():
        view.fold(decode_event(record.data, record.name))
    return [decode(row.data) for row in view.changes().values() if row is not None]


def _ask(house: House, command: c.Command, at_ms: int) -> Any:
    (answer,) = house.ask(Envelope([command], [encode_command(command)], "bench", None), STARTS_AT + at_ms * _MS)
    return decode_answer(answer)


def planner(workload: Workload) -> int:
    """How many runs can finish at most on total less reserve: the shortest first."""
    total = int(workload.needs[TOKENS] * ENOUGH_FOR)
    spendable = total - total // 10
    needs = sorted(sum(step.used[TOKENS] for step in run.steps) for run in workload.runs)
    return bisect_right(list(accumulate(needs)), spendable)


def normal(workload: Workload) -> Workload:
    """The same runs, all of one priority: equal allocations."""
    runs = tuple(msgspec.structs.replace(run, priority="normal") for run in workload.runs)
    return msgspec.structs.replace(workload, runs=runs)
