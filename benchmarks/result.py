"""What a benchmark says: a value, what it is held against, and their ratio."""

import statistics
from collections.abc import Callable, Sequence

import msgspec


class Result(msgspec.Struct):
    """One line of the table. ``goal`` is ``(">=" or "<=", number)`` for the ratio."""

    name: str
    value: float
    unit: str
    against: str
    ratio: float
    goal: tuple[str, float] | None = None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        sign, bound = self.goal
        return self.ratio >= bound if sign == ">=" else self.ratio <= bound


def alternating(ours: Callable[[], float], ceiling: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of ours, of the ceiling, and of their ratio round by round: the machine drifts, neighbours in time less."""
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
