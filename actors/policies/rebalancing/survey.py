"""The agents that a plan of moves may concern: idle ones, and those whose budget will not last (spec 2)."""

import datetime as dt
from math import ceil, inf
from typing import Final

import msgspec

from tallystick.actors.policies.forecasting.completion import HOPE, Lengths
from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion
from tallystick.actors.policies.forecasting.final_usage import Finished
from tallystick.actors.policies.forecasting.forecaster import Forecaster, own_use
from tallystick.actors.policies.forecasting.growth_forecast import Course
from tallystick.actors.policies.parts import Pace, Parts, each_of
from tallystick.actors.policies.rebalancing.fair_level import FairLevel
from tallystick.actors.policies.rebalancing.figures import Figures
from tallystick.actors.policies.rebalancing.plan import Hungry, Idle
from tallystick.config.amounts import AMOUNT_MAX, DIMENSIONS, Triple
from tallystick.config.settings import Config
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.accounts import POOL, Account
from tallystick.events.state.growth import Growth
from tallystick.events.state.history import Kind
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money

HORIZONS: Final = 1.1
"""A budget is filled up so that it lasts so many times the warning's time. More leaves much unused when runs end, less
lets agents be stopped without a warning; between 0.75 and 2 the runs that were studied finished all alike."""
IN_NEED: Final = 25
"""As much work as so many others is an agent whose budget will not last."""
IDLE_MAX: Final = 5_000
"""So many idle agents at most are found by one survey; the next one finds others."""


class Survey(msgspec.Struct, frozen=True):
    """The agents that a plan may concern, for the reallocator."""

    idle: list[Idle]
    hungry: list[Hungry]
    figures: Figures
    exhaustions: dict[str, list[Exhaustion]]
    """The forecasts of the hungry: a plan that gives them more acts on these."""


