"""The tracker: how it goes. Runs and what is foreseen of them, idle agents, forgotten holds, who will run out soon."""

import datetime as dt
import heapq
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tallystick.actors.forecaster import Forecaster
from tallystick.actors.policies.durations import in_seconds
from tallystick.actors.policies.exhaustion import Exhaustion
from tallystick.actors.runs import Run
from tallystick.actors.runtime.messages import (
    ENFORCER,
    MANAGER,
    REALLOCATOR,
    TRACKER,
    Answered,
    Post,
    Proposal,
    Question,
    Recorded,
    SurveyWanted,
    Tick,
    figures_of,
)
from tallystick.actors.showing import foreseen
from tallystick.actors.survey import Surveyor
from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve.account_read_model import AccountModel, AccountModels
from tallystick.events.log.codec import encode_answer
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger


class ExhaustionNear(msgspec.Struct, frozen=True):
    """The tracker tells the enforcer that an agent's budget will soon be used up; ``position`` is the report's."""

    agent: str
    seconds: int
    method: str
    position: int


_A_SECOND: Final = dt.timedelta(seconds=1)
_REPORTS: Final = (e.UsageReported, e.HoldSettled)
_HOLDS: Final = frozenset({e.HoldPlaced, e.HoldExtended, e.HoldSettled, e.HoldEnded})


