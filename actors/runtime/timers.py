"""Wakes the manager and the specialists at the moments they ask for, by the machine's clock or by hand."""

import datetime as dt
import threading
from collections.abc import Callable, Sequence

from tallystick.actors.runtime.clock import Clock, ManualClock

_LONGEST = dt.timedelta(hours=1)


class Timekeeper:
    """Knows when each actor wants to be woken. An actor has one wish at a time: the latest counts."""

    def __init__(
        self, clock: Clock, order: Sequence[str], wake: Callable[[str, dt.datetime], None], live: bool
    ) -> None:
        self._clock = clock
        self._order = order
        """Of equal moments, the earlier name's comes first."""
        self._wake = wake
        self._wishes: dict[str, dt.datetime] = {}
        self._sleeps_until: dt.datetime | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="timekeeper", daemon=True) if live else None

    def start(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def wake_at(self, name: str, at: dt.datetime | None) -> None:
        """Note an actor's wish; None for none."""
        if self._wishes.get(name) == at:
            return
        with self._changed:
            if at is None:
                self._wishes.pop(name, None)
                return
            self._wishes[name] = at
            # Where the thread wakes too early, it looks again: only an earlier moment must reach it.
            if self._sleeps_until is not None and at < self._sleeps_until:
                self._changed.notify()

    def look_again(self) -> None:
        """Time went on faster than this thread could see: the machine slept, or a clock was accepted."""
        with self._changed:
            self._changed.notify()

    def due_at(self, names: Sequence[str]) -> dt.datetime | None:
        """When the first of some actors wants to be woken."""
        wishes = (self._wishes.get(name) for name in names)
        return min((at for at in wishes if at is not None), default=None)

    def advance(self, until: dt.datetime, rest: Callable[[], None]) -> None:
        """Fire what is due up to ``until``, one after the other, each after the fleet has come to ``rest``."""
        assert isinstance(self._clock, ManualClock), "only a clock of your own can be moved"
        rest()
        while (first := self._first()) is not None and first[0] <= until:
            at, name = first
            self._clock.move_to(at)
            self._fire(name)
            rest()
        self._clock.move_to(until)

    def _first(self) -> tuple[dt.datetime, str] | None:
        """The next moment, and the actor that it is for."""
        with self._changed:
            if not self._wishes:
                return None
            at, _, name = min((at, self._order.index(name), name) for name, at in self._wishes.items())
            return at, name

    def _fire(self, name: str) -> None:
        with self._changed:
            self._wishes.pop(name, None)
        self._wake(name, self._clock.now())

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                first, now = self._first(), self._clock.now()
                if first is None or first[0] > now:
                    longest = now + _LONGEST
                    self._sleeps_until = longest if first is None else min(first[0], longest)
                    self._changed.wait((self._sleeps_until - now).total_seconds())
                    self._sleeps_until = None
                    continue
            self._fire(first[1])
