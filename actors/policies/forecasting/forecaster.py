"""Follows the run of every open agent, forecasts its exhaustion, and scores the forecasts against what happened.

A forecast is made when another tenth of a budget is consumed, when it is shown, and when it is acted on. The core
records each, and its score once the outcome is known. What a finished run taught is recorded too. All that is to be
recorded is returned as proposals: `RecordForecast`, `RecordScore`, `RecordRun` and `RecordAnomaly`.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from tallystick.actors.policies.forecasting.anomalies import LOOP_STEPS, Found, loop, outlier
from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion, foresee, stage_of
from tallystick.actors.policies.forecasting.growth_forecast import Course, growth_by_dimension
from tallystick.actors.policies.forecasting.runs import Run, Runs, as_before, charge, is_step, stand_in, use
from tallystick.actors.policies.parts import Parts
from tallystick.config.amounts import EDGE_NAMES, Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.forecasts import Outcome, Prediction, WhyForecast, still_open
from tallystick.events.messages import proposals as p
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import Growth, observed
from tallystick.events.state.history import History, Known
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money

LOOK_AFTER: Final = 32
"""So many reports at least lie between two looks at all open runs for answers: these change little by a few steps."""
ENDS_MAX: Final = 0.001
"""Of the open runs, so many may end between two such looks."""
STEPS_MIN: Final = 2
"""An agent that has reported less often has shown nothing of how it goes on."""
_MS = dt.timedelta(milliseconds=1)
_A_SECOND: Final = dt.timedelta(seconds=1)


class Look(NamedTuple):
    """A step that is to be looked at: whether it stands out, and how long the budget will last after it."""

    run: Run
    event: Any
    before: bytes
    """How usage grew before that step."""


class Forecaster:
    """The runs of open agents, and forecasts of them, by what the ledger says behind the newest batch of events."""

    def __init__(self, ledger: Ledger) -> None:
        self.runs = Runs(ledger)
        self._ledger = ledger
        self._begun_at = ledger.position
        self._shown = 0
        self._curves: Curves | None = None
        self._steps_since = 0
        """Reports since the last look at all open runs began."""
        self._ends_since = 0
        """Runs of which it was learnt since then that they ended."""

    @property
    def history(self) -> History:
        """What earlier runs taught: the ledger's own."""
        return self._ledger.history

    # --- following ----------------------------------------------------------------------------------------------------

    def opened(self, event: e.BudgetAllocated) -> None:
        """An account has opened. An id that is allocated again begins a new run."""
        account = self._ledger.same_account(event.agent, event.position)
        self.runs.open(stand_in(event) if account is None else account)

    def follow(
        self, agent: str, events: Sequence[Any], *, may_look: bool = True
    ) -> tuple[list[tuple[int, c.Command]], Look | None]:
        """Take in what an agent used in a batch, in order: what is to be recorded by position, and looked at.

        Without ``may_look`` nothing is to be looked at, and the agent's next step is as due as this one.

        Recorded are the scores that are known now, a forecast where another tenth was consumed, and a loop. A hold that
        was spent at its expiry is usage, but no step of the agent.
        """
        run, steps = self.runs.get(agent), [one for one in events if is_step(one)]
        if run is None:
            run = self.runs.begin(agent, steps[0].at) if steps else None
            if run is None:
                return [], None
        account = run.account
        self._steps_since += len(steps)
        if account.parent is None:
            use(account, events)
        last, is_due = None, False
        if steps:
            last = steps[-1]
            is_due = may_look and last.at - run.looked_at >= _A_SECOND
        if not is_due:
            streak, loops = run.streak.after_all([one.tokens for one in steps])
            if not loops and not _passes(run, _used(events[0]) if len(events) == 1 else _used_by(events)):
                if last is not None:
                    run.take(last.at, streak, account.growth)
                return [], None
        # Something is to be said of a step: they are gone through one by one.
        found: list[tuple[int, c.Command]] = []
        seen, before = account if len(events) == 1 else as_before(account, events), run.growth
        for event in events:
            used = _used(event)
            if is_step(event):
                before = run.growth
                growth = account.growth if event is last else observed(before, used)
                run.take(event.at, run.streak.after(used), growth)
            if seen is not account:
                charge(seen, event)
            found += [(event.position, command) for command in self._recorded_of(run, seen, event, used)]
        if last is None or not is_due:
            return found, None
        run.looked_at = last.at
        return found, Look(run, last, before)

    def _recorded_of(self, run: Run, account: Account, event: Any, used: Money) -> list[c.Command]:
        """What is to be recorded of usage, with the account as it is behind it."""
        passed = False
        commands: list[c.Command] = []
        for d in account.dims:
            if used[d]:
                own, mark = own_use(account, d)
                if run.forecasts:
                    commands += self._scores(run, event, d, own, used[d])
                passed = passed or _passes_tenth(own - used[d], own, mark)
        if passed:
            commands += self.recorded(account, "stage", f"stage-{event.position}")
        if (
            run.streak_steps == LOOP_STEPS
            and is_step(event)
            and (found := loop(Growth.read(run.growth), run.streak)) is not None
        ):
            commands.append(_anomaly(event.agent, found, f"loop-{event.position}"))
        return commands

    def is_open(self, run: Run) -> bool:
        """Whether the run's account is still open."""
        return self._ledger.accounts.get(run.account.id) is run.account

    def outlier(self, look: Look) -> list[c.Command]:
        """The step, where it stands out from what was to be expected before it."""
        run, event = look.run, look.event
        before = Growth.read(look.before)
        expected = self._growth_by_dimension(before, self.known(run.account, run))
        found = outlier(before, expected, (event.tokens, event.time_ms, event.cost_nanos))
        return [] if found is None else [_anomaly(event.agent, found, f"outlier-{event.position}")]

    def made(self, event: e.ForecastMade) -> None:
        """Take in a forecast that was recorded, unless this forecaster proposed it a moment ago."""
        run = self.runs.get(event.agent)
        if run is not None:
            _await_outcome(run, _unknown(run, event.predictions))

    def learnt(self) -> None:
        """A run that ended has come into the history."""
        self._ends_since += 1

    def changed_level(self, event: e.LevelChanged) -> None:
        """At black, what an agent was warned of has come; should it go on, the next exhaustion is another one."""
        run = self.runs.get(event.agent)
        if run is not None and event.level == "black":
            run.alerted = False
        account = self.runs.silent(event.agent) if run is None else run.account
        if account is not None and account.parent is None:
            account.level = e.LEVELS.index(event.level)

    def released(self, event: e.BudgetReleased) -> list[c.Command]:
        """A run is over: what it taught."""
        run = self.runs.close(event.agent)
        if run is None:
            return []
        account, growth = run.account, Growth.read(run.growth)
        command = p.RecordRun(
            agent=event.agent,
            agent_type=account.agent_type,
            model=run.model,
            steps=int(growth.steps),
            consumed=Amounts(*account.spent),
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

    def curves(self) -> Parts[Curves]:
        """How far runs go, as of the last look at all open ones.

        Another is due after as many reports as there are runs, or where more than hardly any have ended. So a report
        pays for the look at one run, however many there are.
        """
        many = len(self.runs)
        is_old = self._steps_since >= max(LOOK_AFTER, many) or self._ends_since > many * ENDS_MAX
        if self._curves is None or is_old:
            return (yield from self.curves_now())
        return self._curves

    def curves_now(self) -> Parts[Curves]:
        """How far runs go, by a look at all open ones that begins now."""
        self._steps_since = self._ends_since = 0
        curves = Curves(self.history)
        yield from curves.look(self._ledger.names, self.runs)
        self._curves = curves
        return curves

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
        steps = Growth.read(run.growth).steps
        commands: list[c.Command] = []
        for mark, predictions in by_mark.items():
            # The mark lies within this step: that part of it counts that was used before the mark.
            actual = round(steps - (own - mark) / used, 3) if is_step(event) else steps
            command = p.RecordScore(
                agent=event.agent,
                agent_type=run.account.agent_type,
                model=run.model,
                dimension=name,
                actual=actual,
                forecasts=[Outcome.of(prediction) for prediction in predictions],
                id=c.internal_id(f"score-{event.position}-{d}-{mark}"),
            )
            commands.append(command)
        return commands


_BLACK: Final = len(e.LEVELS) - 1


def own_use(account: Account, d: int) -> tuple[int, int]:
    """What an agent used itself of a limited dimension, and at which usage of its own the budget is used up."""
    return account.spent[d], _mark(account, d)


def _mark(account: Account, d: int) -> int:
    allocated = account.allocated[d] or 0
    return allocated + account.given_back[d] - account.delegated[d] - account.closed[d]


def _used(event: Any) -> Money:
    return (event.tokens, event.time_ms, event.cost_nanos)


def _used_by(events: Iterable[Any]) -> Money:
    tokens = time_ms = cost_nanos = 0
    for event in events:
        tokens, time_ms, cost_nanos = tokens + event.tokens, time_ms + event.time_ms, cost_nanos + event.cost_nanos
    return (tokens, time_ms, cost_nanos)


def _passes_tenth(before: int, own: int, mark: int) -> bool:
    """Whether another tenth of a budget that is not used up was consumed."""
    return own < mark and stage_of(own, mark) > stage_of(before, mark)


def _passes(run: Run, used: Money) -> bool:
    """Whether the latest usage passed a tenth of a budget, or what was forecast."""
    account = run.account
    spent = account.spent
    for d in account.dims:
        if used[d]:
            own, mark = spent[d], _mark(account, d)
            before = own - used[d]
            if before < mark and own * 10 // mark != before * 10 // mark:
                return True
            if run.forecasts and any(one.mark <= own and one.dimension == EDGE_NAMES[d] for one in run.forecasts):
                return True
    return False


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
