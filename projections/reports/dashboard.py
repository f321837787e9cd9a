"""What the dashboard of seed 000 shows, as plain values: the same for its Markdown and for any other page."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.config.amounts import COST, TOKENS, dollars, percent
from tallystick.events.state.money import money
from tallystick.projections.reports.cost import Costs, limits_of
from tallystick.projections.reports.task_day import Number, TaskDay, minutes

PRODUCTS_SHOWN: Final = 20
"""So many products, those that used the most."""


class Gauge(msgspec.Struct, frozen=True):
    """What was used of a daily limit: tokens, or dollars as exact text; ``percent`` is floored.

    ``limit`` and ``percent`` are None where there is no limit. ``alert``: it has come to the alert percentage.
    """

    used: int | str
    limit: int | str | None
    percent: int | None
    alert: bool


class ModelUse(msgspec.Struct, frozen=True):
    """The tasks that ran on a model today, and what all usage of it cost; ``critical``: all of them were."""

    model: str
    tasks: int
    critical: bool
    cost_usd: str


class ProductUse(msgspec.Struct, frozen=True):
    """What part of the day's tokens a product used; ``product`` is None for usage that belongs to none."""

    product: str | None
    tokens: int
    percent: int


class Dashboard(msgspec.Struct, frozen=True):
    """The day of the fleet. ``slots`` and ``percent_active`` are None where nothing limits how many tasks run at once.

    ``avg_wait_minutes`` is of today's tasks that waited, or wait now; None where none did. ``projected_eod`` is what
    the day will have cost at its end, in dollars; None where it cannot be projected.
    """

    date: str
    active: int
    slots: int | None
    percent_active: int | None
    waiting: int
    avg_wait_minutes: Number | None
    tokens: Gauge
    cost: Gauge
    projected_eod: Number | None
    models: list[ModelUse]
    products: list[ProductUse]


def dashboard(costs: Costs, work: TaskDay, config: Mapping[str, Any], projected_eod: Number | None) -> Dashboard:
    """The dashboard of the newest day on record; ``config`` is what is in force."""
    waits = work.waits()
    slots = work.day.limits[-1].total if work.day is not None and work.day.limits else None
    active = len(work.running)
    day = costs.days[-1] if costs.days else None
    used = (0, 0, 0) if day is None else money(day.used.triple)
    tokens_max, cost_max = (None, None) if day is None else limits_of(day)
    alert_at = Decimal(str(config.get("daily_limits", {}).get("alert_at_percent", 100)))
    return Dashboard(
        date=costs.date or "",
        active=active,
        slots=slots,
        percent_active=percent(active, slots) if slots else None,
        waiting=len(work.waiting),
        avg_wait_minutes=minutes(waits.waited_ms / waits.waited) if waits.waited else None,
        tokens=Gauge(
            used[TOKENS], tokens_max, _percent(used[TOKENS], tokens_max), _near(used[TOKENS], tokens_max, alert_at)
        ),
        cost=Gauge(
            dollars(used[COST]),
            None if cost_max is None else dollars(cost_max),
            _percent(used[COST], cost_max),
            _near(used[COST], cost_max, alert_at),
        ),
        projected_eod=projected_eod,
        models=_models(costs, work),
        products=_products(costs),
    )


def _percent(used: int, limit: int | None) -> int | None:
    return None if limit is None else percent(used, limit)


def _near(used: int, limit: int | None, alert_at: Decimal) -> bool:
    return limit is not None and used * 100 >= alert_at * limit


def _models(costs: Costs, work: TaskDay) -> list[ModelUse]:
    """The models that tasks ran on or that were used, from the cheapest on; those without a price last."""
    cost = {part.name: part.cost_usd for part in costs.by("model") if part.name is not None}
    tasks, critical = Counter[str](), Counter[str]()
    for row in work.models:
        alias = costs.aliases.get(row.model, row.model)
        tasks[alias] += row.tasks
        critical[alias] += row.critical
    prices = {} if work.day is None else work.day.models

    def place(alias: str) -> tuple[bool, int, int, str]:
        price = prices.get(alias)
        return (True, 0, 0, alias) if price is None else (False, price.input, price.output, alias)

    return [
        ModelUse(alias, tasks[alias], 0 < tasks[alias] == critical[alias], cost.get(alias, dollars(0)))
        for alias in sorted({*cost, *tasks}, key=place)
    ]


def _products(costs: Costs) -> list[ProductUse]:
    """By name, usage of no product last."""
    parts = [part for part in costs.by("product") if part.tokens_used]
    whole = sum(part.tokens_used for part in parts)
    parts = sorted(parts, key=lambda part: -part.tokens_used)[:PRODUCTS_SHOWN]
    parts.sort(key=lambda part: (part.name is None, part.name or ""))
    return [ProductUse(part.name, part.tokens_used, percent(part.tokens_used, whole)) for part in parts]
