"""How much any one agent may come to hold, so that what there is goes as far as it can.

Where the agents of one source will together want more than there is, the one that is topped up first would use up
what many small ones need. The remedy is max-min fairness (Bertsekas, Gallager: Data Networks, 6.5.2): no agent gets
more than a *level*, the highest at which all that is expected to be used fits into what there is. Agents that need
less than the level are not touched by it; by the weight of its priority an agent's own level is higher or lower.

What an agent will use is not known; what runs of its kind used in all is. So the level is found on expectations: an
agent that has used u, under a level c, is expected to use the mean of min(X, c) over the finished runs X > u of its
kind; where no run of its kind has finished, what it was given.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import inf
from typing import Final

from tallystick.actors.policies.forecasting.final_usage import BEYOND, Finished
from tallystick.actors.policies.parts import AT_ONCE, Pace, Parts

_STEPS: Final = 48
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
        if first == len(finished.used):
            return self.agents * min(cap, mean * (1 + BEYOND))
        return self.agents * finished.expected(first, cap)

    @property
    def unbound(self) -> float:
        """A level that binds none of them."""
        return (self.finished.used[-1] + (self.used * (1 + BEYOND) + self.own) / self.agents) / self.weight


class Unknown:
    """Agents of one weight of whose kinds no run has finished: nothing tells that two of them are alike."""

    __slots__ = ("_tops", "_tops_sums", "_used", "_used_sums", "weight")

    def __init__(self, used: Sequence[float], own: Sequence[float], weight: float) -> None:
        tops = sorted(max(u * (1 + BEYOND), o) for u, o in zip(used, own, strict=True))
        self._used, self._tops, self.weight = array("d", sorted(used)), array("d", tops), weight
        self._used_sums = array("d", accumulate(self._used, initial=0.0))
        self._tops_sums = array("d", accumulate(tops, initial=0.0))

    def expected(self, level: float) -> float:
        """As of `Wanting`: what each has used where that is more, and what it was given, or the level, else."""
        cap = level * self.weight
        below, whole = bisect_right(self._used, cap), bisect_right(self._tops, cap)
        return self._used_sums[-1] - self._used_sums[below] + self._tops_sums[whole] + (below - whole) * cap

    @property
    def unbound(self) -> float:
        """A level that binds none of them."""
        return self._tops[-1] / self.weight


class FairLevel:
    """Collects the agents of one source in one dimension, then finds their level."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int, float], Wanting] = {}
        self._unknown: dict[float, tuple[array[float], array[float]]] = {}
        """By weight, what agents have used, and what they were given, of whose kinds no run has finished."""
        self._there = 0

    def add(self, used: int, own: int, weight: float, finished: Finished) -> None:
        """One agent: what it has used, all that it was given, its weight (> 0), and the finished runs of its kind."""
        self._there += own
        if not finished.used:
            used_by, own_of = self._unknown.setdefault(weight, (array("d"), array("d")))
            used_by.append(used)
            own_of.append(own)
            return
        key = (id(finished), finished.passed(used), weight)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Wanting(finished, key[1], weight)
        group.agents += 1
        group.used += used
        group.own += own

    def find(self, free: int) -> Parts[float]:
        """The level per unit of weight, with ``free`` still to be given; infinite where there is enough for all."""
        groups: list[Wanting | Unknown] = list(self._groups.values())
        for weight, (used, own) in self._unknown.items():
            for start in range(0, len(used), AT_ONCE):
                groups.append(Unknown(used[start : start + AT_ONCE], own[start : start + AT_ONCE], weight))
                yield
        there, pace = self._there + free, Pace()
        low, high = 0.0, 2.0 * max((group.unbound for group in groups), default=0.0) + 1.0
        if (yield from _expected(groups, high, pace)) <= there:
            return inf
        for _ in range(_STEPS):
            level = (low + high) / 2
            if (yield from _expected(groups, level, pace)) > there:
                high = level
            else:
                low = level
        return low


def _expected(groups: Sequence[Wanting | Unknown], level: float, pace: Pace) -> Parts[float]:
    """What all are expected to use under a level."""
    in_all = 0.0
    for start in range(0, len(groups), AT_ONCE):
        part = groups[start : start + AT_ONCE]
        in_all += sum(group.expected(level) for group in part)
        if pace.is_over(len(part)):
            yield
    return in_all
