"""Moments to wait for, each under a name; what was set last for a name counts."""

import datetime as dt
import heapq
from typing import Generic, TypeVar

Name = TypeVar("Name", str, tuple[str, ...])


class Deadlines(Generic[Name]):
    """A heap, in which entries that no longer hold are skipped."""

    def __init__(self) -> None:
        self._at: dict[Name, dt.datetime] = {}
        self._heap: list[tuple[dt.datetime, Name]] = []

    def __len__(self) -> int:
        return len(self._at)

    def set(self, name: Name, at: dt.datetime) -> None:
        """From now on, ``name`` is due at this moment."""
        if self._at.get(name) != at:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))

    def drop(self, name: Name) -> None:
        """Nothing is due under this name any more."""
        self._at.pop(name, None)

    def first(self) -> dt.datetime | None:
        """When the next is due."""
        heap, at = self._heap, self._at
        while heap and at.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: dt.datetime) -> list[Name]:
        """Take out what is due by ``now``, in its order."""
        due: list[Name] = []
        while (first := self.first()) is not None and first <= now:
            name = heapq.heappop(self._heap)[1]
            del self._at[name]
            due.append(name)
        return due
