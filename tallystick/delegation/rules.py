"""When a child fleet draws from its parent, and when it gives back. Pure: the time is an argument."""

import datetime as dt
from fractions import Fraction
from math import ceil
from typing import Final

from tallystick.config.amounts import AMOUNT_MAX, DIMENSIONS, Amounts, Triple
from tallystick.delegation.standing import Standing
from tallystick.events.state.money import ZERO, Money, money

LOW: Final = 4
"""More is drawn when the pool has less than this part, a quarter, of what is kept at hand."""
KEPT: Final = 2
"""An idle fleet keeps this part, a half, of what is kept at hand."""
RETRY_SECONDS: Final = (5, 10, 20, 40, 60)
"""How long after a refused draw, and the next ones, another one is asked for."""


class Rules:
    """What a child fleet asks for. ``at_hand`` is ``delegate.budget``.

    ``reserve`` is the part of the child's total that does not come into its pool.
    """

    def __init__(self, at_hand: Triple, idle_seconds: float, reserve: Fraction) -> None:
        self._at_hand, self._idle, self._reserve = at_hand, dt.timedelta(seconds=idle_seconds), reserve
        self._wanted: Money = ZERO
        self._refused, self._next_draw = 0, dt.datetime.min.replace(tzinfo=dt.UTC)
        self._offered: Money | None = None
        self._used: tuple[Money, Money] | None = None
        self._quiet_since: dt.datetime | None = None

    def want(self, amount: Triple) -> None:
        """Something was refused for want of so much in the pool: it is asked for with the next draw."""
        units = money(amount)
        self._wanted = (
            max(self._wanted[0], units[0]),
            max(self._wanted[1], units[1]),
            max(self._wanted[2], units[2]),
        )

    def draw(self, at: Standing, now: dt.datetime) -> Amounts | None:
        """What to ask the parent for now; None for nothing."""
        if at.asked is not None or at.ended or not at.heard or now < self._next_draw:
            return None
        lacking = [self._lacking(at, d) for d in DIMENSIONS]
        if self._offered is not None:
            lacking = [min(units, self._offered[d]) for d, units in enumerate(lacking)]
            self._offered = None
        self._wanted = ZERO
        return Amounts(*(min(units, AMOUNT_MAX) or None for units in lacking)) if any(lacking) else None

    def _lacking(self, at: Standing, d: int) -> int:
        there, kept = at.pool[d], self._at_hand[d]
        if there is None:
            return 0
        filled = kept - there if kept is not None and there < -(-kept // LOW) else 0
        wanted = max(0, self._wanted[d] - there)
        # A part of what is granted becomes reserve.
        return max(filled, ceil(wanted / (1 - self._reserve)) if self._reserve < 1 else wanted)

    def give_back(self, at: Standing, now: dt.datetime) -> Amounts | None:
        """What to give back now, once for each idle period; None for nothing."""
        used = (at.spent, at.held)
        if used != self._used:
            self._used, self._quiet_since = used, now
        idle = self._quiet_since is not None and now - self._quiet_since >= self._idle
        if not idle or any(at.held) or at.asked is not None or at.ended:
            return None
        back = [self._too_much(at, d) for d in DIMENSIONS]
        if not any(back):
            return None
        self._quiet_since = None
        return Amounts(*(min(units, AMOUNT_MAX) or None for units in back))

    def _too_much(self, at: Standing, d: int) -> int:
        there, kept = at.may_return[d], self._at_hand[d]
        return 0 if there is None else max(0, there - (kept or 0) // KEPT)

    def refused(self, offered: Money | None, now: dt.datetime) -> None:
        """The parent has refused a draw. What it has is asked for at once; else, or if that fails, later."""
        if offered is not None and any(offered) and self._refused == 0:
            self._offered, self._refused = offered, 1
            return
        seconds = RETRY_SECONDS[min(self._refused, len(RETRY_SECONDS) - 1)]
        self._refused += 1
        self._next_draw = now + dt.timedelta(seconds=seconds)

    def granted(self) -> None:
        """A draw was granted: the next one is asked for when it is needed."""
        self._refused, self._next_draw = 0, dt.datetime.min.replace(tzinfo=dt.UTC)
