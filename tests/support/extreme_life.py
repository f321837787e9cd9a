"""A fleet whose every number is the lowest or the highest that a message may say."""

import datetime as dt
from random import Random
from typing import Any

from tallystick.events.messages import PRIORITIES, WIRE
from tests.support.core import START
from tests.support.driving import Timed

Message = dict[str, Any]

TOKENS = (0, 1, 2**53 + 1, 2**63 - 2, 2**63 - 1)
SECONDS = (0, "0.001", 1, "9007199254740993.5", "9223372036854775.807")
DOLLARS = (0, "0.000000001", "0.01", "9007199.254740993", "9223372036.854775807")
MINUTES = (0, "0.001", 30, 1_000_000_000)
WEIGHTS = ("0", "1e-18", 1, "999999999999999999")
CONFIG: Message = {
    "total_budget": {"tokens": 2**63 - 1, "time_seconds": 9223372036, "cost_usd": 9223372036, "period": "month"},
    "max_concurrent": {"total": 3},
    "token_budgets": {"writer": 1_000, "huge": 2**63 - 1},
    "token_budget_multiplier": 9223372036,
    "products": {"lab": {"weight": 9223372036}, "shop": {"weight": "0.000000001"}},
    "fairness": {"by": "cost"},
    "emergency_reserve_percent": 0,
    "minimum_share_percent": 0,
    "max_pool_share_percent": 100,
}
AGENTS, TASKS = ("a", "b", "c", "stranger"), ("t1", "t2", "t3", "t4")
QUERIES: tuple[Message, ...] = (
    *({"type": kind, "agent": agent} for agent in AGENTS for kind in ("GetStatus", "CheckEnforcement", "Forecast")),
    *({"type": "GetEfficiency", "agent": agent} for agent in AGENTS),
    *({"type": "GetTask", "task": task} for task in TASKS),
    *({"type": "Reserve", "agent": agent, "estimate": {"tokens": 1}, "dry_run": True} for agent in AGENTS),
    {"type": "GenerateReport", "workflow": "w"},
    {"type": "GetGlobalStatus"},
    {"type": "GetQueue"},
    {"type": "GetHolds"},
    {"type": "GetLimits"},
    {"type": "ListKeys"},
)


def query_names() -> set[str]:
    """The messages that are queries by their kind: each of them is asked."""
    return {command.__name__ for command in WIRE if command.query}


class Life:
    """Draws the messages of one fleet."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice

    def messages(self, count: int) -> list[Timed]:
        """Budgets for the agents, then so many messages at random, then every query."""
        first: list[Message] = [
            {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10**18}, "workflow": "w", "product": "lab"},
            {"type": "AllocateBudget", "agent": "b", "parent": "a", "budget": {"tokens": 10**17, "cost_usd": 1}},
            {"type": "AllocateBudget", "agent": "c", "budget": {"time_seconds": 1}, "product": "shop", "workflow": "w"},
        ]
        asked = [*first, *(self._any() for _ in range(count)), *QUERIES]
        return [
            (START + number * dt.timedelta(seconds=7), {"id": f"m-{number}", **one}) for number, one in enumerate(asked)
        ]

    def _amount(self) -> Message:
        pick = self._dice.choice
        whole = {"tokens": pick(TOKENS), "time_seconds": pick(SECONDS), "cost_usd": pick(DOLLARS)}
        kept = {name: value for name, value in whole.items() if self._dice.random() < 0.6}
        return kept or {"tokens": pick(TOKENS)}

    def _used(self) -> Message:
        """What was used, as amounts or as the tokens of a model."""
        dice = self._dice
        if dice.random() < 0.6:
            return {"usage": self._amount()}
        sent, model = dice.choice((1, 10**9, 10**14)), dice.choice(("opus", "haiku", "nobody/knows"))
        given = {"model": model, "input_tokens": sent}
        return {**given, "output_tokens": dice.choice((0, 10**13)), "requests": dice.choice((0, 1, 2**63 - 1))}

    def _any(self) -> Message:
        dice, pick = self._dice, self._dice.choice
        agent, task, hold = pick(AGENTS), pick(TASKS), f"h{dice.randrange(6)}"
        match dice.randrange(14):
            case 0 | 1 | 2 | 3:
                return {"type": "ReportUsage", "agent": agent, **self._used(), "operation": "op"}
            case 4:
                return {"type": "ReportUsage", "task": task, **self._used()}
            case 5:
                ttl = pick(("0.001", 604_800, 60))
                return {"type": "Reserve", "id": hold, "agent": agent, "estimate": self._amount(), "ttl_seconds": ttl}
            case 6:
                return {"type": "Settle", "hold": hold, **self._used(), "final": dice.random() < 0.5}
            case 7 | 8:
                numbers = {"estimated_tokens": pick(TOKENS), "estimated_minutes": pick(MINUTES), "blocks": pick(TOKENS)}
                kind, product = pick(("writer", "huge", "other")), pick(("lab", "shop"))
                labels = {"agent_type": kind, "product": product, "priority": pick(PRIORITIES), "workflow": "w"}
                return {"type": "SubmitTask", "task": task, **labels, **numbers}
            case 9:
                return {"type": "CompleteTask", "task": task, "outcome": "completed", "usage": self._amount()}
            case 10:
                return {"type": pick(("BorrowFromPool", "ReturnToPool")), "agent": agent, "amount": self._amount()}
            case 11:
                weights = {f"w{dice.randrange(99)}": pick(WEIGHTS) for _ in range(3)}
                return {"type": "AllocateProportional", "weights": weights, "total": self._amount()}
            case 12:
                return {"type": pick(("ReleaseBudget", "Resume", "ReleaseBudget")), "agent": agent}
        return pick(
            (
                {"type": "Rebalance"},
                {"type": "SetTotalBudget", "budget": self._amount()},
                {"type": "AllocateFromPool", "agent": agent, "request": self._amount()},
                {"type": "ApproveLimit", "max_cost_usd": pick(DOLLARS), "max_tokens_total": pick(TOKENS)},
                {"type": "Throttle", "agent": agent, "rate": pick(("0.000000001", 1))},
            )
        )
