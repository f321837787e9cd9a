"""What attributes say, with everything checked that a program of somebody may have written there."""

import math
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tallystick.telemetry.items import Attributes, Unusable

COUNT_MAX: Final = 10**12
"""No call has as many tokens, and no series of a program's life."""
_COST_MAX: Final = Decimal(10**9)


def count(attributes: Attributes, *names: str) -> int | None:
    """The whole number under the first of these names that is there; some programs write numbers as texts.

    Raises:
        Unusable: what is there is no number of tokens.
    """
    for name in names:
        found = attributes.get(name)
        if type(found) is int and 0 <= found <= COUNT_MAX:
            return found
        if found is not None and found != "":
            return tokens(found, name)
    return None


def tokens(found: Any, name: str) -> int:
    """A number of tokens; what is finer is rounded up.

    Raises:
        Unusable: it is none; ``name`` says where it stands.
    """
    number = None if isinstance(found, bool) else found
    if isinstance(number, str):
        try:
            number = float(number) if number.isascii() and len(number) <= 40 and "_" not in number else None
        except ValueError:
            number = None
    if not isinstance(number, int | float) or not math.isfinite(number) or not 0 <= number <= COUNT_MAX:
        raise Unusable(f"{name}: found {str(found)[:40]!r}, allowed is a number of tokens from 0 to {COUNT_MAX}")
    return math.ceil(number)


def dollars(attributes: Attributes, *names: str) -> Decimal | None:
    """The amount of US dollars under the first of these names at which there is one."""
    for name in names:
        found = attributes.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float | str) or not str(found).isascii():
            continue
        try:
            amount = Decimal(str(found)[:40])
        except InvalidOperation:
            continue
        if amount.is_finite() and 0 <= amount <= _COST_MAX:
            return amount
    return None


def text(attributes: Attributes, *names: str) -> str | None:
    """The text under the first of these names that has one; a number or truth as JSON shows it."""
    for name in names:
        found = attributes.get(name)
        if found is None:
            continue
        shown = ("true" if found else "false") if isinstance(found, bool) else str(found).strip()
        if shown:
            return shown
    return None
