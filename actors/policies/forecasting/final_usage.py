"""What the finished runs of a kind used in all, and what that says of one that is still under way.

When an agent will stop is not known: its final total is estimated from the runs of its kind that went on as far.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from tallystick.events.state.history import Run

BEYOND = 0.25
"""An agent that used more than any finished run is expected to use a quarter of that still: no run like it is known."""


class Finished:
    """What the finished runs of one kind used in one dimension, in order, and their running sums."""

    __slots__ = ("sums", "used")

    def __init__(self, used: Sequence[int]) -> None:
        self.used = sorted(used)
        self.sums = [0, *accumulate(self.used)]

    def passed(self, used: float) -> int:
        """How many runs used no more than that: the others are those that an agent may still be like."""
        return bisect_right(self.used, used)

    def total(self, used: int, share: float) -> int | None:
        """What all but ``1 - share`` of the runs used in all that used more than ``used``; None where none did."""
        first = self.passed(used)
        left = len(self.used) - first
        return self.used[first + min(left - 1, int(share * left))] if left else None


def finished_of(runs: Iterable[Run], d: int) -> Finished:
    """What some finished runs used in dimension ``d``."""
    return Finished([(run.tokens, run.time_ms, run.cost_nanos)[d] for run in runs])
