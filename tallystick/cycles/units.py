"""Amounts of the protocol as amounts of a fleet, exactly, and back.

One USD_MICROCENT is 10^-8 dollars, which is ten of our nanodollars.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, NamedTuple

from tallystick.config.amounts import AMOUNT_MAX
from tallystick.cycles.wire import UNITS, Amount

PER_DOLLAR: Final = 10**8
"""USD_MICROCENTS of one dollar."""
FIELD: Final = {"USD_MICROCENTS": "cost_usd", "TOKENS": "tokens"}
"""The dimension of a fleet in which a unit is counted."""
MOST: Final = {"USD_MICROCENTS": AMOUNT_MAX // 10, "TOKENS": AMOUNT_MAX}
"""The largest amount that a fleet can count."""


class UnitMismatch(Exception):
    """A unit in which there is no budget; ``details`` say where, and which there are."""

    def __init__(self, unit: str, expected: list[str], scope: str | None = None) -> None:
        where = "this server" if scope is None else scope
        super().__init__(f"unit: found {unit}, {where} has budgets in {', '.join(expected)}")
        self.details = {"requested_unit": unit, "expected_units": expected}
        if scope is not None:
            self.details["scope"] = scope


class AmountTooLarge(Exception):
    """More than a fleet can count."""


def as_ours(amount: Amount) -> dict[str, Any]:
    """An amount as a budget of a message.

    Raises:
        UnitMismatch: a fleet does not count in this unit.
        AmountTooLarge: more than it can count.
    """
    if amount.unit not in UNITS:
        raise UnitMismatch(amount.unit, list(UNITS))
    if amount.amount > MOST[amount.unit]:
        raise AmountTooLarge(f"amount: found {amount.amount}, allowed are at most {MOST[amount.unit]} {amount.unit}")
    if amount.unit == "TOKENS":
        return {"tokens": amount.amount}
    dollars, rest = divmod(amount.amount, PER_DOLLAR)
    return {"cost_usd": f"{dollars}.{rest:08d}"}


def of(amounts: Mapping[str, Any], unit: str, *, up: bool = True) -> int:
    """What amounts of ours are in a unit, 0 where they do not name it; a part of a unit is rounded ``up``, or down."""
    value = amounts.get(FIELD[unit])
    if value is None:
        return 0
    if unit == "TOKENS":
        return int(value)
    exact = Decimal(value) * PER_DOLLAR
    return int(exact.to_integral_value(ROUND_CEILING if up else ROUND_FLOOR))


def unit_of(amounts: Mapping[str, Any]) -> str:
    """The unit in which a reservation was made."""
    return "USD_MICROCENTS" if "cost_usd" in amounts else "TOKENS"


class Named(NamedTuple):
    """An amount in a unit, as the protocol writes it."""

    unit: str
    amount: int

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"unit": self.unit, "amount": self.amount}
