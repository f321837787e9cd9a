"""The tracker: how it goes. Follows usage, forecasts each agent's exhaustion, and surveys the agents."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tallystick.actors.policies.forecasting.answer import forecast_of
from tallystick.actors.policies.forecasting.durations import in_seconds
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion
from tallystick.actors.policies.forecasting.forecaster import Forecaster
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.actors.policies.rebalancing.figures import figures_of
from tallystick.actors.policies.rebalancing.survey import Surveyor
from tallystick.actors.runtime.messages import (
    ENFORCER,
    MANAGER,
    REALLOCATOR,
    TRACKER,
    Answered,
    ExhaustionNear,
    Post,
    Proposal,
    Question,
    Recorded,
    Surveyed,
    SurveyWanted,
)
from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve.account_read_model import AccountReadModel
from tallystick.events.log.codec import encode_answer
from tallystick.events.messages import proposals as p
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger

_A_SECOND: Final = dt.timedelta(seconds=1)
_REPORTS: Final = (e.UsageReported, e.HoldSettled)


class Tracker:
    """Follows usage; forecasts, warns of exhaustion, and surveys the agents."""

    name = TRACKER
    follows: frozenset[type[e.Event]] = frozenset(
        {
            *AccountReadModel.STEPS,
            e.ConfigLoaded,
            e.ForecastMade,
            e.ForecastScored,
            e.RunLearned,
        }
    )

    def begin(self, ledger: Ledger) -> None:
        self._config: Config = ledger.rules.config
        self._balances = AccountReadModel(ledger)
        self._forecaster = self._made_forecaster(ledger)
        self._figures = figures_of(ledger)

    def _made_forecaster(self, ledger: Ledger) -> Forecaster:
        return Forecaster(ledger, self._balances.accounts)

    def _made_surveyor(self) -> Surveyor:
        return Surveyor(self._balances.accounts, self._forecaster, self._figures, self._config)

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Recorded():
                return self._follow(message)
            case SurveyWanted():
                return [Post(REALLOCATOR, Surveyed(self._made_surveyor().survey(now), message.question))]
            case Question():
                return self._show(message)
        raise TypeError(f"the tracker does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        return None

    # --- following ----------------------------------------------------------------------------------------------------

    def _follow(self, recorded: Recorded) -> list[Post]:
        self._figures = recorded.figures
        self._forecaster.begin_batch()
        posts: list[Post] = []
        reported: dict[str, e.Event] = {}
        balances, steps = self._balances, AccountReadModel.STEPS
        for event in recorded.events:
            if isinstance(event, e.BudgetReleased):
                posts += _proposed(self._forecaster.released(event))
            step = steps.get(type(event))
            if step is not None:
                step(balances, event)
            if not isinstance(event, _REPORTS):
                self._take_note(event)
            elif event.account is not None and not event.history:
                posts += _proposed(self._forecaster.step(event))
                reported[event.agent] = event
        for agent, event in reported.items():
            posts += self._look_at(agent, event)
        return posts

    def _take_note(self, event: e.Event) -> None:
        match event:
            case e.BudgetAllocated():
                self._forecaster.opened(event)
            case e.LevelChanged(level="black"):
                # What it was warned of has come; should it go on, the next exhaustion is another one.
                run = self._forecaster.runs.get(event.agent)
                if run is not None:
                    run.alerted = False
            case e.ForecastMade():
                self._forecaster.made(event)
            case e.ForecastScored() | e.RunLearned():
                self._forecaster.learn(event)
            case e.ConfigLoaded():
                self._config = restore(event.config)

    # --- which agent will run out -------------------------------------------------------------------------------------

    def _look_at(self, agent: str, event: e.Event) -> list[Post]:
        """Whether an agent's newest step stands out, and whether its budget will last: once a second of its time."""
        account, run = self._balances.accounts.get(agent), self._forecaster.runs.get(agent)
        if account is None or run is None or event.at - run.looked_at < _A_SECOND:
            return []
        run.looked_at = event.at
        return [*_proposed(self._forecaster.outlier(account, run, event)), *self._exhaustion(account, run, event)]

    def _exhaustion(self, account: Account, run: Run, event: e.Event) -> list[Post]:
        """Tell the enforcer where an agent's budget will not last; once, until the agent has more."""
        exhaustions = self._forecaster.exhaustions(account)
        soonest = self._soonest(account, run, exhaustions)
        if soonest is None:
            return []
        seconds, exhaustion = soonest
        limit = float(self._config.enforcement.warn_before_exhaustion_seconds)
        if seconds >= limit:
            # A top-up that lasts hardly longer than the warning is no reason for another one.
            run.alerted = run.alerted and seconds < 2 * limit
            return []
        if run.alerted:
            return []
        run.alerted = True
        near = ExhaustionNear(account.id, int(seconds), exhaustion.course.method, event.position, account.opened_at)
        made = self._forecaster.recorded(account, "warning", f"warning-{event.position}", exhaustions)
        return [*_proposed(made), Post(ENFORCER, near)]

    def _soonest(
        self, account: Account, run: Run, exhaustions: Sequence[Exhaustion]
    ) -> tuple[float, Exhaustion] | None:
        """The budget of which the early end of the 80 % interval comes first, and in how many seconds."""
        pace = self._forecaster.pace(account, run)
        if pace is None:
            return None
        ends = ((self._earliest(one, pace), one) for one in exhaustions)
        return min(ends, default=None, key=lambda pair: pair[0])

    @staticmethod
    def _earliest(exhaustion: Exhaustion, pace: float) -> float:
        """The early end of the interval in seconds; without history the estimate (spec 2)."""
        until = in_seconds(exhaustion.left, exhaustion.steps, pace)
        return until.low if exhaustion.learnt else until.estimate

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _show(self, question: Question) -> list[Post]:
        """Answer `Forecast`. A forecast that is shown is recorded first."""
        assert isinstance(question.command, c.Forecast)
        account = self._balances.accounts.get(question.command.agent)
        if account is None:
            # The core knows whether there ever was such an account, and says so in its refusal.
            unknown = p.RecordForecast(
                agent=question.command.agent, why="shown", predictions=[], id=c.internal_id("unknown")
            )
            return [Post(MANAGER, Proposal(unknown, TRACKER, question))]
        shown: Sequence[c.Command] = ()
        if account.id in self._forecaster.runs:
            shown = self._forecaster.recorded(account, "shown", self._forecaster.name_shown())
        answer = encode_answer(forecast_of(account, self._forecaster))
        return [*_proposed(shown), Post(MANAGER, Answered(question, answer))]


def _proposed(commands: Iterable[c.Command]) -> list[Post]:
    return [Post(MANAGER, Proposal(command, TRACKER)) for command in commands]
