"""Where time comes from: the machine's clocks in production, one that is moved by hand in tests and simulations."""

import datetime as dt
import threading
import time
from typing import Final, Protocol

APART = dt.timedelta(minutes=1)
"""How far the machine's clock and the ledger's time may be apart before an alert is raised; a step ahead of more
than this is not followed."""
_ZERO = dt.timedelta(0)
_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Tells the time, in UTC."""

    def now(self) -> dt.datetime: ...


class SystemClock:
    """The machine's clocks: the one that tells the time, and one that only goes on."""

    def now(self) -> dt.datetime:
        """The time that the machine tells; it may step in either direction."""
        return dt.datetime.now(dt.UTC)

    def passed(self) -> float:
        """Seconds since some moment, by a clock that never steps; where it can, it counts while the machine sleeps."""
        return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


class SteadyClock:
    """The ledger's time: the machine's clock, as far as it can be trusted. It never goes back.

    Behind this time, the machine's clock is not followed: time goes on by the clock that never steps. A step ahead of
    more than `APART`, which sleep does not explain, is not followed before an operator accepts it (`accept`).

    ``after`` is the time of the newest record: the machine's clock may be far ahead of it when a fleet is opened, since
    the fleet was closed meanwhile.
    """

    def __init__(self, machine: SystemClock, after: dt.datetime) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        told, self._passed = machine.now(), machine.passed()
        self._at = max(told, after)
        self._apart = told - self._at

    @property
    def apart(self) -> dt.timedelta:
        """How far the machine's clock is ahead (negative: behind), as of the last look."""
        return self._apart

    def now(self) -> dt.datetime:
        """The ledger's time."""
        with self._lock:
            told, passed = self._machine.now(), self._machine.passed()
            at = _later(self._at, max(0.0, passed - self._passed))
            apart = told - at
            if _ZERO < apart <= APART:
                at, apart = told, _ZERO
            self._at, self._passed, self._apart = at, passed, apart
            return at

    def accept(self, step: dt.timedelta) -> None:
        """Go ahead by a step that an operator accepted, and no farther than the machine's clock is.

        What the machine's clock has stepped since, beyond `APART`, is another step.
        """
        with self._lock:
            told, passed = self._machine.now(), self._machine.passed()
            at = _later(self._at, max(0.0, passed - self._passed))
            self._at, self._passed = max(at, min(_later(at, step.total_seconds()), told)), passed
            self._apart = told - self._at


def _later(at: dt.datetime, seconds: float) -> dt.datetime:
    """A moment so much later, or the last that the calendar has."""
    try:
        return at + dt.timedelta(seconds=seconds)
    except OverflowError:
        return dt.datetime.max.replace(tzinfo=dt.UTC)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now

    def now(self) -> dt.datetime:
        return self._now

    def move_to(self, now: dt.datetime) -> None:
        """Move forward; a clock never goes back."""
        self._now = max(self._now, now)
