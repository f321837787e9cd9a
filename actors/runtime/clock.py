"""Where time comes from: the machine's clock in production, one that is moved by hand in tests and simulations."""

import datetime as dt
from typing import Protocol


class Clock(Protocol):
    """Tells the time, in UTC."""

    def now(self) -> dt.datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now

    def now(self) -> dt.datetime:
        return self._now

    def move_to(self, now: dt.datetime) -> None:
        """Move forward; a clock never goes back."""
        self._now = max(self._now, now)
