"""Budgets in memory, as they should not be kept: who asks looks first and records later, and nothing is on the disk."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.peers.contract import UNITS, Call


class Forgetful:
    """A peer of the benchmarks that grants too much and forgets all of it."""

    def __init__(self, _: Path, __: str) -> None:
        self._left: dict[str, int] = {}
        self._used: dict[str, int] = {}

    def open(self, budgets: Mapping[str, int]) -> None:
        self._left.update(budgets)
        self._used.update(dict.fromkeys(budgets, 0))

    def cycle(self, budget: str, call: Call) -> bool:
        if self._left[budget] < UNITS:
            return False
        call()
        self._left[budget] -= UNITS
        self._used[budget] += UNITS
        return True

    def rest(self) -> None:
        pass

    def used(self, budget: str) -> int:
        return self._used[budget]

    def close(self) -> None:
        pass
