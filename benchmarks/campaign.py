"""354 real runs on nine tenths of the tokens that they used: who finishes, who is stopped, and who was warned in time.

All runs get equal allocations at once, as by a planner that knows nothing of them. The agents obey and ask for
nothing: what moves, the reallocator moves. The same campaign without reallocation, with the average rate in place of
the forecasts, and what a planner could have done that knew the total of every run, stand beside it.
"""

import datetime as dt
import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

import msgspec

from benchmarks import data
from benchmarks.campaign_levels import knowing, totals_of
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.forecaster import Forecaster
from tallystick.actors.policies.forecasting.growth_forecast import Course, average_rate
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.actors.policies.rebalancing.figures import figures_of
from tallystick.actors.policies.rebalancing.survey import Surveyor
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.actors.runtime.specialist import Specialist
from tallystick.actors.tracker import Tracker
from tallystick.config.amounts import DIMENSIONS, TOKENS, Budget
from tallystick.config.loader import from_mapping
from tallystick.demo.agent import Agent, Outcome, Phase
from tallystick.demo.campaign import STARTS_AT
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Workload
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_answer, encode_command
from tallystick.events.log.store import Store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.accounts import Account
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.growth import Growth
from tallystick.events.state.history import History, Known
from tallystick.events.state.ledger import Ledger
from tallystick.projections.reports.usage_report import report_of
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore

TRACE = "agents-swebench-gemini3-public.csv.gz"
ENOUGH_FOR = 0.9
GOAL_OF_PLANNER, GOAL_CONSUMED, GOAL_WARNED, GOAL_FAIRNESS = 0.90, 0.95, 0.90, 0.90
GOAL_OF_KNOWN = 0.97
_MS = dt.timedelta(milliseconds=1)
_NO_HISTORY = History()


class Played(msgspec.Struct, frozen=True):
    """How a campaign ended. ``warned`` of ``stops`` were warned of 60 s before.

    ``fairness`` and ``jain`` are of all accounts, each with what it was allocated before its release; ``fairness_open``
    is of the open ones, its mean over time.
    """

    finished: int
    consumed: float
    stops: int
    warned: int
    fairness: float
    jain: float
    fairness_open: float


