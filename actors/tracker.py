"""The tracker: how it goes. Burn rates, idle agents, forgotten holds, and who will run out soon."""

import datetime as dt
import heapq
from collections.abc import Sequence
from typing import Any

import msgspec

from tallystick.actors.messages import (
    ENFORCER,
    MANAGER,
    REALLOCATOR,
    TRACKER,
    Figures,
    Post,
    Proposal,
    Question,
    Recorded,
    SurveyWanted,
    Tick,
    figures_of,
)
from tallystick.actors.policies import forecasting
from tallystick.actors.policies.rebalancing import Hungry, Idle, lacking
from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events.accounts import POOL, Money
from tallystick.events.amounts import DIMENSIONS, Triple
from tallystick.events.ledger import Ledger
from tallystick.events.standing import Standing, Standings


class ExhaustionNear(msgspec.Struct, frozen=True):
    """The tracker tells the enforcer that an agent's budget will soon be used up; ``position`` is the report's."""

    agent: str
    seconds: int
    method: str
    position: int


class Survey(msgspec.Struct, frozen=True):
    """How the agents stand that a plan may concern, for the reallocator."""

    idle: list[Idle]
    hungry: list[Hungry]
    figures: Figures
    question: Question | None


_A_SECOND = dt.timedelta(seconds=1)
_REPORTS = (e.UsageReported, e.HoldSettled)
_REMEMBERED = frozenset({e.HoldPlaced, e.HoldExtended, e.HoldSettled, e.HoldEnded, e.ConfigLoaded})


class Tracker:
    """Follows usage and holds; warns of exhaustion, gives forgotten holds back, surveys the agents."""

    name = TRACKER
    follows: frozenset[type[e.Event]] = frozenset(
        {
            e.ConfigLoaded,
            e.UsageReported,
            e.HoldPlaced,
            e.HoldExtended,
            e.HoldSettled,
            e.HoldEnded,
            e.BudgetAllocated,
            e.BudgetDrawn,
            e.BudgetReturned,
            e.BudgetMoved,
            e.UnusedReturned,
            e.UnusedRestored,
            e.Covered,
            e.CoverRepaid,
            e.BudgetReleased,
            e.ExhaustionWarned,
        }
    )

    def begin(self, ledger: Ledger) -> None:
        self._config: Config = ledger.rules.config
        self._standings = Standings(ledger)
        self._figures = figures_of(ledger)
        self._expires = {hold.id: hold.expires_at for hold in ledger.holds.values()}
        self._expiries = [(at, hold) for hold, at in self._expires.items()]
        heapq.heapify(self._expiries)

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Recorded():
                return self._follow(message, now)
            case Tick():
                return self._expire(now)
            case SurveyWanted():
                return [Post(REALLOCATOR, self._survey(message.question, now))]
        raise TypeError(f"the tracker does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        while self._expiries and self._expires.get(self._expiries[0][1]) != self._expiries[0][0]:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def _follow(self, recorded: Recorded, now: dt.datetime) -> list[Post]:
        events = recorded.events
        self._figures = recorded.figures
        self._standings.fold(events)
        if not _REMEMBERED.isdisjoint(map(type, events)):
            self._remember(events)
        # Of each agent, the newest report of the batch.
        reported = {event.agent: event for event in events if isinstance(event, _REPORTS)}
        return [post for event in reported.values() if (post := self._exhaustion(event)) is not None]

    def _remember(self, events: Sequence[e.Event]) -> None:
        for event in events:
            match event:
                case e.HoldPlaced() | e.HoldExtended():
                    self._expires[event.hold] = event.expires_at
                    heapq.heappush(self._expiries, (event.expires_at, event.hold))
                case e.HoldSettled() | e.HoldEnded():
                    self._expires.pop(event.hold, None)
                case e.ConfigLoaded():
                    self._config = restore(event.config)

    def _exhaustion(self, event: Any) -> Post | None:
        """A word to the enforcer where an agent's budget will not last, said once until it has more."""
        standing = self._standings.agents.get(event.agent)
        if standing is None or event.at - standing.looked_at < _A_SECOND:
            return None
        standing.looked_at = event.at
        seconds = forecasting.exhausted_in_seconds(standing, event.at)
        if seconds is None:
            return None
        limit = float(self._config.enforcement.warn_before_exhaustion_seconds)
        if seconds >= limit:
            # A top-up that lasts hardly longer than the warning is no reason for another one.
            standing.alerted = standing.alerted and seconds < 2 * limit
            return None
        if standing.alerted:
            return None
        standing.alerted = True
        return Post(ENFORCER, ExhaustionNear(standing.id, int(seconds), forecasting.METHOD, event.position))

    def _expire(self, now: dt.datetime) -> list[Post]:
        due = self.due_at()
        if due is None or due > now:
            return []
        while self._expiries and self._expiries[0][0] <= now:
            heapq.heappop(self._expiries)
        return [Post(MANAGER, Proposal(c.ExpireHolds(id=f"{c.HOUSE}expire-{now.isoformat()}"), TRACKER))]

    def _survey(self, question: Question | None, now: dt.datetime) -> Survey:
        """The agents that a plan may concern: idle ones with something left, and those that will run out."""
        idle, hungry = [], []
        settings = self._config.reallocation
        for standing in self._standings.agents.values():
            ratio = standing.ratio()
            quiet = (now - standing.activity_at).total_seconds()
            if ratio < settings.idle_below and quiet >= settings.idle_seconds:
                if not standing.reclaimed and not any(standing.held):
                    idle.append(Idle(standing.id, _source(standing), standing.allocated, _remaining(standing), quiet))
            elif ratio > settings.demand_above:
                found = self._hunger(standing, ratio)
                if found is not None:
                    hungry.append(found)
        return Survey(idle, hungry, self._figures, question)

    def _hunger(self, standing: Standing, ratio: float) -> Hungry | None:
        rate = forecasting.rates(standing)
        if rate is None or standing.stopped is not None:
            return None
        horizon = float(self._config.enforcement.warn_before_exhaustion_seconds)
        remaining, limits = _remaining(standing), standing.allocated
        # A budget that will not last half the horizon is filled up to the whole of it: few moves, each worth making.
        if not any(lacking(remaining, rate, horizon / 2, limits)):
            return None
        need = lacking(remaining, rate, horizon, limits)
        return Hungry(
            standing.id,
            _source(standing),
            standing.priority == "critical",
            need,
            standing.drawn,
            ratio,
            self._source_free(standing, self._figures.pool),
        )

    @staticmethod
    def _source_free(standing: Standing, pool: Triple) -> Triple:
        free: list[int | None] = [None, None, None]
        for d in DIMENSIONS:
            source = standing.source(d)
            free[d] = pool[d] if source is None else source.remaining(d)
        return (free[0], free[1], free[2])


def _source(standing: Standing) -> str:
    return POOL if standing.parent is None else standing.parent.id


def _remaining(standing: Standing) -> Money:
    left = [0 if standing.allocated[d] is None else standing.remaining(d) for d in DIMENSIONS]
    return (left[0], left[1], left[2])
