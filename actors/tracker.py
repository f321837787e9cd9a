"""The tracker: how it goes. Follows usage, forecasts each agent's exhaustion, and surveys the agents."""

import datetime as dt
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tallystick.actors.policies.forecasting.answer import forecast_of
from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.durations import in_seconds
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion
from tallystick.actors.policies.forecasting.forecaster import Forecaster, Look
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.actors.policies.parts import Parts
from tallystick.actors.policies.rebalancing.figures import figures_of
from tallystick.actors.policies.rebalancing.survey import Survey, Surveyor
from tallystick.actors.runtime.messages import (
    ENFORCER,
    LOOK_ON,
    MANAGER,
    REALLOCATOR,
    TRACKER,
    Answered,
    ExhaustionNear,
    LookOn,
    Post,
    Proposal,
    Question,
    Recorded,
    Surveyed,
    SurveyWanted,
)
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import encode_answer
from tallystick.events.messages import proposals as p
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger

LOOKS_AT_ONCE: Final = 50
"""Of how many agents it looks at the newest step before others have their turn: about two milliseconds."""
LOOKS_BESIDE: Final = 10
"""Of how many where more than that wait, and a forecast that was asked for does too: it comes first."""
LOOKS_MAX: Final = 1_000
"""So many agents wait to be looked at. Where more report than can be looked at, the next report of one is as due."""
SHOWN_AT_ONCE: Final = 10
"""How many forecasts that were asked for it shows before others have their turn."""
_USAGE: Final = (e.UsageReported, e.HoldSettled, e.HoldSpent)


