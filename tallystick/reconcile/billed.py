"""A line of a bill, as all formats are read: what was used, when, of which model and with which key, and its cost."""

import datetime as dt
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, NamedTuple

from tallystick.config.amounts import AMOUNT_MAX, AMOUNTS_MAX, COST, NANOS_PER_DOLLAR

_EXACT: Final = Context(prec=60)


class BillError(ValueError):
    """A bill that cannot be read: where, what was found, and what is allowed."""


class Parts(NamedTuple):
    """Tokens in parts that do not overlap: fresh input, input from a cache, input to a cache, and output."""

    fresh: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0

    @property
    def input(self) -> int:
        return self.fresh + self.cached + self.written

    @property
    def all(self) -> int:
        return self.fresh + self.cached + self.written + self.output


NO_TOKENS: Final = Parts()

TOTAL, DIRECTIONS, CACHED, KINDS = 0, 1, 2, 3
"""How finely a line tells tokens apart: not at all; input and output; what came from a cache, too; all parts."""
GROUPS: Final[tuple[tuple[tuple[int, ...], ...], ...]] = (
    ((0, 1, 2, 3),),
    ((0, 1, 2), (3,)),
    ((0, 2), (1,), (3,)),
    ((0,), (1,), (2,), (3,)),
)
"""By detail, the places of `Parts` that are one number."""


def grouped(parts: Parts, detail: int) -> tuple[int, ...]:
    """Tokens as a bill of this detail tells them apart."""
    return tuple(sum(parts[place] for place in group) for group in GROUPS[detail])


class BilledRow(NamedTuple):
    """A line of a bill. What it does not say is None.

    ``began`` is the moment of a call, and then ``ended`` is None; or the two are the span of a bucket, ``ended``
    excluded. ``call`` is the provider's id of the call, ``detail`` how finely ``parts`` are known. ``cost`` is in
    nano-dollars, what is finer to the nearest one.
    """

    provider: str
    began: dt.datetime
    ended: dt.datetime | None
    model: str | None
    key: str | None = None
    agent: str | None = None
    call: str | None = None
    parts: Parts | None = None
    requests: int | None = None
    cost: int | None = None
    detail: int = KINDS
    item: str | None = None
    """What was billed, where it is no model's tokens."""


class Other(NamedTuple):
    """A line that bills no usage, as a tax, a credit or a purchase: its kind and nano-dollars."""

    kind: str
    cost: int


Rows = Iterator[BilledRow | Other]


def nanos_of(amount: Decimal, place: str) -> int:
    """An amount in dollars to the nearest nano-dollar.

    Raises:
        BillError: it is above 2^63-1 nano-dollars.
    """
    nanos = (amount * NANOS_PER_DOLLAR).to_integral_value(ROUND_HALF_EVEN, _EXACT) if amount.adjusted() < 20 else None
    if nanos is None or abs(nanos) > AMOUNT_MAX:
        raise BillError(f"{place}: found an amount of {amount:.6e} dollars, allowed are up to {AMOUNTS_MAX[COST]}")
    return int(nanos)
