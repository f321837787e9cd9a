"""A fuzzed fleet's time: as in production, over a machine whose clocks are moved by hand."""

import contextlib
import datetime as dt

from tallystick.actors.runtime.clock import ManualClock, SteadyClock, SystemClock
from tests.support.core import START


class Machine(SystemClock):
    """A machine's two clocks, which are moved by hand."""

    def __init__(self) -> None:
        self.at, self.seconds = START, 0.0

    def now(self) -> dt.datetime:
        return self.at

    def passed(self) -> float:
        return self.seconds

    def step(self, seconds: float) -> None:
        """Only the clock that tells the time is set."""
        with contextlib.suppress(OverflowError):
            self.at += dt.timedelta(seconds=seconds)


class SteppedClock(SteadyClock, ManualClock):
    """The ledger's time as in production, over a machine on which time passes by hand."""

    def __init__(self, machine: Machine, after: dt.datetime) -> None:
        super().__init__(machine, after)
        self._by_hand = machine

    def move_to(self, now: dt.datetime) -> None:
        seconds = max(0.0, (now - self.now()).total_seconds())
        self._by_hand.seconds += seconds
        self._by_hand.step(seconds)
