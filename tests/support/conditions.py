"""What tests of conditions share: the packaged names, and facts to ask about."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from tallystick.config.conditions import Condition, Value
from tallystick.config.names import FLEET_NAMES, TASK_NAMES, numbers_in
from tallystick.config.settings import Config

NUMBERS = dict(numbers_in(Config()))
FACTS: Mapping[str, Value] = {
    "cost_daily_usd": Decimal("101.20"),
    "tokens_daily": 1_600_000,
    "cost_hourly_usd": Decimal("9.5"),
    "tokens_hourly": 0,
    "pressure": Fraction(13, 14),
    "agents_active": 3,
    "queue_length": 2,
    "task.priority": "normal",
    "task.product": "urgent-project",
    "task.agent_type": "backend-engineer",
    "task.estimated_minutes": Decimal(90),
    "task.estimated_tokens": 80_000,
    "task.workflow": None,
    "task.deferrable": False,
}


def parsed(text: str, numbers: Mapping[str, int | Decimal | None] = NUMBERS) -> Condition:
    """A condition about anything that a rule may name."""
    return Condition.parse(text, {**FLEET_NAMES, **TASK_NAMES}, numbers)


def holds(text: str, **changes: Value) -> bool:
    """Whether a condition is true of the facts; in ``changes`` a name's dots are written as ``__``."""
    return parsed(text).holds({**FACTS, **{name.replace("__", "."): value for name, value in changes.items()}})
