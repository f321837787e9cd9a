"""What the configuration says about tasks, in the form in which decisions and the allocator read it."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from tallystick.config.amounts import InvalidAmount
from tallystick.config.kinds import Priority
from tallystick.config.settings import Config
from tallystick.events.messages.command import PRIORITIES

MS_PER_MINUTE = 60_000
_MINUTES_MAX = 1_000_000_000


def token_budget(config: Config, agent_type: str) -> int | None:
    """The soft mark of a run of this type; None where it has none."""
    budgets = config.token_budgets
    return budgets.get(agent_type, budgets.get("default"))


def day_tokens(config: Config, agent_type: str, estimated: int | None) -> int:
    """What a run of this type counts in the day before it has used anything: its budget, or else its estimate."""
    budget = token_budget(config, agent_type)
    return (estimated or 0) if budget is None else budget


def max_tokens(config: Config, agent_type: str) -> int | None:
    """The hard end of a run of this type: what its account is granted; None where nothing is carved out for it."""
    ends = config.max_tokens
    return ends.get(agent_type, ends.get("default"))


def priority_of(config: Config, product: str, named: Priority | None) -> Priority:
    """What a task's priority is now: an operator's for its product, its own, its product's, or normal."""
    override = config.manual_override.priority_override.get(product)
    if override is not None or named is not None:
        return override or named or "normal"
    settings = config.products.get(product)
    return "normal" if settings is None or settings.priority is None else settings.priority


def priorities_of(config: Config) -> tuple[Mapping[str, Priority], Mapping[str, Priority | None]]:
    """What decides the priority of a task besides what it names itself: of some products an operator, or a setting."""
    return config.manual_override.priority_override, {name: one.priority for name, one in config.products.items()}


def is_higher(one: Priority, other: Priority) -> bool:
    """Whether one priority is above another."""
    return PRIORITIES.index(one) < PRIORITIES.index(other)


def lease_time(config: Config) -> dt.timedelta:
    """How long a slot is kept without a sign of life."""
    return dt.timedelta(milliseconds=int(config.leases.seconds * 1000))


def max_wait(config: Config, priority: Priority) -> dt.timedelta:
    """How long a task of a priority may wait before operators are alerted."""
    return minutes(config.priority_levels.of(priority).max_wait_time_minutes)


def minutes(value: Decimal) -> dt.timedelta:
    """A configured number of minutes, to the microsecond, and no more than a clock can tell."""
    return dt.timedelta(microseconds=int(min(value, Decimal(_MINUTES_MAX)) * MS_PER_MINUTE * 1000))


def exact_minutes(value: Decimal | None, field: str) -> int | None:
    """Minutes of a message in milliseconds, exactly.

    Raises:
        InvalidAmount: negative, not finite, finer than a thousandth, or longer than a clock can tell.
    """
    if value is None:
        return None
    fits = value.is_finite() and -20 < value.adjusted() < 10 and 0 <= value <= _MINUTES_MAX
    if not fits or value * 1000 != int(value * 1000):
        raise InvalidAmount(field, value, f"minutes with at most 3 decimals, from 0 to {_MINUTES_MAX}")
    return int(value * MS_PER_MINUTE)
