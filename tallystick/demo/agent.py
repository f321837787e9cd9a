"""An agent that obeys: it asks and reports, waits when throttled, stops when stopped, and goes on if topped up.

It is a plain object: `message` says what it sends when its moment has come, `hear` takes the answer in and says, by
``due_ms``, when its next moment is. Careful agents (the critical ones) reserve the money for a step before it and
settle after it; the others run the step and report. Like an orchestrator's agent it asks for more when the answer is to
degrade or stop by its own level, and waits a while for budget that may still come before it gives up.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from tallystick.config.amounts import COST, DIMENSIONS, TIME, TOKENS, Budget, Triple, exact_units
from tallystick.config.prices import PriceList
from tallystick.demo.workload import Run, Step, needed
from tallystick.events import messages as c
from tallystick.events.state.money import Money, plus

CHECK_AGAIN_MS: Final = 30_000
"""How often an agent that may not go on looks whether it may."""
PATIENCE_MS: Final = 120_000
"""How long it does so before it gives up."""
TRANCHE: Final = 4
"""An agent that asks for more asks for a quarter of what it was given at its start ..."""
STEPS_AHEAD: Final = 4
"""... and for no less than its last step, so many times."""
HEADROOM: Final = Decimal("1.25")
"""What a careful agent sets aside: its last step's use and a quarter more, as prompts grow."""
FIRST_ESTIMATE: Final = 50
"""Before its first step: one in so many of what it was given."""


class Phase(Enum):
    """What an agent does when its moment comes."""

    START = "start"
    QUEUED = "queued"
    RESERVE = "reserve"
    REPORT = "report"
    BORROW = "borrow"
    CHECK = "check"
    RELEASE = "release"
    GIVE_UP = "give up"
    GONE = "gone"


