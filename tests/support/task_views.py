"""Fleets whose views of tasks are looked at."""

from typing import Any

from tallystick.events import messages as c
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tests.support.core import Core, budget, fleet
from tests.support.view_logs import stored

HOUR = 3_600


ONE_SLOT: dict[str, Any] = {
    "max_concurrent": {"total": 1, "per_type": {"backend-engineer": None, "frontend-engineer": None}},
    "leases": {"seconds": 86_400, "max_attempts": 2},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}


def one_slot(**config: Any) -> Core:
    """A fleet at noon with one slot."""
    return Core(configured(**config))


def configured(**config: Any) -> c.LoadConfig:
    return fleet(50_000_000, **{**ONE_SLOT, **config})


def view_store_of(core: Core) -> MemoryViewStore:
    view_store = MemoryViewStore()
    catch_up(stored(core.log), view_store)
    return view_store


def work(core: Core) -> TaskDay:
    return TaskDay(view_store_of(core), core.now)


def use_task(name: str, tokens: int, cost: str | None = None) -> c.ReportUsage:
    return c.ReportUsage(task=name, usage=budget(tokens, cost=cost))


CATALOGUE = {
    "opus": {"provider": "me", "id": "opus-1", "degrades_to": "haiku"},
    "sonnet": None,
    "haiku": {"provider": "me", "id": "haiku-1"},
}


ALWAYS_OPUS = {"rules": [{"condition": "default", "model": "opus"}]}
