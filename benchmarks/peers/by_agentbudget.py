"""The package agentbudget: a session for each budget, in memory. It has no holds: look, call, record."""

from collections.abc import Mapping
from pathlib import Path

from agentbudget import AgentBudget, BudgetExhausted, BudgetSession

from benchmarks.peers.contract import UNITS, Call


class BySessions:
    """Dollars stand for units. What was used can be recorded only once, so not before the call."""

    def __init__(self, _: Path, __: str) -> None:
        self._sessions: dict[str, BudgetSession] = {}

    def open(self, budgets: Mapping[str, int]) -> None:
        for name, units in budgets.items():
            self._sessions[name] = AgentBudget(max_spend=float(units)).session().__enter__()

    def cycle(self, budget: str, call: Call) -> bool:
        session = self._sessions[budget]
        if session.would_exceed(UNITS):
            return False
        call()
        try:
            session.track(None, cost=float(UNITS))
        except BudgetExhausted:
            return True  # the call was made: what it used is not counted
        return True

    def rest(self) -> None:
        pass

    def used(self, budget: str) -> int:
        return int(self._sessions[budget].spent)

    def close(self) -> None:
        pass
