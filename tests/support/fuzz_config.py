"""Configurations for fuzzed sessions: small fleets in which every line is soon crossed, and files that go wrong."""

import json
from random import Random
from typing import Any

from tests.support.fleets import configuration
from tests.support.fuzz_words import STRANGE, Temper, any_number, aside

_EXTREME: dict[str, tuple[Any, ...]] = {
    "idempotency_hours": (0, 1, 24, 8_760, 10**6),
    "token_budget_multiplier": (1, "1.5", 10, 100),
    "emergency_reserve_percent": (0, 10, 99, 100),
    "minimum_share_percent": (0, 1, 5, 100),
    "max_pool_share_percent": (0, 1, 50, 100),
    "preemption_cooldown_minutes": (0, 1, 10**6),
}
_INSIDE: dict[str, dict[str, tuple[Any, ...]]] = {
    "holds": {"ttl_seconds": ("0.001", 1, 300, 10**7), "quantile": ("0.5", "0.95", 1)},
    "leases": {"seconds": (1, 30, 120, 10**7), "max_attempts": (1, 3, 100)},
    "max_concurrent": {"total": (0, 1, 2, 5, 1_000, None)},
    "scoring": {"priority": (0, "0.5", 1), "wait": (0, "0.3", 10), "blocking": (0, "0.2", 1)},
    "enforcement": {"warn_before_exhaustion_seconds": (0, 1, 120, 10**6), "throttle_rate": ("0.01", "0.5", 1)},
    "total_budget": {"tokens": (0, 1, 1_000, 10**6, 2**63 - 1, None), "cost_usd": (0, 5, "9223372036.854775807", None)},
    "daily_limits": {"max_tokens_total": (0, 1, 500, 2**63 - 1, None), "max_cost_usd": (0, "0.01", 5, None)},
}

_KEPT = (0, 1, "3.5", 50, 100, "0.000000001")


def beginning(dice: Random, temper: Temper) -> dict[str, Any]:
    """The configuration that a fleet begins with. The reallocator looks seldom: each look costs time."""
    config = configuration(dice, is_work=dice.random() < 0.6)
    if dice.random() < 0.75:
        # Where everything is soon used up, or stopped, most messages are only refused.
        config["total_budget"] |= {"tokens": dice.choice((10**6, 10**9, 2**63 - 1))}
        config["total_budget"].pop("cost_usd", None)
        config["total_budget"].pop("time_seconds", None)
        config["daily_limits"] = {"max_tokens_total": None, "max_cost_usd": None}
        config["manual_override"]["pause_all_agents"] = False
        config["products"]["shop"]["paused"] = False
        config["circuit_breaker"]["trip_conditions"] = config["circuit_breaker"]["trip_conditions"][:1]
        config["minimum_share_percent"], config["max_pool_share_percent"] = dice.choice((0, 1)), 100
    config["reallocation"] = {"interval_seconds": dice.choice((600, 3_600)), "idle_seconds": dice.choice((1, 60))}
    if temper.large:
        config |= some(dice, config)
    config["notifications"] = {"ceo": []}
    config["limits"] = limits(config)
    opening = aside(["auto", config])
    if opening.random() < 0.25:
        config["accounts"] = {"auto": auto_accounts(opening)}
    keeping = aside(["last call", config])
    if keeping.random() < 0.3:
        config["enforcement"] = {**config.get("enforcement", {}), "last_call": {"percent": keeping.choice(_KEPT)}}
    return config


_MOST: dict[str, tuple[Any, ...]] = {
    "tokens": (0, 50, 10**5, 2**63 - 1),
    "cost_usd": ("0.01", 3),
    "requests": (1, 9),
    "concurrent": (1, 4),
}
_WINDOWS = ("total", "hour", "day", "week", "month", {"seconds": 60}, {"days": 7, "from": "first_use"})


