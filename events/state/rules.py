"""The configuration in the form in which decisions read it: exact fractions, integers, and nothing to look up twice."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import msgspec

from tallystick.config.kinds import Priority
from tallystick.config.model_names import catalogued, one_name
from tallystick.config.models import ModelChoice
from tallystick.config.names import TASK_NAMES
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tallystick.events.state.limit_rules import LimitIndex

_SLACK = 1e-9
"""A float ratio this close below a threshold is decided again in whole numbers; farther below it cannot reach it."""


class Rules:
    """What is in force. ``level_at`` are the exact thresholds of yellow, orange, red and black.

    ``config`` is the configuration with the priorities of products that operators override by message; ``loaded`` is
    as it was loaded.
    """

    __slots__ = (
        "catalogued",
        "config",
        "counters_max",
        "fairness_by",
        "find_price",
        "fleet_at",
        "fleet_hysteresis",
        "holds_ttl_ms",
        "ids_keep_hours",
        "ids_max",
        "last_call",
        "level_at",
        "level_near",
        "limits",
        "loaded",
        "minimum_share",
        "model_name",
        "models_chosen",
        "overrides",
        "paused",
        "paused_products",
        "pauses",
        "pool_share_max",
        "prices",
        "quantile",
        "reserve_part",
        "starts_are_plain",
        "throttle_rate",
        "token_weights",
        "weights",
    )

    def __init__(self, config: Config, prices: PriceList, overrides: Mapping[str, Priority] | None = None) -> None:
        enforcement = config.enforcement
        self.loaded = config
        self.overrides = overrides or {}
        self.config = _overridden(config, self.overrides)
        self.prices = prices
        self.find_price = prices.finding
        self.catalogued = catalogued(config.models)
        self.model_name = one_name(config.models)
        """The one name of a model, by which limits and learned estimates know it."""
        about_tasks = all(name in TASK_NAMES for rule in config.rule_conditions for name in rule.names)
        self.models_chosen: dict[tuple[str | int | None, ...], ModelChoice] | None = {} if about_tasks else None
        """What tasks that are alike get by ``auto_model_selection``: a memory, and no state.

        None where its rules are not about the task alone.
        """
        self.level_at = tuple(
            Fraction(threshold)
            for threshold in (enforcement.warn_at, enforcement.throttle_at, enforcement.degrade_at, enforcement.stop_at)
        )
        # At a ratio of 1.0 everything is computed exactly: what was used of nothing counts as that.
        self.level_near = (*(min(float(at), 1.0) * (1 - _SLACK) for at in self.level_at), float("inf"))
        fleet = enforcement.fleet
        self.fleet_at = (Fraction(fleet.throttle_at), Fraction(fleet.degrade_at), Fraction(fleet.stop_at))
        self.fleet_hysteresis = Fraction(fleet.hysteresis)
        self.throttle_rate: Decimal = enforcement.throttle_rate
        self.reserve_part = Fraction(config.emergency_reserve_percent) / 100
        self.minimum_share = Fraction(config.minimum_share_percent) / 100
        self.pool_share_max = Fraction(config.max_pool_share_percent) / 100
        self.last_call = Fraction(enforcement.last_call.percent) / 100 or None
        """What part of an allocation is kept for a last call; None: nothing is."""
        self.quantile = Fraction(config.holds.quantile)
        self.holds_ttl_ms = int(Decimal(config.holds.ttl_seconds) * 1000)
        self.ids_keep_hours = float(config.idempotency_hours)
        self.fairness_by = config.fairness.by
        self.token_weights = (Fraction(config.fairness.input_weight), Fraction(config.fairness.output_weight))
        self.ids_max = config.idempotency_ids_max
        self.weights: dict[str, Decimal] = {priority: config.allocation_weights.of(priority) for priority in PRIORITIES}
        self.paused = config.manual_override.pause_all_agents
        self.paused_products: frozenset[str | None] = frozenset(
            name for name, product in config.products.items() if product.paused
        )
        self.counters_max = config.limits_counters_max
        self.limits = LimitIndex(config, self.model_name)
        self.pauses = self.paused or bool(self.paused_products)
        self.starts_are_plain = not (self.limits or self.limits.day.is_bounded or self.limits.products or self.pauses)
        """No limit, not one of the day either, and no pause has a say in which tasks start."""

    def with_config(self, config: Config) -> "Rules":
        """These with another configuration, under the same operators' words."""
        return Rules(config, self.prices, self.overrides)

    def with_prices(self, prices: PriceList) -> "Rules":
        """These with another price list."""
        return Rules(self.loaded, prices, self.overrides)

    def with_priority(self, product: str, priority: Priority | None) -> "Rules":
        """These with an operator's priority for a product; None removes it."""
        others = {name: said for name, said in self.overrides.items() if name != product}
        return Rules(self.loaded, self.prices, others if priority is None else {**others, product: priority})

    def has_price(self, model: str) -> bool:
        """Whether the price list knows a model, by an alias or by its name."""
        return self.find_price(*self.catalogued.get(model, (model, None))) is not None

    def level_of(self, consumed: int, base: int) -> int:
        """The level (0 green … 4 black) of ``consumed`` against ``base``, decided on the exact ratio."""
        if base <= 0:
            consumed, base = (1, 1) if consumed > 0 else (0, 1)  # anything of nothing is the whole of it
        level = 0
        for threshold in self.level_at:
            if consumed * threshold.denominator < threshold.numerator * base:
                break
            level += 1
        return level


def _overridden(config: Config, overrides: Mapping[str, Priority]) -> Config:
    """A configuration in which what operators said by message stands above what the file says."""
    if not overrides:
        return config
    both = {**config.manual_override.priority_override, **overrides}
    manual = msgspec.structs.replace(config.manual_override, priority_override=both)
    return msgspec.structs.replace(config, manual_override=manual)