class Outcome(Enum):
    """How it ended for an agent."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    REFUSED = "never started"


class Refused(RuntimeError):
    """The fleet refused what it never refuses; the text is its own."""


class Agent:
    """One run on its way. Times are milliseconds since the fleet's start."""

    def __init__(self, run: Run, grant: Triple, prices: PriceList | None) -> None:
        self.run = run
        self.grant = grant
        self.due_ms = run.starts_ms
        self.phase = Phase.START
        self.outcome = Outcome.RUNNING
        self.done = 0
        """Steps that were run and reported."""
        self.reported: Money = (0, 0, 0)
        """All that it ever reported; what it left to the price list is not in it."""
        self.last: Money = (0, 0, 0)
        self.action = "continue"
        """The action of the newest answer."""
        self.throttled_ms = 0
        self.stopped_ms = 0
        self._prices = prices
        self._careful = run.priority == "critical"
        self._hold: str | None = None
        self._model: str | None = None
        """The cheaper model that an answer named."""
        self._sent = 0
        self._wait_ms = 0
        self._ready_ms = run.starts_ms + run.steps[0].gap_ms
        """Before this it has something else to do than its next step."""
        self._stopped_at: int | None = None
        self._asked_at = -CHECK_AGAIN_MS

    @property
    def lacked(self) -> Money:
        """What the steps that it could not run would have used."""
        return needed(self.run.steps[self.done :])

    # --- what it says -------------------------------------------------------------------------------------------------

    def message(self) -> c.Command:
        """What it sends now."""
        self._sent += 1
        command = self._command()
        command.id = f"{self.run.id}.{self._sent}"
        return command

    def _command(self) -> c.Command:
        me = self.run.id
        match self.phase:
            case Phase.START:
                return self._asks_to_begin()
            case Phase.RESERVE:
                return c.Reserve(agent=me, estimate=_edge(self._estimate()))
            case Phase.REPORT:
                return self._report(self.run.steps[self.done])
            case Phase.BORROW:
                return c.BorrowFromPool(agent=me, amount=_edge(self._tranche()))
            case Phase.CHECK:
                return c.CheckEnforcement(agent=me)
            case Phase.RELEASE:
                return self._says_its_end()
            case Phase.QUEUED | Phase.GIVE_UP | Phase.GONE:
                raise AssertionError(f"{me} has nothing to say: {self.phase.value}")

    def _asks_to_begin(self) -> c.Command:
        return c.AllocateBudget(
            agent=self.run.id,
            budget=_edge(self.grant),
            agent_type=self.run.agent_type,
            product=self.run.product,
            priority=self.run.priority,
        )

    def _says_its_end(self) -> c.Command:
        return c.ReleaseBudget(agent=self.run.id)

    def _report(self, step: Step) -> c.Command:
        model, cost = self._billed(step)
        if self._hold is not None:
            return c.Settle(hold=self._hold, usage=_edge((step.used[TOKENS], step.duration_ms, cost)))
        return c.ReportUsage(
            agent=self.run.id,
            usage=_edge((None, step.duration_ms, cost)),
            model=model,
            input_tokens=step.input_tokens,
            output_tokens=step.output_tokens,
            cached_tokens=step.cached_tokens,
        )

    def _billed(self, step: Step) -> tuple[str | None, int | None]:
        """The model that the step ran on, and what it cost there."""
        price = None if self._prices is None or self._model is None else self._prices.models.get(self._model)
        if price is None:
            return step.model, step.cost_nanos
        sent, written, cached = step.input_tokens or 0, step.output_tokens or 0, step.cached_tokens or 0
        return self._model, price.cost(sent, written, cached)

    def _estimate(self) -> Triple:
        """What a careful agent sets aside for its next step: tokens, and dollars where it was given any."""
        guess = [max(1, int(self.last[d] * HEADROOM) or (self.grant[d] or 0) // FIRST_ESTIMATE) for d in DIMENSIONS]
        return (guess[TOKENS], None, None if self.grant[COST] is None else guess[COST])

    def _tranche(self) -> Triple:
        more = [
            None if units is None else max(units // TRANCHE, self.last[d] * STEPS_AHEAD, 1)
            for d, units in enumerate(self.grant)
        ]
        return (more[0], more[1], more[2])

    # --- what it hears ------------------------------------------------------------------------------------------------

    def hear(self, reply: Mapping[str, Any], now_ms: int) -> None:
        """Take the answer to its `message` in.

        Raises:
            Refused: an answer that no obeying agent gets from a fleet in order.
        """
        if "error" in reply:
            self._hear_no(reply["error"], now_ms)
            return
        answer = reply["ok"]
        match self.phase:
            case Phase.START:
                self._begun(answer, now_ms)
            case Phase.RESERVE:
                self._hold = answer["hold"]
                self._run_step(now_ms)
            case Phase.REPORT:
                self._reported(answer, now_ms)
            case Phase.BORROW:
                self._then(Phase.CHECK, now_ms)
            case Phase.CHECK:
                self._obey(answer, now_ms)
            case Phase.RELEASE:
                self._then(Phase.GONE, now_ms)

    def _begun(self, answer: Mapping[str, Any], now_ms: int) -> None:
        self._begin_step(now_ms)

    def _hear_no(self, error: Mapping[str, Any], now_ms: int) -> None:
        """Wait out a throttle; ask for more where there is no room; go without where there is no more; or give up."""
        match self.phase, error["code"]:
            case Phase.START, "pool_exhausted":
                self._wait_for_budget(now_ms, Phase.START)
            case Phase.RESERVE, "throttled":
                wait_ms = exact_units(Decimal(str(error["retry_after_seconds"])), TIME, "retry_after_seconds")
                self.throttled_ms += wait_ms
                self._then(Phase.RESERVE, now_ms + wait_ms)
            case Phase.RESERVE, "budget_exhausted":
                self.action = "stop"
                if self._may_ask(now_ms):
                    self._ask(now_ms)
                else:
                    self._wait_for_budget(now_ms, Phase.CHECK)
            case Phase.RESERVE, "paused" | "daily_limit_reached" | "breaker_open":
                self._wait_for_budget(now_ms, Phase.CHECK)
            case Phase.BORROW, "pool_exhausted" | "pool_share_exceeded":
                self._go_without(now_ms)
            case phase, code:
                raise Refused(f"{self.run.id}, {phase.value}: {code}: {error['detail']}")

    def _then(self, phase: Phase, at_ms: int) -> None:
        self.phase, self.due_ms = phase, at_ms

    def _begin_step(self, now_ms: int) -> None:
        """The next step begins when its time has come and a throttle is over."""
        at_ms = max(self._ready_ms, now_ms + self._wait_ms)
        self.throttled_ms += self._wait_ms
        self._wait_ms = 0
        if self._careful and self.run.steps[self.done].cost_nanos is not None:
            self._then(Phase.RESERVE, at_ms)
        else:
            self._run_step(at_ms)

    def _run_step(self, at_ms: int) -> None:
        if self._stopped_at is not None:
            self.stopped_ms += at_ms - self._stopped_at
            self._stopped_at = None
        self._then(Phase.REPORT, at_ms + (self.run.steps[self.done].duration_ms or 0))

    def _reported(self, answer: Mapping[str, Any], now_ms: int) -> None:
        step = self.run.steps[self.done]
        tokens, time_ms, _ = step.used
        self.last = (tokens, time_ms, self._billed(step)[1] or 0)
        self.reported = plus(self.reported, self.last)
        self.done += 1
        self._hold = None
        if self.done == len(self.run.steps):
            self.action = answer["action"]
            self._leave(Outcome.FINISHED, now_ms)
        else:
            self._ready_ms = now_ms + self.run.steps[self.done].gap_ms
            self._obey(answer, now_ms)

    def _obey(self, answer: Mapping[str, Any], now_ms: int) -> None:
        """Do as the answer says: stop, ask for more, wait, go on."""
        self.action, by_level = answer["action"], answer["decided_by"] == "level"
        self._model = answer.get("model")
        self._wait_ms = exact_units(Decimal(str(answer["wait_seconds"])), TIME, "wait_seconds")
        if self.action == "stop":
            if by_level and self._may_ask(now_ms):
                self._ask(now_ms)
            else:
                self._wait_for_budget(now_ms, Phase.CHECK)
            return
        if self.action == "degrade" and by_level and self._may_ask(now_ms):
            self._ask(now_ms)
            return
        self._begin_step(now_ms)

    def _may_ask(self, now_ms: int) -> bool:
        return now_ms >= self._asked_at + CHECK_AGAIN_MS

    def _ask(self, now_ms: int) -> None:
        self._asked_at = now_ms
        self._then(Phase.BORROW, now_ms)

    def _go_without(self, now_ms: int) -> None:
        """There is no more: a stopped agent waits for some, a degraded one goes on as the answer says."""
        if self.action == "stop":
            self._wait_for_budget(now_ms, Phase.CHECK)
        else:
            self._begin_step(now_ms)

    def _wait_for_budget(self, now_ms: int, phase: Phase) -> None:
        """Look again later, while there is hope."""
        if self._stopped_at is None:
            self._stopped_at = now_ms
        if now_ms - self._stopped_at < PATIENCE_MS:
            self._then(phase, now_ms + CHECK_AGAIN_MS)
        elif phase is Phase.START:
            self.outcome = Outcome.REFUSED
            self._then(Phase.GONE, now_ms)
        else:
            self.stopped_ms += now_ms - self._stopped_at
            self._leave(Outcome.STOPPED, now_ms)

    def _leave(self, outcome: Outcome, now_ms: int) -> None:
        self.outcome = outcome
        self._then(Phase.RELEASE, now_ms)


def _edge(amounts: Triple) -> Budget:
    """Amounts as a message carries them."""
    tokens, time_ms, cost = amounts
    return Budget(
        tokens,
        None if time_ms is None else Decimal(time_ms).scaleb(-3),
        None if cost is None else Decimal(cost).scaleb(-9),
    )
