"""What is asked: another configuration, other prices, another total; and which orders of the log that replaces."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from tallystick.config.amounts import EDGE_NAMES
from tallystick.config.errors import ConfigError
from tallystick.config.loader import changed, from_mapping, to_mapping
from tallystick.config.prices import PriceList
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.config.settings import Config
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p

Total = Mapping[str, int | Decimal | None]
"""What the fleet may spend by dimension (``tokens``, ``time_seconds``, ``cost_usd``), as people write it; None is no
limit.
"""


class Question:
    """The other policy. What it does not name is as the log has it.

    ``config`` and ``prices`` are in force from the log's first configuration and price list on; written prices stand
    over those that are published in that list. ``total`` replaces the dimensions that it names, whatever a
    configuration says; the caller has checked that it is what `TotalBudget` allows.
    """

    def __init__(
        self, config: Config | None = None, prices: PriceList | None = None, total: Total | None = None
    ) -> None:
        self._config = config
        self.prices = prices
        self.total = dict(total or {})
        self.log_config: Config | None = None
        """The configuration that the log began with, as soon as it is known."""
        self.config: Config | None = None
        """The configuration that is in force instead."""
        self.log_prices: PriceList | None = None
        self.passed_over = dict.fromkeys(("configurations", "price_lists", "totals"), 0)
        """How many orders of the log change nothing in the other history, by what they are about."""

    @property
    def is_empty(self) -> bool:
        """Nothing differs: all that is asked is whether the log's own policy leads to the log's own decisions."""
        return self._config is None and self.prices is None and not self.total

    def instead_of(self, command: c.Command, in_force: Config | None = None) -> list[c.Command]:
        """The commands that replace ``command``, the log's order about configuration, prices or total.

        ``in_force`` is the configuration that the log has at that moment; None: it has none yet.
        """
        match command:
            case c.LoadConfig():
                return self._instead_of_config(command, in_force)
            case p.LoadPrices() if self.prices is not None:
                return self._instead_of_prices(command, self.prices)
            case c.SetTotalBudget() if self.total:
                return self._instead_of_total(command)
        return [command]

    def _instead_of_config(self, command: c.LoadConfig, in_force: Config | None) -> list[c.Command]:
        try:
            given = command.config
            recorded = from_mapping(given, _took) if in_force is None else changed(in_force, given, _took)
        except ConfigError:
            # Recorded by a version that allowed it. The core decides what becomes of it.
            return [command]
        wanted = self._with_total(recorded if self._config is None else self._config)
        is_first = self.config is None
        replaced_by: list[c.Command] = [command]
        if wanted != recorded:
            if self._config is not None and not is_first:
                self.passed_over["configurations"] += 1
                return []
            replaced_by = [c.LoadConfig(config=to_mapping(wanted), id=command.id)]
        if is_first:
            self.log_config, self.config = recorded, wanted
        return replaced_by

    def _with_total(self, config: Config) -> Config:
        """A configuration with the total that is asked about."""
        if not self.total:
            return config
        return msgspec.structs.replace(config, total_budget=msgspec.structs.replace(config.total_budget, **self.total))

    def _instead_of_prices(self, command: p.LoadPrices, asked: PriceList) -> list[c.Command]:
        """The list that the log began with is replaced, and not counted; later ones are passed over."""
        recorded = prices_from_mapping(command.prices, command.published)
        if self.log_prices is None:
            self.log_prices, self.prices = recorded, PriceList(asked.written, recorded.published)
            return [p.LoadPrices(**prices_to_mapping(self.prices), id=command.id)]
        if recorded.written != asked.written:
            self.passed_over["price_lists"] += 1
        return []

    def _instead_of_total(self, command: c.SetTotalBudget) -> list[c.Command]:
        given = {name: getattr(command.budget, name) for name in EDGE_NAMES}
        passed = {
            name: msgspec.UNSET
            for name, value in given.items()
            if name in self.total and value is not msgspec.UNSET and value != self.total[name]
        }
        if not passed:
            return [command]
        self.passed_over["totals"] += 1
        rest = msgspec.structs.replace(command.budget, **passed)
        if all(getattr(rest, name) is msgspec.UNSET for name in EDGE_NAMES):
            return []
        return [c.SetTotalBudget(budget=rest, id=command.id)]


def _took(name: str) -> bool:
    """Whether the log took a name: all that stand in it are valid, however they are spelled."""
    return True
