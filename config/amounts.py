"""Tokens, milliseconds and nano-dollars: exact whole numbers inside, readable words at the edges.

Inside the fleet an amount is a plain ``int`` in one of three *dimensions*, and a set of amounts is a
triple ``(tokens, time_ms, cost_nanos)``. ``None`` in a triple means "this dimension is not limited here";
zero means zero. At every edge (YAML, JSON, HTTP, command line) the same amounts are called ``tokens``,
``time_seconds`` and ``cost_usd``, and they are parsed exactly or not at all: no float ever carries money.
"""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from typing import Final

import msgspec

Triple = tuple[int | None, int | None, int | None]
"""Amounts by dimension: (tokens, milliseconds, nano-dollars); ``None`` where a dimension is not limited."""

TOKENS, TIME, COST = 0, 1, 2
DIMENSIONS: Final = (TOKENS, TIME, COST)
EDGE_NAMES: Final = ("tokens", "time_seconds", "cost_usd")
AMOUNT_MAX: Final = 2**63 - 1

MS_PER_SECOND: Final = 1_000
NANOS_PER_DOLLAR: Final = 1_000_000_000
NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
"""A number as text may write it: ASCII digits, without underscores, spaces or digits of other scripts."""

AMOUNTS_MAX: Final = ("9223372036854775807", "9223372036854775.807", "9223372036.854775807")
"""The largest amount of each dimension as every edge writes it: 2^63-1 internal units."""
_UNITS: Final = ("whole tokens", "seconds with at most 3 decimals", "US dollars with at most 9 decimals")

NOTHING: Final[Triple] = (None, None, None)


class InvalidAmount(ValueError):
    """An amount that cannot be kept exactly. ``field`` says where, the text what was found and is allowed."""

    def __init__(self, field: str, found: object, allowed: str) -> None:
        super().__init__(f"{field}: found {_shown(found)}, allowed is {allowed}")
        self.field = field


class Amounts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Amounts as the log keeps them: internal units, a limited or moved dimension only."""

    tokens: int | None = None
    time_ms: int | None = None
    cost_nanos: int | None = None

    @property
    def triple(self) -> Triple:
        return (self.tokens, self.time_ms, self.cost_nanos)


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Amounts that were used, as programs write them: they may be finer than our units, as ``0.1 + 0.2`` is."""

    tokens: int | float | None = None
    time_seconds: Decimal | None = None
    cost_usd: Decimal | None = None

    def rounded_up(self, field: str) -> Triple:
        """The amounts in internal units, what is finer rounded up to the next unit: what was used is a fact.

        Raises:
            InvalidAmount: negative, not finite, or above 2^63-1 units; names ``field``.
        """
        tokens, time, cost = self.tokens, self.time_seconds, self.cost_usd
        if tokens is not None and (type(tokens) is not int or not 0 <= tokens <= AMOUNT_MAX):
            tokens = count_up(tokens, f"{field}.tokens")
        time_ms = cost_nanos = None
        if time is not None and (time_ms := _units(time, TIME)) == _UNFIT:
            time_ms = units_up(time, TIME, f"{field}.time_seconds")
        if cost is not None and (cost_nanos := _units(cost, COST)) == _UNFIT:
            cost_nanos = units_up(cost, COST, f"{field}.cost_usd")
        return (tokens, time_ms, cost_nanos)


