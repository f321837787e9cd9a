"""Fairness across products: which had more than its share of the slots of late (spec 3, "Fairness across products").

A product's *use* is its slot-time of the last 60 minutes, divided by its weight. Its *share* is the mean use of all
products that run or wait. Shares are not walls: a product that is alone may use everything.

By ``fairness.by`` it is instead the tokens or the cost that it was charged, its runs with what they should take.

Each slot that it holds counts for the minute to come too. Without that, all slots that are free at one moment would
go to one product: until time passes, none of them has used anything.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import lcm

from tallystick.events.state.charged import Charged
from tallystick.events.state.slot_time import MINUTE_MICROS, SlotTimes, micros

_AHEAD_MICROS = MINUTE_MICROS


class Fairness:
    """The slot-time of every product, and who is above its share.

    ``weights`` names the products whose weight is not 1; ``times`` are kept by the ledger. ``charged`` is asked for
    what takes their place where use is measured by tokens or cost, None where it is not.
    """

    def __init__(
        self,
        weights: Mapping[str, Decimal],
        times: SlotTimes | None = None,
        charged: Callable[[], Charged | None] = lambda: None,
    ) -> None:
        self.times = SlotTimes() if times is None else times
        self._charged = charged
        self.weigh(weights)

    def weigh(self, weights: Mapping[str, Decimal]) -> None:
        """Other weights are in force."""
        self._weights = {product: Fraction(weight) for product, weight in weights.items()}
        # Uses are compared as whole numbers, in units of their common denominator.
        self._unit = lcm(*(weight.numerator for weight in self._weights.values()))
        self._scales = {product: int(self._unit / weight) for product, weight in self._weights.items()}

    def use(self, product: str, now: dt.datetime) -> Fraction:
        """Slot-time of the last 60 minutes and of the minute to come, by weight, in microseconds."""
        return Fraction(self._use(product, micros(now)), self._unit)

    def above(self, waiting: Iterable[str], now: dt.datetime) -> frozenset[str]:
        """The products that used more than their share, among those that run and those that are ``waiting``."""
        moment = micros(now)
        uses = {product: self._use(product, moment) for product in {*self.times.running, *waiting}}
        total, count = sum(uses.values()), len(uses)
        return frozenset(product for product, use in uses.items() if use * count > total)

    def _use(self, product: str, now: int) -> int:
        charged = self._charged()
        if charged is not None:
            return charged.use(product, now) * self._scales.get(product, self._unit)
        time = self.times.times.get(product)
        if time is None:
            return 0
        return (time.in_window(now) + time.slots * _AHEAD_MICROS) * self._scales.get(product, self._unit)
