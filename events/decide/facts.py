"""The facts that conditions may name (spec 5), as the state has them, and the model that they choose for a task."""

from fractions import Fraction
from typing import NamedTuple

from tallystick.config.conditions import Value
from tallystick.config.models import choose_model
from tallystick.config.names import FLEET_NAMES
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
    """What is said of the fleet; None is not known."""
    return {
        **dict.fromkeys(FLEET_NAMES),
        "pressure": pressure(ledger)[0],
        "agents_active": len(ledger.tasks.running),
        "queue_length": ledger.tasks.queued,
    }


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
