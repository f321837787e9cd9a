"""Limits: what a scope may use at most within a window (``limits:`` in resource-limits.yml)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar, Final, Literal

import msgspec

from tallystick.config.amounts import COST, at_edge, exact_units
from tallystick.config.errors import KeyPath, Unfit, nearest
from tallystick.config.kinds import LABELS_MAX, Count, Dollars, Hours, Name, Percent, PositiveSeconds, Seconds
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
ACCOUNT_LIMITS_MAX: Final = 8
"""So many limits may one account have, and so many accounts with limits may be nested."""
_LENGTH_MAX_MS: Final = 366 * 24 * 3_600_000
_LENGTH_MIN_MS: Final = 1_000
_MS: Final = {"seconds": 1_000, "minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}

Calendar = Literal["total", "hour", "day", "week", "month"]


class Lasting(Section, frozen=True, omit_defaults=True, rename={"opens": "from"}):
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


class LimitMax(Section, frozen=True, omit_defaults=True):
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
        _check_counted(self)

    @property
    def alerts(self) -> Sequence[Decimal]:
        """The percentages at which operators are alerted, rising."""
        return _alerts(self)


class AccountLimit(Section, frozen=True, omit_defaults=True):
    """Within ``window``, an account and all below it use at most ``max`` of what matches."""

    per: ClassVar[str] = "account"
    max: LimitMax
    match: Mapping[Name, Name | tuple[Name, ...]] = msgspec.field(default_factory=dict)
    window: Calendar | Lasting | None = None
    alert_at_percent: tuple[Percent, ...] | None = None
    then: Literal["stop", "refuse", "wait", "warn"] = "stop"

    def __post_init__(self) -> None:
        _check_counted(self)

    @property
    def alerts(self) -> Sequence[Decimal]:
        """The percentages at which operators are alerted, rising."""
        return _alerts(self)


class AccountLimits(Section, frozen=True):
    """The limits of one account, as a message names them."""

    limits: tuple[AccountLimit, ...] = ()

    def __post_init__(self) -> None:
        check_account_limits(self.limits)


class AutoAccounts(Section, frozen=True):
    """Accounts that open by themselves: below which account, under which limits, and how many at most."""

    parent: Name | None = None
    limits: tuple[AccountLimit, ...] = ()
    labels: Mapping[Name, Name] = msgspec.field(default_factory=dict)
    max: Count = 10_000
    idle_release_hours: Hours = Decimal(24)

    def __post_init__(self) -> None:
        check_account_limits(self.limits)
        if len(self.labels) > LABELS_MAX:
            raise Unfit({("labels",): f"at most {LABELS_MAX} labels"})


class Accounts(Section, frozen=True):
    """How accounts come to be; ``auto`` null: each is opened by a message."""

    auto: AutoAccounts | None = None


def _alerts(limit: Limit | AccountLimit) -> Sequence[Decimal]:
    """80 and 100 where nothing is said, and for what only waits none."""
    if limit.alert_at_percent is None:
        return () if limit.then == "wait" else (Decimal(80), Decimal(100))
    return sorted(set(limit.alert_at_percent))


def _check_counted(limit: Limit | AccountLimit) -> None:
    for key, values in limit.match.items():
        _check_scope(key, ("match",), (*SCOPES[1:], "label:NAME"))
        if not values:
            raise Unfit({("match", key): "a value, or a list of one or more"})
    if limit.window is None and limit.max.units[:-1] != (None,) * 6:
        words = "total, hour, day, week, month, or a length such as {hours: 5}, for all but max.concurrent"
        raise Unfit({("window",): words})


def check_account_limits(limits: Sequence[AccountLimit]) -> None:
    """Each bounds something, and they are few enough to be looked at in each message of an account."""
    if len(limits) > ACCOUNT_LIMITS_MAX:
        raise Unfit({("limits",): f"at most {ACCOUNT_LIMITS_MAX} limits"})
    for number, limit in enumerate(limits):
        _check_bounds_something(number, limit)


def _check_bounds_something(number: int, limit: Limit | AccountLimit) -> None:
    if all(units is None for units in limit.max.units):
        words = f"a number for one or more of {', '.join(MEASURES)}"
        raise Unfit({("limits", number, "max", name): words for name in MEASURES})


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
        _check_bounds_something(number, limit)
        if limit.name == DAILY or limit.name.startswith(PRODUCT_DAILY) or "/" in limit.name:
            words = f"a name without '/', other than {DAILY} and {PRODUCT_DAILY}…, which are taken"
            raise Unfit({("limits", number, "name"): words})
        if limit.name in seen:
            raise Unfit({("limits", number, "name"): "a name that no other limit has"})
        seen.add(limit.name)


def shown(measure: int, units: int) -> int | float | str:
    """Units of a measure as every edge shows them."""
    return at_edge(units, measure) if measure <= COST else units
