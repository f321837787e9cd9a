"""The facts that conditions may name (spec 5), as the state has them, and the model that they choose for a task."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from tallystick.config.amounts import COST, TOKENS, dollars
from tallystick.config.conditions import Value
from tallystick.config.models import ModelChoice, choose_model
from tallystick.events.decide.fleet_response import pressure
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import MS_PER_MINUTE, priority_of
from tallystick.events.state.tasks import Task

NAMED = "named by the task"
_KNOWN_MAX = 10_000


class Chosen(NamedTuple):
    """A model, and the condition that chose it."""

    model: str
    because: str


def model_for(ledger: Ledger, task: Task) -> Chosen:
    """The model that a run of a task gets now: the one it names, or that of the first rule that holds."""
    if task.wanted_model is not None:
        return Chosen(task.wanted_model, NAMED)
    choice = _choice(ledger, task)
    return Chosen(choice.model, choice.condition)


def _choice(ledger: Ledger, task: Task) -> ModelChoice:
    """By the first rule that holds; it is remembered where all rules are about the task alone."""
    config, known = ledger.rules.config, ledger.rules.models_chosen
    if known is None:
        return choose_model(config, _Facts(ledger, task))
    priority = priority_of(config, task.product, task.named_priority)
    # All that the facts of a task follow from (`_TASK`).
    kind = (task.product, task.agent_type, priority, task.workflow, task.estimated_tokens, task.estimated_ms)
    choice = known.get(kind)
    if choice is None:
        if len(known) >= _KNOWN_MAX:
            known.clear()
        choice = known[kind] = choose_model(config, _Facts(ledger, task))
    return choice


class _Facts(Mapping[str, Value]):
    """The facts of a task and of the fleet, each found when a condition asks for it: most rules name few."""

    def __init__(self, ledger: Ledger, task: Task) -> None:
        self._ledger = ledger
        self._task = task

    def __getitem__(self, name: str) -> Value:
        of_task = _TASK.get(name)
        return of_task(self._ledger, self._task) if of_task is not None else _FLEET[name](self._ledger)

    def __contains__(self, name: object) -> bool:
        raised = _RAISED.get(name) if isinstance(name, str) else None
        return name in _TASK or (raised(self._ledger) if raised is not None else name in _FLEET)

    def __iter__(self) -> Iterator[str]:
        return (name for name in (*_FLEET, *_TASK) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def fleet_facts(ledger: Ledger) -> dict[str, Value]:
    """What is said of the fleet, as of the newest event; limits as raised for today. Dollars are exact decimals."""
    return {name: fact(ledger) for name, fact in _FLEET.items() if name not in _RAISED or _RAISED[name](ledger)}


def limit_of(ledger: Ledger, d: int) -> int | None:
    """The day's limit in tokens or nano-dollars, as configured or raised for today; None where there is none."""
    return ledger.day.limit_of(d)


def _dollars(nanos: int) -> Decimal:
    return Decimal(dollars(nanos))


def _of_the_hour(ledger: Ledger) -> tuple[int, int]:
    """Tokens and nano-dollars of the last hour."""
    began = ledger.day.hour_began(ledger.now, ledger.spent)
    return ledger.spent[TOKENS] - began[0], ledger.spent[COST] - began[1]


def _cost_limit(ledger: Ledger) -> Decimal | None:
    limit = limit_of(ledger, COST)
    return None if limit is None else _dollars(limit)


_FLEET: Mapping[str, Callable[[Ledger], Value]] = {
    "cost_daily_usd": lambda ledger: _dollars(ledger.used_today[COST]),
    "tokens_daily": lambda ledger: ledger.used_today[TOKENS],
    "cost_hourly_usd": lambda ledger: _dollars(_of_the_hour(ledger)[1]),
    "tokens_hourly": lambda ledger: _of_the_hour(ledger)[0],
    "pressure": lambda ledger: pressure(ledger)[0],
    "agents_active": lambda ledger: len(ledger.tasks.running),
    "queue_length": lambda ledger: ledger.tasks.queued,
    "daily_limits.max_tokens_total": lambda ledger: limit_of(ledger, TOKENS),
    "daily_limits.max_cost_usd": _cost_limit,
}
_RAISED: Mapping[str, Callable[[Ledger], bool]] = {
    "daily_limits.max_tokens_total": lambda ledger: ledger.day.approved.tokens is not None,
    "daily_limits.max_cost_usd": lambda ledger: ledger.day.approved.cost_nanos is not None,
}
"""Numbers of the configuration that stand for themselves unless they were raised for today."""

_TASK: Mapping[str, Callable[[Ledger, Task], Value]] = {
    "task.priority": lambda ledger, task: priority_of(ledger.rules.config, task.product, task.named_priority),
    "task.product": lambda ledger, task: task.product,
    "task.agent_type": lambda ledger, task: task.agent_type,
    "task.estimated_minutes": lambda ledger, task: (
        None if task.estimated_ms is None else Fraction(task.estimated_ms, MS_PER_MINUTE)
    ),
    "task.estimated_tokens": lambda ledger, task: task.estimated_tokens or None,
    "task.workflow": lambda ledger, task: task.workflow,
    # Nothing is deferrable yet.
    "task.deferrable": lambda ledger, task: False,
}
