"""LiteLLM's BudgetManager: a cost for each user, in memory, written to a file by a thread of its own at each call."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # prices that come with it: nothing is fetched

import litellm
from litellm import BudgetManager, ModelResponse, Usage

from benchmarks.peers.contract import UNITS, Call

_MODEL = "gpt-4o"
_TOLERANCE = 1e-9
"""Dollars are floats there, and their sum is not quite what it should be."""


class ByUsers:
    """A call has `UNITS` tokens; the file is in the working folder, as BudgetManager has it."""

    def __init__(self, folder: Path, _: str) -> None:
        assert folder == Path.cwd()
        self._manager = BudgetManager(project_name="peers")
        self._answer = ModelResponse(
            model=_MODEL, usage=Usage(prompt_tokens=0, completion_tokens=UNITS, total_tokens=UNITS)
        )
        self._cost = litellm.completion_cost(completion_response=self._answer)

    def open(self, budgets: Mapping[str, int]) -> None:
        for name, units in budgets.items():
            if not self._manager.is_valid_user(name):
                self._manager.create_budget(self._cost * units / UNITS, name)

    def cycle(self, budget: str, call: Call) -> bool:
        manager = self._manager
        if manager.get_current_cost(budget) + self._cost > manager.get_total_budget(budget) * (1 + _TOLERANCE):
            return False
        call()
        manager.update_cost(budget, completion_obj=self._answer)
        return True

    def rest(self) -> None:
        for thread in threading.enumerate():
            if getattr(thread, "_target", None) == self._manager.save_data:
                thread.join()

    def used(self, budget: str) -> int:
        return round(self._manager.get_current_cost(budget) / self._cost * UNITS)

    def close(self) -> None:
        self.rest()
