"""How much any one agent may come to hold, so that what there is goes as far as it can.

Where the agents of one source will together want more than there is, whoever is topped up first would drink up what
many small ones need. The remedy is max-min fairness (Bertsekas, Gallager: Data Networks, 6.5.2): nobody gets more than
a *level*, the highest at which all that is expected to be used fits into what there is. Agents that need less than the
level are not touched by it; by the weight of its priority an agent's own level is higher or lower.

What an agent will use is not known; what runs of its kind used in all is. So the level is found on expectations: an
agent that has used u, under a level c, is expected to use the mean of min(X, c) over the finished runs X > u of its
kind.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import inf

BEYOND = 1.25
"""An agent that used more than any finished run is expected to use a quarter more still: there is nobody to ask."""
_STEPS = 48
"""Halvings of the interval in which the level lies: enough to tell single tokens apart in any fleet."""


class Finished:
    """What the finished runs of one kind used in one dimension, in order, and their running sum."""

    __slots__ = ("sums", "used")

    def __init__(self, used: Sequence[int]) -> None:
        self.used = sorted(used)
        self.sums = [0, *accumulate(self.used)]

    def longer(self, used: float) -> int:
        """How many runs used no more than that: the others are those that an agent may still be like."""
        return bisect_right(self.used, used)


class Wanting:
    """Agents of one kind and weight that have used amounts between the same two finished runs: all alike."""

    __slots__ = ("agents", "finished", "first", "used", "weight")

    def __init__(self, finished: Finished, first: int, weight: float) -> None:
        self.finished = finished
        self.first = first
        self.weight = weight
        self.agents = 0
        self.used = 0.0

    def expected(self, level: float) -> float:
        """What they are expected to use in all where none uses more than ``level`` times its weight."""
        cap, finished, first = level * self.weight, self.finished, self.first
        mean = self.used / self.agents
        left = len(finished.used) - first
        if mean >= cap:
            return self.used
        if not left:
            return self.agents * min(cap, mean * BEYOND)
        within = max(first, finished.longer(cap))
        capped = finished.sums[within] - finished.sums[first] + cap * (len(finished.used) - within)
        return self.agents * capped / left


class FairLevel:
    """Collects the agents of one source in one dimension, then finds their level."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int, float], Wanting] = {}
        self._there = 0

    def add(self, used: int, own: int, weight: float, finished: Finished) -> None:
        """One agent: what it has used, all that it was given, its weight (> 0), and the finished runs of its kind."""
        first = finished.longer(used)
        key = (id(finished), first, weight)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Wanting(finished, first, weight)
        group.agents += 1
        group.used += used
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
    """A level that binds nobody."""
    most = (max(g.finished.used[-1:] or [0]) + g.used / g.agents * BEYOND for g in groups)
    return 2.0 * max((units / g.weight for units, g in zip(most, groups, strict=True)), default=0.0) + 1.0
