"""Fleets with limits and nothing else in the way, and what counts in them."""

from typing import Any

from tallystick.events import messages as c
from tests.support.core import Core, budget, fleet


def limited(*limits: dict[str, Any], **config: Any) -> Core:
    """A fleet with these limits, and with no others."""
    none = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}, "max_concurrent": {"total": None}}
    return Core(fleet(10_000_000, "1000", limits=list(limits), **{**none, **config}))


def limit(name: str = "cap", **rest: Any) -> dict[str, Any]:
    return {"name": name, **rest}


def ask(agent: str, id: str, tokens: int, **rest: Any) -> c.Reserve:
    return c.Reserve(agent=agent, id=id, estimate=budget(tokens), **rest)


def report(agent: str, tokens: int, **rest: Any) -> c.ReportUsage:
    return c.ReportUsage(agent=agent, usage=budget(tokens), **rest)
