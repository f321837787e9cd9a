"""Until when coroutines wait for their answers: one timer for all of a loop that wait equally long.

A timer of its own costs an answer more than decoding it does, and hardly any ever goes off.
"""

import asyncio
from typing import Final, Protocol
from weakref import WeakKeyDictionary


class Waiting(Protocol):
    """What waits in a loop."""

    def give_up(self, seconds: float) -> None:
        """It has waited for so long, and does not any more."""


class LoopDeadlines:
    """All in one loop that wait for ``seconds`` at most, each with when that is over: the first one's end is the first.

    The loop comes with each call: what is kept by loop may not keep the loop.
    """

    __slots__ = ("_is_set", "_seconds", "_waiting")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[Waiting, float] = {}
        self._is_set = False
        """The loop will call `_look`."""

    def begin(self, loop: asyncio.AbstractEventLoop, waiting: Waiting) -> None:
        """Something begins to wait."""
        ends_at = self._waiting[waiting] = loop.time() + self._seconds
        if not self._is_set:
            self._is_set = True
            loop.call_at(ends_at, self._look, loop)

    def end(self, waiting: Waiting) -> None:
        """Something waits no more."""
        self._waiting.pop(waiting, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the waits that are over; look again at the end of the next."""
        now = loop.time()
        while self._waiting:
            waiting, ends_at = next(iter(self._waiting.items()))
            if ends_at > now:
                loop.call_at(ends_at, self._look, loop)
                return
            del self._waiting[waiting]
            waiting.give_up(self._seconds)
        self._is_set = False
        _BY_LOOP[loop].pop(self._seconds, None)


_BY_LOOP: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, LoopDeadlines]]] = WeakKeyDictionary()


def deadlines(loop: asyncio.AbstractEventLoop, seconds: float) -> LoopDeadlines:
    """Those of a loop that wait for ``seconds``."""
    of_loop = _BY_LOOP.get(loop)
    if of_loop is None:
        of_loop = _BY_LOOP[loop] = {}
    found = of_loop.get(seconds)
    if found is None:
        found = of_loop[seconds] = LoopDeadlines(seconds)
    return found