def limits_of_account(dice: Random) -> list[dict[str, Any]]:
    """One to three limits of an account."""
    return [
        {
            "window": dice.choice(_WINDOWS),
            "max": {name: dice.choice(_MOST[name]) for name in dice.sample(sorted(_MOST), dice.randint(1, 2))},
            "match": dice.choice(({}, {}, {"model": "opus"}, {"provider": "anthropic"}, {"label:user": "a"})),
            "then": dice.choice(("stop", "refuse", "wait", "warn")),
        }
        for _ in range(dice.randint(1, 3))
    ]


def auto_accounts(dice: Random) -> dict[str, Any] | None:
    """Accounts that open by themselves, or none."""
    if dice.random() < 0.3:
        return None
    auto: dict[str, Any] = {"max": dice.choice((0, 1, 3, 10_000)), "idle_release_hours": dice.choice((1, 24))}
    if dice.random() < 0.5:
        auto["limits"] = limits_of_account(dice)
    if dice.random() < 0.5:
        auto["parent"] = dice.choice(("a1", "a2", "unheard-of"))
    if dice.random() < 0.3:
        auto["labels"] = {"user": "a"}
    return auto


def limits(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Limits for a configuration, drawn from what it says: so the sessions of before stay as they are otherwise."""
    dice = aside(config)
    found = []
    for n in range(dice.choice((0, 0, 1, 3))):
        named = dice.sample(sorted(_MOST), dice.randint(1, 3))
        found.append(
            {
                "name": f"limit-{n}",
                "per": dice.choice(("fleet", "account", "product", "model", "provider", "label:user")),
                "match": dice.choice(({}, {"product": "shop"}, {"label:user": ["a", "b"]}, {"model": "opus"})),
                "window": dice.choice(_WINDOWS),
                "max": {name: dice.choice(_MOST[name]) for name in named},
                "then": dice.choice(("stop", "refuse", "wait", "warn")),
            }
        )
    return found


def some(dice: Random, config: dict[str, Any]) -> dict[str, Any]:
    """A part of a configuration: some of its keys, some at their bounds."""
    part = {key: config[key] for key in config if dice.random() < 0.2}
    part.pop("notifications", None)
    # In a fleet that looks every 10 s at what to move, a day takes a minute to pass.
    part["reallocation"] = {"interval_seconds": 3_600}
    for key, values in _EXTREME.items():
        if dice.random() < 0.15:
            part[key] = dice.choice(values)
    for key, inside in _INSIDE.items():
        if dice.random() < 0.15:
            name = dice.choice(sorted(inside))
            part[key] = {**config.get(key, {}), name: dice.choice(inside[name])}
    return part


def changed(dice: Random, temper: Temper) -> dict[str, Any]:
    """What `LoadConfig` may say: seldom what is not allowed."""
    part = some(dice, configuration(dice, is_work=dice.random() < 0.5))
    if dice.random() < temper.wild * 5 or not part:
        part[dice.choice((*part, *_EXTREME, "no_such_key", "timezone"))] = dice.choice(
            (any_number(dice), "Mars/Olympus")
        )
    if dice.random() < temper.strange:
        part["products"] = {dice.choice(STRANGE): {"weight": any_number(dice)}}
    changing = aside(part)
    if changing.random() < 0.2:
        part |= {"limits": limits(part), "limits_counters_max": changing.choice((1, 5, 100_000))}
    if changing.random() < 0.1:
        part["accounts"] = {"auto": auto_accounts(changing)}
    if changing.random() < 0.1:
        part["enforcement"] = {**part.get("enforcement", {}), "last_call": {"percent": changing.choice(_KEPT)}}
    return part


def file_text(dice: Random, temper: Temper) -> str:
    """What a followed file says next: JSON is YAML. Now and then it is cut, empty or no configuration."""
    text = json.dumps(changed(dice, temper))
    match dice.randint(0, 9):
        case 0:
            return ""
        case 1:
            return text[: dice.randint(0, len(text))]
        case 2:
            return dice.choice(
                ("{", "null", "[]", "a: b: c", "\t", "&a [*a]", "!!python/object:os.system {}", "\x00", "{}")
            )
        case _:
            return text
