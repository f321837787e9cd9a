"""How many tasks wait for each task: those that directly depend on it, or the number it was submitted with."""

from collections.abc import Iterable
from typing import NamedTuple


class _Open(NamedTuple):
    depends_on: tuple[str, ...]
    blocks: int


class Blocking:
    """The open tasks, those that are not finished. Opening and closing one costs as much as it has dependencies."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._dependents: dict[str, int] = {}

    def __len__(self) -> int:
        """How many tasks are open."""
        return len(self._open)

    def blocked(self, task: str) -> int:
        """How many open tasks directly depend on an open task, or the ``blocks`` that it names, whichever is larger."""
        return max(self._dependents.get(task, 0), self._open[task].blocks)

    def open(self, task: str, depends_on: Iterable[str] = (), blocks: int = 0) -> list[str]:
        """A task is submitted. Returns the open tasks it depends on: they block one more."""
        dependencies = tuple(name for name in dict.fromkeys(depends_on) if name in self._open)
        self._open[task] = _Open(dependencies, blocks)
        for name in dependencies:
            self._dependents[name] = self._dependents.get(name, 0) + 1
        return list(dependencies)

    def close(self, task: str) -> list[str]:
        """A task has finished in whatever way. Returns the open tasks it depends on: they block one fewer.

        Only what is cancelled before it could start still depends on any.
        """
        dependencies = [name for name in self._open.pop(task).depends_on if name in self._open]
        self._dependents.pop(task, None)
        for name in dependencies:
            self._dependents[name] -= 1
        return dependencies
