"""Limits: what a scope may use at most within a window (``limits:`` in resource-limits.yml)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec

from tallystick.config.amounts import COST, at_edge, exact_units
from tallystick.config.errors import KeyPath, Unfit, nearest
from tallystick.config.kinds import Count, Dollars, Name, Percent, PositiveSeconds, Seconds
from tallystick.config.section import Section

SCOPES: Final = ("fleet", "account", "agent_type", "product", "workflow", "model", "provider")
"""Who may share a counter; beside them each label, as ``label:NAME``."""
LABEL: Final = "label:"
MEASURES: Final = ("tokens", "time_seconds", "cost_usd", "input_tokens", "output_tokens", "requests", "concurrent")
"""What a limit may bound, in the order of its counters."""
DAILY: Final = "daily"
"""The limit that ``daily_limits`` is short for."""
PRODUCT_DAILY: Final = "product-daily:"
"""Before the name of a product: the limit that its ``token_budget_daily`` is short for."""
LIMITS_MAX: Final = 10_000
COUNTERS_MAX: Final = 100_000
_LENGTH_MAX_MS: Final = 366 * 24 * 3_600_000
_LENGTH_MIN_MS: Final = 1_000
_MS: Final = {"seconds": 1_000, "minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}

Calendar = Literal["total", "hour", "day", "week", "month"]


class Lasting(Section, frozen=True, rename={"opens": "from"}):
    """A window of a fixed length: one of the four says how long. It rolls, or opens at the first use."""

    seconds: PositiveSeconds | None = None
    minutes: PositiveSeconds | None = None
    hours: PositiveSeconds | None = None
    days: PositiveSeconds | None = None
    opens: Literal["first_use"] | None = None

    def __post_init__(self) -> None:
        named = [name for name in _MS if getattr(self, name) is not None]
        if len(named) != 1:
            words = "exactly one of seconds, minutes, hours and days"
            raise Unfit({(name,): words for name in named or _MS})
        length = getattr(self, named[0]) * _MS[named[0]]
        if not _LENGTH_MIN_MS <= length <= _LENGTH_MAX_MS or length != int(length):
            raise Unfit({(named[0],): "a length from 1 second to 366 days, in whole milliseconds"})

    @property
    def length_ms(self) -> int:
        """How long it lasts."""
        return next(int(value * ms) for name, ms in _MS.items() if (value := getattr(self, name)) is not None)

    def __str__(self) -> str:
        name = next(name for name in _MS if getattr(self, name) is not None)
        number = getattr(self, name)
        rolls = "from the first use" if self.opens else "rolling"
        return f"{format(number.normalize(), 'f')} {name if number != 1 else name[:-1]} {rolls}"


class LimitMax(Section, frozen=True):
    """The most of each measure; None is no limit."""

    tokens: Count | None = None
    time_seconds: Seconds | None = None
    cost_usd: Dollars | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    requests: Count | None = None
    concurrent: Count | None = None

    @property
    def units(self) -> tuple[int | None, ...]:
        """By measure, in tokens, milliseconds, nano-dollars, requests, and what is open at once."""
        time_ms = None if self.time_seconds is None else int(self.time_seconds * 1_000)
        cost = None if self.cost_usd is None else exact_units(self.cost_usd, COST, "cost_usd")
        return (self.tokens, time_ms, cost, self.input_tokens, self.output_tokens, self.requests, self.concurrent)


class Limit(Section, frozen=True):
    """Within ``window``, each value of ``per`` uses at most ``max`` of what matches."""

    name: Name
    max: LimitMax
    per: Name = "fleet"
    match: Mapping[Name, Name | tuple[Name, ...]] = msgspec.field(default_factory=dict)
    window: Calendar | Lasting | None = None
    alert_at_percent: tuple[Percent, ...] | None = None
    then: Literal["stop", "refuse", "wait", "warn"] = "stop"

    def __post_init__(self) -> None:
        _check_scope(self.per, ("per",), (*SCOPES, "label:NAME"))
        for key, values in self.match.items():
            _check_scope(key, ("match",), (*SCOPES[1:], "label:NAME"))
            if not values:
                raise Unfit({("match", key): "a value, or a list of one or more"})
        if self.window is None and self.max.units[:-1] != (None,) * 6:
            words = "total, hour, day, week, month, or a length such as {hours: 5}, for all but max.concurrent"
            raise Unfit({("window",): words})

    @property
    def alerts(self) -> Sequence[Decimal]:
        """The percentages at which operators are alerted, rising: 80 and 100, and for what only waits none."""
        if self.alert_at_percent is None:
            return () if self.then == "wait" else (Decimal(80), Decimal(100))
        return sorted(set(self.alert_at_percent))


def _check_scope(found: str, key: KeyPath, allowed: Sequence[str]) -> None:
    if found in allowed[:-1] or (found.startswith(LABEL) and len(found) > len(LABEL)):
        return
    meant = nearest(found, allowed[:-1])
    if meant is None and found and found != LABEL[:-1] and not found.startswith(LABEL):
        meant = f"{LABEL}{found}"
    words = f"one of {', '.join(allowed)}"
    raise Unfit({key: words if key == ("per",) else f"a map whose keys are each {words}: {found!r} is none"}, meant)


def check_limits(limits: Sequence[Limit]) -> None:
    """Each bounds something under a name of its own."""
    seen: set[str] = set()
    for number, limit in enumerate(limits):
        if all(units is None for units in limit.max.units):
            words = f"a number for one or more of {', '.join(MEASURES)}"
            raise Unfit({("limits", number, "max", name): words for name in MEASURES})
        if limit.name == DAILY or limit.name.startswith(PRODUCT_DAILY) or "/" in limit.name:
            words = f"a name without '/', other than {DAILY} and {PRODUCT_DAILY}…, which are taken"
            raise Unfit({("limits", number, "name"): words})
        if limit.name in seen:
            raise Unfit({("limits", number, "name"): "a name that no other limit has"})
        seen.add(limit.name)


def shown(measure: int, units: int) -> int | float | str:
    """Units of a measure as every edge shows them."""
    return at_edge(units, measure) if measure <= COST else units
