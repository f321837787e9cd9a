"""How much any one agent may come to hold, so that what there is goes as far as it can.

Where the agents of one source will together want more than there is, the one that is topped up first would use up
what many small ones need. The remedy is max-min fairness (Bertsekas, Gallager: Data Networks, 6.5.2): no agent gets
more than a *level*, the highest at which all that is expected to be used fits into what there is. Agents that need
less than the level are not touched by it; by the weight of its priority an agent's own level is higher or lower.

What an agent will use is not known; what runs of its kind used in all is. So the level is found on expectations: an
agent that has used u, under a level c, is expected to use the mean of min(X, c) over the finished runs X > u of its
kind; where no run of its kind has finished, what it was given.
"""

from collections.abc import Sequence
from math import inf

from tallystick.actors.policies.forecasting.final_usage import BEYOND, Finished

_STEPS = 48
"""Halvings of the interval in which the level lies: enough to tell single tokens apart in any fleet."""


class Wanting:
    """Agents of one kind and weight that have used amounts between the same two finished runs: all alike."""

    __slots__ = ("agents", "finished", "first", "own", "used", "weight")

    def __init__(self, finished: Finished, first: int, weight: float) -> None:
        self.finished = finished
        self.first = first
        self.weight = weight
        self.agents = 0
        self.used = 0.0
        self.own = 0.0

    def expected(self, level: float) -> float:
        """What they are expected to use in all where none uses more than ``level`` times its weight."""
        cap, finished, first = level * self.weight, self.finished, self.first
        mean = self.used / self.agents
        if mean >= cap:
            return self.used
        if not finished.used:
            return self.agents * min(cap, max(mean * (1 + BEYOND), self.own / self.agents))
        if first == len(finished.used):
            return self.agents * min(cap, mean * (1 + BEYOND))
        return self.agents * finished.expected(first, cap)


class FairLevel:
    """Collects the agents of one source in one dimension, then finds their level."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int, float], Wanting] = {}
        self._there = 0

    def add(self, used: int, own: int, weight: float, finished: Finished) -> None:
        """One agent: what it has used, all that it was given, its weight (> 0), and the finished runs of its kind."""
        # Where no run has finished, none tells that two agents are alike.
        first = finished.passed(used) if finished.used else used
        key = (id(finished), first, weight)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Wanting(finished, first, weight)
        group.agents += 1
        group.used += used
        group.own += own
        self._there += own

    def find(self, free: int) -> float:
        """The level per unit of weight, with ``free`` still to be given; infinite where there is enough for all."""
        there, groups = self._there + free, list(self._groups.values())
        if sum(group.expected(_unbound(groups)) for group in groups) <= there:
            return inf
        low, high = 0.0, _unbound(groups)
        for _ in range(_STEPS):
            level = (low + high) / 2
            if sum(group.expected(level) for group in groups) > there:
                high = level
            else:
                low = level
        return low


def _unbound(groups: Sequence[Wanting]) -> float:
    """A level that binds no agent."""
    most = (max(g.finished.used[-1:] or [0]) + (g.used * (1 + BEYOND) + g.own) / g.agents for g in groups)
    return 2.0 * max((units / g.weight for units, g in zip(most, groups, strict=True)), default=0.0) + 1.0
