"""How the agents stand that a plan may concern: idle ones, and those whose budget will not last (spec 2)."""

import datetime as dt
from collections.abc import Mapping
from math import ceil, inf
from typing import Final

import msgspec

from tallystick.actors.forecaster import Forecaster, own_use
from tallystick.actors.policies.completion import HOPE, Lengths
from tallystick.actors.policies.exhaustion import Exhaustion
from tallystick.actors.policies.fair_level import FairLevel
from tallystick.actors.policies.final_usage import Finished, finished_of
from tallystick.actors.policies.growth_forecast import Course
from tallystick.actors.policies.rebalancing import Hungry, Idle
from tallystick.actors.runtime.messages import Figures, Question
from tallystick.config.amounts import AMOUNT_MAX, DIMENSIONS, Triple
from tallystick.config.settings import Config
from tallystick.events.evolve.account_read_model import AccountModel
from tallystick.events.state.accounts import POOL, Money
from tallystick.events.state.growth import Growth

HORIZONS: Final = 1.1
"""A budget is filled up so that it lasts so many times the warning's time. More leaves much unused when runs end, less
lets agents be stopped without a warning; between 0.75 and 2 the runs that were studied finished all alike."""


class Survey(msgspec.Struct, frozen=True):
    """How the agents stand that a plan may concern, for the reallocator."""

    idle: list[Idle]
    hungry: list[Hungry]
    figures: Figures
    question: Question | None
    outlooks: dict[str, list[Exhaustion]]
    """What is foreseen of the hungry: a plan that gives them more acts on it."""


