"""Agents whose runs are known step by step."""

import datetime as dt

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet

STEP = dt.timedelta(seconds=5)


def work(fleet: Fleet, clock: ManualClock, agent: str, tokens: list[int], model: str = "sonnet") -> None:
    """One report after the other, five seconds apart; each is looked at before the next."""
    for used in tokens:
        clock.move_to(clock.now() + STEP)
        reply = fleet.ask(
            {"type": "ReportUsage", "agent": agent, "model": model, "usage": {"tokens": used, "cost_usd": 0}}
        )
        assert "ok" in reply
        fleet.quiesce()


def allocate(fleet: Fleet, agent: str, tokens: int) -> None:
    budget = {"tokens": tokens}
    reply = fleet.ask({"type": "AllocateBudget", "agent": agent, "agent_type": "qa", "budget": budget})
    assert "ok" in reply


def run_of(fleet: Fleet, clock: ManualClock, agent: str, steps: int = 20) -> None:
    """A run whose prompt grows by 100 tokens a step, and which ends by itself."""
    allocate(fleet, agent, 1_000_000)
    work(fleet, clock, agent, [1_000 + 100 * step for step in range(steps)])
    fleet.ask({"type": "ReleaseBudget", "agent": agent})
    fleet.quiesce()
