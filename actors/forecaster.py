"""The tracker's foresight: follows the run of every open agent, foretells, and lays what happened beside it.

A forecast is made when another tenth of a budget is consumed, when it is shown, and when it is acted on; the law records
each, and once the truth is known, the score. What a finished run taught goes into the record too.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tallystick.actors.policies.anomalies import LOOP_STEPS, Found, loop, outlier
from tallystick.actors.policies.exhaustion import Exhaustion, foresee, stage_of
from tallystick.actors.policies.growth_forecast import Course, courses
from tallystick.actors.runs import Run, runs_of
from tallystick.actors.runtime.messages import MANAGER, TRACKER, Post, Proposal
from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.forecasts import Outcome, Prediction, WhyForecast, still_open
from tallystick.events.evolve.account_read_model import AccountModel
from tallystick.events.messages import proposals as p
from tallystick.events.state.growth import Growth
from tallystick.events.state.history import History, Known
from tallystick.events.state.ledger import Ledger

STEPS_MIN: Final = 2
"""An agent that has reported less often has shown nothing of how it goes on."""
_MS = dt.timedelta(milliseconds=1)


class Forecaster:
    """The runs of open agents and what earlier ones taught. ``standings`` are the tracker's, at the same event."""

    def __init__(self, ledger: Ledger, standings: Mapping[str, AccountModel]) -> None:
        self.history = History.load(ledger.history.dump())
        self.runs = runs_of(ledger)
        self._standings = standings
        self._begun_at = ledger.position
        self._shown = 0
        self._before: dict[str, bytes] = {}
        """Of the agents that reported in the batch at hand, their growth before the newest step."""

    # --- following ----------------------------------------------------------------------------------------------------

    def begin_batch(self) -> None:
        """Forget what only the last batch was about."""
        self._before.clear()

    def opened(self, event: e.BudgetAllocated) -> None:
        """An id that is allocated again begins a new run."""
        self.runs.pop(event.agent, None)

    def step(self, event: Any) -> list[Post]:
        """Take in a report; the scores of what is known now, and a forecast where another tenth was consumed."""
        standing = self._standings.get(event.agent)
        if standing is None:
            return []
        run = self.runs.get(event.agent)
        if run is None:
            # Under the name that the standing keeps: every event brings a text of its own.
            run = self.runs[standing.id] = Run(event.at)
        self._before[event.agent] = run.growth
        run.step(event)
        used, posts, passed = (event.tokens, event.time_ms, event.cost_nanos), [], False
        for d in DIMENSIONS:
            if used[d] and standing.allocated[d] is not None:
                own, mark = own_use(standing, d)
                if run.forecasts:
                    posts += self._scores(run, event, d, own, used[d])
                before = own - used[d]
                passed = passed or (own < mark and stage_of(own, mark) > stage_of(before, mark))
        if passed:
            posts += self.recorded(standing, "stage", f"stage-{event.position}")
        if run.streak_steps == LOOP_STEPS and (found := loop(Growth.read(run.growth), run.streak)) is not None:
            posts.append(_strange(event.agent, found, f"loop-{event.position}"))
        return posts

    def outlier(self, standing: AccountModel, run: Run, event: Any) -> list[Post]:
        """The newest step, where it stands out from what was to be expected before it."""
        before = Growth.read(self._before[event.agent])
        expected = self._courses(before, self.known(standing, run))
        found = outlier(before, expected, (event.tokens, event.time_ms, event.cost_nanos))
        return [] if found is None else [_strange(event.agent, found, f"outlier-{event.position}")]

    def learn(self, event: "e.RunLearned | e.ForecastScored") -> None:
        """Take in what the law recorded of earlier proposals of ours."""
        self.history.fold(event)

    def made(self, event: e.ForecastMade) -> None:
        """Take in what the law recorded, unless it is our own proposal of a moment ago."""
        run = self.runs.get(event.agent)
        if run is not None:
            _await_truth(run, _unknown(run, event.predictions))

    def released(self, event: e.BudgetReleased) -> list[Post]:
        """A run is over: what it taught. It is told before the standings forget the agent."""
        run, standing = self.runs.pop(event.agent, None), self._standings.get(event.agent)
        if run is None or standing is None:
            return []
        growth = Growth.read(run.growth)
        own = [standing.consumed[d] - standing.closed[d] for d in DIMENSIONS]
        command = p.RecordRun(
            agent=event.agent,
            agent_type=standing.agent_type,
            model=run.model,
            steps=int(growth.steps),
            consumed=Amounts(*own),
            elapsed_ms=(run.last_at - standing.opened_at) // _MS,
            growth=growth.numbers(),
            exhausted=standing.level == _BLACK,
            id=f"{c.INTERNAL_ID}run-{event.position}",
        )
        return [_proposed(command)]

    # --- foretelling --------------------------------------------------------------------------------------------------

    def courses(self, standing: AccountModel, run: Run) -> tuple[Course | None, ...]:
        """How an agent's usage will go on, by dimension."""
        return self._courses(Growth.read(run.growth), self.known(standing, run))

    @staticmethod
    def _courses(growth: Growth, known: Known) -> tuple[Course | None, ...]:
        return courses(growth, known)

    def known(self, standing: AccountModel, run: Run | None) -> Known:
        """What earlier runs taught of an agent's."""
        return self.history.known(standing.agent_type, None if run is None else run.model)

    def outlooks(self, standing: AccountModel) -> list[Exhaustion]:
        """What is foreseen in each limited dimension of which something is left, as of the last report."""
        run = self.runs.get(standing.id)
        if run is None:
            return []
        growth = Growth.read(run.growth)
        if growth.steps < STEPS_MIN:
            return []
        found, known = [], self.known(standing, run)
        for d, course in enumerate(self._courses(growth, known)):
            if course is not None and standing.allocated[d] is not None:
                own, mark = own_use(standing, d)
                if own < mark:
                    found.append(foresee(course, known, d, own, mark, growth.steps))
        return found

    def recorded(
        self, standing: AccountModel, why: WhyForecast, name: str, outlooks: Iterable[Exhaustion] | None = None
    ) -> list[Post]:
        """A forecast for the record, unless the same was recorded at this step already."""
        run = self.runs[standing.id]
        made = [outlook.prediction() for outlook in (self.outlooks(standing) if outlooks is None else outlooks)]
        predictions = _unknown(run, made)
        if not predictions:
            return []
        # At once, and not when the record comes back: the next question may be here before it.
        _await_truth(run, predictions)
        command = p.RecordForecast(agent=standing.id, why=why, predictions=predictions, id=f"{c.INTERNAL_ID}{name}")
        return [_proposed(command)]

    def pace(self, standing: AccountModel, run: Run) -> float | None:
        """Seconds that a step of this run takes; None where nothing tells."""
        return run.pace(self.known(standing, run))

    def name_shown(self) -> str:
        """A name for a forecast that somebody asked for."""
        self._shown += 1
        return f"shown-{self._begun_at}-{self._shown}"

    def _scores(self, run: Run, event: Any, d: int, own: int, used: int) -> list[Post]:
        """The truth about what was foretold of marks that this step passed."""
        name = EDGE_NAMES[d]
        by_mark: dict[int, list[Prediction]] = {}
        for prediction in run.forecasts or ():
            if prediction.dimension == name and prediction.mark <= own:
                by_mark.setdefault(prediction.mark, []).append(prediction)
        if by_mark:
            # At once, and not when the record comes back: the next step may be here before it.
            run.forecasts = [one for one in run.forecasts or () if one.dimension != name or one.mark > own] or None
        standing, steps, posts = self._standings[event.agent], Growth.read(run.growth).steps, []
        for mark, predictions in by_mark.items():
            # The mark lies within this step: that part of it counts that was used before the mark.
            actual = round(steps - (own - mark) / used, 3)
            command = p.RecordScore(
                agent=event.agent,
                agent_type=standing.agent_type,
                model=run.model,
                dimension=name,
                actual=actual,
                forecasts=[_outcome(prediction) for prediction in predictions],
                id=f"{c.INTERNAL_ID}score-{event.position}-{d}-{mark}",
            )
            posts.append(_proposed(command))
        return posts


