"""How far runs go: a Kaplan–Meier curve over those that ended and those of which only a part is known.

The runs that have ended first are the short ones. One that still goes on, or was cut short, says that it is longer
than this; left out, it would make all runs look short. At every end, the curve falls by the share that the run has in
all that came as far (Kaplan, Meier: Nonparametric Estimation from Incomplete Observations, JASA 53, 1958). What is left
of it behind the last end is of runs that go further than any that is known.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

GO_ON = 1.75
"""A run that goes further than all that are known is expected to use so many times the most that is known of one. That
what has lasted so long is as likely as not to last as long again would be 2 (Gott: Implications of the Copernican
principle, Nature 363, 1993). Of 1.5, 1.75 and 2, this was best for pools of real runs of which nothing else was known.
"""


class Seen(NamedTuple):
    """How far a run came (``age``), what it had used by then, and whether it ended there; it counts ``weight`` (> 0)
    times.
    """

    age: float
    used: float
    ended: bool = True
    weight: float = 1.0


def masses(runs: Iterable[Seen]) -> tuple[list[tuple[Seen, float]], float]:
    """The runs that ended, the shortest first, each with the number of runs that it stands for; and how many more
    stand for themselves alone: they went on behind the last end.

    Where all have ended, each stands for its own weight.
    """
    # At one age, those that ended come first: the others came at least as far.
    ordered = sorted(runs, key=lambda run: (run.age, not run.ended))
    at_risk = left = sum(run.weight for run in ordered)
    found = []
    for run in ordered:
        if run.ended:
            # The last end takes all that is left, whatever the rounding of the differences.
            mass = left if run.weight >= at_risk else left * (run.weight / at_risk)
            found.append((run, mass))
            left -= mass
        at_risk -= run.weight
    return found, left


class Ends:
    """Runs that count alike: those that ended, in order, and how many of the others came as far as each.

    It is as large as those that ended are many, however many the others are.
    """

    __slots__ = ("_cut", "ages", "most")

    def __init__(self, ended: Iterable[int], cut: Iterable[int] = ()) -> None:
        self.ages = sorted(ended)
        self._cut = [0] * (len(self.ages) + 1)
        """By how many of those that ended had not gone further, the others."""
        self.most = self.ages[-1] if self.ages else 0
        """How far the longest came, ended or not."""
        for age in cut:
            self.add(age)

    def add(self, age: int) -> None:
        """One more that came as far as ``age``, and did not end there."""
        self._cut[bisect_right(self.ages, age)] += 1
        self.most = max(self.most, age)

    def masses(self) -> tuple[list[float], float]:
        """As `masses` says: of each that ended how many it stands for, and how many stand for themselves alone."""
        at_risk, left, found = len(self.ages) + sum(self._cut), float(len(self.ages) + sum(self._cut)), []
        for cut in self._cut[:-1]:
            at_risk -= cut
            mass = left if at_risk == 1 else left * (1.0 / at_risk)
            found.append(mass)
            left -= mass
            at_risk -= 1
        return found, left


class More(NamedTuple):
    """What a run will still use: mean and variance, and on how many runs both rest."""

    mean: float
    variance: float
    runs: float


class Survival:
    """What runs used in all that came as far as a given age, or further."""

    __slots__ = ("_ages", "_most", "_suffixes")

    def __init__(self, runs: Iterable[Seen]) -> None:
        ended, left = masses(runs)
        self._ages = [run.age for run, _ in ended]
        self._most = max((run.used for run, _ in ended), default=0.0)
        mass, squares, first, second = left, left * left, 0.0, 0.0
        suffixes = [(mass, squares, first, second, left)]
        for run, one in reversed(ended):
            mass, squares = mass + one, squares + one * one
            first, second = first + one * run.used, second + one * run.used * run.used
            suffixes.append((mass, squares, first, second, left))
        self._suffixes = suffixes[::-1]

    @property
    def says_something(self) -> bool:
        """Whether runs got anywhere on this scale."""
        return bool(self._ages) and self._ages[-1] > 0

    def more(self, age: float, used: float) -> More:
        """What a run that comes as far as ``age``, and has used ``used``, will still use."""
        mass, squares, first, second, left = self._suffixes[bisect_left(self._ages, age)]
        if mass <= 0:
            return More((GO_ON - 1) * used, used * used, 1.0)
        most = max(self._most, used)
        mean = (first + left * GO_ON * most) / mass
        # Behind the last end, the amount scatters by as much as it exceeds what is known.
        scatter = (second + left * (GO_ON * GO_ON + 1) * most * most) / mass - mean * mean
        return More(max(0.0, mean - used), max(0.0, scatter), mass * mass / squares)
