"""Follows the run of every open agent, forecasts its exhaustion, and scores the forecasts against what happened.

A forecast is made when another tenth of a budget is consumed, when it is shown, and when it is acted on. The core
records each, and its score once the outcome is known. What a finished run taught is recorded too. All that is to be
recorded is returned as proposals: `RecordForecast`, `RecordScore`, `RecordRun` and `RecordAnomaly`.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tallystick.actors.policies.forecasting.anomalies import LOOP_STEPS, Found, loop, outlier
from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion, foresee, stage_of
from tallystick.actors.policies.forecasting.growth_forecast import Course, growth_by_dimension
from tallystick.actors.policies.forecasting.runs import Run, runs_of
from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.forecasts import Outcome, Prediction, WhyForecast, still_open
from tallystick.events.messages import proposals as p
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import Growth
from tallystick.events.state.history import History, Known
from tallystick.events.state.ledger import Ledger

LOOK_AFTER: Final = 32
"""So many reports at least lie between two looks at all open runs for answers: these change little by a few steps."""
STEPS_MIN: Final = 2
"""An agent that has reported less often has shown nothing of how it goes on."""
_MS = dt.timedelta(milliseconds=1)


class Forecaster:
    """The runs of open agents and what earlier ones taught. ``accounts`` are the tracker's, as of the same event."""

    def __init__(self, ledger: Ledger, accounts: Mapping[str, Account]) -> None:
        self.history = History.load(ledger.history.dump())
        self.runs = runs_of(ledger)
        self._accounts = accounts
        self._begun_at = ledger.position
        self._shown = 0
        self._curves: Curves | None = None
        self._steps_since = 0
        """Reports since the last look at all open runs."""
        self._before: dict[str, bytes] = {}
        """Of the agents that reported in the batch at hand, their growth before the newest step."""

    # --- following ----------------------------------------------------------------------------------------------------

    def begin_batch(self) -> None:
        """Forget what only the last batch was about."""
        self._before.clear()

    def opened(self, event: e.BudgetAllocated) -> None:
        """An id that is allocated again begins a new run."""
        self.runs.pop(event.agent, None)

    def step(self, event: Any) -> list[c.Command]:
        """Take in a report: the scores that are known now, and a forecast where another tenth was consumed."""
        account = self._accounts.get(event.agent)
        if account is None:
            return []
        run = self.runs.get(event.agent)
        if run is None:
            # Under the name that the account keeps: every event brings a string of its own.
            run = self.runs[account.id] = Run(event.at)
        self._before[event.agent] = run.growth
        self._steps_since += 1
        run.step(event)
        used, passed = (event.tokens, event.time_ms, event.cost_nanos), False
        commands: list[c.Command] = []
        for d in DIMENSIONS:
            if used[d] and account.allocated[d] is not None:
                own, mark = own_use(account, d)
                if run.forecasts:
                    commands += self._scores(run, event, d, own, used[d])
                before = own - used[d]
                passed = passed or (own < mark and stage_of(own, mark) > stage_of(before, mark))
        if passed:
            commands += self.recorded(account, "stage", f"stage-{event.position}")
        if run.streak_steps == LOOP_STEPS and (found := loop(Growth.read(run.growth), run.streak)) is not None:
            commands.append(_anomaly(event.agent, found, f"loop-{event.position}"))
        return commands

    def outlier(self, account: Account, run: Run, event: Any) -> list[c.Command]:
        """The newest step, where it stands out from what was to be expected before it."""
        before = Growth.read(self._before[event.agent])
        expected = self._growth_by_dimension(before, self.known(account, run))
        found = outlier(before, expected, (event.tokens, event.time_ms, event.cost_nanos))
        return [] if found is None else [_anomaly(event.agent, found, f"outlier-{event.position}")]

    def learn(self, event: "e.RunLearned | e.ForecastScored") -> None:
        """Take in what was recorded of earlier proposals."""
        self.history.fold(event)
        if self._curves is not None and isinstance(event, e.RunLearned):
            self._curves.forget((event.agent_type, event.model))

    def made(self, event: e.ForecastMade) -> None:
        """Take in a forecast that was recorded, unless this forecaster proposed it a moment ago."""
        run = self.runs.get(event.agent)
        if run is not None:
            _await_outcome(run, _unknown(run, event.predictions))

    def released(self, event: e.BudgetReleased) -> list[c.Command]:
        """A run is over: what it taught. This is called before the accounts forget the agent."""
        run, account = self.runs.pop(event.agent, None), self._accounts.get(event.agent)
        if run is None or account is None:
            return []
        growth = Growth.read(run.growth)
        own = [account.consumed(d) - account.closed[d] for d in DIMENSIONS]
        command = p.RecordRun(
            agent=event.agent,
            agent_type=account.agent_type,
            model=run.model,
            steps=int(growth.steps),
            consumed=Amounts(*own),
            elapsed_ms=(run.last_at - account.opened_at) // _MS,
            growth=growth.numbers(),
            head=growth.head_numbers(),
            exhausted=account.level == _BLACK,
            id=c.internal_id(f"run-{event.position}"),
        )
        return [command]

    # --- forecasting --------------------------------------------------------------------------------------------------

    def growth_by_dimension(self, account: Account, run: Run) -> tuple[Course | None, ...]:
        """How an agent's usage will go on, by dimension."""
        return self._growth_by_dimension(Growth.read(run.growth), self.known(account, run))

    @staticmethod
    def _growth_by_dimension(growth: Growth, known: Known) -> tuple[Course | None, ...]:
        return growth_by_dimension(growth, known)

    def known(self, account: Account, run: Run | None) -> Known:
        """What earlier runs taught of an agent's."""
        if run is None:
            return self.history.expected(account.agent_type)
        return self.history.known(account.agent_type, run.model)

    def curves(self) -> Curves:
        """How far runs go: as of the last look at all open ones, while fewer reports came since than there are runs.

        So a report pays for the look at one run, however many there are. What ended since is counted.
        """
        if self._curves is None or self._steps_since >= max(LOOK_AFTER, len(self.runs)):
            return self.curves_now()
        return self._curves

    def curves_now(self) -> Curves:
        """How far runs go, as of now."""
        self._steps_since = 0
        self._curves = Curves(self.history, self._accounts, self.runs)
        return self._curves

    def exhaustions(self, account: Account) -> list[Exhaustion]:
        """The forecast for each limited dimension of which something is left, as of the last report."""
        run = self.runs.get(account.id)
        if run is None:
            return []
        growth = Growth.read(run.growth)
        if growth.steps < STEPS_MIN:
            return []
        found, known = [], self.known(account, run)
        for d, course in enumerate(self._growth_by_dimension(growth, known)):
            if course is not None and account.allocated[d] is not None:
                own, mark = own_use(account, d)
                if own < mark:
                    found.append(foresee(course, known, d, own, mark, growth.steps))
        return found

    def recorded(
        self, account: Account, why: WhyForecast, name: str, exhaustions: Iterable[Exhaustion] | None = None
    ) -> list[c.Command]:
        """A forecast to be recorded, unless the same was recorded at this step already."""
        run = self.runs[account.id]
        found = self.exhaustions(account) if exhaustions is None else exhaustions
        predictions = _unknown(run, [exhaustion.prediction() for exhaustion in found])
        if not predictions:
            return []
        # At once, and not when the record comes back: the next question may be here before it.
        _await_outcome(run, predictions)
        return [
            p.RecordForecast(
                agent=account.id,
                why=why,
                predictions=predictions,
                opened_at=account.opened_at,
                id=c.internal_id(f"{name}"),
            )
        ]

    def pace(self, account: Account, run: Run) -> float | None:
        """Seconds that a step of this run takes; None where it is not known."""
        return run.pace(self.known(account, run))

    def name_shown(self) -> str:
        """A name for a forecast that was asked for."""
        self._shown += 1
        return f"shown-{self._begun_at}-{self._shown}"

    def _scores(self, run: Run, event: Any, d: int, own: int, used: int) -> list[c.Command]:
        """The scores of the forecasts of marks that this step passed."""
        name = EDGE_NAMES[d]
        by_mark: dict[int, list[Prediction]] = {}
        for prediction in run.forecasts or ():
            if prediction.dimension == name and prediction.mark <= own:
                by_mark.setdefault(prediction.mark, []).append(prediction)
        if by_mark:
            # At once, and not when the record comes back: the next step may be here before it.
            run.forecasts = [one for one in run.forecasts or () if one.dimension != name or one.mark > own] or None
        account, steps = self._accounts[event.agent], Growth.read(run.growth).steps
        commands: list[c.Command] = []
        for mark, predictions in by_mark.items():
            # The mark lies within this step: that part of it counts that was used before the mark.
            actual = round(steps - (own - mark) / used, 3)
            command = p.RecordScore(
                agent=event.agent,
                agent_type=account.agent_type,
                model=run.model,
                dimension=name,
                actual=actual,
                forecasts=[_outcome(prediction) for prediction in predictions],
                id=c.internal_id(f"score-{event.position}-{d}-{mark}"),
            )
            commands.append(command)
        return commands


