"""How well the budget is spread, by dimension (spec: quality metrics).

**Utilization** is what was used of what was granted: Σ consumed / Σ allocated, over open accounts and over closed ones
with what they were allocated at the moment before their release; a task with its token budget. What an account handed
on to sub-agents counts as theirs, open or closed, so that no unit is counted twice.

**Fairness** is 1 - variance / mean of x = allocation / entitled share, over the open accounts that draw on the pool,
where the entitled share is priority weight / Σ weights × Σ allocated. **Jain's index** is of the same x
(`events/evenness.py`).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from tallystick.config.amounts import DIMENSIONS
from tallystick.events.state import fairness as evenness
from tallystick.events.state.money import money
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.projections.views.fleet import FleetRow, with_budget


class Measure(msgspec.Struct, frozen=True):
    """A metric by dimension, rounded to 6 places; None where it is not defined."""

    tokens: float | None
    time_seconds: float | None
    cost_usd: float | None


class Quality(msgspec.Struct, frozen=True):
    """Utilization from 0; fairness up to 1; Jain's index from 1/n to 1. Above 1, utilization says overrun."""

    utilization: Measure
    fairness: Measure
    jain: Measure


def quality(fleet: FleetRow, agents: Iterable[AgentRow], weights: Mapping[str, Decimal]) -> Quality:
    """The metrics of a fleet with these open agents; ``weights`` by priority."""
    rows = list(agents)
    shares = [_shares(rows, d, weights) for d in DIMENSIONS]
    return Quality(
        Measure(*(_utilization(fleet, rows, d) for d in DIMENSIONS)),
        Measure(*(evenness.fairness(share) for share in shares)),
        Measure(*(evenness.jain(share) for share in shares)),
    )


def _utilization(fleet: FleetRow, agents: Iterable[AgentRow], d: int) -> float | None:
    allocated = money(fleet.closed_allocated.triple)[d]
    consumed = money(fleet.closed_consumed.triple)[d]
    for row in agents:
        limit = with_budget(row.allocated.triple, fleet.token_budgets.get(row.agent))[d]
        if limit is not None:
            closed = money(row.closed.triple)[d]
            allocated += max(0, limit - money(row.delegated.triple)[d] - closed)
            consumed += money(row.consumed.triple)[d] - closed
    return round(consumed / allocated, 6) if allocated else None


def _shares(agents: Iterable[AgentRow], d: int, weights: Mapping[str, Decimal]) -> list[float]:
    """Allocation / entitled share of each account on the pool. A weight of zero entitles to nothing: left out."""
    return evenness.shares(
        [
            (limit, float(weights[row.priority]))
            for row in agents
            if row.parent is None and (limit := row.allocated.triple[d]) is not None and weights[row.priority]
        ]
    )
