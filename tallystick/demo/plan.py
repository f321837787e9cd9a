"""What the fleet may spend, and what each agent is given at its start."""

from fractions import Fraction
from typing import Final

from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.demo.workload import Workload
from tallystick.events.amounts import COST, DIMENSIONS, TOKENS, Triple, dollars

ENOUGH_FOR: Final = Fraction(9, 10)
"""The total is this part of what all runs need, in tokens and in dollars: too small for all of them."""


def too_small(workload: Workload) -> Config:
    """A configuration whose total does not do for the whole fleet."""
    needs = workload.needs
    total: dict[str, object] = {"tokens": int(needs[TOKENS] * ENOUGH_FOR), "period": "none"}
    if needs[COST]:
        total["cost_usd"] = dollars(int(needs[COST] * ENOUGH_FOR))
    # A campaign of a whole day's work or more is shown in one go: the limits of a day are not what it is about.
    return from_mapping({"total_budget": total, "daily_limits": {"max_tokens_total": None, "max_cost_usd": None}})


def grants(workload: Workload, config: Config) -> list[Triple]:
    """What each run is given at its start: its share of ``total - reserve`` by the weight of its priority.

    Where the total limits nothing, the mean of the tokens that the runs need.
    """
    total = config.total_budget.amounts
    weights = [Fraction(config.allocation_weights.of(run.priority)) for run in workload.runs]
    outside_reserve = 1 - Fraction(config.emergency_reserve_percent) / 100
    if total == (None, None, None):
        return [(max(1, workload.needs[TOKENS] // len(weights)), None, None)] * len(weights)
    all_weights = sum(weights) or Fraction(1)
    shares = []
    for weight in weights:
        part = outside_reserve * weight / all_weights
        tokens, time_ms, cost = (None if total[d] is None else max(1, int((total[d] or 0) * part)) for d in DIMENSIONS)
        shares.append((tokens, time_ms, cost))
    return shares
