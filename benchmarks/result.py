"""What a benchmark says: a value, what it is held against, and their ratio."""

import logging
import statistics
from collections.abc import Callable, Sequence

import msgspec


class Result(msgspec.Struct):
    """One line of the table. ``goal`` is ``(">=" or "<=", number)`` or ``("in", low, high)`` for the ratio."""

    name: str
    value: float
    unit: str
    against: str
    ratio: float
    goal: tuple[str, float] | tuple[str, float, float] | None = None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        sign, *bounds = self.goal
        if sign == "in":
            return bounds[0] <= self.ratio <= bounds[1]
        return self.ratio >= bounds[0] if sign == ">=" else self.ratio <= bounds[0]

    @property
    def shown_goal(self) -> str:
        return "" if self.goal is None else " ".join(str(part) for part in self.goal)


def alternating(ours: Callable[[], float], ceiling: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of ours, of the ceiling, and of their ratio by round: the machine drifts, but little within a round."""
    mine, theirs = [], []
    for _ in range(rounds):
        theirs.append(ceiling())
        mine.append(ours())
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return statistics.median(mine), statistics.median(theirs), statistics.median(ratios)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def quiet() -> None:
    """Show no alerts of the fleets that are played: there are thousands, and the figures would be lost among them."""
    logging.getLogger("tallystick").setLevel(logging.ERROR)
