"""Random amounts and configurations: small fleets, in which every line is soon crossed."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

from tallystick.config.amounts import Budget
from tallystick.events import messages as c

_TOKENS = (0, 1, 3, 10, 50, 90, 99, 100, 100, 250, 400, 500, 900, 1_000, 2_500)
_SECONDS = tuple(Decimal(text) for text in ("0", "0.001", "1", "12.5", "60", "100", "450"))
DOLLARS = tuple(Decimal(text) for text in ("0", "0.000000001", "0.01", "0.3", "1", "2.5", "4", "10"))
_BAD = tuple(Decimal(text) for text in ("-1", "NaN", "Infinity", "-Infinity", "1E+30", "1E-30"))


def budget(dice: Random, weird: bool = True, of: Sequence[int] = _TOKENS) -> Budget:
    """Any subset of the dimensions; seldom something that is no amount."""
    names = dice.choice(("t", "t", "t", "t", "t", "t", "t", "c", "s", "tc", "tc", "ts", "cs", "tcs"))
    tokens = dice.choice(of) if "t" in names else None
    seconds = dice.choice(_SECONDS) if "s" in names else None
    cost = dice.choice(DOLLARS) if "c" in names else None
    if weird and not dice.randint(0, 29):
        return dice.choice(
            (
                Budget(),
                Budget(dice.choice((-1, 10**30)), seconds, cost),
                Budget(tokens, dice.choice(_BAD), cost),
                Budget(tokens, seconds, dice.choice(_BAD)),
            )
        )
    return Budget(tokens, seconds, cost)


def configuration(dice: Random, is_work: bool = False) -> dict[str, Any]:
    """Small fleets, in which every line is soon crossed; where it is about work, there is enough for some."""
    total: dict[str, Any] = {"period": dice.choice(("none", "none", "none", "day", "week", "month"))}
    total["rollover"] = dice.random() < 0.5
    limits = dice.choice(("t", "t", "t", "tc", "tcs", "cs", ""))
    if is_work:
        total["tokens"] = dice.choice((5_000, 100_000))
    elif "t" in limits:
        total["tokens"] = dice.choice((0, 500, 1_000, 1_000, 2_000, 3_000, 3_000, 3_000))
    if "c" in limits:
        total["cost_usd"] = dice.choice(("1", "5", "10"))
    if "s" in limits:
        total["time_seconds"] = dice.choice((100, 600))
    degrade_at, stop_at = dice.choice((("0.9", 1), ("0.9", 1), ("0.9", "0.95"), (1, "1.2")))
    above = dice.choice(("0.9", "0.9", "1.3"))
    return {
        "total_budget": total,
        "emergency_reserve_percent": dice.choice((10, 10, 10, 0, 0, 0, 33, 100)),
        "minimum_share_percent": dice.choice((5, 5, 40)),
        "max_pool_share_percent": dice.choice((50, 100, 100)),
        "timezone": dice.choice(("UTC", "Europe/Zurich", "America/Sao_Paulo")),
        "idempotency_ids_max": dice.choice((1_000_000, 1_000_000, 3)),
        "enforcement": {
            "degrade_at": degrade_at,
            "stop_at": stop_at,
            "fleet": {"throttle_at": above, "degrade_at": max(above, "0.95"), "stop_at": max(above, "1")},
        },
        "manual_override": {
            "pause_all_agents": not dice.randint(0, 29),
            "priority_override": dice.choice(({}, {}, {"lab": "critical"})),
        },
        "products": {
            "shop": {
                "paused": not dice.randint(0, 3),
                "max_concurrent_agents": dice.choice((1, 2, None)),
                "token_budget_daily": dice.choice((None, None, 300)),
            },
            "site": {"priority": dice.choice(c.PRIORITIES)},
        },
        "daily_limits": {
            "max_tokens_total": dice.choice((None, None, 500, 2_000)),
            "max_cost_usd": dice.choice((None, None, "1", "5")),
            "alert_at_percent": dice.choice((80, 80, 50, 100)),
        },
        "circuit_breaker": {
            "trip_conditions": dice.sample(TRIPS, dice.choice((0, 0, 0, 1, 2))),
            "when_tripped": {"allow_override": bool(dice.randint(0, 4))},
        },
        **_slots(dice),
        "notifications": dice.choice(_NOTIFIED),
    }


_NOTIFIED = ({"ceo": []}, {"ceo": ["json://one"]}, {"ceo": ["json://one", "json://two"], "ops": ["json://two"]})


def _slots(dice: Random) -> dict[str, Any]:
    """Few slots, small budgets and short leases, so that tasks wait for one another."""
    return {
        "max_concurrent": {
            "total": dice.choice((1, 1, 2, 3, None)),
            "per_type": {"backend": dice.choice((1, 1, 2)), "qa": dice.choice((0, 1, 2))},
        },
        "token_budgets": {"default": dice.choice((10, 50, 100)), "qa": dice.choice((20, 1_000))},
        "leases": {"seconds": dice.choice((30, 600, 6_000)), "max_attempts": dice.choice((1, 2, 3))},
        "preemption_cooldown_minutes": dice.choice((0, 1, 10)),
        "estimates": {"over_tasks": dice.choice((1, 2))},
    }


TRIPS = (
    "cost_daily_usd > daily_limits.max_cost_usd",
    "tokens_daily >= 900",
    "tokens_hourly > 400",
    "cost_hourly_usd > 2",
    "tokens_hourly < 5 and queue_length > 1",
    "pressure > 0.6",
    "agents_active == 2",
    "queue_length > 2 or tokens_daily in [100, 250]",
    "not queue_length < 4",
)
"""Conditions that few steps make true."""
