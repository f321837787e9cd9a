"""What the plan of a campaign is compared with: a level that knows every total, and the plan without some part."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from tallystick.actors.policies.forecasting.forecaster import own_use
from tallystick.actors.policies.rebalancing.survey import Surveyor
from tallystick.config.amounts import TOKENS, Triple
from tallystick.demo.workload import Workload
from tallystick.events.state.accounts import Account
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
        def _found_level(self, source: str, d: int, free: int) -> float:
            there, agents = float(free), []
            for account in self._sharing(d).get(source, ()):
                own, mark = own_use(account, d)
                there += max(own, mark)
                agents.append(Wanted(own, max(own, totals[account.id]), self._weight(account)))
            return true_level(agents, there)

    return Knowing


class Boundless(Surveyor):
    """Without the level: first come, first served."""

    def _fair(self, account: Account, need: Money) -> Triple:
        return (None, None, None)
