"""A fleet that is worth looking at: a week behind it, a day that goes on, a tree of agents, and a queue."""

import datetime as dt
import math
import random
from typing import Any, Final

from tallystick.actors.runtime.clock import ManualClock
from tallystick.fleet import Fleet
from tests.support.serving import Client

LIMITS: Final = """
total_budget: {tokens: 400000000, cost_usd: 1500, period: month}
daily_limits: {max_cost_usd: 100, max_tokens_total: 60000000, alert_at_percent: 80}
max_concurrent: {total: 4, per_type: {backend-engineer: 2}}
limits:
  - {name: mobile-day, match: {product: mobile}, window: day, max: {tokens: 9000000}}
reallocation: {enabled: false}
"""
PRODUCTS: Final = ("checkout", "search", "billing", "mobile")
_MODELS: Final = ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5")
_DAYS: Final = 4
_LEVELS: Final = (0.94, 0.81, 0.62, 0.33, 0.27, 0.12, 0.55, 0.44, 0.18, 0.71)


def with_a_week_behind_it(url: str, config: dict[str, Any], now: dt.datetime) -> None:
    """Make the log of a fleet that has worked for some days, and today up to ``now``."""
    chance = random.Random(7)
    clock = ManualClock(now - dt.timedelta(days=_DAYS))
    with Fleet.open(url, config, clock=clock) as fleet:
        fleet.ask(
            [
                {
                    "type": "AllocateBudget",
                    "agent": f"{product}-lead",
                    "product": product,
                    "budget": {"tokens": 70_000_000},
                }
                for product in PRODUCTS
            ]
        )
        hours = _DAYS * 24
        for hour in range(hours):
            at = clock.now() + dt.timedelta(hours=1)
            fleet.advance(min(at, now - dt.timedelta(minutes=20)))
            weight = 0.25 + max(0.0, math.sin((at.hour - 6) / 24 * 2 * math.pi)) if hour < hours - 1 else 0.2
            fleet.ask([_report(chance, f"{product}-lead", weight) for product in PRODUCTS])
        _open_agents(fleet)
        for minute in range(18, 0, -2):
            fleet.advance(now - dt.timedelta(minutes=minute))
            fleet.ask([_share(product, i, minute) for product in PRODUCTS for i in range(3)])


def _report(chance: random.Random, agent: str, weight: float) -> dict[str, Any]:
    tokens = int(chance.uniform(250_000, 420_000) * weight)
    model = chance.choice(_MODELS[:2])
    return {
        "type": "ReportUsage",
        "agent": agent,
        "model": model,
        "usage": {"tokens": tokens, "cost_usd": round(tokens * 2.1e-6, 6)},
    }


def _open_agents(fleet: Fleet) -> None:
    fleet.ask(
        [
            {
                "type": "AllocateBudget",
                "agent": f"{product}-{kind}",
                "agent_type": f"{kind}-engineer",
                "parent": f"{product}-lead",
                "budget": {"tokens": 900_000, "cost_usd": 4},
            }
            for product in PRODUCTS
            for kind in ("backend", "frontend", "qa")
        ]
    )


def _share(product: str, i: int, minute: int) -> dict[str, Any]:
    part = _LEVELS[(PRODUCTS.index(product) * 3 + i) % len(_LEVELS)] / 9
    tokens = int(900_000 * part * (1 + (minute % 3 - 1) / 10))
    return {
        "type": "ReportUsage",
        "agent": f"{product}-{('backend', 'frontend', 'qa')[i]}",
        "model": _MODELS[i],
        "usage": {"tokens": tokens, "cost_usd": round(tokens * 2.6e-6, 6)},
    }


def begin_tasks(client: Client) -> None:
    """Submit what fills the slots, and what waits behind it."""
    wanted = (
        ("CHK-104", "backend-engineer", "checkout", "high"),
        ("CHK-105", "frontend-engineer", "checkout", "normal"),
        ("SRC-77", "backend-engineer", "search", "normal"),
        ("BIL-12", "qa-engineer", "billing", "normal"),
        ("MOB-31", "frontend-engineer", "mobile", "critical"),
        ("SRC-78", "backend-engineer", "search", "high"),
        ("BIL-13", "qa-engineer", "billing", "low"),
        ("CHK-106", "backend-engineer", "checkout", "normal"),
    )
    for task, kind, product, priority in wanted:
        message = {"task": task, "agent_type": kind, "product": product, "priority": priority}
        answer = client.post("/v1/submit-task", {**message, "estimated_tokens": 80_000, "estimated_minutes": 30})
        assert answer.status == 200, answer.body
