"""Which changes of settings are known to make limits stricter: one table over the keys of resource-limits.yml."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from tallystick.config.limits import Limit
from tallystick.config.section import Section
from tallystick.config.settings import Config, Product

_Tightens = Callable[[Any, Any], bool]


def _lower(before: Any, after: Any) -> bool:
    """None is no limit."""
    return before is None or (after is not None and after <= before)


def _higher(before: Any, after: Any) -> bool:
    return bool(after >= before)


def _on(before: Any, after: Any) -> bool:
    return after is True


def _off(before: Any, after: Any) -> bool:
    return after is False


def _more(before: Any, after: Any) -> bool:
    return set(before) <= set(after)


def _limits(before: Sequence[Limit], after: Sequence[Limit]) -> bool:
    """Each limit is still there, the same but for a maximum that is no higher; others may come."""
    found = {limit.name: limit for limit in after}
    return all(one.name in found and _is_no_looser(one, found[one.name]) for one in before)


def _is_no_looser(before: Limit, after: Limit) -> bool:
    rest = [name for name in Limit.__struct_fields__ if name != "max"]
    same = all(getattr(before, name) == getattr(after, name) for name in rest)
    return same and all(map(_lower, before.max.units, after.max.units))


TIGHTENS: Final[Mapping[str, _Tightens]] = {
    "total_budget.tokens": _lower,
    "total_budget.time_seconds": _lower,
    "total_budget.cost_usd": _lower,
    "total_budget.rollover": _off,
    "emergency_reserve_percent": _higher,
    "max_pool_share_percent": _lower,
    "enforcement.warn_at": _lower,
    "enforcement.throttle_at": _lower,
    "enforcement.degrade_at": _lower,
    "enforcement.stop_at": _lower,
    "enforcement.throttle_rate": _lower,
    "enforcement.last_call.percent": _higher,
    "enforcement.fleet.throttle_at": _lower,
    "enforcement.fleet.degrade_at": _lower,
    "enforcement.fleet.stop_at": _lower,
    "enforcement.fleet.hysteresis": _higher,
    "max_concurrent.total": _lower,
    "max_concurrent.per_type": _lower,
    "token_budgets": _lower,
    "token_budget_multiplier": _lower,
    "daily_limits.max_tokens_total": _lower,
    "daily_limits.max_cost_usd": _lower,
    "daily_limits.alert_at_percent": _lower,
    "limits": _limits,
    "products.max_concurrent_agents": _lower,
    "products.token_budget_daily": _lower,
    "products.paused": _on,
    "circuit_breaker.trip_conditions": _more,
    "circuit_breaker.when_tripped.allow_override": _off,
    "manual_override.pause_all_agents": _on,
}
"""Whether a change of a key, from one value to another, is stricter. A change of any other key loosens."""


def loosened(before: Config, after: Config) -> str | None:
    """The first key whose change is not known to be stricter; None where there is none."""
    for key, old, new in _changes(before, after, ""):
        tightens = TIGHTENS.get(key)
        if tightens is None or not tightens(old, new):
            return key
    return None


def _changes(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The keys that differ, with both values; the entries of a map are one key."""
    if before == after:
        return
    if isinstance(before, Section) and type(before) is type(after):
        for name in type(before).__struct_fields__:
            yield from _changes(getattr(before, name), getattr(after, name), f"{path}.{name}" if path else name)
    elif isinstance(before, Mapping):
        none = Product() if path == "products" else None
        # What an entry says that is not there: for budgets of agent types, the default.
        rest = [entries.get("default", none) if path == "token_budgets" else none for entries in (before, after)]
        for name in sorted(before.keys() | after.keys()):
            yield from _changes(before.get(name, rest[0]), after.get(name, rest[1]), path)
    else:
        yield path, before, after
