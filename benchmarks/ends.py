"""354 real runs at their ends: do last calls fit into the budget, and how much do learned estimates hold?

*Last calls.* Each run has nine tenths of the tokens that it needs; 3 % of them, or the largest step so far, is kept for
a last call. An agent that hears of its last call makes its next step its last: it holds for it, and ends. Agents that
only report, and agents that hold exactly what each step needs, are played, and both without last calls for comparison.

*Estimates.* The runs go on at the same time, as they did, each with just the tokens that it needs: whatever is refused
is refused for its hold alone. A step holds its input and an output: the most that the model can answer, or what the
last outputs of the agent type teach. A step that is refused is taken all the same, and reported, so both are asked in
the same state: the first by a dry run.
"""

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from benchmarks import data
from benchmarks.campaign import TRACE
from benchmarks.result import Result
from tallystick.config.amounts import TOKENS, Budget, Usage
from tallystick.demo.campaign import STARTS_AT
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Run, Workload
from tallystick.events import messages as c
from tallystick.events.decide import decide
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger

ENOUGH_FOR = 0.9
KEPT_PERCENT = 3
MOST = 65_536
"""Tokens that the model of these runs answers at most."""
QUANTILE = Decimal("0.95")
LONG = Decimal(10_000)
"""Seconds: no hold expires."""
STAGES = 10
GOAL_INSIDE, GOAL_APART, GOAL_OF_A_STAGE = 0.95, 0.02, 0.10
_MS = dt.timedelta(milliseconds=1)


class Fleet:
    """The core alone, with nothing in the way but budgets: no throttles, no limits of a day, no warnings."""

    def __init__(self, **config: Any) -> None:
        quiet = {"throttle_rate": 1, "warn_before_exhaustion_seconds": 0, **config.pop("enforcement", {})}
        self.ledger = Ledger()
        self._count = 0
        wide = {"minimum_share_percent": 0, "max_pool_share_percent": 100, "emergency_reserve_percent": 0}
        none = {"max_tokens_total": None, "max_cost_usd": None}
        total = {"total_budget": {"tokens": 10**12}, "daily_limits": none}
        self.ask(c.LoadConfig(config={**total, **wide, "enforcement": quiet, **config}))

    def ask(self, command: c.Command, at_ms: int = 0) -> Any:
        """The answer to one command, so long after the start."""
        self._count += 1
        at = STARTS_AT + at_ms * _MS
        return decide(self.ledger, command, at, command.id or f"m-{self._count}", "bench").answer

    def open(self, run: Run, tokens: int, at_ms: int = 0) -> None:
        """An account for a run."""
        self.ask(c.AllocateBudget(agent=run.id, budget=Budget(tokens=tokens), agent_type=run.agent_type), at_ms)


# --- last calls -------------------------------------------------------------------------------------------------------


class Ends(msgspec.Struct, frozen=True):
    """How runs ended that had less than they needed: ``inside`` of the ``stopped`` made a last call within their
    budget; ``overspent`` tokens were used beyond budgets in all.
    """

    stopped: int
    inside: int
    overspent: int


def play_ends(workload: Workload, *, holds: bool, percent: int = KEPT_PERCENT) -> Ends:
    """Every run by itself, on nine tenths of the tokens that it needs. ``percent`` 0: without last calls."""
    fleet = Fleet(enforcement={"last_call": {"percent": percent}})
    stopped = inside = overspent = 0
    for run in workload.runs:
        steps = [step.used[TOKENS] for step in run.steps]
        budget = int(sum(steps) * ENOUGH_FOR)
        fleet.open(run, budget)
        ended = (_hold_steps if holds else _report_steps)(fleet, run.id, steps)
        stopped, inside = stopped + (ended is not None), inside + (ended is True)
        overspent += max(0, fleet.ledger.accounts[run.id].spent[TOKENS] - budget)
        fleet.ask(c.ReleaseBudget(agent=run.id))
    check_conserved(fleet.ledger)
    return Ends(stopped, inside, overspent)


def _report_steps(fleet: Fleet, run: str, steps: list[int]) -> bool | None:
    """Whether the last call of a run that only reports was inside its budget; None where nothing stopped it."""
    for used, following in zip(steps, (*steps[1:], 1), strict=True):
        answer = fleet.ask(c.ReportUsage(agent=run, usage=Usage(tokens=used)))
        if answer.action == "stop":
            return False
        if answer.last_call:
            return _last_call(fleet, run, following)
    return None


def _hold_steps(fleet: Fleet, run: str, steps: list[int]) -> bool | None:
    """The same for a run that holds what each step needs."""
    for number, used in enumerate(steps):
        hold = f"{run}-{number}"
        answer = fleet.ask(c.Reserve(id=hold, agent=run, estimate=Budget(tokens=used)))
        if isinstance(answer, Refusal):
            return answer.numbers.get("last_call", False) and _last_call(fleet, run, used)
        fleet.ask(c.Settle(hold=hold, usage=Usage(tokens=used)))
    return None


