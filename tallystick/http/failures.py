"""Failed logins by address: a program that goes on with a wrong key is answered 429, and not logged line by line."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

FAILURES_MAX: Final = 10
"""Failures of one address within `WINDOW_SECONDS`; one more is answered 429."""
WINDOW_SECONDS: Final = 60.0
ADDRESSES_MAX: Final = 10_000
"""Addresses that are remembered; beyond, the one that has failed longest ago is forgotten."""


class Failures:
    """When each address has failed in the last minute. ``clock`` is in seconds, and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._of: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, address: str | None) -> int | None:
        """An address has failed: None, or where it does so too often, the seconds after which it may try again."""
        name, now = address or "", self._clock()
        times = self._of.setdefault(name, deque())
        self._of.move_to_end(name)
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        if len(times) >= FAILURES_MAX:
            return max(1, math.ceil(times[0] + WINDOW_SECONDS - now))
        times.append(now)
        if len(self._of) > ADDRESSES_MAX:
            self._of.popitem(last=False)
        return None
