"""Tallystick in the same place: a fleet of this process, its agents' budgets, and holds."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.peers.contract import UNITS, Call
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.amounts import Budget
from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.log.codec import Message

_CONFIG = {
    "total_budget": {"tokens": 10**15},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "reallocation": {"enabled": False},
}


class ByMappings:
    """Callers on threads that send dictionaries."""

    def __init__(self, folder: Path, _: str) -> None:
        self._fleet = Fleet.open(f"sqlite:///{folder / 'fleet.db'}", from_mapping(_CONFIG), notify=False)
        self._run, self._numbers = uuid4().hex[:8], count()

    def open(self, budgets: Mapping[str, int]) -> None:
        for name, units in budgets.items():
            self._fleet.ask(c.AllocateBudget(id=f"open-{name}", agent=name, budget=Budget(tokens=units)))

    def cycle(self, budget: str, call: Call) -> bool:
        hold = self._id()
        if "ok" not in self._ask(self._reserve(hold, budget)):
            return False
        call()
        assert "ok" in self._ask(self._settle(hold))
        return True

    def _id(self) -> str:
        return f"{self._run}-{next(self._numbers)}"

    def _reserve(self, hold: str, budget: str) -> Message:
        return {"type": "Reserve", "id": hold, "agent": budget, "estimate": {"tokens": UNITS}}

    def _settle(self, hold: str) -> Message:
        return {"type": "Settle", "id": f"s-{hold}", "hold": hold, "usage": {"tokens": UNITS}}

    def _ask(self, message: Message) -> Any:
        return self._fleet.ask(message)

    def rest(self) -> None:
        pass

    def used(self, budget: str) -> int:
        status = self._fleet.ask(c.GetStatus(agent=budget))
        return int(status["ok"]["consumed"]["tokens"])

    def close(self) -> None:
        self._fleet.close()


class ByStructs(ByMappings):
    """Callers on threads that send the message classes."""

    def _reserve(self, hold: str, budget: str) -> Message:
        return c.Reserve(id=hold, agent=budget, estimate=Budget(tokens=UNITS))

    def _settle(self, hold: str) -> Message:
        return c.Settle(id=f"s-{hold}", hold=hold, usage=Budget(tokens=UNITS))


class ByMappingsInALoop(ByMappings):
    """Coroutines that send dictionaries."""

    async def cycle_without_blocking(self, budget: str, call: Call) -> bool:
        hold = self._id()
        if "ok" not in await self._fleet.ask_async(self._reserve(hold, budget)):
            return False
        await call.without_blocking()
        assert "ok" in await self._fleet.ask_async(self._settle(hold))
        return True


class ByStructsInALoop(ByMappingsInALoop, ByStructs):
    """Coroutines that send the message classes."""
