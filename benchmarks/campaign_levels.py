"""What the plan of a campaign is compared with: a level that knows every total, and the plan without some part."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from tallystick.actors.policies.forecasting.completion import Lengths, steps_of
from tallystick.actors.policies.forecasting.final_usage import Finished, used_by
from tallystick.actors.policies.forecasting.forecaster import own_use
from tallystick.actors.policies.parts import Parts
from tallystick.actors.policies.rebalancing.survey import Surveyor, payer
from tallystick.config.amounts import DIMENSIONS, TOKENS, Triple
from tallystick.demo.workload import Workload
from tallystick.events.state.accounts import Account
from tallystick.events.state.history import Kind, Run
from tallystick.events.state.money import Money

_HALVINGS = 40


class Wanted(NamedTuple):
    """What an agent has used, what it will have used in all, and its weight."""

    used: int
    total: int
    weight: float


def true_level(agents: Sequence[Wanted], there: float) -> float:
    """The level per unit of weight at which what the agents use in all fits into ``there``, by their true totals."""
    if sum(agent.total for agent in agents) <= there:
        return inf
    low, high = 0.0, max(agent.total / agent.weight for agent in agents)
    for _ in range(_HALVINGS):
        level = (low + high) / 2
        if sum(max(agent.used, min(agent.total, level * agent.weight)) for agent in agents) > there:
            high = level
        else:
            low = level
    return low


def totals_of(workload: Workload) -> dict[str, int]:
    """What each run uses in all, in tokens."""
    return {run.id: sum(step.used[TOKENS] for step in run.steps) for run in workload.runs}


def knowing(totals: Mapping[str, int]) -> type[Surveyor]:
    """The same survey, with a level that knows the true sum; all else it estimates as usual."""

    class Knowing(Surveyor):
        def _find_level(self, source: str, d: int) -> Parts[None]:
            if (source, d) in self._levels:
                return
            yield
            free = self._free_of(source, d)
            there, agents = float(free or 0), []
            for account in self._agents.values():
                if account.is_run or account.allocated[d] is None or payer(account, d) != source:
                    continue
                own, mark = own_use(account, d)
                there += max(own, mark)
                agents.append(Wanted(own, max(own, totals[account.id]), self._weight(account)))
            self._levels[source, d] = inf if free is None else true_level(agents, there)

    return Knowing


class Boundless(Surveyor):
    """Without the level: first come, first served."""

    def _fair(self, account: Account, need: Money) -> Triple:
        return (None, None, None)


class Hopeful(Surveyor):
    """With the level, also for runs that will hardly end within it."""

    def _fair_more(self, account: Account, d: int, level: float) -> int:
        return max(0, int(level) - own_use(account, d)[1])


class EndedOnly(Surveyor):
    """With a level that rests on the runs that have ended, as if the others said nothing of how far runs go."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._made: dict[Kind, tuple[Finished, ...]] = {}

    def _finished_like(self, account: Account) -> tuple[Finished, ...]:
        kind = self._kind(account)
        if kind not in self._made:
            self._made[kind] = tuple(Finished(used_by(self._ended(kind), d)) for d in DIMENSIONS)
        return self._made[kind]

    def _lengths_like(self, account: Account) -> Lengths:
        return Lengths(steps_of(self._ended(self._kind(account))))

    def _ended(self, kind: Kind) -> list[Run]:
        return [run for run in self._forecaster.history.known(*kind).runs() if run.ended]
