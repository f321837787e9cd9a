"""Slots: how many tasks may run at once, in all, per agent type and per product."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tallystick.actors.policies.tasks import Kind
from tallystick.config.settings import Config


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
    """Who holds slots. ``limits`` may be replaced at any time; what runs goes on."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._total = 0
        self._types: Counter[str] = Counter()
        self._products: Counter[str] = Counter()

    def take(self, kind: Kind) -> None:
        """A task of this kind got a slot."""
        self._add(kind, 1)

    def give_back(self, kind: Kind) -> None:
        """A task of this kind no longer has its slot."""
        self._add(kind, -1)

    def left(self, kind: Kind) -> Left:
        """What is left for a task of this kind."""
        total, per_type, per_product = self.limits
        of_type, of_product = per_type.get(kind.agent_type), per_product.get(kind.product)
        return Left(
            None if total is None else total - self._total,
            None if of_type is None else of_type - self._types[kind.agent_type],
            None if of_product is None else of_product - self._products[kind.product],
        )

    @property
    def full(self) -> bool:
        """Whether nothing more may run at all."""
        return self.limits.total is not None and self._total >= self.limits.total

    def copy(self) -> "Slots":
        """Another with the same holders, to try things out on."""
        other = Slots(self.limits)
        other._total = self._total
        other._types = self._types.copy()
        other._products = self._products.copy()
        return other

    def _add(self, kind: Kind, count: int) -> None:
        self._total += count
        self._types[kind.agent_type] += count
        self._products[kind.product] += count
