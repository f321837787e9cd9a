"""What each product was charged with in the last hour: its runs from their start on, with what they should take.

Fairness by tokens or cost is measured by it (spec 3). A run counts with what runs of its product took at the mean,
from its start on, and with what it really took as that becomes known: else all slots that are free at one moment would
go to one product, and a product with long runs would get less. No decision reads it; like the slot-time, it is kept so
that the allocator loses nothing by a restart.

Units are weighted tokens, or nano-dollars; times are whole microseconds since 1970.
"""

from bisect import bisect_right
from collections import deque
from fractions import Fraction
from typing import Any

from tallystick.events.state.slot_time import MINUTE_MICROS

UNKNOWN = -1
"""In the place of what a run is expected to be charged."""
_APART_MICROS = 1_000_000
RUNS_KEPT = 64
"""The mean is of so many last runs of a product."""


def _moment(mark: tuple[int, int]) -> int:
    return mark[0]


class Charged:
    """Sums by product. ``by`` is what is summed, ``window`` is how far back they reach, in microseconds."""

    def __init__(self, by: str = "slot_time") -> None:
        self.by = by
        self.window = 60 * MINUTE_MICROS
        self.products: dict[str, _Product] = {}
        self.ended_lately: deque[int] = deque(maxlen=RUNS_KEPT)
        """What the last runs took, of whatever product."""
        self.runs: dict[str, tuple[str, int, int, int]] = {}
        """By running task: its product, what it is expected to be charged, what it was so far, and when it began."""

    def charge(self, product: str, task: str | None, units: int, at: int) -> None:
        """A product was charged, for a run of a task where that is not None."""
        run = None if task is None else self.runs.get(task)
        if run is not None and task is not None:
            self.runs[task] = (run[0], run[1], run[2] + units, run[3])
            # What was expected was charged when the run began, and what goes beyond that belongs there too.
            beyond = max(0, run[2] + units - run[1]) - max(0, run[2] - run[1])
            found = self._of(run[0], at)
            if run[1] == UNKNOWN:
                found.unknown -= 1
                self.runs[task] = (run[0], 0, run[2] + units, run[3])
                beyond = units
            found.correct(beyond, run[3])
        else:
            self._of(product, at).add(units, at, self.window)

    def correct(self, product: str, task: str | None, units: int, since: int) -> None:
        """A product was charged so much more, or less, at an earlier moment: it counts while the window reaches it."""
        if task in self.runs:
            self.charge(product, task, units, since)
        elif product in self.products:
            self.products[product].correct(units, since)

    def started(self, task: str, product: str, at: int) -> None:
        """A run begins. Where none of its product has ended yet, it counts as all runs do at the mean."""
        found = self._of(product, at)
        mean = found.mean()
        self.runs[task] = (product, UNKNOWN if mean is None else mean, 0, at)
        if mean is None:
            found.unknown += 1
        # Also a run of which nothing is known has its mark, for it is booked at its start as soon as it is known.
        found.add(mean or 0, at, self.window)

    def ended(self, task: str, at: int) -> None:
        """A run is over: what it was not charged is given back, and the next is expected to take what it took."""
        run = self.runs.pop(task, None)
        if run is not None:
            found = self._of(run[0], at)
            if run[1] == UNKNOWN:
                found.unknown -= 1
            else:
                found.correct(min(0, run[2] - run[1]), run[3])
            if run[2]:
                found.ended.append(run[2])
                self.ended_lately.append(run[2])

    def use(self, product: str, now: int) -> int:
        """What a product was charged in the window that ends now, its runs with what they are expected to take."""
        found = self.products.get(product)
        if found is None:
            return 0
        lately = self.ended_lately
        mean = sum(lately) // len(lately) if lately else 1
        return found.in_window(now, self.window) + found.unknown * mean

    def _of(self, product: str, at: int) -> "_Product":
        found = self.products.get(product)
        if found is None:
            self._forget(at)
            found = self.products[product] = _Product()
        return found

    def _forget(self, at: int) -> None:
        """Products that were charged nothing in the window, and have no run, are forgotten when another comes."""
        gone = [name for name, one in self.products.items() if one.is_idle(at, self.window)]
        running = {run[0] for run in self.runs.values()}
        for name in gone:
            if name not in running:
                del self.products[name]

    def dump(self) -> list[Any]:
        """All of it as lists and numbers, equal for equal sums."""
        products = [
            [name, one.total, one.unknown, [list(mark) for mark in one.marks], list(one.ended)]
            for name, one in self.products.items()
        ]
        runs = [[task, *run] for task, run in self.runs.items()]
        return [self.by, self.window, products, runs, list(self.ended_lately)]

    @classmethod
    def load(cls, dumped: list[Any]) -> "Charged":
        by, window, products, runs, lately = dumped
        charged = cls(by)
        charged.window = window
        charged.ended_lately.extend(lately)
        for name, total, unknown, marks, ended in products:
            one = charged.products[name] = _Product()
            one.total, one.unknown = total, unknown
            one.marks.extend((at, before) for at, before in marks)
            one.ended.extend(ended)
        charged.runs = {task: (product, whole, so_far, at) for task, product, whole, so_far, at in runs}
        return charged


class _Product:
    """One product: all that it was ever charged, and marks that say how much that was before a moment."""

    __slots__ = ("ended", "marks", "total", "unknown")

    def __init__(self) -> None:
        self.total = 0
        self.unknown = 0
        """Runs of which nothing is known yet."""
        self.marks: deque[tuple[int, int]] = deque()
        self.ended: deque[int] = deque(maxlen=RUNS_KEPT)

    def add(self, units: int, at: int, window: int) -> None:
        """At most one mark a second is kept: what comes within it counts from the first of it."""
        if not self.marks or at - self.marks[-1][0] >= _APART_MICROS:
            self.marks.append((at, self.total))
        self.total += units
        while len(self.marks) > 1 and self.marks[1][0] <= at - window:
            self.marks.popleft()

    def correct(self, units: int, since: int) -> None:
        """So much more, or less, was charged at an earlier moment."""
        if not units:
            return
        self.total += units
        for place in range(len(self.marks) - 1, -1, -1):
            at, before = self.marks[place]
            if at <= since:
                return
            self.marks[place] = (at, before + units)

    def in_window(self, now: int, window: int) -> int:
        """What was charged since the first mark that is in the window."""
        place = bisect_right(self.marks, now - window, key=_moment)
        return self.total - self.marks[place][1] if place < len(self.marks) else 0

    def is_idle(self, now: int, window: int) -> bool:
        """Whether nothing has changed in the window."""
        return not self.marks or self.marks[-1][0] <= now - window

    def mean(self) -> int | None:
        return sum(self.ended) // len(self.ended) if self.ended else None


def weighted(tokens: int, given: int | None, output: int | None, weights: tuple[Fraction, Fraction]) -> int:
    """Tokens by the weights of input and output; those that no split names count as input."""
    out = output or 0
    into = tokens - out if given is None else max(given, tokens - out)
    return int(into * weights[0] + out * weights[1])
