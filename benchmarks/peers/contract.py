"""What every way to keep budgets is asked to do, ours and those of others."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

UNITS = 100
"""What one call uses of a budget."""
CALLERS = 64


class Call:
    """The call of a model that is to be paid for: it waits so many seconds, and counts how often it was made."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.made: list[None] = []

    def __call__(self) -> None:
        self.made.append(None)
        if self._seconds:
            time.sleep(self._seconds)

    async def without_blocking(self) -> None:
        """The same within an event loop."""
        self.made.append(None)
        if self._seconds:
            await asyncio.sleep(self._seconds)


class Peer(Protocol):
    """Budgets by name, on which many callers draw at the same time."""

    def open(self, budgets: Mapping[str, int]) -> None:
        """Open budgets with so many units each; those that are there already stay as they are."""

    def cycle(self, budget: str, call: Call) -> bool:
        """Ask for `UNITS`, make the call, and say that it used them; False where it was refused, and not made.

        Where a peer keeps anything on the disk, it is there when this returns.
        """

    def rest(self) -> None:
        """Wait for what it still does by itself."""

    def used(self, budget: str) -> int:
        """What is counted as used."""

    def close(self) -> None: ...


@runtime_checkable
class LoopPeer(Peer, Protocol):
    """One whose callers are coroutines."""

    async def cycle_without_blocking(self, budget: str, call: Call) -> bool:
        """As `cycle`."""


Opener = Callable[[Path, str], Peer]
"""Opens a peer on a folder of its own; the text is what it needs to know besides, such as the URL of a server."""
