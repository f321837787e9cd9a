"""What some work cost on the model that did it, and what it would have cost on the others of the catalogue."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from tallystick.config.amounts import COST, TOKENS, cents, dollars, percent
from tallystick.config.prices import PriceList
from tallystick.config.settings import Model
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.money import money
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.task_rows import DayRow, TaskRow, decode
from tallystick.projections.views.tasks import TasksView


class Tokens(NamedTuple):
    """What was used; the cached tokens are a part of the input."""

    input: int
    output: int = 0
    cached: int = 0


class Alternative(NamedTuple):
    """What a model of the catalogue, by its alias, costs for the same tokens, in nano-dollars."""

    model: str
    cost_nanos: int


class Comparison(NamedTuple):
    """The models from the most expensive on, equal ones in the catalogue's order. Those without a price are named in
    ``unpriced`` and not compared: their cost is not known.
    """

    alternatives: tuple[Alternative, ...]
    unpriced: tuple[str, ...]

    def saved(self, by: str, instead_of: str) -> "Saving":
        """What the model ``by`` saves, used instead of another; both are compared.

        Raises:
            KeyError: one of the two is not among the alternatives.
        """
        costs = dict(self.alternatives)
        return Saving(costs[instead_of] - costs[by], costs[instead_of])


class Saving(NamedTuple):
    """What is saved of what would have been paid, in nano-dollars; negative where it costs more."""

    saved_nanos: int
    of_nanos: int

    def __str__(self) -> str:
        """As people read it: half-up to cents, and floored to whole per cent."""
        return f"{cents(self.saved_nanos)} ({percent(self.saved_nanos, self.of_nanos)}%)"


def compare(used: Tokens, models: Mapping[str, Model], prices: PriceList) -> Comparison:
    """The cost of the same tokens on every model of the catalogue.

    It takes for granted that every model would have needed as many tokens: a model that needs more steps does not.
    """
    found = {alias: prices.find(model.id, model.provider) for alias, model in models.items()}
    known = [Alternative(alias, one.price.cost(*used)) for alias, one in found.items() if one is not None]
    known.sort(key=lambda alternative: -alternative.cost_nanos)
    return Comparison(tuple(known), tuple(alias for alias, one in found.items() if one is None))


class Instead(msgspec.Struct, frozen=True):
    """What a task would have cost on another model, and what that would have saved; below 0 it would have cost more.

    The percentage is of what the task cost, without its fraction; None where it cost nothing.
    """

    model: str
    cost_usd: str
    saved_usd: str
    saved_percent: int | None


class ComparedTask(msgspec.Struct, frozen=True):
    """A completed task: what it cost in all of its runs, and what it would have cost on the other models of the
    catalogue by the prices of its day, the most expensive first.
    """

    task: str
    product: str
    agent_type: str
    critical: bool
    model: str | None
    tokens_used: int
    cost_usd: str
    instead: list[Instead]


def compared_of(views: ViewStore) -> list[ComparedTask]:
    """The tasks that were completed on the newest day on record, with what other models would have cost.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = [decode(row) for row in views.whole((TasksView.name,)).rows[TasksView.name]]
    began_at = max((row.began_at for row in rows if isinstance(row, DayRow)), default=EPOCH)
    tasks = (row for row in rows if isinstance(row, TaskRow))
    return compared_tasks(task for task in tasks if task.ended_at is not None and task.ended_at >= began_at)


def compared_tasks(rows: Iterable[TaskRow]) -> list[ComparedTask]:
    """The completed ones of these tasks that used tokens, the most expensive first."""
    found = [(money(row.used.triple), row) for row in rows if row.state == "completed" and row.would_cost]
    found.sort(key=lambda pair: (-pair[0][COST], pair[1].task))
    return [
        ComparedTask(
            task=row.task,
            product=row.product,
            agent_type=row.agent_type,
            critical=row.critical,
            model=row.model,
            tokens_used=used[TOKENS],
            cost_usd=dollars(used[COST]),
            instead=_instead(row, used[COST]),
        )
        for used, row in found
    ]


def _instead(row: TaskRow, cost_nanos: int) -> list[Instead]:
    others = [(cost, alias) for alias, cost in row.would_cost.items() if alias != row.model]
    return [
        Instead(alias, dollars(cost), dollars(cost_nanos - cost), _part(cost_nanos - cost, cost_nanos))
        for cost, alias in sorted(others, key=lambda other: (-other[0], other[1]))
    ]


def _part(saved_nanos: int, of_nanos: int) -> int | None:
    if not of_nanos:
        return None
    return percent(saved_nanos, of_nanos) if saved_nanos >= 0 else -percent(-saved_nanos, of_nanos)