class Budget(Usage, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Amounts as messages have them: any subset of ``{"tokens": 50000, "time_seconds": 300, "cost_usd": "5.00"}``."""

    tokens: int | None = None
    time_seconds: Decimal | None = None
    cost_usd: Decimal | None = None

    def exact(self, field: str) -> Triple:
        """The amounts in internal units, exactly: for what is asked for.

        Raises:
            InvalidAmount: negative, not finite, finer than the unit, or above 2^63-1 units; names ``field``.
        """
        tokens, time, cost = self.tokens, self.time_seconds, self.cost_usd
        if tokens is not None and not 0 <= tokens <= AMOUNT_MAX:
            raise InvalidAmount(f"{field}.tokens", tokens, _allowed(TOKENS))
        time_ms = None if time is None else _units(time, TIME)
        if time_ms == _UNFIT:
            raise InvalidAmount(f"{field}.time_seconds", time, _allowed(TIME))
        cost_nanos = None if cost is None else _units(cost, COST)
        if cost_nanos == _UNFIT:
            raise InvalidAmount(f"{field}.cost_usd", cost, _allowed(COST))
        return (tokens, time_ms, cost_nanos)


def count_up(value: float, field: str) -> int:
    """A number of tokens that were used, a part of one rounded up.

    Raises:
        InvalidAmount: negative, not finite, or above 2^63-1.
    """
    if not 0 <= value <= AMOUNT_MAX:
        raise InvalidAmount(field, value, _allowed(TOKENS, used=True))
    return value if type(value) is int else math.ceil(value)


def units_up(value: Decimal, dimension: int, field: str) -> int:
    """What was used, in the internal unit of ``dimension``: a part of a unit is rounded up to a whole one.

    Raises:
        InvalidAmount: negative, not finite, or above 2^63-1 units.
    """
    units = _units(value, dimension)
    if units == _UNFIT:
        # The size is checked first, so that 1E+999999 costs nothing, and 1E-999999 is one unit.
        if not value.is_finite() or value.is_signed() or value.adjusted() > 18:
            raise InvalidAmount(field, value, _allowed(dimension, used=True))
        units = int(value.quantize(_DOWN[dimension], ROUND_CEILING, _WIDE) * _UP[dimension])
        if units > AMOUNT_MAX:
            raise InvalidAmount(field, value, _allowed(dimension, used=True))
    return units


def exact_units(value: Decimal | int, dimension: int, field: str) -> int:
    """``value`` in the internal unit of ``dimension``, exactly.

    Raises:
        InvalidAmount: negative, not finite, finer than the unit, or above 2^63-1 units.
    """
    units = _units(Decimal(value), dimension)
    if units == _UNFIT:
        raise InvalidAmount(field, value, _allowed(dimension))
    return units


_UNFIT: Final = -1
_UP: Final = (1, MS_PER_SECOND, NANOS_PER_DOLLAR)
_DOWN: Final = (Decimal(1), Decimal("0.001"), Decimal("0.000000001"))
_WIDE: Final = Context(prec=40, Emin=-(10**18) + 1)
"""Holds every amount to a hundredth of a unit and more, however many digits it was written with."""


def _units(value: Decimal, dimension: int) -> int:
    """``value`` in the internal unit of ``dimension``, a whole number from 0 to 2^63-1, or `_UNFIT`."""
    # The size is checked before anything is reckoned with it, so that 1E+999999 costs nothing.
    if not -40 < value.adjusted() <= 18:
        return _UNFIT
    try:
        numerator, denominator = value.as_integer_ratio()
    except (ValueError, OverflowError):  # NaN, or infinity
        return _UNFIT
    units, rest = divmod(numerator * _UP[dimension], denominator)
    return _UNFIT if rest or not 0 <= units <= AMOUNT_MAX else units


def edge(amounts: Triple) -> dict[str, int | float | str]:
    """Amounts as every edge shows them; dimensions that are not limited are left out.

    Seconds are a number, dollars a decimal string with at least two decimals.
    """
    tokens, time_ms, cost_nanos = amounts
    shown: dict[str, int | float | str] = {}
    if tokens is not None:
        shown["tokens"] = tokens
    if time_ms is not None:
        shown["time_seconds"] = seconds(time_ms)
    if cost_nanos is not None:
        shown["cost_usd"] = dollars(cost_nanos)
    return shown


def at_edge(units: int, dimension: int) -> int | float | str:
    """One amount as every edge shows it."""
    return dollars(units) if dimension == COST else seconds(units) if dimension == TIME else units


def seconds(time_ms: int) -> int | float:
    """Milliseconds as a JSON number of seconds: whole where it is whole."""
    whole, rest = divmod(time_ms, MS_PER_SECOND)
    return time_ms / MS_PER_SECOND if rest else whole


def shown_minutes(elapsed_ms: int) -> int | float:
    """Milliseconds as minutes: whole where they are, else to 6 places."""
    whole, rest = divmod(elapsed_ms, 60_000)
    return round(elapsed_ms / 60_000, 6) if rest else whole


def dollars(cost_nanos: int) -> str:
    """Nano-dollars as an exact decimal string, at least two decimals: ``"5.00"``, ``"0.0125"``."""
    sign, cost_nanos = ("-", -cost_nanos) if cost_nanos < 0 else ("", cost_nanos)
    # Every reply shows what remains: taking the digits apart is quicker than reckoning with them.
    digits = str(cost_nanos)
    if cost_nanos < NANOS_PER_DOLLAR:
        digits = digits.zfill(10)
    cents_and_less = digits[-9:].rstrip("0")
    if len(cents_and_less) < 2:
        cents_and_less = cents_and_less.ljust(2, "0")
    return f"{sign}{digits[:-9]}.{cents_and_less}"


def cents(cost_nanos: int) -> str:
    """Nano-dollars for display: ``"$1.48"``, rounded half-up to cents."""
    sign = "-" if cost_nanos < 0 else ""
    rounded = (abs(cost_nanos) + NANOS_PER_DOLLAR // 200) // (NANOS_PER_DOLLAR // 100)
    return f"{sign}${rounded // 100:,}.{rounded % 100:02d}"


def percent(part: int, whole: int) -> int:
    """A percentage for display: floored, 0 of 0 is 0, anything of 0 is 100."""
    if whole <= 0:
        return 100 if part > 0 else 0
    return part * 100 // whole


def split_exactly(total: int, weights: Sequence[Decimal | int]) -> list[int]:
    """``total`` in whole units by ``weights``: largest remainder, ties in the order given, nothing lost.

    The weights are finite, not negative, and not all zero (the caller has checked). Hamilton's method.
    """
    shares = _whole_numbers(weights)
    sum_of_shares = sum(shares)
    parts = [total * share // sum_of_shares for share in shares]
    remainders = [total * share % sum_of_shares for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: -remainders[i])
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def _whole_numbers(weights: Iterable[Decimal | int]) -> list[int]:
    """Exact decimals as whole numbers in the same proportion."""
    fractions = [Decimal(weight).as_integer_ratio() for weight in weights]
    common = math.lcm(*(denominator for _, denominator in fractions))
    return [numerator * (common // denominator) for numerator, denominator in fractions]


def _allowed(dimension: int, *, used: bool = False) -> str:
    unit = ("tokens", "seconds", "US dollars")[dimension] if used else _UNITS[dimension]
    return f"{unit}, from 0 to {AMOUNTS_MAX[dimension]}"


def _shown(found: object) -> str:
    text = str(found)
    return text if len(text) <= 60 else text[:57] + "..."
