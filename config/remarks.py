"""What a configuration may say and not mean: no limit, a limit that never binds, a condition that never holds."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.config.settings import Config

_DAYS: Final = {"day": 1, "week": 7, "month": 31}
_OPTIONAL: Final = (
    ("total_budget", "tokens"),
    ("total_budget", "time_seconds"),
    ("total_budget", "cost_usd"),
    ("daily_limits", "max_tokens_total"),
    ("daily_limits", "max_cost_usd"),
    ("max_concurrent", "total"),
)
"""The limits that stand by themselves, by section and name."""


class Remark(msgspec.Struct, frozen=True):
    """Something that an operator should know of a configuration; ``key`` is the dotted path that it is about."""

    code: str
    key: str
    message: str


def limits_of(config: Config) -> dict[str, int | Decimal]:
    """The limits that are in force, by dotted path."""
    found: dict[str, int | Decimal] = {}
    for section, name in _OPTIONAL:
        value = getattr(getattr(config, section), name)
        if value is not None:
            found[f"{section}.{name}"] = value
    found |= {f"max_concurrent.per_type.{name}": value for name, value in config.max_concurrent.per_type.items()}
    found |= {f"token_budgets.{name}": value for name, value in config.token_budgets.items()}
    for product, settings in config.products.items():
        for name in ("max_concurrent_agents", "token_budget_daily"):
            value = getattr(settings, name)
            if value is not None:
                found[f"products.{product}.{name}"] = value
    return found


def names_key(mapping: Mapping[str, Any], key: str) -> bool:
    """Whether a mapping says something at a dotted path, or about a part of it as a whole."""
    said: Any = mapping
    while key:
        if not isinstance(said, Mapping):
            return True  # null, or a value that is no map: it is said of all below
        name = next((name for name in said if key == name or key.startswith(f"{name}.")), None)
        if name is None:
            return False
        said, key = said[name], key[len(name) + 1 :]
    return True


def kept(in_force: Config, mapping: Mapping[str, Any]) -> list[Remark]:
    """The limits that stay in force because a mapping does not name them: an omission lifts nothing."""
    keys = [key for key in limits_of(in_force) if not names_key(mapping, key)]
    if not keys:
        return []
    message = f"not named, so they stay in force: {_listed(keys)}; null lifts a limit"
    return [Remark("limits_kept", keys[0], message)]


def remarks(config: Config) -> list[Remark]:
    """All that is worth saying of a configuration by itself."""
    return [*not_limited(config), *never_binding(config), *never_tripping(config)]


def not_limited(config: Config) -> Iterator[Remark]:
    """The limits that there are not."""
    for section, name in _OPTIONAL:
        if getattr(getattr(config, section), name) is None:
            yield Remark("not_limited", f"{section}.{name}", "there is no limit")
    if "default" not in config.token_budgets:
        named = ", ".join(config.token_budgets) or "none"
        message = f"a run of a type that is not named ({named} is) carves nothing out, and has no end of its own"
        yield Remark("not_limited", "token_budgets.default", message)


def never_binding(config: Config) -> Iterator[Remark]:
    """The limits that another one always comes before."""
    total, daily, slots = config.total_budget, config.daily_limits, config.max_concurrent.total
    days = _DAYS.get(total.period)
    for whole, per_day in (("tokens", "max_tokens_total"), ("cost_usd", "max_cost_usd")):
        most, limit = getattr(total, whole), getattr(daily, per_day)
        if most is None or limit is None:
            continue
        if limit >= most:
            yield _behind(f"daily_limits.{per_day}", limit, f"total_budget.{whole}", most)
        elif days is not None and limit * days <= most and limit * days != most:
            period = f"a {total.period} at daily_limits.{per_day} uses at most {limit * days}"
            yield Remark("can_never_bind", f"total_budget.{whole}", f"{most} is never reached: {period}")
    for name, limit in config.max_concurrent.per_type.items():
        if slots is not None and limit >= slots:
            yield _behind(f"max_concurrent.per_type.{name}", limit, "max_concurrent.total", slots)
    for name, product in config.products.items():
        key, running, tokens = f"products.{name}", product.max_concurrent_agents, product.token_budget_daily
        if slots is not None and running is not None and running >= slots:
            yield _behind(f"{key}.max_concurrent_agents", running, "max_concurrent.total", slots)
        if daily.max_tokens_total is not None and tokens is not None and tokens >= daily.max_tokens_total:
            yield _behind(f"{key}.token_budget_daily", tokens, "daily_limits.max_tokens_total", daily.max_tokens_total)


def never_tripping(config: Config) -> Iterator[Remark]:
    """The trip conditions that need an absent limit, the packaged one included: without it no breaker trips."""
    for number, condition in enumerate(config.trip_conditions):
        if not condition.can_hold:
            absent = [name for name, value in condition.numbers.items() if value is None]
            message = f"{condition.text} never becomes true: there is no {', '.join(absent)}"
            yield Remark("can_never_trip", f"circuit_breaker.trip_conditions[{number}]", message)


def _behind(key: str, value: object, other: str, least: object) -> Remark:
    return Remark("can_never_bind", key, f"{value} is never reached: {other} is {least}")


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(keys)
