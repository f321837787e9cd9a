"""Stores that wait or fail when a test says so."""

import threading
from collections.abc import Callable, Sequence

from tallystick.events.log.store import Record, StoreError
from tallystick.events.log.store_memory import MemoryStore

SECONDS = 120
"""How long a test waits for another thread before it gives up."""


class GatedStore(MemoryStore):
    """Its appends wait at a gate; ``entered`` says that one does."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def shut(self) -> None:
        self.entered.clear()
        self.gate.clear()

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        self.entered.set()
        assert self.gate.wait(SECONDS)
        super().append(records, sources)
        self.batches.append(len(records))


class FailingStore(MemoryStore):
    """Its next append fails; what is appended before the failure is there."""

    failing = False
    error: Exception = StoreError("the disk is on fire")

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        if self.failing:
            raise self.error
        super().append(records, sources)


def until(found: Callable[[], bool]) -> None:
    """Wait for something that another thread or process does."""
    waiting = threading.Event()
    for _ in range(SECONDS * 50):
        if found():
            return
        waiting.wait(0.02)
    raise AssertionError("it never came")
