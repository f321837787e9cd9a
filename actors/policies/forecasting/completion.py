"""Whether a run is likely to end before it has used a given amount, by its own growth and the lengths of others."""

from bisect import bisect_right
from collections.abc import Sequence

from tallystick.actors.policies.forecasting.growth_forecast import Course
from tallystick.actors.policies.forecasting.survival import Ends
from tallystick.events.state.history import Run

HOPE = 0.3
"""An agent that ends within its fair level with a smaller chance is given nothing more where that level binds. (On the
runs that were studied, any value from 0.1 to 0.5 let more of them finish than none did.)"""


class Lengths:
    """How many steps runs of one kind have, and which share of all runs has more."""

    __slots__ = ("_longer", "steps")

    def __init__(self, known: Ends) -> None:
        found, _ = known.masses()
        self.steps = known.ages
        self._longer = [0.0]
        for mass in reversed(found):
            self._longer.append(self._longer[-1] + mass)
        self._longer.reverse()

    def chance(self, course: Course, units: float, done: float) -> float:
        """The share of those runs that ended after more than ``done`` steps that did so within ``units`` more use.

        1 where none did: nothing is known of such a run. Those that went on behind the last end count as little: where
        few have ended yet, they would be most, and a run would be given up for what is not known.
        """
        first = bisect_right(self.steps, done)
        if first == len(self.steps):
            return 1.0
        last = done + (course.steps_until(units) if units > 0 else 0.0)
        longer = self._longer[first]
        return (longer - self._longer[bisect_right(self.steps, last, lo=first)]) / longer


def steps_of(runs: Sequence[Run]) -> Ends:
    """How many steps runs that are over had; those that were cut short as others that go on."""
    return Ends((run.steps for run in runs if run.ended), (run.steps for run in runs if not run.ended))
