"""The facts that conditions may name (spec 5), as the state has them, and the model that they choose for a task."""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from tallystick.config.conditions import Value
from tallystick.config.models import choose_model
from tallystick.events.amounts import COST, TOKENS, dollars
from tallystick.events.decide.levels import pressure
from tallystick.events.ledger import Ledger
from tallystick.events.task_rules import MS_PER_MINUTE, priority_of
from tallystick.events.tasks import Task

NAMED = "named by the task"


class Chosen(NamedTuple):
    """A model, and the condition that chose it."""

    model: str
    because: str


def model_for(ledger: Ledger, task: Task) -> Chosen:
    """The model that a run of a task gets now: the one it names, or that of the first rule that holds."""
    if task.wanted_model is not None:
        return Chosen(task.wanted_model, NAMED)
    choice = choose_model(ledger.rules.config, {**fleet_facts(ledger), **task_facts(ledger, task)})
    return Chosen(choice.model, choice.condition)


def fleet_facts(ledger: Ledger) -> dict[str, Value]:
    """What is said of the fleet, as of the newest event; limits as raised for today. Dollars are exact decimals."""
    used, began = ledger.used_today, ledger.day.hour_began(ledger.now, ledger.spent)
    facts: dict[str, Value] = {
        "cost_daily_usd": _dollars(used[COST]),
        "tokens_daily": used[TOKENS],
        "cost_hourly_usd": _dollars(ledger.spent[COST] - began[1]),
        "tokens_hourly": ledger.spent[TOKENS] - began[0],
        "pressure": pressure(ledger)[0],
        "agents_active": len(ledger.tasks.running),
        "queue_length": ledger.tasks.queued,
    }
    if ledger.day.approved.tokens is not None:
        facts["daily_limits.max_tokens_total"] = limit_of(ledger, TOKENS)
    if ledger.day.approved.cost_nanos is not None:
        limit = limit_of(ledger, COST)
        facts["daily_limits.max_cost_usd"] = None if limit is None else _dollars(limit)
    return facts


def limit_of(ledger: Ledger, d: int) -> int | None:
    """The day's limit in tokens or nano-dollars, as configured or raised for today; None where there is none."""
    limits = ledger.rules.config.daily_limits
    configured = limits.max_tokens_total if d == TOKENS else limits.max_cost_nanos if d == COST else None
    return None if configured is None else max(configured, ledger.day.approved.triple[d] or 0)


def _dollars(nanos: int) -> Decimal:
    return Decimal(dollars(nanos))


def task_facts(ledger: Ledger, task: Task) -> dict[str, Value]:
    """What is said of a task. Nothing is deferrable yet."""
    return {
        "task.priority": priority_of(ledger.rules.config, task.product, task.named_priority),
        "task.product": task.product,
        "task.agent_type": task.agent_type,
        "task.estimated_minutes": None if task.estimated_ms is None else Fraction(task.estimated_ms, MS_PER_MINUTE),
        "task.estimated_tokens": task.estimated_tokens,
        "task.workflow": task.workflow,
        "task.deferrable": False,
    }
