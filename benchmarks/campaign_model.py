"""A campaign without the core: the product's own survey and plan, with accounts that follow a few events.

The whole fleet takes seconds for 354 runs. Resamples of them need many campaigns, so this one leaves out what decides
nothing about who finishes: messages and their answers, the log, warnings, the scores of forecasts. The forecaster, what
it learns, the survey and the plan are the product's; the accounts are the core's. What is simpler: a step that uses
more than there is is paid for by the pool at once, and a throttle makes each step take twice as long.
"""

import datetime as dt
import heapq
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tallystick.actors.policies.forecasting.forecaster import Forecaster
from tallystick.actors.policies.parts import whole
from tallystick.actors.policies.rebalancing.figures import Figures
from tallystick.actors.policies.rebalancing.plan import Fleet, plan
from tallystick.actors.policies.rebalancing.survey import Surveyor
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.amounts import TOKENS, Amounts
from tallystick.config.settings import Config
from tallystick.demo.agent import CHECK_AGAIN_MS, PATIENCE_MS
from tallystick.demo.campaign import STARTS_AT
from tallystick.demo.workload import Run
from tallystick.events import catalog as e
from tallystick.events.catalog import Strategy
from tallystick.events.evolve import evolve
from tallystick.events.messages.proposals import RecordRun

_MS = dt.timedelta(milliseconds=1)
_LEARNED = frozenset(e.RunLearned.__struct_fields__) & frozenset(RecordRun.__struct_fields__) - frozenset(
    e.Event.__struct_fields__
)


class Played(NamedTuple):
    """How a campaign ended: the runs that finished, and the share of ``total - reserve`` that was used."""

    finished: int
    consumed: float


class _Running:
    """A run on its way: how many of its steps are reported, and since when it waits for budget."""

    __slots__ = ("done", "run", "waits_since")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.done = 0
        self.waits_since: int | None = None


class Campaign:
    """The accounts of a fleet that was just opened, and the runs that use them."""

    def __init__(
        self,
        fleet: SimulatedFleet,
        runs: Sequence[Run],
        surveyor: type[Surveyor] = Surveyor,
        forecaster: type[Forecaster] = Forecaster,
    ) -> None:
        self._config: Config = fleet.ledger.rules.config
        self._surveyor = surveyor
        self._spendable = fleet.ledger.spendable(TOKENS)
        self._share = fleet.ledger.rules.minimum_share
        self._ledger = fleet.ledger
        self._forecaster = forecaster(fleet.ledger)
        self._agenda = [(run.starts_ms + run.steps[0].gap_ms + _lasts(run, 0), i) for i, run in enumerate(runs)]
        heapq.heapify(self._agenda)
        self._runs = [_Running(run) for run in runs]
        self._finished = 0

    def play(self) -> Played:
        """Let all runs come to their end."""
        every = int(self._config.reallocation.interval_seconds * 1_000)
        plan_ms = every
        while self._agenda:
            now_ms, i = heapq.heappop(self._agenda)
            while plan_ms <= now_ms:
                self._plan(STARTS_AT + plan_ms * _MS)
                plan_ms += every
            next_ms = self._turn(self._runs[i], now_ms)
            if next_ms is not None:
                heapq.heappush(self._agenda, (next_ms, i))
        return Played(self._finished, self._ledger.spent[TOKENS] / self._spendable)

    # --- the runs -----------------------------------------------------------------------------------------------------

    def _turn(self, one: _Running, now_ms: int) -> int | None:
        """A run reports its step, or looks whether it may go on; when its next moment is, None where it is over."""
        if one.waits_since is None:
            self._report(one, now_ms)
            one.done += 1
            if one.done == len(one.run.steps):
                self._finished += 1
                self._release(one.run, now_ms)
                return None
        account = self._ledger.accounts[one.run.id]
        pressure = self._ledger.spent[TOKENS] / self._spendable
        enforcement = self._config.enforcement
        if account.ratio() >= enforcement.stop_at or pressure >= enforcement.fleet.stop_at:
            if one.waits_since is None:
                one.waits_since = now_ms
            if now_ms - one.waits_since >= PATIENCE_MS:
                self._release(one.run, now_ms)
                return None
            return now_ms + CHECK_AGAIN_MS
        one.waits_since = None
        slow = account.ratio() >= enforcement.throttle_at or pressure >= enforcement.fleet.throttle_at
        wait_ms = _lasts(one.run, one.done - 1) if slow else 0
        return now_ms + max(one.run.steps[one.done].gap_ms, wait_ms) + _lasts(one.run, one.done)

    def _report(self, one: _Running, now_ms: int) -> None:
        step, account = one.run.steps[one.done], self._ledger.accounts[one.run.id]
        lacks = step.used[TOKENS] - account.free[TOKENS]
        if lacks > 0:
            self._move("pool", one.run.id, Amounts(lacks), now_ms)
        tokens, time_ms, cost_nanos = step.used
        event = e.UsageReported(
            agent=one.run.id, tokens=tokens, time_ms=time_ms, cost_nanos=cost_nanos, model=step.model
        )
        self._fold(event, now_ms)
        run = self._forecaster.runs.get(account.id)
        if run is None:
            self._forecaster.runs.open(account)
            run = self._forecaster.runs.begin(account.id, event.at)
            assert run is not None, "it was opened just now"
        run.take(event.at, run.streak.after(step.used), account.growth)

    def _release(self, run: Run, now_ms: int) -> None:
        event = e.BudgetReleased(agent=run.id, allocated=Amounts(), consumed=Amounts(), unused=Amounts())
        account = self._ledger.accounts[run.id]
        account.level = len(e.LEVELS) - 1 if account.ratio() >= self._config.enforcement.stop_at else 0
        for command in self._forecaster.released(event):
            said = msgspec.structs.asdict(command)
            self._fold(e.RunLearned(**{name: said[name] for name in _LEARNED}), now_ms)
        self._fold(event, now_ms)

    # --- the plan -----------------------------------------------------------------------------------------------------

    def _plan(self, now: dt.datetime) -> None:
        ledger, spendable = self._ledger, self._spendable
        least = spendable * self._share.numerator // (self._share.denominator * max(1, len(ledger.accounts)))
        free = max(0, ledger.root.free[TOKENS])
        figures = Figures((free, None, None), (spendable, None, None), (least, 0, 0), in_crisis=False)
        survey = whole(self._surveyor(ledger, self._forecaster, figures, self._config).survey(now))
        fleet = Fleet(figures.spendable, figures.minimum_share, figures.in_crisis)
        for move in plan(survey.idle, survey.hungry, fleet, self._config):
            self._move(move.source, move.target, move.amount, (now - STARTS_AT) // _MS, move.strategy)

    def _move(self, source: str, target: str, amount: Amounts, now_ms: int, strategy: Strategy = "demand") -> None:
        self._fold(e.BudgetMoved(source=source, target=target, amount=amount, reason="", strategy=strategy), now_ms)

    def _fold(self, event: e.Event, now_ms: int) -> None:
        event.position, event.at = self._ledger.position + 1, STARTS_AT + now_ms * _MS
        evolve(self._ledger, event)


def _lasts(run: Run, step: int) -> int:
    return run.steps[step].duration_ms or 0
