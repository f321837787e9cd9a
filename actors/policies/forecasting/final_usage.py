"""What the runs of a kind use in all, and what that says of one that is still under way.

When an agent will stop is not known: its final total is estimated from the runs of its kind that went on as far. Those
that still go on, or were cut short, count as far as they came (`survival`).
"""

from bisect import bisect_right
from collections.abc import Sequence

from tallystick.actors.policies.forecasting.survival import Ends
from tallystick.events.state.history import Run

BEYOND = 0.25
"""An agent that used more than any finished run is expected to use a quarter of that still: no run like it is known."""


class Finished:
    """What runs of one kind use in one dimension: ``used`` by those that ended, in order, each for so many of all."""

    __slots__ = ("_beyond", "_most", "_sums", "used")

    def __init__(self, known: Ends) -> None:
        found, left = known.masses()
        self.used = known.ages
        self._most = known.most
        self._sums, self._beyond = [0.0], [left]
        for used, mass in zip(self.used, found, strict=True):
            self._sums.append(self._sums[-1] + mass * used)
        for mass in reversed(found):
            self._beyond.append(self._beyond[-1] + mass)
        self._beyond.reverse()

    def passed(self, used: float) -> int:
        """How many that ended used no more than that: the others are those that an agent may still be like."""
        return bisect_right(self.used, used)

    def total(self, used: int, share: float) -> int | None:
        """What all but ``1 - share`` of the runs used in all that used more than ``used``; None where none did.

        Of those that went on behind the last that ended, it is known only that they used a little more.
        """
        first = self.passed(used)
        if first == len(self.used):
            return None
        above = (1 - share) * self._beyond[first]
        place = bisect_right(self._beyond, -above, lo=first, key=lambda beyond: -beyond)
        last = len(self.used) - 1
        if place > last + 1:
            return int(self._furthest())
        return int(self.used[min(last, place - 1)])

    def expected(self, first: int, cap: float) -> float:
        """The mean of what runs use in all that go further than the first ``first`` that ended, each ``cap`` at most;
        there are such runs.
        """
        within = max(first, self.passed(cap))
        left = self._beyond[-1] * min(cap, self._furthest()) if cap > self.used[-1] else cap * self._beyond[within]
        return (self._sums[within] - self._sums[first] + left) / self._beyond[first]

    def _furthest(self) -> float:
        return self._most * (1 + BEYOND)


def used_by(runs: Sequence[Run], d: int) -> Ends:
    """What runs that are over used in dimension ``d``; those that were cut short as others that go on."""
    used = [(run.tokens, run.time_ms, run.cost_nanos)[d] for run in runs]
    return Ends(
        (u for u, run in zip(used, runs, strict=True) if run.ended),
        (u for u, run in zip(used, runs, strict=True) if not run.ended),
    )
