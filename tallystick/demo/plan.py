"""What the fleet may spend, how many may run at once, and what each task is granted."""

from collections import defaultdict
from fractions import Fraction
from typing import Final

from tallystick.config.amounts import COST, TOKENS, dollars
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.demo.worker import UNNAMED
from tallystick.demo.workload import Workload

ENOUGH_FOR: Final = Fraction(9, 10)
"""The total is this part of what all runs need, in tokens and in dollars: too small for all of them."""
A_DAY: Final = Fraction(17, 20)
"""The day's cost limit is this part of it: the day is warned of first."""
USUAL: Final = Fraction(1, 2)
"""The token budget of an agent type is what this part of its runs can do with; the hard end is half as much again."""


def too_small(workload: Workload) -> Config:
    """A configuration whose total does not do for the whole fleet, and whose slots not for all at once.

    There are as many slots as would always be taken if the work came evenly.
    """
    needs = workload.needs
    total: dict[str, object] = {"tokens": int(needs[TOKENS] * ENOUGH_FOR), "period": "none"}
    limits: dict[str, object] = {"max_tokens_total": None, "max_cost_usd": None}
    if needs[COST]:
        total["cost_usd"] = dollars(int(needs[COST] * ENOUGH_FOR))
        limits["max_cost_usd"] = dollars(int(needs[COST] * A_DAY))
    work_ms = sum(run.lasts_ms for run in workload.runs)
    slots = max(1, -(-work_ms // max(1, workload.lasts_ms)))
    return from_mapping(
        {
            "total_budget": total,
            "daily_limits": limits,
            "max_concurrent": {"total": slots, "per_type": _per_type(workload, slots)},
            "token_budgets": _token_budgets(workload),
        }
    )


def _per_type(workload: Workload, slots: int) -> dict[str, int]:
    """Where there are several types, none may have more than half of the slots."""
    types = {run.agent_type or UNNAMED for run in workload.runs}
    return dict.fromkeys(sorted(types), -(-slots // 2)) if len(types) > 1 else {}


def _token_budgets(workload: Workload) -> dict[str, int]:
    used: dict[str, list[int]] = defaultdict(list)
    for run in workload.runs:
        used[run.agent_type or UNNAMED].append(sum(step.used[TOKENS] for step in run.steps))
    return {name: max(1, sorted(all_)[int(len(all_) * USUAL)]) for name, all_ in sorted(used.items())}
