"""Accounts under limits of their own, in short."""

from typing import Any

from tallystick.events import messages as c
from tests.support.core import Core, budget, fleet


def teams(tokens: int | None = 10_000_000, cost: str | None = "1000", **config: Any) -> Core:
    """A fleet that nothing bounds but its total and what a test says."""
    none = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}, "max_concurrent": {"total": None}}
    return Core(fleet(tokens, cost, **{**none, **config}))


def bound(agent: str, *limits: dict[str, Any], **rest: Any) -> c.AllocateBudget:
    """An account without a carve-out, under these limits."""
    return c.AllocateBudget(agent=agent, limits=list(limits), **rest)


def most(window: Any = "month", then: str | None = None, match: Any = None, **most: Any) -> dict[str, Any]:
    """One limit of an account."""
    said = {"then": then, "match": match}
    return {"window": window, "max": most, **{key: value for key, value in said.items() if value is not None}}


def spend(agent: str, cost: str | None = None, tokens: int | None = None, **rest: Any) -> c.ReportUsage:
    return c.ReportUsage(agent=agent, usage=budget(tokens, None, cost), **rest)


def ask(agent: str, id: str, cost: str | None = None, tokens: int | None = None, **rest: Any) -> c.Reserve:
    return c.Reserve(agent=agent, id=id, estimate=budget(tokens, None, cost), **rest)
