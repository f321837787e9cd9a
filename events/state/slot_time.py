"""How long each product held slots in the last hour: what fairness across products is measured by.

No decision reads it: it is kept with the state so that the allocator loses nothing by a restart. All times
are whole microseconds since 1970.
"""

import datetime as dt
from bisect import bisect_right
from collections import deque
from typing import Any

from tallystick.events.catalog.event import EPOCH

MINUTE_MICROS = 60_000_000
WINDOW_MICROS = 60 * MINUTE_MICROS
_MICROSECOND = dt.timedelta(microseconds=1)


def micros(at: dt.datetime) -> int:
    """A moment in whole microseconds since 1970: exact, and quicker to compare and subtract than what it stands for."""
    return (at - EPOCH) // _MICROSECOND


def _moment(mark: tuple[int, int]) -> int:
    return mark[0]


class SlotTime:
    """The slot-time of one product in a window that ends now.

    A change of how many slots it holds takes constant time, and some two marks per minute are kept. It is exact, but
    where the window begins between two changes less than a minute apart: there it takes the slot-time to be even. A
    change that is said to be earlier than the one before counts from there.
    """

    __slots__ = ("_at", "_marks", "_total", "slots")

    def __init__(self, at: int) -> None:
        self.slots = 0
        self._at = at
        self._total = 0
        # Moments, each with the slot-time up to it. From one to the next it is even, or less than a minute passes.
        self._marks = deque([(at, 0)])

    def change(self, slots: int, at: int) -> None:
        """From ``at`` on, the product holds so many slots more (or fewer, below 0)."""
        at = max(at, self._at)
        last = self._marks[-1][0]
        if at - last >= MINUTE_MICROS and self._at > last:
            self._marks.append((self._at, self._total))
        self._total += self.slots * (at - self._at)
        self._at = at
        self.slots += slots
        self._forget(at - WINDOW_MICROS)

    def in_window(self, now: int) -> int:
        """The slot-time of the window that ends ``now``."""
        now = max(now, self._at)
        start, marks = now - WINDOW_MICROS, self._marks
        total = self._total + self.slots * (now - self._at)
        if start >= self._at:
            return total - self._total - self.slots * (start - self._at)
        # Nothing is forgotten here: a question must not change the state.
        place = max(0, bisect_right(marks, start, key=_moment) - 1) if len(marks) > 1 and marks[1][0] <= start else 0
        first, before = marks[place]
        if start <= first:
            return total - before
        second, after = marks[place + 1] if place + 1 < len(marks) else (self._at, self._total)
        return total - before - (after - before) * (start - first) // (second - first)

    def _forget(self, start: int) -> None:
        """No window that begins earlier than ``start`` will be asked for."""
        while len(self._marks) > 1 and self._marks[1][0] <= start:
            self._marks.popleft()

    def dump(self) -> list[Any]:
        return [self.slots, self._at, self._total, [list(mark) for mark in self._marks]]

    @classmethod
    def load(cls, dumped: list[Any]) -> "SlotTime":
        time = cls(dumped[1])
        time.slots, time._total = dumped[0], dumped[2]
        time._marks = deque((at, total) for at, total in dumped[3])
        return time


class SlotTimes:
    """The slot-time of every product that held a slot in the last hour."""

    def __init__(self) -> None:
        self.times: dict[str, SlotTime] = {}
        self.running: dict[str, None] = {}
        """The products that hold slots."""
        self._idle: dict[str, int] = {}
        """Those that hold none any more, with the moment since when; the longest idle one comes first."""

    def started(self, product: str, at: dt.datetime) -> None:
        """A task of the product got a slot."""
        moment = micros(at)
        self._idle.pop(product, None)
        self.running[product] = None
        time = self.times.get(product)
        if time is None:
            time = self.times[product] = SlotTime(moment)
        time.change(1, moment)

    def ended(self, product: str, at: dt.datetime) -> None:
        """A task of the product no longer has its slot."""
        moment = micros(at)
        time = self.times[product]
        time.change(-1, moment)
        if not time.slots:
            del self.running[product]
            self._idle[product] = moment
        while self._idle:
            first, since = next(iter(self._idle.items()))
            if since > moment - WINDOW_MICROS:
                return
            del self._idle[first], self.times[first]

    def dump(self) -> list[Any]:
        """All of it as lists and numbers, equal for equal times."""
        idle = self._idle
        return [[product, time.dump(), idle.get(product)] for product, time in self.times.items()] + [list(idle)]

    @classmethod
    def load(cls, dumped: list[Any]) -> "SlotTimes":
        times = cls()
        *entries, idle = dumped
        since = {product: at for product, _, at in entries}
        for product, time, at in entries:
            times.times[product] = SlotTime.load(time)
            if at is None:
                times.running[product] = None
        times._idle = {product: since[product] for product in idle}
        return times