class Tracker:
    """Follows usage; forecasts, warns of exhaustion, and surveys the agents.

    It reads the ledger's own accounts, and so works in the manager's turn, behind each batch; little at a time.
    """

    name = TRACKER
    follows: frozenset[type[e.Event]] = frozenset(
        {*_USAGE, e.BudgetAllocated, e.BudgetReleased, e.LevelChanged, e.ForecastMade, e.RunLearned}
    )

    def begin(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._forecaster = self._made_forecaster(ledger)
        self._looks: deque[Look] = deque()
        """The steps that are still to be looked at."""
        self._asked: deque[Question] = deque()
        """The forecasts that are asked for."""
        self._curves: Parts[Curves] | None = None
        """The look at all open runs that those wait for."""
        self._goes_on = False
        """A `LookOn` is on its way."""
        self._survey: tuple[SurveyWanted, Parts[Survey]] | None = None
        """The survey that is under way, and what it is for."""

    def _made_forecaster(self, ledger: Ledger) -> Forecaster:
        return Forecaster(ledger)

    def _made_surveyor(self) -> Surveyor:
        ledger = self._ledger
        return Surveyor(ledger, self._forecaster, figures_of(ledger), ledger.rules.config)

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Recorded():
                followed = self._follow(message)
                return followed if self._goes_on else [*followed, *self._look()]
            case LookOn():
                return self._look()
            case SurveyWanted():
                return self._go_on(message, now)
            case Question():
                self._asked.append(message)
                return [] if self._goes_on else self._look()
        raise TypeError(f"the tracker does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        return None

    # --- following ----------------------------------------------------------------------------------------------------

    def _follow(self, recorded: Recorded) -> list[Post]:
        """Take in a batch: each agent's reports together, since the ledger says how it stands behind all of them."""
        reports: dict[str, list[e.Event]] = {}
        found: list[tuple[int, c.Command]] = []
        forecaster = self._forecaster
        for event in recorded.events:
            if isinstance(event, _USAGE):
                if event.account is not None and not event.history:
                    reports.setdefault(event.agent, []).append(event)
            elif isinstance(event, e.BudgetReleased):
                if event.agent in reports:
                    found += self._take(event.agent, reports.pop(event.agent))
                found += [(event.position, command) for command in forecaster.released(event)]
            elif type(event) in self.follows:
                self._take_note(event)
        for agent, events in reports.items():
            found += self._take(agent, events)
        found.sort(key=lambda pair: pair[0])
        return _proposed(command for _, command in found)

    def _take(self, agent: str, events: Sequence[e.Event]) -> list[tuple[int, c.Command]]:
        found, look = self._forecaster.follow(agent, events, may_look=len(self._looks) < LOOKS_MAX)
        if look is not None:
            self._looks.append(look)
        return found

    def _take_note(self, event: e.Event) -> None:
        match event:
            case e.BudgetAllocated():
                self._forecaster.opened(event)
            case e.LevelChanged():
                self._forecaster.changed_level(event)
            case e.ForecastMade():
                self._forecaster.made(event)
            case e.RunLearned():
                self._forecaster.learnt()

    # --- which agent will run out -------------------------------------------------------------------------------------

    def _look(self) -> list[Post]:
        """Look at agents' newest steps and show forecasts, some at once; the rest when its own message comes round."""
        posts = [*self._look_at_steps(), *self._show()]
        self._goes_on = bool(self._looks or self._asked)
        return [*posts, Post(TRACKER, LOOK_ON)] if self._goes_on else posts

    def _look_at_steps(self) -> list[Post]:
        """Whether agents' newest steps stand out, and whether their budgets will last."""
        posts: list[Post] = []
        many = len(self._looks)
        for _ in range(LOOKS_BESIDE if self._asked and many > LOOKS_AT_ONCE else min(LOOKS_AT_ONCE, many)):
            look = self._looks.popleft()
            if self._forecaster.is_open(look.run):
                posts += _proposed(self._forecaster.outlier(look))
                posts += self._exhaustion(look.run.account, look.run, look.event)
        return posts

    def _exhaustion(self, account: Account, run: Run, event: e.Event) -> list[Post]:
        """Tell the enforcer where an agent's budget will not last; once, until the agent has more."""
        exhaustions = self._forecaster.exhaustions(account)
        soonest = self._soonest(account, run, exhaustions)
        if soonest is None:
            return []
        seconds, exhaustion = soonest
        limit = float(self._ledger.rules.config.enforcement.warn_before_exhaustion_seconds)
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

    # --- the agents that a plan may concern ---------------------------------------------------------------------------

    def _go_on(self, wanted: SurveyWanted, now: dt.datetime) -> list[Post]:
        """Begin a survey, or go on with it: a part at a time, so that others have their turn in between.

        What is asked meanwhile waits. The question itself is what remains of a survey if this tracker fails.
        """
        if self._survey is None:
            self._survey = (wanted, self._made_surveyor().survey(now))
        asked, parts = self._survey
        if asked is wanted:
            try:
                next(parts)
            except StopIteration as done:
                self._survey = None
                return [Post(REALLOCATOR, Surveyed(done.value, wanted.question))]
        return [Post(TRACKER, wanted)]

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _show(self) -> list[Post]:
        """Answer some `Forecast`, as soon as it is known how far runs go."""
        if not self._asked:
            return []
        if self._curves is None:
            self._curves = self._forecaster.curves()
        try:
            next(self._curves)
        except StopIteration as done:
            self._curves = None
            asked = [self._asked.popleft() for _ in range(min(SHOWN_AT_ONCE, len(self._asked)))]
            return [post for question in asked for post in self._shown(question, done.value)]
        return []

    def _shown(self, question: Question, curves: Curves) -> list[Post]:
        """Answer a `Forecast`. A forecast that is shown is recorded first."""
        assert isinstance(question.command, c.Forecast)
        account = self._ledger.accounts.get(question.command.agent)
        if account is None:
            # The core knows whether there ever was such an account, and says so in its refusal.
            unknown = p.RecordForecast(
                agent=question.command.agent, why="shown", predictions=[], id=c.internal_id("unknown")
            )
            return [Post(MANAGER, Proposal(unknown, TRACKER, question))]
        shown: Sequence[c.Command] = ()
        if account.id in self._forecaster.runs:
            shown = self._forecaster.recorded(account, "shown", self._forecaster.name_shown())
        answer = encode_answer(forecast_of(account, self._forecaster, curves))
        return [*_proposed(shown), Post(MANAGER, Answered(question, answer))]


def _proposed(commands: Iterable[c.Command]) -> list[Post]:
    return [Post(MANAGER, Proposal(command, TRACKER)) for command in commands]
