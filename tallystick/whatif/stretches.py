"""By which version of the rules the stretches of a log were decided.

Only what was decided by our own version can be decided again and compared. Of the others the log itself is followed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tallystick.events import catalog as e
from tallystick.events.catalog import STORED_NAME, rules_version
from tallystick.events.catalog.rules_version import FIRST_RULES
from tallystick.events.log.reading import event_of
from tallystick.whatif.steps import Step

_MARKS = frozenset({STORED_NAME[e.ConfigLoaded], STORED_NAME[e.RulesAdopted]})


class Stretch(NamedTuple):
    """The positions ``first`` to ``last`` were decided by version ``rules`` of the rules."""

    first: int
    last: int
    rules: int

    @property
    def is_ours(self) -> bool:
        """It can be decided again."""
        return self.rules == rules_version.RULES_VERSION


class Stretches:
    """The stretches of a log, step by step. ``unmarked`` is the version of what no mark stands before."""

    def __init__(self, unmarked: int = FIRST_RULES) -> None:
        self.all: list[Stretch] = []
        self._rules = unmarked

    def take(self, step: Step) -> bool:
        """Take in the next step; whether it was decided by our version. A mark counts for its own step.

        Raises:
            NewerLog: a mark is of a version that is newer than ours.
            BrokenChain: a mark cannot be read.
        """
        if step.own and step.own[0].name in _MARKS:
            mark = event_of(step.own[0])
            assert isinstance(mark, e.ConfigLoaded | e.RulesAdopted)
            self._rules = max(self._rules, mark.rules)
        return self._go_on(step.position, (step.own or step.due)[-1].position)

    def take_row(self, steps: Sequence[Step]) -> None:
        """Take in steps of our version that follow one another, none of which is a mark."""
        self._go_on(steps[0].position, steps[-1].position)

    @property
    def are_ours(self) -> bool:
        """Whether our version decided what comes next, unless it is a mark."""
        return self._rules == rules_version.RULES_VERSION

    def _go_on(self, first: int, last: int) -> bool:
        if self.all and self.all[-1].rules == self._rules:
            self.all[-1] = self.all[-1]._replace(last=last)
        else:
            self.all.append(Stretch(first, last, self._rules))
        return self.all[-1].is_ours

    @property
    def others(self) -> list[Stretch]:
        """Those that were decided by another version than ours."""
        return [stretch for stretch in self.all if not stretch.is_ours]


def positions(stretch: Stretch) -> str:
    """``positions 1 to 1,200``."""
    return f"positions {stretch.first:,} to {stretch.last:,}"


def not_compared(stretch: Stretch) -> str:
    """Why a stretch is not compared, in a sentence."""
    return (
        f"{positions(stretch).capitalize()} were decided by version {stretch.rules} of the rules, and this tallystick"
        f" decides by version {rules_version.RULES_VERSION}: what was decided there is kept as it is recorded, and is"
        " not compared."
    )
