"""Amounts that are asked for: what may be held, granted, drawn or returned."""

from tallystick.config.amounts import NOTHING, Budget, InvalidAmount, Triple


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