class Surveyor:
    """Looks at all open agents at one moment."""

    def __init__(self, ledger: Ledger, forecaster: Forecaster, figures: Figures, config: Config) -> None:
        self._agents, self._names = ledger.accounts, ledger.names
        self._forecaster = forecaster
        self._figures = figures
        self._config = config
        self._curves: Curves | None = None
        """Made when an agent is found that may be in need."""
        self._levels: dict[tuple[str, int], float] = {}
        self._shares: dict[int, dict[str, FairLevel]] = {}
        self._pace = Pace()

    def survey(self, now: dt.datetime) -> Parts[Survey]:
        """The agents that a plan may concern: in parts, between which the accounts may change.

        So it may be a moment old, and of several moments; that can cost a plan, never money.
        """
        idle, hungry, exhaustions = list[Idle](), list[Hungry](), dict[str, list[Exhaustion]]()
        settings = self._config.reallocation
        for name in each_of(self._names):
            if self._pace.is_over():
                yield
            account = self._agents.get(name)
            if account is None or account.is_run or account.terms.handed_over:
                continue  # what a run was granted is its token budget; what a fleet was is moved by that fleet alone
            ratio = account.ratio()
            quiet = (now - account.activity_at).total_seconds()
            if ratio < settings.idle_below and quiet >= settings.idle_seconds:
                is_held = any(account.held[d] for d in account.dims)
                if not account.reclaimed and not is_held and len(idle) < IDLE_MAX:
                    left = _remaining(account)
                    idle.append(Idle(account.id, _source(account), account.allocated, left, quiet, account.opened_at))
            elif ratio > settings.demand_above and account.stopped is None:
                if self._curves is None:
                    self._curves = yield from self._forecaster.curves_now()
                found = yield from self._hunger(account, ratio)
                if found is not None:
                    hungry.append(found)
                    exhaustions[account.id] = self._forecaster.exhaustions(account)
        # Those whose accounts are older come first.
        idle.sort(key=_opened_at)
        hungry.sort(key=_opened_at)
        return Survey(idle, hungry, self._figures, exhaustions)

    def _is_open(self, account: Account) -> bool:
        """Whether an account was not closed while others were looked at."""
        return self._agents.get(account.id) is account

    def _hunger(self, account: Account, ratio: float) -> Parts[Hungry | None]:
        if self._pace.is_over(IN_NEED):
            yield
        need = self._lacking(account)
        if not any(need):
            return None
        for d in DIMENSIONS:
            if need[d]:
                yield from self._find_level(payer(account, d), d)
        if not self._is_open(account):
            return None
        return Hungry(
            account.id,
            _source(account),
            account.priority == "critical",
            need,
            account.drawn,
            ratio,
            self._source_free(account),
            self._fair(account, need),
            account.opened_at,
        )

    def _lacking(self, account: Account) -> Money:
        """What the forecast's upper bound lacks: of what is used within the horizon, at most the run's whole total.

        A budget that will last half the horizon lacks nothing yet: few moves, each worth making.
        """
        run = self._forecaster.runs.get(account.id)
        if run is None:
            return (0, 0, 0)
        growth = Growth.read(run.growth)
        pace = self._forecaster.pace(account, run)
        if pace is None or growth.steps < 2:
            return (0, 0, 0)
        horizon = HORIZONS * float(self._config.enforcement.warn_before_exhaustion_seconds) / pace
        need = [0, 0, 0]
        soon = False
        for d, course in enumerate(self._forecaster.growth_by_dimension(account, run)):
            if course is not None and account.allocated[d] is not None:
                own, mark = own_use(account, d)
                # Below zero where it has used more than it had: new budget repays that first.
                left = mark - own - account.held[d]
                # Never so much that what was used is too little of it: an idle agent would have to give it back.
                total = min(self._total(account, d, own), self._not_idle(own))
                need[d] = _beyond(course, horizon, own, total, left)
                soon = soon or _beyond(course, horizon / 2, own, total, left) > 0
        return (need[0], need[1], need[2]) if soon else (0, 0, 0)

    def _total(self, account: Account, d: int, own: int) -> int:
        """The upper bound of what the run will use in all; where none like it is known, twice what it has used."""
        total = self._finished_like(account)[d].total(own, 0.9)
        return 2 * own if total is None else total

    def _not_idle(self, own: int) -> int:
        """The largest budget of which ``own`` is not so little that it would count as idle."""
        idle_below = self._config.reallocation.idle_below
        return int(own / idle_below) if idle_below else AMOUNT_MAX

    def _finished_like(self, account: Account) -> tuple[Finished, ...]:
        assert self._curves is not None, "it is made before agents are looked at more closely"
        return self._curves.finished(self._kind(account))

    def _lengths_like(self, account: Account) -> Lengths:
        assert self._curves is not None, "it is made before agents are looked at more closely"
        return self._curves.lengths(self._kind(account))

    def _kind(self, account: Account) -> Kind:
        return self._forecaster.known(account, self._forecaster.runs.get(account.id)).kind

    # --- what is fair -------------------------------------------------------------------------------------------------

    def _fair(self, account: Account, need: Money) -> Triple:
        """What the agent may be given beyond what it has so that there is enough for the others."""
        fair: list[int | None] = [None, None, None]
        for d in DIMENSIONS:
            if need[d]:
                level = self._levels[payer(account, d), d]
                if level < inf:
                    fair[d] = self._fair_more(account, d, level * self._weight(account))
        return (fair[0], fair[1], fair[2])

    def _fair_more(self, account: Account, d: int, level: float) -> int:
        """Up to the level; nothing for a run that will hardly end within it: that would be wasted."""
        own, mark = own_use(account, d)
        run = self._forecaster.runs[account.id]
        course = self._forecaster.growth_by_dimension(account, run)[d]
        if course is not None and self._lengths_like(account).chance(course, level - own, run.steps) < HOPE:
            return 0
        return max(0, int(level) - mark)

    def _find_level(self, source: str, d: int) -> Parts[None]:
        """Find the level of a source in a dimension, if it is not known."""
        if (source, d) in self._levels:
            return
        sharing = yield from self._sharing(d)
        free = self._free_of(source, d) if source == POOL or source in self._agents else 0
        fair = sharing.get(source) or FairLevel()
        self._levels[source, d] = inf if free is None else (yield from fair.find(free))

    def _sharing(self, d: int) -> Parts[dict[str, FairLevel]]:
        """By payer, what the accounts want that share what it has free."""
        found = self._shares.get(d)
        if found is None:
            found = {}
            for name in each_of(self._names):
                if self._pace.is_over():
                    yield
                account = self._agents.get(name)
                if account is None or account.is_run or account.allocated[d] is None:
                    continue
                weight = self._weight(account)
                if weight > 0:
                    own, mark = own_use(account, d)
                    fair = found.setdefault(payer(account, d), FairLevel())
                    fair.add(own, max(own, mark), weight, self._finished_like(account)[d])
            self._shares[d] = found
        return found

    def _weight(self, account: Account) -> float:
        return float(self._config.allocation_weights.of(account.priority))

    def _free_of(self, source: str, d: int) -> int | None:
        return self._figures.pool[d] if source == POOL else self._agents[source].remaining(d)

    def _source_free(self, account: Account) -> Triple:
        free: list[int | None] = [self._free_of(payer(account, d), d) for d in DIMENSIONS]
        return (free[0], free[1], free[2])


def _beyond(course: Course, steps: float, own: int, total: int, left: int) -> int:
    """What the next steps use at most, by the upper end of the 80 % interval, beyond what is left."""
    return max(0, ceil(min(course.used_at_most(steps), max(0, total - own))) - left)


def _opened_at(agent: Idle | Hungry) -> dt.datetime:
    return agent.opened_at or EPOCH


def payer(account: Account, d: int) -> str:
    """Whose budget an account draws on in a dimension."""
    source = account.source(d)
    return POOL if source.parent is None else source.id


def _source(account: Account) -> str:
    assert account.parent is not None
    return POOL if account.parent.parent is None else account.parent.id


def _remaining(account: Account) -> Money:
    left = [0 if account.allocated[d] is None else account.remaining(d) for d in DIMENSIONS]
    return (left[0], left[1], left[2])