_BLACK: Final = len(e.LEVELS) - 1


def own_use(standing: AccountModel, d: int) -> tuple[int, int]:
    """What an agent used itself of a limited dimension, and at which usage of its own the budget is used up."""
    closed = standing.closed[d]
    allocated = standing.allocated[d] or 0
    return standing.consumed[d] - closed, allocated + standing.given_back[d] - standing.delegated[d] - closed


def _outcome(one: Prediction) -> Outcome:
    return Outcome(
        stage=one.stage, step=one.step, predicted=one.predicted, low=one.low, high=one.high, baseline=one.baseline
    )


def _unknown(run: Run, predictions: Iterable[Prediction]) -> list[Prediction]:
    """Those that are not waiting for the truth already, as of the same step."""
    known = {(one.dimension, one.mark, one.step) for one in run.forecasts or ()}
    return [one for one in predictions if (one.dimension, one.mark, one.step) not in known]


def _await_truth(run: Run, predictions: list[Prediction]) -> None:
    if predictions:
        run.forecasts = still_open([*(run.forecasts or ()), *predictions])


def _strange(agent: str, found: Found, name: str) -> Post:
    command = p.RecordAnomaly(
        agent=agent,
        anomaly=found.anomaly,
        dimension=found.dimension,
        step=found.step,
        amount=found.amount,
        low=found.low,
        high=found.high,
        message=found.message,
        id=f"{c.INTERNAL_ID}{name}",
    )
    return _proposed(command)


def _proposed(command: c.Command) -> Post:
    return Post(MANAGER, Proposal(command, TRACKER))