class Surveyor:
    """Looks at all open agents at one moment."""

    def __init__(
        self, agents: Mapping[str, AccountModel], foresight: Forecaster, figures: Figures, config: Config
    ) -> None:
        self._agents = agents
        self._foresight = foresight
        self._figures = figures
        self._config = config
        self._finished: dict[tuple[str | None, str | None], tuple[Finished, ...]] = {}
        self._levels: dict[tuple[str, int], float] = {}

    def survey(self, question: Question | None, now: dt.datetime) -> Survey:
        """The agents that a plan may concern."""
        idle, hungry, outlooks = [], [], {}
        settings = self._config.reallocation
        for standing in self._agents.values():
            if standing.task:
                continue  # what a run was granted is its token budget
            ratio = standing.ratio()
            quiet = (now - standing.activity_at).total_seconds()
            if ratio < settings.idle_below and quiet >= settings.idle_seconds:
                if not standing.reclaimed and not any(standing.held):
                    idle.append(Idle(standing.id, _source(standing), standing.allocated, _remaining(standing), quiet))
            elif ratio > settings.demand_above and standing.stopped is None:
                found = self._hunger(standing, ratio)
                if found is not None:
                    hungry.append(found)
                    outlooks[standing.id] = self._foresight.outlooks(standing)
        return Survey(idle, hungry, self._figures, question, outlooks)

    def _hunger(self, standing: AccountModel, ratio: float) -> Hungry | None:
        need = self._lacking(standing)
        if not any(need):
            return None
        return Hungry(
            standing.id,
            _source(standing),
            standing.priority == "critical",
            need,
            standing.drawn,
            ratio,
            self._source_free(standing),
            self._fair(standing, need),
        )

    def _lacking(self, standing: AccountModel) -> Money:
        """What the forecast's upper bound lacks: of what is used within the horizon, at most the run's whole total.

        A budget that will last half the horizon lacks nothing yet: few moves, each worth making.
        """
        run = self._foresight.runs.get(standing.id)
        if run is None:
            return (0, 0, 0)
        growth = Growth.read(run.growth)
        pace = self._foresight.pace(standing, run)
        if pace is None or growth.steps < 2:
            return (0, 0, 0)
        horizon = HORIZONS * float(self._config.enforcement.warn_before_exhaustion_seconds) / pace
        need = [0, 0, 0]
        soon = False
        for d, course in enumerate(self._foresight.courses(standing, run)):
            if course is not None and standing.allocated[d] is not None:
                own, mark = own_use(standing, d)
                # Below zero where it has used more than it had: new budget repays that first.
                left = mark - own - standing.held[d]
                # Never so much that what was used is too little of it: an idle agent would have to give it back.
                total = min(self._total(standing, d, own), self._not_idle(own))
                need[d] = _beyond(course, horizon, own, total, left)
                soon = soon or _beyond(course, horizon / 2, own, total, left) > 0
        return (need[0], need[1], need[2]) if soon else (0, 0, 0)

    def _total(self, standing: AccountModel, d: int, own: int) -> int:
        """The upper bound of what the run will have used in all; where none like it is known, twice what it has used."""
        total = self._finished_like(standing)[d].total(own, 0.9)
        return 2 * own if total is None else total

    def _not_idle(self, own: int) -> int:
        """The largest budget of which ``own`` is not so little that it would count as idle."""
        idle_below = self._config.reallocation.idle_below
        return int(own / idle_below) if idle_below else AMOUNT_MAX

    def _finished_like(self, standing: AccountModel) -> tuple[Finished, ...]:
        run = self._foresight.runs.get(standing.id)
        kind = (standing.agent_type, None if run is None else run.model)
        found = self._finished.get(kind)
        if found is None:
            runs = tuple(self._foresight.history.known(*kind).runs())
            found = self._finished[kind] = tuple(finished_of(runs, d) for d in DIMENSIONS)
        return found

    # --- what is fair -------------------------------------------------------------------------------------------------

    def _fair(self, standing: AccountModel, need: Money) -> Triple:
        """What the agent may be given beyond what it has so that there is enough for the others."""
        fair: list[int | None] = [None, None, None]
        for d in DIMENSIONS:
            if need[d]:
                level = self._level(_payer(standing, d), d)
                if level < inf:
                    fair[d] = self._fair_more(standing, d, level * self._weight(standing))
        return (fair[0], fair[1], fair[2])

    def _fair_more(self, standing: AccountModel, d: int, level: float) -> int:
        """Up to the level; nothing for a run that will hardly end within it: that would be spent in vain."""
        own, mark = own_use(standing, d)
        run = self._foresight.runs[standing.id]
        course = self._foresight.courses(standing, run)[d]
        if course is not None:
            lengths = Lengths(self._foresight.known(standing, run).runs())
            if lengths.chance(course, level - own, run.steps) < HOPE:
                return 0
        return max(0, int(level) - mark)

    def _level(self, source: str, d: int) -> float:
        found = self._levels.get((source, d))
        if found is None:
            free = self._free_of(source, d)
            found = self._levels[source, d] = inf if free is None else self._found_level(source, d, free)
        return found

    def _found_level(self, source: str, d: int, free: int) -> float:
        fair = FairLevel()
        for standing in self._agents.values():
            weight = self._weight(standing)
            shares = not standing.task and standing.allocated[d] is not None and _payer(standing, d) == source
            if weight > 0 and shares:
                own, mark = own_use(standing, d)
                fair.add(own, max(own, mark), weight, self._finished_like(standing)[d])
        return fair.find(free)

    def _weight(self, standing: AccountModel) -> float:
        return float(self._config.allocation_weights.of(standing.priority))

    def _free_of(self, source: str, d: int) -> int | None:
        return self._figures.pool[d] if source == POOL else self._agents[source].remaining(d)

    def _source_free(self, standing: AccountModel) -> Triple:
        free: list[int | None] = [self._free_of(_payer(standing, d), d) for d in DIMENSIONS]
        return (free[0], free[1], free[2])


def _beyond(course: Course, steps: float, own: int, total: int, left: int) -> int:
    """What the next steps use at most, by the upper end of the 80 % interval, beyond what is left."""
    return max(0, ceil(min(course.used_at_most(steps), max(0, total - own))) - left)


def _payer(standing: AccountModel, d: int) -> str:
    source = standing.source(d)
    return POOL if source is None else source.id


def _source(standing: AccountModel) -> str:
    return POOL if standing.parent is None else standing.parent.id


def _remaining(standing: AccountModel) -> Money:
    left = [0 if standing.allocated[d] is None else standing.remaining(d) for d in DIMENSIONS]
    return (left[0], left[1], left[2])