def _last_call(fleet: Fleet, run: str, tokens: int) -> bool:
    hold = f"{run}-last"
    answer = fleet.ask(c.Reserve(id=hold, agent=run, estimate=Budget(tokens=tokens), last_call=True))
    if isinstance(answer, Refusal):
        return False
    fleet.ask(c.Settle(hold=hold, usage=Usage(tokens=tokens)))
    return True


# --- learned estimates ------------------------------------------------------------------------------------------------


class Held(msgspec.Struct, frozen=True):
    """How holds fitted. ``refused`` of ``steps`` were refused, and with the most that there can be ``refused_most``. Of
    the ``learned`` holds that were settled, ``over`` used more than was held; ``stages`` is that share in each tenth of
    the steps of a run.
    """

    steps: int
    refused: int
    refused_most: int
    learned: int
    over: int
    stages: tuple[float, ...]

    @property
    def share_over(self) -> float:
        return self.over / self.learned


def play_estimates(workload: Workload) -> Held:
    """All runs at the same time, each step with a learned estimate."""
    fleet = Fleet(holds={"quantile": QUANTILE})
    agenda: list[tuple[int, int, int, int]] = []
    """Heap of when, whether a step begins (1) or ends (0), of which run, and which step."""
    for i, run in enumerate(workload.runs):
        fleet.open(run, sum(step.used[TOKENS] for step in run.steps))
        heapq.heappush(agenda, (run.starts_ms, 1, i, 0))
    refused = refused_most = 0
    learned, over = Counter[int](), Counter[int]()
    while agenda:
        now, begins, i, number = heapq.heappop(agenda)
        run = workload.runs[i]
        step, hold = run.steps[number], f"{run.id}-{number}"
        if begins:
            asked = c.Reserve(
                agent=run.id, model=step.model, input_tokens=step.input_tokens, ttl_seconds=Decimal(10_000)
            )
            most = fleet.ask(replace(asked, output_tokens=MOST, dry_run=True), now)
            refused_most += isinstance(most, Refusal)
            refused += isinstance(fleet.ask(replace(asked, id=hold, max_output_tokens=MOST), now), Refusal)
            heapq.heappush(agenda, (now + (step.duration_ms or 0), 0, i, number))
            continue
        used = {"model": step.model, "input_tokens": step.input_tokens, "output_tokens": step.output_tokens}
        standing = fleet.ledger.holds.get(hold)
        if standing is None:
            fleet.ask(c.ReportUsage(agent=run.id, **used), now)
        else:
            if standing.estimated:
                stage = STAGES * number // len(run.steps)
                learned[stage] += 1
                over[stage] += step.used[TOKENS] > standing.amount[TOKENS]
            fleet.ask(c.Settle(hold=hold, **used), now)
        if number + 1 < len(run.steps):
            heapq.heappush(agenda, (now + run.steps[number + 1].gap_ms, 1, i, number + 1))
    check_conserved(fleet.ledger)
    stages = tuple(over[stage] / learned[stage] for stage in range(STAGES))
    return Held(workload.steps, refused, refused_most, learned.total(), over.total(), stages)


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """Last calls of those who report and who hold, and estimates that are learned beside the most there can be."""
    found = data.found(TRACE)
    if found is None:
        say("ends: skipped, the public runs are not here")
        return
    workload = read_trace(found)
    for name, holds in (("reports", False), ("holds", True)):
        ends, without = play_ends(workload, holds=holds), play_ends(workload, holds=holds, percent=0)
        against = f"{ends.stopped} stopped runs"
        yield Result(
            f"last_call.{name}", ends.inside, "inside", against, ends.inside / ends.stopped, (">=", GOAL_INSIDE)
        )
        yield Result(
            f"last_call.{name}.overspent", ends.overspent, "tokens", f"without: {without.overspent:,}",
            ends.overspent / max(1, without.overspent), ("<=", 1.0),
        )  # fmt: skip
    held = play_estimates(workload)
    yield Result(
        "estimates.refused", held.refused, f"of {held.steps:,} holds", f"the maximum: {held.refused_most:,}",
        held.refused / held.refused_most, ("<=", 1.0),
    )  # fmt: skip
    apart = abs(held.share_over - (1 - float(QUANTILE)))
    settled = f"of {held.learned:,} settled"
    yield Result("estimates.over", held.share_over, settled, "0.05 stated", apart, ("<=", GOAL_APART))
    worst = max(held.stages)
    yield Result("estimates.over.stage", worst, "of a tenth of a run", "0.10", worst / 0.1, ("<=", 1.0))