class Tracker:
    """Follows usage and holds; foretells, warns of exhaustion, gives forgotten holds back, surveys the agents."""

    name = TRACKER
    follows: frozenset[type[e.Event]] = frozenset(
        {
            *AccountModels.STEPS,
            e.ConfigLoaded,
            e.ForecastMade,
            e.ForecastScored,
            e.RunLearned,
        }
    )

    def begin(self, ledger: Ledger) -> None:
        self._config: Config = ledger.rules.config
        self._standings = AccountModels(ledger)
        self._foresight = Forecaster(ledger, self._standings.agents)
        self._figures = figures_of(ledger)
        self._expires = {hold.id: hold.expires_at for hold in ledger.holds.values()}
        self._expiries = [(at, hold) for hold, at in self._expires.items()]
        heapq.heapify(self._expiries)

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Recorded():
                return self._follow(message)
            case Tick():
                return self._expire(now)
            case SurveyWanted():
                surveyor = Surveyor(self._standings.agents, self._foresight, self._figures, self._config)
                return [Post(REALLOCATOR, surveyor.survey(message.question, now))]
            case Question():
                return self._show(message)
        raise TypeError(f"the tracker does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        while self._expiries and self._expires.get(self._expiries[0][1]) != self._expiries[0][0]:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    # --- following ----------------------------------------------------------------------------------------------------

    def _follow(self, recorded: Recorded) -> list[Post]:
        self._figures = recorded.figures
        self._foresight.begin_batch()
        posts: list[Post] = []
        reported: dict[str, e.Event] = {}
        standings, steps = self._standings, AccountModels.STEPS
        for event in recorded.events:
            kind = type(event)
            if isinstance(event, e.BudgetReleased):
                posts += self._foresight.released(event)
            step = steps.get(kind)
            if step is not None:
                step(standings, event)
            if isinstance(event, _REPORTS) and getattr(event, "lease", None) is None:
                posts += self._foresight.step(event)
                reported[event.agent] = event
            if kind in _HOLDS:
                self._remember(event)
            elif kind not in _REPORTS:
                self._take_note(event)
        for agent, event in reported.items():
            posts += self._look_at(agent, event)
        return posts

    def _remember(self, event: e.Event) -> None:
        """When holds expire."""
        match event:
            case e.HoldPlaced() | e.HoldExtended():
                self._expires[event.hold] = event.expires_at
                heapq.heappush(self._expiries, (event.expires_at, event.hold))
            case e.HoldSettled() | e.HoldEnded():
                self._expires.pop(event.hold, None)

    def _take_note(self, event: e.Event) -> None:
        match event:
            case e.BudgetAllocated():
                self._foresight.opened(event)
            case e.LevelChanged(level="black"):
                # What it was warned of has come; should it go on, the next end is another one.
                run = self._foresight.runs.get(event.agent)
                if run is not None:
                    run.alerted = False
            case e.ForecastMade():
                self._foresight.made(event)
            case e.ForecastScored() | e.RunLearned():
                self._foresight.learn(event)
            case e.ConfigLoaded():
                self._config = restore(event.config)

    # --- who will run out ---------------------------------------------------------------------------------------------

    def _look_at(self, agent: str, event: e.Event) -> list[Post]:
        """Whether an agent's newest step stands out, and whether its budget will last: once a second of its time."""
        standing, run = self._standings.agents.get(agent), self._foresight.runs.get(agent)
        if standing is None or run is None or event.at - run.looked_at < _A_SECOND:
            return []
        run.looked_at = event.at
        return [*self._foresight.outlier(standing, run, event), *self._exhaustion(standing, run, event)]

    def _exhaustion(self, standing: AccountModel, run: Run, event: e.Event) -> list[Post]:
        """A word to the enforcer where an agent's budget will not last, said once until it has more."""
        outlooks = self._foresight.outlooks(standing)
        soonest = self._soonest(standing, run, outlooks)
        if soonest is None:
            return []
        seconds, outlook = soonest
        limit = float(self._config.enforcement.warn_before_exhaustion_seconds)
        if seconds >= limit:
            # A top-up that lasts hardly longer than the warning is no reason for another one.
            run.alerted = run.alerted and seconds < 2 * limit
            return []
        if run.alerted:
            return []
        run.alerted = True
        near = ExhaustionNear(standing.id, int(seconds), outlook.course.method, event.position)
        made = self._foresight.recorded(standing, "warning", f"warning-{event.position}", outlooks)
        return [*made, Post(ENFORCER, near)]

    def _soonest(
        self, standing: AccountModel, run: Run, outlooks: Sequence[Exhaustion]
    ) -> tuple[float, Exhaustion] | None:
        """The budget of which the early end of the 80 % interval comes first, and in how many seconds."""
        pace = self._foresight.pace(standing, run)
        if pace is None:
            return None
        ends = ((self._earliest(one, pace), one) for one in outlooks)
        return min(ends, default=None, key=lambda pair: pair[0])

    @staticmethod
    def _earliest(outlook: Exhaustion, pace: float) -> float:
        """The early end of the interval in seconds; without history the estimate (spec 2)."""
        until = in_seconds(outlook.left, outlook.steps, pace)
        return until.low if outlook.learnt else until.estimate

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _show(self, question: Question) -> list[Post]:
        """Answer `Forecast`; what is shown goes into the record first."""
        assert isinstance(question.command, c.Forecast)
        standing = self._standings.agents.get(question.command.agent)
        if standing is None:
            # The law knows whether there ever was such an account, and refuses in its words.
            nobody = p.RecordForecast(
                agent=question.command.agent, why="shown", predictions=[], id=f"{c.INTERNAL_ID}nobody"
            )
            return [Post(MANAGER, Proposal(nobody, TRACKER, question))]
        return [*self._recorded_as_shown(standing), Post(MANAGER, Answered(question, self._answer(standing)))]

    def _recorded_as_shown(self, standing: AccountModel) -> list[Post]:
        if standing.id not in self._foresight.runs:
            return []
        return self._foresight.recorded(standing, "shown", self._foresight.name_shown())

    def _answer(self, standing: AccountModel) -> bytes:
        return encode_answer(foreseen(standing, self._foresight))

    # --- forgotten holds ----------------------------------------------------------------------------------------------

    def _expire(self, now: dt.datetime) -> list[Post]:
        due = self.due_at()
        if due is None or due > now:
            return []
        while self._expiries and self._expiries[0][0] <= now:
            heapq.heappop(self._expiries)
        return [Post(MANAGER, Proposal(p.ExpireHolds(id=f"{c.INTERNAL_ID}expire-{now.isoformat()}"), TRACKER))]
