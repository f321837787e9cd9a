"""Slots: how many tasks may run at once, in all, per agent type and per product."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tallystick.actors.policies.scheduling.tasks import Kind
from tallystick.config.settings import Config
from tallystick.events.state.tasks import Tasks


class Limits(NamedTuple):
    """The most tasks that may run at once; None, or a name that is not there, is no limit."""

    total: int | None
    per_type: Mapping[str, int]
    per_product: Mapping[str, int]

    @classmethod
    def of(cls, config: Config) -> "Limits":
        """The limits that a configuration sets."""
        products = {
            name: product.max_concurrent_agents
            for name, product in config.products.items()
            if product.max_concurrent_agents is not None
        }
        return cls(config.max_concurrent.total, config.max_concurrent.per_type, products)


class Left(NamedTuple):
    """Slots that are left under each limit of a kind, None where there is none; below 0 after a limit was lowered."""

    total: int | None
    agent_type: int | None
    product: int | None


class Slots:
    """The slots in use: those of the running tasks among ``tasks``, and those that were taken here to try things out.

    ``limits`` may be replaced at any time; what runs goes on.
    """

    def __init__(self, limits: Limits, tasks: Tasks | None = None) -> None:
        self.limits = limits
        self._tasks = Tasks() if tasks is None else tasks
        self._total = 0
        self._types: Counter[str] = Counter()
        self._products: Counter[str] = Counter()

    def take(self, kind: Kind) -> None:
        """Count a task of this kind as running."""
        self._add(kind, 1)

    def give_back(self, kind: Kind) -> None:
        """Count a task of this kind as not running any more."""
        self._add(kind, -1)

    def left(self, kind: Kind) -> Left:
        """What is left for a task of this kind."""
        total, per_type, per_product = self.limits
        tasks = self._tasks
        of_type, of_product = per_type.get(kind.agent_type), per_product.get(kind.product)
        return Left(
            None if total is None else total - len(tasks.running) - self._total,
            None if of_type is None else of_type - tasks.by_type[kind.agent_type] - self._types[kind.agent_type],
            None if of_product is None else of_product - tasks.by_product[kind.product] - self._products[kind.product],
        )

    @property
    def full(self) -> bool:
        """Whether nothing more may run at all."""
        total = self.limits.total
        return total is not None and len(self._tasks.running) + self._total >= total

    def copy(self) -> "Slots":
        """Another with the same slots in use, to try things out on."""
        other = Slots(self.limits, self._tasks)
        other._total = self._total
        other._types = self._types.copy()
        other._products = self._products.copy()
        return other

    def _add(self, kind: Kind, count: int) -> None:
        self._total += count
        self._types[kind.agent_type] += count
        self._products[kind.product] += count
