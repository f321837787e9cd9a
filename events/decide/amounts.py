"""Amounts that are asked for: what may be held, granted, drawn or returned."""

from decimal import Decimal

from tallystick.config.amounts import NOTHING, Budget, InvalidAmount, Triple, exact_units


def not_empty(budget: Budget, field: str, *, may_be_zero: bool = False) -> Triple:
    """The amounts of a budget that names at least one dimension, and not only zeros where that would ask for nothing.

    Raises:
        InvalidAmount: malformed, empty, or nothing but zeros.
    """
    amounts = budget.exact(field)
    if not any(amounts) and (amounts == NOTHING or not may_be_zero):
        found = "nothing" if amounts == NOTHING else "nothing but zeros"
        raise InvalidAmount(field, found, "one or more of tokens, time_seconds, cost_usd above zero")
    return amounts


SPAN_MAX_MS = 604_800_000
WAIT_MAX_SECONDS = 3_600
"""How long a message may wait for its answer."""


def span_ms(given: Decimal, field: str) -> int:
    """A time that a message names, in milliseconds.

    Raises:
        InvalidAmount: not above zero, longer than a week, or finer than a millisecond.
    """
    allowed = "above 0 (at least 0.001) and at most 604800 seconds (a week)"
    if Decimal(given).is_finite() and given < 0:
        raise InvalidAmount(field, given, allowed)
    ms = exact_units(given, 1, field)
    if not 0 < ms <= SPAN_MAX_MS:
        raise InvalidAmount(field, given, allowed)
    return ms


def wait_ms(given: Decimal | None) -> int:
    """How long a message waits for its answer at most, in milliseconds; 0 where it does not wait.

    Raises:
        InvalidAmount: not a number of seconds from 0 to `WAIT_MAX_SECONDS`, or finer than a millisecond.
    """
    if given is None:
        return 0
    if given.is_finite() and not 0 <= given <= WAIT_MAX_SECONDS:
        raise InvalidAmount("wait_seconds", given, f"from 0 to {WAIT_MAX_SECONDS} seconds")
    return exact_units(given, 1, "wait_seconds")