_BLACK: Final = len(e.LEVELS) - 1


def own_use(account: Account, d: int) -> tuple[int, int]:
    """What an agent used itself of a limited dimension, and at which usage of its own the budget is used up."""
    closed = account.closed[d]
    allocated = account.allocated[d] or 0
    return account.consumed(d) - closed, allocated + account.given_back[d] - account.delegated[d] - closed


def _outcome(one: Prediction) -> Outcome:
    return Outcome(
        stage=one.stage,
        step=one.step,
        predicted=one.predicted,
        low=one.low,
        high=one.high,
        baseline=one.baseline,
        raw=one.raw,
        widened=one.widened,
    )


def _unknown(run: Run, predictions: Iterable[Prediction]) -> list[Prediction]:
    """Those that are not waiting for their outcome already, as of the same step."""
    known = {(one.dimension, one.mark, one.step) for one in run.forecasts or ()}
    return [one for one in predictions if (one.dimension, one.mark, one.step) not in known]


def _await_outcome(run: Run, predictions: list[Prediction]) -> None:
    if predictions:
        run.forecasts = still_open([*(run.forecasts or ()), *predictions])


def _anomaly(agent: str, found: Found, name: str) -> c.Command:
    return p.RecordAnomaly(
        agent=agent,
        anomaly=found.anomaly,
        dimension=found.dimension,
        step=found.step,
        amount=found.amount,
        low=found.low,
        high=found.high,
        message=found.message,
        id=c.internal_id(f"{name}"),
    )
