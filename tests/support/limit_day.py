"""A day under limits, leases, last calls and learned estimates: what issue 11 decides, in one log."""

import datetime as dt
import random
from typing import Any

from tests.support.core import START
from tests.support.driving import Timed

_LIMITS: list[dict[str, Any]] = [
    {"name": "user-day", "per": "label:user", "window": "day", "max": {"tokens": 2_500, "cost_usd": "2"}},
    {"name": "plan", "window": {"hours": 5, "from": "first_use"}, "max": {"tokens": 30_000}, "then": "refuse"},
    {"name": "rpm", "per": "provider", "window": {"seconds": 60}, "max": {"requests": 3, "input_tokens": 900},
     "then": "wait"},
    {"name": "by-model", "per": "model", "match": {"product": ["shop", "site"]}, "window": "hour",
     "max": {"output_tokens": 400}, "then": "warn"},
    {"name": "open", "per": "product", "max": {"concurrent": 3}},
    {"name": "ever", "per": "account", "window": "total", "max": {"tokens": 15_000}},
]  # fmt: skip
CONFIG: dict[str, Any] = {
    "total_budget": {"tokens": 400_000, "cost_usd": "90"},
    "minimum_share_percent": 0,
    "max_pool_share_percent": 100,
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "token_budgets": {"default": 2_000},
    "max_concurrent": {"total": 4},
    "enforcement": {"last_call": {"percent": 5}},
    "holds": {"quantile": "0.9"},
    "limits_counters_max": 12,
    "limits": _LIMITS,
}
_MODELS = (
    "claude-haiku-4-5",
    "anthropic/claude-haiku-4-5",
    "gpt-4o-mini",
    "bedrock/us.anthropic.claude-haiku-4-5-v1:0",
)


def limit_day(seed: int) -> list[Timed]:
    """Eight agents for ten hours: they hold, settle late or never, ask without an estimate, and fall silent."""
    dice = random.Random(seed)
    now, holds = START + dt.timedelta(hours=6), ["none"]
    messages: list[tuple[dt.datetime, dict[str, Any]]] = []
    agents = [f"agent-{number}" for number in range(8)]
    for number, agent in enumerate(agents):
        opened: dict[str, Any] = {"type": "AllocateBudget", "agent": agent, "agent_type": "writer"}
        opened |= {
            "budget": {"tokens": 6_000 if number in (1, 2) else 30_000},
            "product": "shop" if number < 5 else "site",
        }
        if number % 2:
            opened["labels"] = {"user": f"user-{number % 3}"}
        if number > 4:
            opened["lease_seconds"] = 900
        messages.append((now, opened))
    for step in range(260):
        now += dt.timedelta(seconds=dice.choice((0, 1, 3, 9, 20, 60, 300)))
        # Half of those with a lease fall silent after a while.
        agent = dice.choice(agents[:6] if step > 90 else agents)
        messages.append((now, _message(dice, agent, step, holds, f"n-{len(messages)}")))
    return [(at, {**message, "id": f"n-{number}"}) for number, (at, message) in enumerate(messages)]


def _message(dice: random.Random, agent: str, step: int, holds: list[str], id: str) -> dict[str, Any]:
    said: dict[str, Any] = {"agent": agent}
    if dice.random() < 0.5:
        said["labels"] = {"user": f"user-{dice.randrange(7)}"}
    match dice.randrange(15):
        case 0 | 1 | 2:
            holds.append(id)
            sent = dice.randrange(10, 600)
            asked = {"type": "Reserve", "model": dice.choice(_MODELS), "input_tokens": sent, "max_output_tokens": 900}
            return {
                **said,
                **asked,
                "on_expiry": dice.choice(("spend", "release")),
                "ttl_seconds": dice.choice((5, 90)),
            }
        case 3:
            holds.append(id)
            return {
                **said,
                "type": "Reserve",
                "estimate": {"tokens": dice.randrange(1, 900)},
                "last_call": step % 2 == 0,
            }
        case 4 | 5 | 6:
            settled: dict[str, Any] = {"type": "Settle", "hold": dice.choice(holds[-4:]), "model": _MODELS[0]}
            return {**settled, "input_tokens": 200, "output_tokens": dice.randrange(400), "final": dice.random() < 0.8}
        case 7:
            return {"type": "CancelHold", "hold": dice.choice(holds[-3:])}
        case 8:
            most = dice.choice(({"tokens": 20_000}, {"tokens": 40_000}, {}))
            which = dice.choice(({"limit": "user-day", "value": "user-1"}, {"limit": "user-day"}, {"limit": "plan"}))
            return {"type": "ApproveLimit", **which, "max": most}
        case 9:
            return {"type": "SubmitTask", "task": f"task-{step}", "agent_type": "writer", "product": "shop",
                    "estimated_tokens": dice.choice((300, 1_500, 16_000))}  # fmt: skip
        case 10:
            limits = [one for one in _LIMITS if dice.random() < 0.8]
            config = {"limits": limits, "limits_counters_max": dice.choice((4, 12, 100))}
            return {"type": "LoadConfig", "config": config if step % 3 else {"timezone": "Asia/Kolkata"}}
        case 11:
            return {"type": "BorrowFromPool", "agent": agent, "amount": {"tokens": 2_000}}
        case _:
            used = {"model": dice.choice(_MODELS), "input_tokens": dice.randrange(400), "output_tokens": 30}
            return {**said, "type": "ReportUsage", **used}
