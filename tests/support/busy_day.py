"""A day in which every timer of a fleet fires."""

import datetime as dt
import random
from typing import Any

from tests.support.core import START
from tests.support.driving import Timed

CONFIG: dict[str, Any] = {
    "total_budget": {"tokens": 20_000, "cost_usd": "50", "period": "day"},
    "emergency_reserve_percent": 10,
    "minimum_share_percent": 1,
    "max_pool_share_percent": 100,
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}


def busy_day(seed: int) -> list[Timed]:
    """A fleet in which every timer fires: forgotten holds, idle and hungry agents, warnings, the end of the day."""
    dice = random.Random(seed)
    now = START + dt.timedelta(hours=11)
    messages: list[tuple[dt.datetime, dict[str, Any]]] = []
    agents, holds = [f"agent-{n}" for n in range(8)], ["none"]
    for number, agent in enumerate(agents):
        budget = {"tokens": dice.choice((500, 1_000, 2_000))} | ({"cost_usd": "3"} if number % 2 else {})
        priority = dice.choice(("critical", "normal", "low"))
        messages.append((now, {"type": "AllocateBudget", "agent": agent, "budget": budget, "priority": priority}))
    for _ in range(150):
        now += dt.timedelta(seconds=dice.choice((0, 0.5, 1, 1, 2, 3, 9, 25, 70, 200)))
        agent = dice.choice(agents[:4] if dice.random() < 0.8 else agents)
        match dice.randrange(10):
            case 0 | 1:
                estimate, ttl = {"tokens": dice.randrange(100)}, dice.choice((0.25, 2, 10, 300))
                message: dict[str, Any] = {"type": "Reserve", "agent": agent, "estimate": estimate, "ttl_seconds": ttl}
                holds.append(f"n-{len(messages)}")
            case 2:
                message = {"type": "Settle", "hold": dice.choice(holds[-3:]), "usage": {"tokens": 9}}
            case 3:
                message = {"type": "Rebalance"}
            case 4:
                message = {"type": "GetGlobalStatus"}
            case _:
                usage = {"tokens": dice.randrange(60), "cost_usd": "0.01", "time_seconds": 1}
                message = {"type": "ReportUsage", "agent": agent, "usage": usage}
        messages.append((now, message))
    return [(at, {**message, "id": f"n-{number}"}) for number, (at, message) in enumerate(messages)]
