"""Fairness across products: who had more than its share of the slots of late (spec 3, "Fairness across products").

A product's *use* is its slot-time of the last 60 minutes, divided by its weight. Its *share* is the mean use of all
products that run or wait. Shares are not walls: a product that is alone may use everything.

Each slot that it holds counts for the minute to come too. Without that, all slots that are free at one moment would go to
one product: until time passes, none of them has used anything.
"""

import datetime as dt
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import lcm

from tallystick.actors.policies.tasks import micros

_MINUTE_MICROS = 60_000_000
_WINDOW_MICROS = 60 * _MINUTE_MICROS
_AHEAD_MICROS = _MINUTE_MICROS


class SlotTime:
    """The slot-time of one product in a window that ends now. All times are in microseconds and never go back.

    A change of how many slots it holds takes constant time, and some two marks per minute are kept. It is exact, but
    where the window begins between two changes less than a minute apart: there it takes the slot-time to be even.
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
        last = self._marks[-1][0]
        if at - last >= _MINUTE_MICROS and self._at > last:
            self._marks.append((self._at, self._total))
        self._total += self.slots * (at - self._at)
        self._at = at
        self.slots += slots
        self._forget(at - _WINDOW_MICROS)

    def in_window(self, now: int) -> int:
        """The slot-time of the window that ends ``now``."""
        start = now - _WINDOW_MICROS
        self._forget(start)
        total = self._total + self.slots * (now - self._at)
        if start >= self._at:
            return total - self._total - self.slots * (start - self._at)
        first, before = self._marks[0]
        if start <= first:
            return total - before
        second, after = self._marks[1] if len(self._marks) > 1 else (self._at, self._total)
        return total - before - (after - before) * (start - first) // (second - first)

    def _forget(self, start: int) -> None:
        """Nobody will ask for a window that begins earlier than ``start``."""
        while len(self._marks) > 1 and self._marks[1][0] <= start:
            self._marks.popleft()


class Fairness:
    """The slot-time of every product, and who is above its share.

    ``weights`` names the products whose weight is not 1. What it keeps is bounded by the products that held a slot in
    the last hour.
    """

    def __init__(self, weights: Mapping[str, Decimal]) -> None:
        self.weigh(weights)
        self._times: dict[str, SlotTime] = {}
        self._running: set[str] = set()
        # Products that hold no slot any more, with the moment since when: those that are idle the longest come first.
        self._idle: dict[str, int] = {}

    def weigh(self, weights: Mapping[str, Decimal]) -> None:
        """Other weights are in force."""
        self._weights = {product: Fraction(weight) for product, weight in weights.items()}
        # Uses are compared as whole numbers, in units of their common denominator.
        self._unit = lcm(*(weight.numerator for weight in self._weights.values()))
        self._scales = {product: int(self._unit / weight) for product, weight in self._weights.items()}

    def started(self, product: str, at: dt.datetime) -> None:
        """A task of the product got a slot."""
        moment = micros(at)
        self._idle.pop(product, None)
        self._running.add(product)
        time = self._times.get(product)
        if time is None:
            time = self._times[product] = SlotTime(moment)
        time.change(1, moment)

    def ended(self, product: str, at: dt.datetime) -> None:
        """A task of the product no longer has its slot."""
        moment = micros(at)
        time = self._times[product]
        time.change(-1, moment)
        if not time.slots:
            self._running.discard(product)
            self._idle[product] = moment
        self._forget(moment - _WINDOW_MICROS)

    def use(self, product: str, now: dt.datetime) -> Fraction:
        """Slot-time of the last 60 minutes and of the minute to come, by weight, in microseconds."""
        return Fraction(self._use(product, micros(now)), self._unit)

    def above(self, waiting: Iterable[str], now: dt.datetime) -> frozenset[str]:
        """The products that used more than their share, among those that run and those that are ``waiting``."""
        moment = micros(now)
        uses = {product: self._use(product, moment) for product in self._running.union(waiting)}
        total, count = sum(uses.values()), len(uses)
        return frozenset(product for product, use in uses.items() if use * count > total)

    def _use(self, product: str, now: int) -> int:
        time = self._times.get(product)
        if time is None:
            return 0
        return (time.in_window(now) + time.slots * _AHEAD_MICROS) * self._scales.get(product, self._unit)

    def _forget(self, start: int) -> None:
        while self._idle:
            product, since = next(iter(self._idle.items()))
            if since > start:
                return
            del self._idle[product], self._times[product]