class _Quiet(Agent):
    """An agent that was given its budget already, and asks for no more."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.phase = Phase.CHECK

    def _may_ask(self, now_ms: int) -> bool:
        return False


def play(workload: Workload, *, reallocate: bool = True, fleet: type[SimulatedFleet] = SimulatedFleet) -> Played:
    """One campaign through the real fleet under a virtual clock."""
    store = MemoryStore()
    played = opened(workload, store, fleet, reallocate=reallocate)
    spendable = played.ledger.spendable(TOKENS)
    agents = [_Quiet(run, (spendable // len(workload.runs), None, None), None) for run in workload.runs]
    seen = _drive(played, agents)
    check_conserved(played.ledger)
    keeper = MemoryViewStore()
    catch_up(store, keeper)
    report = report_of(keeper)
    return Played(
        finished=sum(agent.outcome is Outcome.FINISHED for agent in agents),
        consumed=played.ledger.spent[TOKENS] / spendable,
        stops=report.summary.stops,
        warned=report.summary.stops_warned,
        fairness=report.quality.fairness.tokens or 0.0,
        jain=report.quality.jain.tokens or 0.0,
        fairness_open=fmean(seen),
    )


def opened(
    workload: Workload, store: Store, fleet: type[SimulatedFleet] = SimulatedFleet, *, reallocate: bool = True
) -> SimulatedFleet:
    """A fleet with nine tenths of the tokens that the runs use, in equal allocations to all of them."""
    config = from_mapping(
        {
            "total_budget": {"tokens": int(workload.needs[TOKENS] * ENOUGH_FOR), "period": "none"},
            "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
            "reallocation": {"enabled": reallocate},
        }
    )
    made = fleet.open(store, config, None, STARTS_AT)
    total = Budget(tokens=made.ledger.spendable(TOKENS))
    _ask(made, c.AllocateEqual(id="equal", agents=[run.id for run in workload.runs], total=total), 0)
    return made


def _drive(fleet: SimulatedFleet, agents: Sequence[Agent]) -> list[float]:
    """Let all agents act at their moments; the fairness of open accounts, once a minute."""
    agenda = [(agent.due_ms, i) for i, agent in enumerate(agents)]
    heapq.heapify(agenda)
    seen, look_ms = [], 60_000
    while agenda:
        due_ms, i = heapq.heappop(agenda)
        while look_ms <= due_ms:
            seen.append(_fairness(fleet))
            look_ms += 60_000
        agent = agents[i]
        agent.hear(_ask(fleet, agent.message(), due_ms), due_ms)
        if agent.phase is not Phase.GONE:
            heapq.heappush(agenda, (agent.due_ms, i))
    return seen


def _fairness(fleet: SimulatedFleet) -> float:
    """Fairness of what the open agents are allocated (all have the same priority here); 1 where there are none."""
    given = [account.allocated[TOKENS] or 0 for account in fleet.ledger.accounts.values()]
    if not any(given):
        return 1.0
    mean = fmean(given)
    return 1 - fmean((units / mean - 1) ** 2 for units in given)


def _ask(fleet: SimulatedFleet, command: c.Command, at_ms: int) -> Any:
    (answer,) = fleet.ask(Envelope([command], [encode_command(command)], "bench", None), STARTS_AT + at_ms * _MS)
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


class AverageForecaster(Forecaster):
    """Knows of no earlier run, and assumes that an agent goes on as it did on average."""

    def known(self, account: Account, run: Run | None) -> Known:
        return _NO_HISTORY.known(*super().known(account, run).kind)

    @staticmethod
    def _growth_by_dimension(growth: Growth, known: Known) -> tuple[Course | None, ...]:
        return tuple(average_rate(growth, d) for d in DIMENSIONS)


def fleet_with(surveyor: type[Surveyor] = Surveyor, forecaster: type[Forecaster] = Forecaster) -> type[SimulatedFleet]:
    """A fleet whose tracker forecasts and surveys by these."""

    class Other(Tracker):
        def _made_forecaster(self, ledger: Ledger) -> Forecaster:
            return forecaster(ledger)

        def _made_surveyor(self) -> Surveyor:
            ledger = self._ledger
            return surveyor(ledger, self._forecaster, figures_of(ledger), ledger.rules.config)

    class OtherFleet(SimulatedFleet):
        @staticmethod
        def specialists() -> list[Specialist]:
            return [Other() if isinstance(one, Tracker) else one for one in SimulatedFleet.specialists()]

    return OtherFleet


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """The campaign with these forecasts, with the average rate, without reallocation, and the planner's."""
    found = data.found(TRACE)
    if found is None:
        say("campaign: skipped, the public runs are not here")
        return
    workload = normal(read_trace(found))
    ours, average = play(workload), play(workload, fleet=fleet_with(forecaster=AverageForecaster))
    known = play(workload, fleet=fleet_with(knowing(totals_of(workload))))
    without, best = play(workload, reallocate=False), planner(workload)
    for name, unit, value, against, other, goal in (
        ("finished", "runs", ours.finished, f"a planner who knew all totals: {best}", best, GOAL_OF_PLANNER),
        ("consumed", "of total - reserve", ours.consumed, "all", 1.0, GOAL_CONSUMED),
        ("warned", "of stops", ours.warned, f"{ours.stops} stops", ours.stops, GOAL_WARNED),
        ("fairness_open", "mean over time", ours.fairness_open, "1", 1.0, GOAL_FAIRNESS),
        ("fairness", "of all accounts", ours.fairness, "1", 1.0, GOAL_FAIRNESS),
        ("jain", "of all accounts", ours.jain, "1", 1.0, None),
    ):
        yield Result(f"campaign.{name}", value, unit, against, value / other, None if goal is None else (">=", goal))
    yield Result(
        "campaign.finished.of_known_level",
        ours.finished,
        "runs",
        f"a level that knows the true sum: {known.finished}",
        ours.finished / known.finished,
        (">=", GOAL_OF_KNOWN),
    )
    for title, played in (("average_rate", average), ("known_level", known), ("no_reallocation", without)):
        yield Result(f"campaign.{title}.finished", played.finished, "runs", "ours", played.finished / ours.finished)
        yield Result(
            f"campaign.{title}.consumed", played.consumed, "of total - reserve", "ours", played.consumed / ours.consumed
        )
        warned = f"{played.warned} of {played.stops} stops"
        yield Result(
            f"campaign.{title}.warned",
            played.warned / max(1, played.stops),
            warned,
            "ours",
            played.warned / max(1, played.stops) / (ours.warned / max(1, ours.stops)),
        )
